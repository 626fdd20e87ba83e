"""Recognises failures of the engine, counts its restarts, and measures its speed."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Rate", "Restarts", "is_out_of_memory", "problem_in"]

# After so many seconds of work a measurement counts half: old rates mislead, and single batches vary.
_HALF_LIFE_SECONDS = 5.0
_MAX_RESTARTS = 5
_RESTART_WINDOW_SECONDS = 60.0
_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "cannot allocate memory", "could not create a memory")


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
