"""Remembers whom a full server asked to come again, and when, so that nobody is passed over time and again.

Each refused call is quoted a time of its own, after the work of those that were refused before it; who comes again then
has its turn before newcomers. Callers need do nothing for it but come again: a call is known by a digest of who asks
what. How many do come again is learned, so that quotes stay short where most of them do not.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["MOST_SECONDS", "RetrySlots"]

# No quote is longer, so that our client, whose patience is thirty seconds, comes again at least once.
MOST_SECONDS = 25.0
# A place is kept for so long after its time, and for this share of the wait, since callers come late.
_GRACE_SECONDS, _GRACE_SHARE = 1.0, 0.5
# Who comes so much early has its turn all the same: times travel in milliseconds.
_EARLY_SECONDS = 0.05
_LEARNING = 0.05
_MOST_PLACES = 10_000


@dataclass(slots=True)
class _Place:
    key: bytes
    due: float
    lapses: float
    is_open: bool = True


class RetrySlots:
    """The places of those asked to come again, by time; for one thread at a time."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._places: list[tuple[float, int, _Place]] = []  # a heap, by when they lapse
        self._numbers = itertools.count()
        self._by_key: dict[bytes, deque[_Place]] = {}
        self._num_open = 0
        self._last_due = self._last_work = 0.0  # of the place given last
        self._returning = 1.0  # of those asked to come again, the share that did, of late

    def __len__(self) -> int:
        """How many have a place that has not lapsed."""
        self._drop_lapsed()
        return self._num_open

    def has_turn(self, key: bytes) -> bool:
        """Whether a call with this key was asked to come again by now."""
        self._drop_lapsed()
        places = self._by_key.get(key)
        return places is not None and places[0].due - _EARLY_SECONDS <= self._now()

    def take(self, key: bytes) -> None:
        """Takes the first place with this key, where there is one, since its call was admitted."""
        if places := self._by_key.get(key):
            self._close(places[0])
            self._learn(1.0)

    def put_off(self, key: bytes, room_seconds: float, work_seconds: float) -> float:
        """Gives a refused call a place, and returns in how many seconds it should come again.

        There will be room in `room_seconds` for one call, this one takes `work_seconds` of the engine's time. Where
        there will be none in all the time that a quote may say, it gets no place: newcomers would be kept out for its
        sake.
        """
        if room_seconds > MOST_SECONDS:
            return MOST_SECONDS
        now = self._now()
        # Calls have equal shares of the engine, so a large one holds a small one up for as long as that one takes.
        turn = self._last_due + self._returning * min(self._last_work, work_seconds)
        due = max(now + room_seconds, min(turn, now + MOST_SECONDS))
        if self._num_open < _MOST_PLACES:
            place = _Place(key, due, lapses=due + _GRACE_SECONDS + _GRACE_SHARE * (due - now))
            heapq.heappush(self._places, (place.lapses, next(self._numbers), place))
            self._by_key.setdefault(key, deque()).append(place)
            self._num_open += 1
            self._last_due, self._last_work = due, work_seconds
        return due - now

    def _drop_lapsed(self) -> None:
        now = self._now()
        while self._places and (not self._places[0][2].is_open or self._places[0][0] < now):
            _, _, place = heapq.heappop(self._places)
            if place.is_open:
                self._close(place)
                self._learn(0.0)

    def _close(self, place: _Place) -> None:
        place.is_open = False
        self._num_open -= 1
        if not self._num_open:
            self._last_due = self._last_work = 0.0
        places = self._by_key[place.key]
        places.remove(place)
        if not places:
            del self._by_key[place.key]

    def _learn(self, came: float) -> None:
        self._returning += _LEARNING * (came - self._returning)
