"""Batches the pairs of concurrent requests fairly, within a token budget.

One worker thread owns the engine. It fills batches from the waiting requests by deficit round robin (Shreedhar and
Varghese, "Efficient Fair Queueing using Deficit Round Robin", SIGCOMM 1995), counting tokens instead of bytes: every
request is credited the same number of tokens per turn, so a request with 5,000 pairs delays one with five by about one
batch. Every other batch takes requests with a near deadline first, then those with the fewest tokens left, so that
small requests finish soon.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shortlist.router.engine.protocols import CancelToken, PairScores, TextVectors
from shortlist.schemas.errors import RequestCancelled, ServerBusy, ServerUnavailable
from shortlist.server.scheduling.engine_faults import Rate, Restarts, is_out_of_memory, problem_in
from shortlist.server.scheduling.fair_queue import BatchEntry, Job, by_urgency, fill_batch, jobs_of, room_for

if TYPE_CHECKING:
    from shortlist.router.engine.engine import Engine
    from shortlist.router.engine.tokenizer import Pair

__all__ = ["BatchRun", "BatchingScorer"]

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
    """Scores pairs and embeds texts through one engine for many threads at once; a `PairScorer`.

    The worker thread starts with the object and ends with `close()`. `on_submit` receives the number of tokens of each
    `score` call before it waits, and may raise to reject it. `on_batch` receives each batch that ran. `on_state`
    receives whether the engine works, each time that changes.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        on_submit: Callable[[CancelToken, int], None] | None = None,
        on_batch: Callable[[BatchRun], None] | None = None,
        on_state: Callable[[bool], None] | None = None,
    ) -> None:
        self._engine = engine
        self._on_submit, self._on_batch, self._on_state = on_submit, on_batch, on_state
        self._jobs: deque[Job] = deque()
        self._is_closed = False
        self._serves_small = False
        self._running: list[Job] = []
        self._running_tokens = 0
        self._rate = Rate()
        self._restarts = Restarts()
        self._changed = threading.Condition()
        self._worker = threading.Thread(target=self._work_until_closed, name="shortlist-batching", daemon=True)
        self._worker.start()

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
        """Rejects new pairs, fails waiting requests, waits for the running batch; False if it did not end in time."""
        with self._changed:
            self._is_closed = True
            for job in self._jobs:
                job.fail(ServerUnavailable(_STOPPING))
            self._jobs.clear()
            self._changed.notify()
        self._worker.join(timeout_seconds)
        return not self._worker.is_alive()

    @property
    def num_waiting_tokens(self) -> int:
        """How many tokens wait for a batch, the running batch excluded."""
        with self._changed:
            return sum(job.waiting_tokens for job in self._jobs)

    def tokens_before(self, num_tokens: int) -> int:
        """Returns how many tokens of other calls the engine computes before a new call of `num_tokens` is done."""
        with self._changed:
            return self._running_tokens + sum(min(job.waiting_tokens, num_tokens) for job in self._jobs)

    @property
    def tokens_per_second(self) -> float:
        """The rate of recent batches; 0 before the first."""
        return self._rate.per_second

    def _submit(self, job: Job) -> None:
        with self._changed:
            if self._restarts.is_given_up:
                raise ServerUnavailable(_BROKEN)
            if self._is_closed:
                raise ServerUnavailable(_STOPPING)
            self._jobs.append(job)
            self._changed.notify()

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

    def _work_until_closed(self) -> None:
        """Runs batches until closed; an error outside of the engine fails the waiting calls, then the loop restarts."""
        while True:
            try:
                self._work()
                return
            except BaseException as error:  # if this thread ended, every call would wait for ever
                _log.error("the engine's thread failed with %s", type(error).__name__)
                _log.debug("the engine's thread failed", exc_info=error)
                self._report_state(is_working=False)
                if not self._restart(error):
                    _log.error(
                        "the engine's thread failed too often; restart this server, it cannot answer requests any more"
                    )
                    return
                self._report_state(is_working=True)

    def _restart(self, error: BaseException) -> bool:
        with self._changed:
            can_go_on = self._restarts.note()
            for job in {*self._jobs, *self._running}:
                job.fail(_cause_of(error))
            self._jobs.clear()
            self._running, self._running_tokens = [], 0
        return can_go_on

    def _report_state(self, *, is_working: bool) -> None:
        if self._on_state is not None:
            self._on_state(is_working)

    def _work(self) -> None:
        while batch := self._next_batch():
            self._running = jobs_of(batch)
            self._run(batch)
            self._running, self._running_tokens = [], 0

    def _next_batch(self) -> list[BatchEntry]:
        """Waits for pairs and returns a batch; an empty one means that the scorer is closed."""
        with self._changed:
            while True:
                self._drop_cancelled()
                if self._jobs:
                    return self._fill_batch()
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
        room = room_for(alike, self._engine.max_batch_tokens, serves_small=self._serves_small)
        if self._serves_small:
            batch = fill_batch(deque(by_urgency(alike)), room, evenly=False)
            left: Iterable[Job] = [job for job in alike if job.waiting]
        else:
            left = deque(alike)
            batch = fill_batch(left, room)
        self._running_tokens = sum(len(job.pairs[index]) for job, index in batch)
        self._jobs = deque([*others, *left])
        return batch

    def _drop_cancelled(self) -> None:
        for job in [job for job in self._jobs if job.cancel.is_cancelled]:
            self._jobs.remove(job)
            job.fail(RequestCancelled(_LEFT))

    def _run(self, batch: list[BatchEntry]) -> None:
        """Runs a batch; if memory runs out, runs it in halves, or fails a request whose single pair is too large."""
        started = time.perf_counter()
        for job in jobs_of(batch):
            job.began = job.began or started
        try:
            run = self._engine.embed if batch[0][0].embeds else self._engine.run
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
            self._run_in_halves(batch)
            return
        seconds = time.perf_counter() - started
        self._note(batch, seconds)
        for job in jobs_of(batch):
            job.infer_ms += seconds * 1000
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

    def _run_in_halves(self, batch: list[BatchEntry]) -> None:
        half = len(batch) // 2
        for part in (batch[:half], batch[half:]):
            if wanted := [entry for entry in part if not entry[0].done.is_set()]:
                self._run(wanted)

    def _note(self, batch: list[BatchEntry], seconds: float) -> None:
        num_tokens = sum(len(job.pairs[index]) for job, index in batch)
        self._rate.note(num_tokens, seconds)
        if self._on_batch is not None:
            model = "embed" if batch[0][0].embeds else "score"
            self._on_batch(BatchRun(model, len(batch), num_tokens, self._engine.max_batch_tokens, seconds))

    def _fail(self, batch: list[BatchEntry], error: Exception) -> None:
        with self._changed:
            for job in jobs_of(batch):
                if job in self._jobs:
                    self._jobs.remove(job)
                job.fail(error)


def _cause_of(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(type(error).__name__)
