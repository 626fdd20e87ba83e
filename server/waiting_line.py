"""Remembers whom a full server asked to come again, and when, so that nobody is passed over time and again.

Each refused call is quoted a time of its own, after the work of those that were refused before it; who comes again then
has its turn before newcomers. Callers need do nothing for it but come again: a call is known by a digest of who asks
what. How many do come again is learned, so that quotes stay short where most of them do not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["WaitingLine"]

# No quote is longer, so that our client, whose patience is thirty seconds, comes again at least once.
_MOST_SECONDS = 25.0
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


class WaitingLine:
    """The places of those asked to come again, by time; for one thread at a time."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._places: deque[_Place] = deque()  # by the time they were given
        self._by_key: dict[bytes, deque[_Place]] = {}
        self._num_open = 0
        self._next_due = 0.0  # after the work of all that have a place
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

        There will be room in `room_seconds` for one call, this one takes `work_seconds` of the engine's time.
        """
        now = self._now()
        due = max(now + room_seconds, min(self._next_due, now + _MOST_SECONDS))
        if self._num_open < _MOST_PLACES:
            lapses = due + _GRACE_SECONDS + _GRACE_SHARE * (due - now)
            place = _Place(key, due, lapses)
            self._places.append(place)
            self._by_key.setdefault(key, deque()).append(place)
            self._num_open += 1
            self._next_due = due + self._returning * work_seconds
        return due - now

    def _drop_lapsed(self) -> None:
        now = self._now()
        while self._places and (not self._places[0].is_open or self._places[0].lapses < now):
            place = self._places.popleft()
            if place.is_open:
                self._close(place)
                self._learn(0.0)

    def _close(self, place: _Place) -> None:
        place.is_open = False
        self._num_open -= 1
        if not self._num_open:
            self._next_due = 0.0
        places = self._by_key[place.key]
        places.remove(place)
        if not places:
            del self._by_key[place.key]

    def _learn(self, came: float) -> None:
        self._returning += _LEARNING * (came - self._returning)
