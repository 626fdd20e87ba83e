"""Runs blocking work on a bounded number of threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Workers"]

T = TypeVar("T")


class Workers:
    """A pool of `max_concurrent` threads; further work waits. `Admission` limits how much may wait."""

    def __init__(self, *, max_concurrent: int) -> None:
        self._pool = ThreadPoolExecutor(max_concurrent, thread_name_prefix="shortlist-request")

    async def run(self, work: Callable[[], T], *, on_end: Callable[[], None]) -> T:
        """Runs `work` on a thread, with the caller's context variables.

        Cancelling removes work that has not begun; work that has begun runs to its end. `on_end` is called once it has
        ended or was removed.
        """
        try:
            future = self._pool.submit(contextvars.copy_context().run, work)
        except BaseException:
            on_end()
            raise
        future.add_done_callback(lambda _: on_end())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Rejects new work and drops work that waits; running work runs to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
