"""Decides at once whether a call may wait: by calls, by the tokens that wait before it, by its deadline, by its caller.

Time is reckoned in tokens: the engine's measured rate turns what waits into seconds. Batches are dealt out in equal
shares (`batching.py`), so a call of few tokens waits for the like share of each other call, and not for all of a large
one; the reckoning is the same.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.errors import DeadlineTooShort, RateLimited, ServerBusy
from shortlist.server.call import Call, Caller
from shortlist.server.scheduling.retry_slots import MOST_SECONDS, RetrySlots

__all__ = ["Admission", "Backlog"]

# A token bucket left alone for longer than this is full again, whatever its rate; it need not be remembered.
_FORGET_SECONDS = 600.0
_LEAST_RETRY_SECONDS = 0.05
# How much one call says of how wrong guesses are, and within what bounds.
_LEARNING = 0.1
_LEAST_PER_GUESS, _MOST_PER_GUESS = 0.1, 4.0
_TYPICAL_CALLS = 5
# The share of the queue that newcomers may fill while others are asked to come again, and how far these may exceed it.
_OF_NEWCOMERS, _OF_RETURNING = 0.5, 2.0
# More tokens than this at once are a part of a call, of which more follow (`router/ranking/windows.py` makes them).
_PART_TOKENS = 100_000


class Backlog(Protocol):
    """What tells how much waits for the engine, and how fast it works."""

    def tokens_before(self, num_tokens: int) -> int:
        """Returns how many tokens are computed before a new call of `num_tokens` has all of its own."""
        ...

    @property
    def tokens_per_second(self) -> float:
        """The engine's rate of late; 0 where it is not known yet."""
        ...


@dataclass(slots=True)
class _Tally:
    """What a call is thought to bring, what of it is still to come, and what was counted, in tokens."""

    guessed: int
    expected: int
    counted: int = 0


@dataclass(slots=True)
class _Bucket:
    """What a caller has saved up, and has under way."""

    tokens: float
    filled: float
    num_calls: int = 0


class Admission:
    """Admits calls, and knows those admitted; safe to share between threads.

    At most `max_concurrent` + `max_waiting` calls are there at once, and none is admitted behind more work than takes
    `max_queue_seconds`, or than five calls of late bring, whichever is more: where a call takes a second, a queue of
    one second would refuse the second caller. Who is refused gets a place in a line (`RetrySlots`): while anybody has
    one, newcomers fill half of the queue at most, and who comes again in time finds room.
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
        self._per_guess = 1.0  # tokens counted for each that was guessed, of late
        self._counted: set[CancelToken] = set()  # calls that stand in their caller's bucket
        self._log_typical: float | None = None  # the logarithm of the tokens that a call brings, of late
        self._num_admitted = 0
        self._buckets: dict[str, _Bucket] = {}
        self._retry_slots = RetrySlots(now)
        self.backlog: Backlog | None = None

    @property
    def num_admitted(self) -> int:
        """How many calls are worked on or wait."""
        with self._lock:
            return self._num_admitted

    @property
    def expected_tokens(self) -> int:
        """How many tokens the calls admitted are thought to bring, those handed to the engine excluded."""
        with self._lock:
            return sum(tally.expected for tally in self._tallies.values())

    @property
    def num_put_off(self) -> int:
        """How many refused calls have been told when to come again, and may still come."""
        with self._lock:
            return len(self._retry_slots)

    def enter(self, call: Call, num_tokens: int, key: bytes = b"", *, needs_in_time: bool = True) -> None:
        """Admits a call that is guessed to bring `num_tokens`; `leave` must follow.

        What was counted of earlier calls corrects the guess. A call that was refused is known again by its `key`.

        Raises:
            RateLimited: its caller has used up what it may send.
            DeadlineTooShort: its time would be up first; not raised unless `needs_in_time`.
            ServerBusy: too much waits already.
        """
        with self._lock:
            num_tokens = round(num_tokens * self._per_guess)
            has_turn = self._retry_slots.has_turn(key)
            self._check_count(key, num_tokens, has_turn=has_turn)
            self._check_queue(call.cancel, key, num_tokens, has_turn=has_turn, needs_in_time=needs_in_time)
            if self._take(call.caller):
                self._counted.add(call.cancel)
            self._retry_slots.take(key)
            self._num_admitted += 1
            self._tallies[call.cancel] = _Tally(num_tokens, num_tokens)

    def leave(self, call: Call) -> None:
        """Frees the place of a call that was admitted."""
        with self._lock:
            self._num_admitted -= 1
            self._learn(self._tallies.pop(call.cancel))
            # Not every call of a caller with a bucket is in it: limits may come and go while calls run.
            if call.cancel in self._counted:
                self._counted.remove(call.cancel)
                self._buckets[call.caller.name].num_calls -= 1

    def settle(self, cancel: CancelToken, num_tokens: int, *, needs_in_time: bool = True) -> None:
        """Takes note that a call's tokens, now counted, go to the engine; a large call comes in several parts.

        Raises:
            DeadlineTooShort: they cannot be computed in its time; not raised unless `needs_in_time`.
        """
        with self._lock:
            if tally := self._tallies.get(cancel):
                tally.counted += num_tokens
                tally.expected = max(0, tally.expected - num_tokens) if num_tokens > _PART_TOKENS else 0
            if needs_in_time:
                self._check_time(cancel, self._seconds_before(num_tokens) + self._seconds(num_tokens))

    def _learn(self, tally: _Tally) -> None:
        """Corrects later guesses by what came of this one."""
        if not tally.counted:
            return
        # By its logarithm, so that one large call does not pass for what is usual.
        found = math.log(tally.counted)
        before = found if self._log_typical is None else self._log_typical
        self._log_typical = before + _LEARNING * (found - before)
        if tally.guessed:
            share = min(max(self._per_guess * tally.counted / tally.guessed, _LEAST_PER_GUESS), _MOST_PER_GUESS)
            self._per_guess += _LEARNING * (share - self._per_guess)

    def _check_count(self, key: bytes, num_tokens: int, *, has_turn: bool) -> None:
        if self._num_admitted >= self._max_admitted:
            room = self._seconds_before(1) / max(1, self._num_admitted)
            raise ServerBusy(
                f"{self._num_admitted} requests run or wait already; try again in a moment",
                retry_seconds=self._put_off(key, room, num_tokens, has_turn=has_turn),
            )

    def _check_queue(
        self, cancel: CancelToken, key: bytes, num_tokens: int, *, has_turn: bool, needs_in_time: bool
    ) -> None:
        waiting = self._seconds_before(num_tokens)
        usual = 0 if self._log_typical is None else round(math.exp(self._log_typical))
        most = max(self._max_queue_seconds, _TYPICAL_CALLS * self._seconds(usual))
        if waiting > most * (_OF_RETURNING if has_turn else _OF_NEWCOMERS if len(self._retry_slots) else 1.0):
            raise ServerBusy(
                f"the work that waits takes {waiting:.1f} s already; try again in a moment",
                retry_seconds=self._put_off(key, waiting - most, num_tokens, has_turn=has_turn),
            )
        if needs_in_time and waiting:
            self._check_time(cancel, waiting)

    def _put_off(self, key: bytes, room_seconds: float, num_tokens: int, *, has_turn: bool) -> float:
        """Returns when a refused call should come again; one that has its turn already keeps its place."""
        room_seconds = max(0.0, room_seconds)
        if has_turn:
            return self._retry(min(room_seconds, MOST_SECONDS))
        return self._retry(self._retry_slots.put_off(key, room_seconds, self._seconds(num_tokens)))

    def _check_time(self, cancel: CancelToken, needed: float) -> None:
        left = cancel.remaining_seconds
        if left is not None and needed > left:
            raise DeadlineTooShort(
                f"the work before this request and its own take {needed:.2f} s, its deadline leaves {left:.2f}; "
                "give it more time, or send it to another server",
                retry_seconds=self._retry(needed - left),
            )

    def _seconds_before(self, num_tokens: int) -> float:
        if self.backlog is None:
            return 0.0
        expected = sum(min(tally.expected, num_tokens) for tally in self._tallies.values())
        return self._seconds(expected + self.backlog.tokens_before(num_tokens))

    def _seconds(self, num_tokens: int) -> float:
        rate = self.backlog.tokens_per_second if self.backlog else 0.0
        return num_tokens / rate if rate else 0.0

    def _retry(self, seconds: float) -> float:
        return max(_LEAST_RETRY_SECONDS, seconds)

    def _take(self, caller: Caller) -> bool:
        """Takes a call out of what its caller may send; False where nothing limits it."""
        if not caller.rate and not caller.max_calls:
            return False
        now = self._now()
        burst = caller.burst or max(1.0, 2 * caller.rate)
        bucket = self._buckets.get(caller.name)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[caller.name] = _Bucket(burst, now)
        bucket.tokens = min(burst, bucket.tokens + max(0.0, now - bucket.filled) * caller.rate)
        bucket.filled = now
        if caller.max_calls and bucket.num_calls >= caller.max_calls:
            raise RateLimited(
                f"{caller.name} has {bucket.num_calls} requests under way, and may have {caller.max_calls}; "
                "wait for one of them",
                retry_seconds=self._retry(self._seconds_before(1)),
            )
        if caller.rate:
            if bucket.tokens < 1:
                raise RateLimited(
                    f"{caller.name} may send {caller.rate:g} requests a second, and has sent them",
                    retry_seconds=self._retry((1 - bucket.tokens) / caller.rate),
                )
            bucket.tokens -= 1
        bucket.num_calls += 1
        return True

    def _forget(self, now: float) -> None:
        """Drops the buckets of callers that have been silent; there are as many as callers within ten minutes."""
        for name in [
            name
            for name, bucket in self._buckets.items()
            if not bucket.num_calls and now - bucket.filled > _FORGET_SECONDS
        ]:
            del self._buckets[name]
