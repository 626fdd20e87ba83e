"""Gives rejected callers of a full server a retry time each, so that new callers cannot overtake them again and again.

Each rejected call gets its own time, after the work of the calls rejected before it. If it returns then, it is served
before new calls. The caller only has to send the same request again: a digest of caller and request identifies it. The
share of callers that do return is measured, so that retry times stay short if most of them do not.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["MAX_RETRY_SECONDS", "RetrySlots"]

# The longest retry time: our client waits up to thirty seconds in all, and so retries at least once.
MAX_RETRY_SECONDS = 25.0
# Callers return late: a slot lapses one second plus half of the wait after its time.
_GRACE_SECONDS, _GRACE_SHARE = 1.0, 0.5
# Accept retries up to 50 ms early; delays are sent in milliseconds.
_EARLY_SECONDS = 0.05
_LEARNING = 0.05
_MAX_SLOTS = 10_000


@dataclass(slots=True)
class _Slot:
    key: bytes
    due: float
    lapses: float
    is_open: bool = True


class RetrySlots:
    """The retry slots in use, by time; for one thread at a time."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._slots: list[tuple[float, int, _Slot]] = []  # a heap, ordered by when slots lapse
        self._numbers = itertools.count()
        self._by_key: dict[bytes, deque[_Slot]] = {}
        self._num_open = 0
        self._last_due = self._last_work = 0.0  # of the slot assigned last
        self._returning = 1.0  # recent share of rejected calls that returned

    def __len__(self) -> int:
        """How many slots are in use and have not lapsed."""
        self._drop_lapsed()
        return self._num_open

    def is_due(self, key: bytes) -> bool:
        """Whether the retry time of a call with this key has come."""
        self._drop_lapsed()
        slots = self._by_key.get(key)
        return slots is not None and slots[0].due - _EARLY_SECONDS <= self._now()

    def claim(self, key: bytes) -> None:
        """Frees the first slot with this key, if there is one, because its call was admitted."""
        if slots := self._by_key.get(key):
            self._close(slots[0])
            self._learn(1.0)

    def assign(self, key: bytes, room_seconds: float, work_seconds: float) -> float:
        """Assigns a slot to a rejected call, and returns in how many seconds it should retry.

        The queue has room for one more call in `room_seconds`; this call takes `work_seconds` of the engine's time. If
        there is no room within the longest retry time, the call gets no slot, because a slot keeps new calls out.
        """
        if room_seconds > MAX_RETRY_SECONDS:
            return MAX_RETRY_SECONDS
        now = self._now()
        # The engine is divided equally, so a large call delays a smaller one only by the smaller one's own time.
        turn = self._last_due + self._returning * min(self._last_work, work_seconds)
        due = max(now + room_seconds, min(turn, now + MAX_RETRY_SECONDS))
        if self._num_open < _MAX_SLOTS:
            slot = _Slot(key, due, lapses=due + _GRACE_SECONDS + _GRACE_SHARE * (due - now))
            heapq.heappush(self._slots, (slot.lapses, next(self._numbers), slot))
            self._by_key.setdefault(key, deque()).append(slot)
            self._num_open += 1
            self._last_due, self._last_work = due, work_seconds
        return due - now

    def _drop_lapsed(self) -> None:
        now = self._now()
        while self._slots and (not self._slots[0][2].is_open or self._slots[0][0] < now):
            _, _, slot = heapq.heappop(self._slots)
            if slot.is_open:
                self._close(slot)
                self._learn(0.0)

    def _close(self, slot: _Slot) -> None:
        slot.is_open = False
        self._num_open -= 1
        if not self._num_open:
            self._last_due = self._last_work = 0.0
        slots = self._by_key[slot.key]
        slots.remove(slot)
        if not slots:
            del self._by_key[slot.key]

    def _learn(self, returned: float) -> None:
        self._returning += _LEARNING * (returned - self._returning)
