"""Makes the data of training steps ahead of time in other processes, for GPUs that are faster than one process."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Generic, TypeVar

import torch

__all__ = ["Prefetcher"]

# Steps that are queued for each worker.
_AHEAD = 3

T = TypeVar("T")

_draw: Callable[[int], Any] | None = None


class Prefetcher(Generic[T]):
    """Calls `draw` with the number of each step; a step's data depends only on its number, whichever worker draws it.

    Workers are forked, so that they share the documents' memory. Create this object before anything uses a GPU.
    """

    def __init__(self, draw: Callable[[int], T], workers: int) -> None:
        self._draw, self._workers = draw, workers
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not exist in a forked process
            gc.freeze()  # a garbage collection in a worker would copy the memory pages of all documents
            context = multiprocessing.get_context("fork")
            self._pool = ProcessPoolExecutor(workers, context, initializer=_keep, initargs=(draw,))
            self._pool.submit(os.getpid).result()  # forks all workers

    def steps(self, first: int) -> Iterator[T]:
        """Yields the data of the steps from `first` on, endlessly."""
        if self._pool is None:
            while True:
                yield self._draw(first)
                first += 1
        waiting: deque[Future[T]] = deque()
        while True:
            while len(waiting) < _AHEAD * self._workers:
                waiting.append(self._pool.submit(_draw_step, first))
                first += 1
            yield waiting.popleft().result()

    def close(self) -> None:
        """Stops the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _keep(draw: Callable[[int], Any]) -> None:
    global _draw  # workers inherit it by the fork; an argument of `submit` would be pickled
    _draw = draw
    torch.set_num_threads(1)


def _draw_step(number: int) -> Any:
    assert _draw is not None
    return _draw(number)
