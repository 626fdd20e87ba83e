"""Admits or rejects a call on arrival, by the number of calls, the work ahead of it, its deadline and its caller.

Work is counted in tokens, and the engine's measured rate turns tokens into seconds. The fair queue (`batching.py`)
divides the engine equally, so a small call waits for at most its own number of tokens from each other call, not for all
of a large one. The estimate counts the same way.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.errors import DeadlineTooShort, RateLimited, ServerBusy
from shortlist.server.auth.authenticator import Caller

__all__ = ["MAX_RETRY_SECONDS", "Admission", "Backlog", "RetrySlots"]

_MIN_RETRY_SECONDS = 0.05
# How strongly one call corrects later estimates, and the bounds of the correction.
_LEARNING = 0.1
_MIN_CORRECTION, _MAX_CORRECTION = 0.1, 4.0
_TYPICAL_CALLS = 5
# While rejected callers hold retry slots, new calls may fill half of the queue, returning calls twice the queue.
_NEW_QUEUE_SHARE, _RETURNING_QUEUE_SHARE = 0.5, 2.0
# A submission of more tokens than this is one part of a large call (`router/ranking/windows.py`); more parts follow.
_PART_TOKENS = 100_000
# The longest retry time: our client waits up to thirty seconds in all, and so retries at least once.
MAX_RETRY_SECONDS = 25.0
# Callers return late: a slot lapses one second plus half of the wait after its time.
_GRACE_SECONDS, _GRACE_SHARE = 1.0, 0.5
# Accept retries up to 50 ms early; delays are sent in milliseconds.
_EARLY_SECONDS = 0.05
_RETRY_LEARNING = 0.05
_MAX_SLOTS = 10_000


class Backlog(Protocol):
    """The work that waits for the engine, and the engine's speed."""

    def tokens_before(self, num_tokens: int) -> int:
        """Returns how many tokens of other calls the engine computes before a new call of `num_tokens` is done."""
        ...

    @property
    def tokens_per_second(self) -> float:
        """The engine's recent rate; 0 while it is unknown."""
        ...


@dataclass(slots=True)
class _Tally:
    """The tokens of a call: the estimate, what of it is still to come, and what was counted so far."""

    estimated: int
    expected: int
    counted: int = 0


@dataclass(slots=True)
class _Bucket:
    """A caller's token bucket (one token a request) and the number of its running calls."""

    tokens: float
    filled: float
    burst: float = 0.0
    rate: float = 0.0
    num_calls: int = 0

    def fill(self, now: float, burst: float, rate: float) -> None:
        """Adds the tokens since the last time, up to `burst`; a clock that jumps back adds none."""
        self.burst, self.rate = burst, rate
        self.tokens = self._tokens_at(now)
        self.filled = now

    def is_full(self, now: float) -> bool:
        """Whether a new bucket would be the same."""
        return not self.rate or self._tokens_at(now) >= self.burst

    def _tokens_at(self, now: float) -> float:
        return min(self.burst, self.tokens + max(0.0, now - self.filled) * self.rate)


class Admission:
    """Admits calls, and keeps track of those admitted; safe to share between threads.

    Admits at most `max_concurrent` + `max_waiting` calls at once. Rejects a call if the work ahead would take longer
    than max(`max_queue_seconds`, five typical calls): if one call takes a second, a queue of one second would reject
    the second caller. A rejected caller gets a retry slot (`RetrySlots`). While any slot is held, new calls may fill
    only half of the queue, so that a caller that returns in time finds room.
    """

    def __init__(
        self,
        *,
        max_concurrent: int,
        max_waiting: int,
        max_queue_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_admitted = max_concurrent + max_waiting
        self._max_queue_seconds = max_queue_seconds
        self._now = now
        self._lock = threading.Lock()
        self._tallies: dict[CancelToken, _Tally] = {}
        self._correction = 1.0  # tokens counted per token estimated, recent average
        self._counted: set[CancelToken] = set()  # calls counted in their caller's bucket
        self._log_typical: float | None = None  # logarithm of a call's tokens, recent average
        self._num_admitted = 0
        self._buckets: dict[str, _Bucket] = {}
        self._retry_slots = RetrySlots(now)
        self.backlog: Backlog | None = None

    @property
    def num_admitted(self) -> int:
        """How many calls run or wait."""
        with self._lock:
            return self._num_admitted

    @property
    def expected_tokens(self) -> int:
        """The estimated tokens that admitted calls have yet to submit to the engine."""
        with self._lock:
            return sum(tally.expected for tally in self._tallies.values())

    @property
    def num_retry_slots(self) -> int:
        """How many rejected calls have a retry time that has not lapsed."""
        with self._lock:
            return len(self._retry_slots)

    def enter(
        self, cancel: CancelToken, caller: Caller, num_tokens: int, key: bytes = b"", *, needs_in_time: bool = True
    ) -> None:
        """Admits a call with an estimate of `num_tokens`; every admitted call must `leave`.

        The counts of earlier calls correct the estimate. A call that was rejected before is recognised by its `key`.

        Raises:
            RateLimited: the caller has used up its rate, or has too many calls running.
            DeadlineTooShort: the deadline passes before the work ahead is done; only if `needs_in_time`.
            ServerBusy: too many calls or too much work wait already.
        """
        with self._lock:
            num_tokens = round(num_tokens * self._correction)
            is_due = self._retry_slots.is_due(key)
            self._check_count(key, num_tokens, is_due=is_due)
            self._check_queue(cancel, key, num_tokens, is_due=is_due, needs_in_time=needs_in_time)
            if self._charge(caller):
                self._counted.add(cancel)
            self._retry_slots.claim(key)
            self._num_admitted += 1
            self._tallies[cancel] = _Tally(num_tokens, num_tokens)

    def leave(self, cancel: CancelToken, caller: Caller) -> None:
        """Removes a call that was admitted."""
        with self._lock:
            self._num_admitted -= 1
            self._learn(self._tallies.pop(cancel))
            # Limits may change while calls run, so a caller's bucket may not have counted this call.
            if cancel in self._counted:
                self._counted.remove(cancel)
                self._buckets[caller.name].num_calls -= 1

    def settle(self, cancel: CancelToken, num_tokens: int, *, needs_in_time: bool = True) -> None:
        """Replaces the estimate by the counted tokens that a call submits; a large call submits several parts.

        Raises:
            DeadlineTooShort: they cannot be computed before the deadline; only if `needs_in_time`.
        """
        with self._lock:
            if tally := self._tallies.get(cancel):
                tally.counted += num_tokens
                tally.expected = max(0, tally.expected - num_tokens) if num_tokens > _PART_TOKENS else 0
            if needs_in_time:
                self._check_time(cancel, self._seconds_before(num_tokens) + self._seconds(num_tokens))

    def _learn(self, tally: _Tally) -> None:
        """Corrects later estimates by how far this one was off."""
        if not tally.counted:
            return
        # Averages logarithms, so that one large call does not become the typical one.
        found = math.log(tally.counted)
        before = found if self._log_typical is None else self._log_typical
        self._log_typical = before + _LEARNING * (found - before)
        if tally.estimated:
            ratio = min(max(self._correction * tally.counted / tally.estimated, _MIN_CORRECTION), _MAX_CORRECTION)
            self._correction += _LEARNING * (ratio - self._correction)

    def _check_count(self, key: bytes, num_tokens: int, *, is_due: bool) -> None:
        if self._num_admitted >= self._max_admitted:
            room = self._seconds_before(1) / max(1, self._num_admitted)
            raise ServerBusy(
                f"{self._num_admitted} requests are already running or waiting; try again later",
                retry_seconds=self._retry_time(key, room, num_tokens, is_due=is_due),
            )

    def _check_queue(
        self, cancel: CancelToken, key: bytes, num_tokens: int, *, is_due: bool, needs_in_time: bool
    ) -> None:
        waiting = self._seconds_before(num_tokens)
        typical = 0 if self._log_typical is None else round(math.exp(self._log_typical))
        most = max(self._max_queue_seconds, _TYPICAL_CALLS * self._seconds(typical))
        if waiting > most * (_RETURNING_QUEUE_SHARE if is_due else _NEW_QUEUE_SHARE if len(self._retry_slots) else 1.0):
            raise ServerBusy(
                f"the work ahead takes {waiting:.1f} s; try again later",
                retry_seconds=self._retry_time(key, waiting - most, num_tokens, is_due=is_due),
            )
        if needs_in_time and waiting:
            self._check_time(cancel, waiting)

    def _retry_time(self, key: bytes, room_seconds: float, num_tokens: int, *, is_due: bool) -> float:
        """Returns in how many seconds a rejected call should retry; a call whose time has come keeps its slot."""
        room_seconds = max(0.0, room_seconds)
        if is_due:
            return _delay(min(room_seconds, MAX_RETRY_SECONDS))
        return _delay(self._retry_slots.assign(key, room_seconds, self._seconds(num_tokens)))

    def _check_time(self, cancel: CancelToken, needed: float) -> None:
        left = cancel.remaining_seconds
        if left is not None and needed > left:
            raise DeadlineTooShort(
                f"the work ahead and this request take {needed:.2f} s, but its deadline leaves {left:.2f} s; "
                "allow more time, or use another server",
                retry_seconds=_delay(needed - left),
            )

    def _seconds_before(self, num_tokens: int) -> float:
        if self.backlog is None:
            return 0.0
        expected = sum(min(tally.expected, num_tokens) for tally in self._tallies.values())
        return self._seconds(expected + self.backlog.tokens_before(num_tokens))

    def _seconds(self, num_tokens: int) -> float:
        rate = self.backlog.tokens_per_second if self.backlog else 0.0
        return num_tokens / rate if rate else 0.0

    def _charge(self, caller: Caller) -> bool:
        """Charges a call to its caller's bucket; returns False if the caller has no limits."""
        if not caller.rate and not caller.max_calls:
            return False
        now = self._now()
        burst = caller.burst or max(1.0, 2 * caller.rate)
        bucket = self._buckets.get(caller.name)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[caller.name] = _Bucket(burst, now)
        bucket.fill(now, burst, caller.rate)
        if caller.max_calls and bucket.num_calls >= caller.max_calls:
            raise RateLimited(
                f"{caller.name} has {bucket.num_calls} requests running and may have {caller.max_calls}; "
                "wait until one of them ends",
                retry_seconds=_delay(self._seconds_before(1)),
            )
        if caller.rate:
            if bucket.tokens < 1:
                raise RateLimited(
                    f"{caller.name} has used up its rate of {caller.rate:g} requests per second",
                    retry_seconds=_delay((1 - bucket.tokens) / caller.rate),
                )
            bucket.tokens -= 1
        bucket.num_calls += 1
        return True

    def _forget(self, now: float) -> None:
        """Drops the buckets that are full again and have no running calls."""
        idle = [name for name, bucket in self._buckets.items() if not bucket.num_calls and bucket.is_full(now)]
        for name in idle:
            del self._buckets[name]


def _delay(seconds: float) -> float:
    return max(_MIN_RETRY_SECONDS, seconds)


@dataclass(slots=True)
class _Slot:
    key: bytes
    due: float
    lapses: float
    is_open: bool = True


class RetrySlots:
    """Gives rejected callers a retry time each, so that new callers cannot overtake them; for one thread at a time.

    Each rejected call gets its own time, after the work of the calls rejected before it. If it returns then, it is
    served before new calls. The caller only has to send the same request again: a digest of caller and request
    identifies it. The share of callers that do return is measured, so that retry times stay short if most do not.
    """

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
        self._returning += _RETRY_LEARNING * (returned - self._returning)
