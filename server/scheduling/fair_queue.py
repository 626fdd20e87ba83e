"""Divides a batch among the waiting calls: an equal number of tokens each, or the smallest calls first."""

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

__all__ = ["BatchEntry", "BatchError", "Job", "by_urgency", "fill_batch", "jobs_of", "room_for"]

# A request with less time left than this, about three full batches on two cores, is served first.
_URGENT_SECONDS = 1.0
# A call with more tokens left than this many batches is large. Alone, it gets half-size batches: 5 % slower, measured.
_LARGE_BATCHES = 4


class BatchError(Exception):
    """The engine failed on a batch with pairs of this request; the cause is chained."""


class Job:
    """The pairs of one call; `waiting` holds the indices of pairs that are in no batch yet, the longest last."""

    def __init__(self, pairs: Sequence[Pair], cancel: CancelToken, *, embeds: bool = False) -> None:
        self.pairs = pairs
        self.cancel = cancel
        self.embeds = embeds
        self.waiting = sorted(range(len(pairs)), key=lambda index: (len(pairs[index]), -index))
        self.num_tokens = sum(map(len, pairs))
        self.waiting_tokens = self.num_tokens
        self.credit_tokens = 0
        self.infer_ms = 0.0
        self.began = 0.0  # when its first batch began, by `time.perf_counter`
        self.done = threading.Event()
        self.outputs: list[Any] = [None] * len(pairs)
        self._num_missing = len(pairs)
        self._submitted = time.perf_counter()
        self._error: Exception | None = None

    @property
    def next_tokens(self) -> int:
        """The length of the next pair, in tokens."""
        return len(self.pairs[self.waiting[-1]])

    @property
    def is_urgent(self) -> bool:
        """Whether its deadline is near."""
        left = self.cancel.remaining_seconds
        return left is not None and left < _URGENT_SECONDS

    def take(self) -> int:
        """Removes the next pair from those that wait, and returns its index."""
        self.waiting_tokens -= self.next_tokens
        return self.waiting.pop()

    def put(self, index: int, output: Any) -> None:
        """Stores the output of one pair; the last one completes the job."""
        self.outputs[index] = output
        self._num_missing -= 1
        if not self._num_missing:
            self.done.set()

    def fail(self, error: Exception) -> None:
        """Completes the job with an error, unless it is done."""
        if not self.done.is_set():
            self._error = error
            self.done.set()

    def raise_if_failed(self) -> None:
        """Raises the error it failed with; BatchError if the engine failed."""
        if isinstance(self._error, RequestCancelled | ServerUnavailable):
            raise self._error
        if self._error is not None:
            raise BatchError("the batch with this request's pairs failed") from self._error

    def note_stages(self) -> None:
        """Records how long the request waited for its first batch, and how long its batches took."""
        ended = time.perf_counter()
        note_stage("queue", self._submitted, self.began or ended)
        if self.began:
            note_stage("infer", self.began, ended, num_tokens=self.num_tokens)

    def cost_ms(self) -> tuple[float, float]:
        """Returns the time spent waiting and the time spent computing, in ms."""
        waited_ms = (time.perf_counter() - self._submitted) * 1000 - self.infer_ms
        return max(0.0, waited_ms), self.infer_ms


BatchEntry = tuple[Job, int]


def fill_batch(jobs: deque[Job], max_batch_tokens: int, *, evenly: bool = True) -> list[BatchEntry]:
    """Takes the pairs of the next batch off `jobs`, longest first; a pair above the budget runs alone.

    Each job gets an equal number of tokens or, unless `evenly`, as much as fits, in the order of `jobs`. Jobs with
    nothing left leave the queue. Served jobs move to the end; a job whose next pair did not fit moves to the front, so
    that it is not skipped twice.
    """
    num_turns = len(jobs) if evenly else 1
    turn_tokens = max(max_batch_tokens // num_turns, *(job.next_tokens for job in jobs), 1)
    batch: list[BatchEntry] = []
    passed: deque[Job] = deque()
    room = max_batch_tokens
    while jobs:
        job = jobs.popleft()
        taken = _take_turn(job, turn_tokens, room, take_oversized=not batch)
        batch += [(job, index) for index in taken]
        room -= sum(len(job.pairs[index]) for index in taken)
        if not evenly:
            job.credit_tokens = 0  # a batch filled in order must not add credit for the next even batch
        if job.waiting:
            (jobs if taken else passed).append(job)
    jobs.extend(passed)
    # Some attention kernels group by length; sorting puts pairs of similar length together.
    batch.sort(key=lambda entry: -len(entry[0].pairs[entry[1]]))
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


def jobs_of(batch: Iterable[BatchEntry]) -> list[Job]:
    """Returns the jobs that have pairs in a batch, each once."""
    return list({id(job): job for job, _ in batch}.values())


def by_urgency(jobs: Iterable[Job]) -> list[Job]:
    """Sorts jobs: those with a near deadline first, then those with the fewest tokens left."""
    return sorted(jobs, key=lambda job: (not job.is_urgent, job.waiting_tokens))


def room_for(jobs: Iterable[Job], max_batch_tokens: int, *, serves_small: bool) -> int:
    """Returns the token budget of the next batch; large calls do not fill it, since new calls wait until it ends."""
    waiting = [job.waiting_tokens for job in jobs]
    small = [tokens for tokens in waiting if tokens <= _LARGE_BATCHES * max_batch_tokens]
    if len(small) == len(waiting) or (small and not serves_small):
        return max_batch_tokens
    return min(max_batch_tokens, max(max_batch_tokens // 2, sum(small)))
