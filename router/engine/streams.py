"""Scores pairs through engines that share a model, each in a thread of its own: its stream.

On a CPU, a matrix product on two threads ends when the slower one does, and the other spins until then. If another
program has the core of one, both wait, many times in each batch. Engines of one thread each wait for nothing but the
next batch.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Any

from shortlist.router.engine.batches import share_out
from shortlist.router.engine.engine import Engine
from shortlist.router.engine.protocols import CancelToken, PairScores, TextVectors
from shortlist.router.engine.tokenizer import Pair
from shortlist.router.stages import covered_seconds

__all__ = ["DirectScorer"]

_Compute = Callable[[Engine, Sequence[Pair]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class _Done:
    """The results of the pairs at the indices `batch`, and when they were computed, by `time.perf_counter`."""

    batch: Sequence[int]
    results: Sequence[Any]
    began: float
    ended: float


class DirectScorer:
    """Runs pairs and texts through engines of its own, one stream each; a thread-safe `PairScorer`.

    The streams begin with the first call, in each process that forks anew, and end with the process.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)
        self._max_batch_tokens = min(engine.max_batch_tokens for engine in engines)
        self._lock = threading.Lock()
        self._stream = threading.local()  # holds the engine of a stream's thread
        self._streams: ThreadPoolExecutor | None = None
        self._process_id = 0

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        """Returns one logit per pair; calls from other threads share the streams, batch by batch.

        Raises:
            RequestCancelled: `cancel` was set before all pairs were scored; the logits so far are discarded.
            LimitExceeded: a pair is longer than the model's position table.
        """
        return PairScores(*self._run(lambda engine, batch: engine.run(batch), pairs, cancel))

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        """Returns the vectors of each text (`Tokenizer.make_single`); raises as `score`."""
        return TextVectors(*self._run(lambda engine, batch: engine.embed(batch), texts, cancel))

    def _run(
        self, compute: _Compute, pairs: Sequence[Pair], cancel: CancelToken | None
    ) -> tuple[list[Any], int, float, float]:
        """Returns the outputs in order, the number of tokens, and the milliseconds of waiting and of computing."""

        def run(batch: Sequence[int]) -> _Done:
            began = time.perf_counter()
            if cancel is not None:
                cancel.raise_if_cancelled()
            results = compute(self._stream.engine, [pairs[index] for index in batch])
            return _Done(batch, results, began, time.perf_counter())

        submitted = time.perf_counter()
        lengths = [len(pair) for pair in pairs]
        outputs: list[Any] = [None] * len(pairs)
        spans: list[tuple[float, float]] = []
        for done in self._in_turns(run, share_out(lengths, self._max_batch_tokens, len(self._engines))):
            spans.append((done.began, done.ended))
            for index, result in zip(done.batch, done.results, strict=True):
                outputs[index] = result
        computing = covered_seconds(spans)
        waiting = max(0.0, time.perf_counter() - submitted - computing) if spans else 0.0
        return outputs, sum(lengths), waiting * 1_000, computing * 1_000

    def _in_turns(self, run: Callable[[Sequence[int]], _Done], batches: Sequence[Sequence[int]]) -> Iterator[_Done]:
        """Runs batches, as many at a time as there are streams, so that other calls get their turn in between."""
        left = iter(batches)
        running: set[Future[_Done]] = set()
        try:
            while True:
                running |= {self._started().submit(run, one) for one in islice(left, len(self._engines) - len(running))}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        finally:
            for one in running:
                one.cancel()

    def _started(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._streams is None or self._process_id != os.getpid():
                engines: SimpleQueue[Engine] = SimpleQueue()
                for engine in self._engines:
                    engines.put(engine)
                self._streams = ThreadPoolExecutor(
                    len(self._engines), "shortlist-stream", initializer=self._begin, initargs=(engines,)
                )
                self._process_id = os.getpid()
            return self._streams

    def _begin(self, engines: SimpleQueue[Engine]) -> None:
        self._stream.engine = engines.get()
        self._stream.engine.enter()
