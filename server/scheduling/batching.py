"""Batches the pairs of concurrent requests fairly, within a token budget.

Each engine has a thread, its stream, which fills batches from the waiting requests by deficit round robin (Shreedhar
and Varghese, "Efficient Fair Queueing using Deficit Round Robin", SIGCOMM 1995), counting tokens instead of bytes:
every request is credited the same number of tokens per turn, so a request with 5,000 pairs delays one with five by
about one batch. Every other batch takes requests with a near deadline first, then those with the fewest tokens left, so
that small requests finish soon. What waits is divided among the streams that are free, so that they end together.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shortlist.router.engine.batches import share_tokens
from shortlist.router.engine.protocols import CancelToken, PairScores, TextVectors
from shortlist.router.stages import covered_seconds, note_stage
from shortlist.schemas.errors import RequestCancelled, ServerBusy, ServerUnavailable

if TYPE_CHECKING:
    from shortlist.router.engine.engine import Engine
    from shortlist.router.engine.tokenizer import Pair
__all__ = [
    "BatchEntry",
    "BatchError",
    "BatchRun",
    "BatchingScorer",
    "Job",
    "Rate",
    "Restarts",
    "by_urgency",
    "fill_batch",
    "is_out_of_memory",
    "jobs_of",
    "problem_in",
    "room_for",
    "tokens_of",
]

# After so many seconds of work a measurement counts half: old rates mislead, and single batches vary.
_HALF_LIFE_SECONDS = 5.0
_MAX_RESTARTS = 5
_RESTART_WINDOW_SECONDS = 60.0
_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "cannot allocate memory", "could not create a memory")
# A request with less time left than this, about three full batches on two cores, is served first.
_URGENT_SECONDS = 1.0
# A call with more tokens left than this many batches is large. Alone, it gets half-size batches: 5 % slower, measured.
_LARGE_BATCHES = 4
BatchEntry = tuple["Job", int]
_log = logging.getLogger(__name__)
_LEFT = "the request was cancelled, or its deadline passed, before the answer was ready"
_STOPPING = "the server is stopping; try another server, or try again later"
_BROKEN = "the server's engine has failed; try another server"


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One batch that the engine has run; `model` is `score` or `embed`."""

    model: str
    num_pairs: int
    num_tokens: int
    max_batch_tokens: int
    seconds: float


class BatchingScorer:
    """Scores pairs and embeds texts through engines that share a model, for many threads at once; a `PairScorer`.

    The streams, one thread an engine, start with the object and end with `close()`. `on_submit` receives the number of
    tokens of each `score` call before it waits, and may raise to reject it. `on_batch` receives each batch that ran.
    `on_state` receives whether the engines work, each time that changes.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        on_submit: Callable[[CancelToken, int], None] | None = None,
        on_batch: Callable[[BatchRun], None] | None = None,
        on_state: Callable[[bool], None] | None = None,
    ) -> None:
        self._max_batch_tokens = min(engine.max_batch_tokens for engine in engines)
        self._on_submit, self._on_batch, self._on_state = on_submit, on_batch, on_state
        self._jobs: deque[Job] = deque()
        self._is_closed = False
        self._serves_small = False
        self._rate = Rate()
        self._restarts = Restarts()
        self._changed = threading.Condition()
        self._streams = [_Stream(engine) for engine in engines]
        self._threads = [
            threading.Thread(target=self._work_until_closed, args=(stream,), name="shortlist-stream", daemon=True)
            for stream in self._streams
        ]
        for thread in self._threads:
            thread.start()

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        """Returns one logit per pair, in order, once all are computed.

        Raises:
            RequestCancelled: `cancel` was set or its deadline passed; pairs that still wait are never computed.
            ServerUnavailable: the scorer is closed, or was closed while pairs waited.
            BatchError: the engine failed on a batch with pairs of this request.
        """
        job = Job(pairs, cancel or CancelToken())
        if self._on_submit is not None:
            self._on_submit(job.cancel, job.num_tokens)
        self._do(job)
        return PairScores(job.outputs, job.num_tokens, *job.cost_ms())

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        """Returns the vectors of each framed text, in order; waits and raises like `score`."""
        job = self._do(Job(texts, cancel or CancelToken(), embeds=True))
        return TextVectors(job.outputs, job.num_tokens, *job.cost_ms())

    def _do(self, job: Job) -> Job:
        job.cancel.raise_if_cancelled()
        if job.pairs:
            self._submit(job)
            with job.cancel.calling(lambda: self._drop(job)):
                self._await(job)
            job.note_stages()
        job.raise_if_failed()
        return job

    def close(self, *, timeout_seconds: float | None = None) -> bool:
        """Rejects new pairs, fails waiting requests, waits for running batches; False if they did not end in time."""
        ends = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._changed:
            self._is_closed = True
            for job in self._jobs:
                job.fail(ServerUnavailable(_STOPPING))
            self._jobs.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(None if ends is None else max(0.0, ends - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def num_waiting_tokens(self) -> int:
        """How many tokens wait for a batch, running batches excluded."""
        with self._changed:
            return sum(job.waiting_tokens for job in self._jobs)

    def tokens_before(self, num_tokens: int) -> int:
        """Returns how many tokens of other calls the engines compute before a new call of `num_tokens` is done."""
        with self._changed:
            running = sum(tokens_of(stream.batch) for stream in self._streams)
            return running + sum(min(job.waiting_tokens, num_tokens) for job in self._jobs)

    @property
    def tokens_per_second(self) -> float:
        """The rate of recent batches on all streams together; 0 before the first."""
        return self._rate.per_second * len(self._streams)

    def _submit(self, job: Job) -> None:
        with self._changed:
            if self._restarts.is_given_up:
                raise ServerUnavailable(_BROKEN)
            if self._is_closed:
                raise ServerUnavailable(_STOPPING)
            self._jobs.append(job)
            self._changed.notify_all()

    def _await(self, job: Job) -> None:
        # A deadline that passes runs no callback, so wait with a timeout.
        if not job.done.wait(job.cancel.remaining_seconds):
            self._drop(job)

    def _drop(self, job: Job) -> None:
        """Removes a job from the queue and fails it; a running batch is not stopped."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
            job.fail(RequestCancelled(_LEFT))

    def _work_until_closed(self, stream: _Stream) -> None:
        """Runs batches until closed; an error outside of the engine fails the waiting calls, then the loop restarts."""
        while True:
            try:
                stream.engine.enter()
                self._work(stream)
                return
            except BaseException as error:  # if this thread ended, every call would wait for ever
                _log.error("the engine's thread failed with %s", type(error).__name__)
                _log.debug("the engine's thread failed", exc_info=error)
                self._report_state(is_working=False)
                if not self._restart(stream, error):
                    _log.error(
                        "the engine's thread failed too often; restart this server, it cannot answer requests any more"
                    )
                    return
                self._report_state(is_working=True)

    def _restart(self, stream: _Stream, error: BaseException) -> bool:
        with self._changed:
            can_go_on = self._restarts.note()
            for job in {*self._jobs, *jobs_of(stream.batch)}:
                job.fail(_cause_of(error))
            self._jobs.clear()
            stream.batch = []
        return can_go_on

    def _report_state(self, *, is_working: bool) -> None:
        if self._on_state is not None:
            self._on_state(is_working)

    def _work(self, stream: _Stream) -> None:
        while batch := self._next_batch(stream):
            self._run(stream.engine, batch)
            with self._changed:
                stream.batch = []

    def _next_batch(self, stream: _Stream) -> list[BatchEntry]:
        """Waits for pairs and returns a batch; an empty one means that the scorer is closed."""
        with self._changed:
            while True:
                self._drop_cancelled()
                if self._jobs:
                    stream.batch = self._fill_batch()
                    return stream.batch
                if self._is_closed:
                    return []
                self._changed.wait()

    def _fill_batch(self) -> list[BatchEntry]:
        """Fills one batch for the model of the first job; jobs of the other model come first in the next batch."""
        embeds = self._jobs[0].embeds
        alike = [job for job in self._jobs if job.embeds == embeds]
        others = [job for job in self._jobs if job.embeds != embeds]
        # Only every other batch: many small or urgent calls must not starve the others.
        self._serves_small = len(alike) > 1 and not self._serves_small
        room = min(
            room_for(alike, self._max_batch_tokens, serves_small=self._serves_small),
            share_tokens(
                sum(job.waiting_tokens for job in alike),
                max(job.next_tokens for job in alike),
                self._max_batch_tokens,
                sum(not stream.batch for stream in self._streams),
            ),
        )
        if self._serves_small:
            batch = fill_batch(deque(by_urgency(alike)), room, evenly=False)
            left: Iterable[Job] = [job for job in alike if job.waiting]
        else:
            left = deque(alike)
            batch = fill_batch(left, room)
        self._jobs = deque([*others, *left])
        return batch

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._jobs if job.cancel.is_cancelled]:
            self._jobs.remove(job)
            job.fail(RequestCancelled(_LEFT))

    def _run(self, engine: Engine, batch: list[BatchEntry]) -> None:
        """Runs a batch; if memory runs out, runs it in halves, or fails a request whose single pair is too large."""
        started = time.perf_counter()
        for job in jobs_of(batch):
            job.began = job.began or started
        try:
            run = engine.embed if batch[0][0].embeds else engine.run
            outputs: Sequence[Any] = run([job.pairs[index] for job, index in batch])
            results: list[tuple[BatchEntry, Any]] | None = list(zip(batch, outputs, strict=True))
            if reason := problem_in(outputs):
                raise ArithmeticError(reason)
        except Exception as error:  # any failure of the engine: other requests and the worker go on
            if not self._can_split(batch, error):
                return
            results = None
        if results is None:
            # Outside of the handler: inside, the error's traceback keeps the batch's tensors, and so the memory, alive.
            self._run_in_halves(engine, batch)
            return
        ended = time.perf_counter()
        self._note(batch, ended - started)
        with self._changed:  # a job may be in the batches of several streams
            for job in jobs_of(batch):
                job.spans.append((started, ended))
            for (job, index), output in results:
                job.put(index, output)

    def _can_split(self, batch: list[BatchEntry], error: Exception) -> bool:
        """Returns whether halves of a failed batch may succeed; otherwise fails its calls."""
        if not is_out_of_memory(error):
            self._fail(batch, error)
        elif len(batch) == 1:
            self._fail(batch, ServerBusy("the server has too little memory for this request; send a smaller one"))
        else:
            _log.warning("not enough memory for a batch of %d pairs; splitting it", len(batch))
            return True
        return False

    def _run_in_halves(self, engine: Engine, batch: list[BatchEntry]) -> None:
        half = len(batch) // 2
        for part in (batch[:half], batch[half:]):
            if wanted := [entry for entry in part if not entry[0].done.is_set()]:
                self._run(engine, wanted)

    def _note(self, batch: list[BatchEntry], seconds: float) -> None:
        num_tokens = tokens_of(batch)
        self._rate.note(num_tokens, seconds)
        if self._on_batch is not None:
            model = "embed" if batch[0][0].embeds else "score"
            self._on_batch(BatchRun(model, len(batch), num_tokens, self._max_batch_tokens, seconds))

    def _fail(self, batch: list[BatchEntry], error: Exception) -> None:
        with self._changed:
            for job in jobs_of(batch):
                if job in self._jobs:
                    self._jobs.remove(job)
                job.fail(error)


@dataclass(slots=True, eq=False)
class _Stream:
    """An engine, and the batch that it runs; empty while it waits."""

    engine: Engine
    batch: list[BatchEntry] = field(default_factory=list)


class Rate:
    """Tokens per second of work, weighted towards recent work; safe to share between threads."""

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0
        self._lock = threading.Lock()

    def note(self, num_tokens: int, seconds: float) -> None:
        """Counts one batch."""
        kept = math.exp2(-seconds / _HALF_LIFE_SECONDS)
        with self._lock:
            self._tokens = self._tokens * kept + num_tokens
            self._seconds = self._seconds * kept + seconds

    @property
    def per_second(self) -> float:
        """The rate; 0 before the first batch."""
        with self._lock:
            return self._tokens / self._seconds if self._seconds else 0.0


class Restarts:
    """Counts the restarts of the last minute; after more than five the engine is given up."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._moments: deque[float] = deque()
        self.is_given_up = False

    def note(self) -> bool:
        """Counts one restart; returns False if it was one too many."""
        now = self._now()
        self._moments.append(now)
        while now - self._moments[0] > _RESTART_WINDOW_SECONDS:
            self._moments.popleft()
        self.is_given_up = len(self._moments) > _MAX_RESTARTS
        return not self.is_given_up


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of Python, torch or oneDNN says that memory ran out, so that a smaller batch may succeed."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _MEMORY_TEXTS)


def problem_in(outputs: Sequence[Any]) -> str:
    """Describes what is wrong with a batch's logits; empty if nothing is (vectors are not checked)."""
    if any(isinstance(output, float) and not math.isfinite(output) for output in outputs):
        return "the model's logits are not all finite"
    return ""


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
        self.spans: list[tuple[float, float]] = []  # when its batches ran, by `time.perf_counter`
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
        infer_ms = covered_seconds(self.spans) * 1000
        waited_ms = (time.perf_counter() - self._submitted) * 1000 - infer_ms
        return max(0.0, waited_ms), infer_ms


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


def tokens_of(batch: Iterable[BatchEntry]) -> int:
    """Returns how many tokens the pairs of a batch have."""
    return sum(len(job.pairs[index]) for job, index in batch)


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


def _cause_of(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(type(error).__name__)
