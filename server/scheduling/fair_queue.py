"""Deals the tokens of a batch out to the calls that wait: in equal shares, or the small ones first."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from shortlist.router.engine.protocols import CancelToken
from shortlist.router.stages import note_stage
from shortlist.schemas.errors import RequestCancelled, ServerUnavailable

if TYPE_CHECKING:
    from shortlist.router.engine.tokenizer import Pair

__all__ = ["BatchError", "Job", "Place", "fill_batch", "in_order", "jobs_of", "room_for"]

# With less time left than this, about three full batches on two cores, a request is served before others.
_URGENT_SECONDS = 1.0
# A call with more batches than this to come is large. Alone, its batches are half as large: 5 % slower, measured.
_LARGE_BATCHES = 4


class BatchError(Exception):
    """The engine failed on a batch that held pairs of this request; the cause is chained."""


class Job:
    """The pairs of one call; `waiting` holds the places of those in no batch yet, the longest last."""

    def __init__(self, pairs: Sequence[Pair], cancel: CancelToken, *, embeds: bool = False) -> None:
        self.pairs = pairs
        self.cancel = cancel
        self.embeds = embeds
        self.waiting = sorted(range(len(pairs)), key=lambda index: (len(pairs[index]), -index))
        self.num_tokens = sum(map(len, pairs))
        self.waiting_tokens = self.num_tokens
        self.credit_tokens = 0
        self.infer_ms = 0.0
        self.began = 0.0  # when its first batch did, on the clock of `time.perf_counter`
        self.done = threading.Event()
        self.outputs: list[Any] = [None] * len(pairs)
        self._num_missing = len(pairs)
        self._submitted = time.perf_counter()
        self._error: Exception | None = None

    @property
    def next_tokens(self) -> int:
        """The length of the pair that comes next."""
        return len(self.pairs[self.waiting[-1]])

    @property
    def is_urgent(self) -> bool:
        """Whether its time is nearly up."""
        left = self.cancel.remaining_seconds
        return left is not None and left < _URGENT_SECONDS

    def take(self) -> int:
        """Takes the pair that comes next, and returns its place."""
        self.waiting_tokens -= self.next_tokens
        return self.waiting.pop()

    def put(self, index: int, output: Any) -> None:
        """Takes what was computed of one pair; with the last of them it is done."""
        self.outputs[index] = output
        self._num_missing -= 1
        if not self._num_missing:
            self.done.set()

    def fail(self, error: Exception) -> None:
        """Lets its caller go with an error, unless it is done."""
        if not self.done.is_set():
            self._error = error
            self.done.set()

    def raise_if_failed(self) -> None:
        """Raises what it failed with; BatchError for a failure of the engine."""
        if isinstance(self._error, RequestCancelled | ServerUnavailable):
            raise self._error
        if self._error is not None:
            raise BatchError("the batch with this request's pairs failed") from self._error

    def note_stages(self) -> None:
        """Tells who watches the request how long it waited for its first batch, and how long its batches took."""
        ended = time.perf_counter()
        note_stage("queue", self._submitted, self.began or ended)
        if self.began:
            note_stage("infer", self.began, ended, num_tokens=self.num_tokens)

    def cost_ms(self) -> tuple[float, float]:
        """Returns the time waited and the time computed."""
        waited_ms = (time.perf_counter() - self._submitted) * 1000 - self.infer_ms
        return max(0.0, waited_ms), self.infer_ms


Place = tuple[Job, int]


def fill_batch(jobs: deque[Job], max_batch_tokens: int, *, in_shares: bool = True) -> list[Place]:
    """Takes the pairs of the next batch off `jobs`, longest first; a pair above the budget goes alone.

    Each job gets an equal share of it, or, unless `in_shares`, as much as there is room for, in their order.
    Jobs with nothing left leave the queue. Those served last stand last; one whose next pair no longer fitted stands
    first, so that it cannot be passed over twice.
    """
    num_shares = len(jobs) if in_shares else 1
    turn_tokens = max(max_batch_tokens // num_shares, *(job.next_tokens for job in jobs), 1)
    batch: list[Place] = []
    passed: deque[Job] = deque()
    room = max_batch_tokens
    while jobs:
        job = jobs.popleft()
        taken = _take_turn(job, turn_tokens, room, take_oversized=not batch)
        batch += [(job, index) for index in taken]
        room -= sum(len(job.pairs[index]) for index in taken)
        if not in_shares:
            job.credit_tokens = 0  # what it did not use here is no claim on the next share
        if job.waiting:
            (jobs if taken else passed).append(job)
    jobs.extend(passed)
    # Neighbours of like length suit the attention kernels that group by length.
    batch.sort(key=lambda place: -len(place[0].pairs[place[1]]))
    return batch


def _take_turn(job: Job, turn_tokens: int, room: int, *, take_oversized: bool) -> list[int]:
    if take_oversized and job.next_tokens > room:
        return [job.take()]
    if job.credit_tokens < job.next_tokens <= room:
        job.credit_tokens += turn_tokens
    taken = []
    while job.waiting and job.next_tokens <= min(job.credit_tokens, room):
        job.credit_tokens -= job.next_tokens
        room -= job.next_tokens
        taken.append(job.take())
    return taken


def jobs_of(batch: Iterable[Place]) -> list[Job]:
    """Returns each job with pairs in a batch, once."""
    return list({id(job): job for job, _ in batch}.values())


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """Puts those first whose time is nearly up, and then those with the least left to do."""
    return sorted(jobs, key=lambda job: (not job.is_urgent, job.waiting_tokens))


def room_for(jobs: Iterable[Job], max_batch_tokens: int, *, serves_small: bool) -> int:
    """Returns the tokens of the next batch: large calls do not fill it, as who comes next waits until it is over."""
    waiting = [job.waiting_tokens for job in jobs]
    small = [tokens for tokens in waiting if tokens <= _LARGE_BATCHES * max_batch_tokens]
    if len(small) == len(waiting) or (small and not serves_small):
        return max_batch_tokens
    return min(max_batch_tokens, max(max_batch_tokens // 2, sum(small)))
