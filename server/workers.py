"""Runs blocking work on a bounded number of threads, and turns away what would wait too long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from shortlist.schemas.errors import ServerBusy

__all__ = ["Workers"]

T = TypeVar("T")


class Workers:
    """A thread pool with a bounded queue: `max_concurrent` run, `max_waiting` more may wait for a thread."""

    def __init__(self, *, max_concurrent: int, max_waiting: int) -> None:
        self._max_admitted = max_concurrent + max_waiting
        self._num_admitted = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_concurrent, thread_name_prefix="shortlist-request")

    async def run(self, work: Callable[[], T]) -> T:
        """Runs `work` on a thread; cancelling takes it back if it has not begun, and else leaves it to end by itself.

        Raises:
            ServerBusy: as many as are allowed wait already.
        """
        return await asyncio.wrap_future(self._submit(work))

    @property
    def num_admitted(self) -> int:
        """How many run or wait at the moment."""
        with self._lock:
            return self._num_admitted

    def close(self) -> None:
        """Takes nothing more and forgets what waits; what runs is left to end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._num_admitted >= self._max_admitted:
                raise ServerBusy(f"{self._num_admitted} requests run or wait already; try again in a moment")
            self._num_admitted += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._leave)
        return future

    def _leave(self, _: Future[T]) -> None:
        with self._lock:
            self._num_admitted -= 1
