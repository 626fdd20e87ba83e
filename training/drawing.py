"""Draws the steps of a run ahead of the training, in processes of their own, where a card is faster than one drawer."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Generic, TypeVar

import torch

__all__ = ["Drawer"]

# Steps that wait for each worker to draw them.
_AHEAD = 3

T = TypeVar("T")

_draw: Callable[[int], Any] | None = None


class Drawer(Generic[T]):
    """Calls `draw` with the numbers of steps; what a step holds is its number's alone, whoever draws it.

    Workers are forked, so that they share the documents; this has to come before anything touches a card.
    """

    def __init__(self, draw: Callable[[int], T], workers: int) -> None:
        self._draw, self._workers = draw, workers
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not live on in a fork
            gc.freeze()  # a collection in a worker would copy the pages of all documents
            context = multiprocessing.get_context("fork")
            self._pool = ProcessPoolExecutor(workers, context, initializer=_keep, initargs=(draw,))
            self._pool.submit(os.getpid).result()  # forks all of them

    def steps(self, first: int) -> Iterator[T]:
        """Yields what the steps from `first` on hold, without an end."""
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
        """Ends the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _keep(draw: Callable[[int], Any]) -> None:
    global _draw  # a worker is forked with it: what is submitted would be pickled
    _draw = draw
    torch.set_num_threads(1)


def _draw_step(number: int) -> Any:
    assert _draw is not None
    return _draw(number)
