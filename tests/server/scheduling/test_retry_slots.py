from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.errors import ServerBusy
from shortlist.server.auth.authenticator import ANONYMOUS
from shortlist.server.scheduling.admission import Admission, RetrySlots


@dataclass
class FakeClock:
    moment: float = 0.0

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def slots(clock: FakeClock) -> RetrySlots:
    return RetrySlots(clock)


def test_each_retry_time_follows_the_work_of_earlier_rejected_calls(slots: RetrySlots) -> None:
    assert [slots.assign(key, 1.0, 0.5) for key in (b"a", b"b", b"c")] == pytest.approx([1.0, 1.5, 2.0])


def test_no_retry_time_exceeds_the_patience_of_a_client(slots: RetrySlots) -> None:
    assert max(slots.assign(b"%d" % number, 1.0, 2.0) for number in range(20)) == pytest.approx(25.0)


def test_a_slot_is_due_at_its_time_and_lapses_some_time_later(slots: RetrySlots, clock: FakeClock) -> None:
    slots.assign(b"a", 2.0, 1.0)
    due = []
    for clock.moment in (0.0, 1.9, 2.0, 3.9, 4.1):
        due.append(slots.is_due(b"a"))
    assert (due, len(slots)) == ([False, False, True, True, False], 0)


def test_a_slot_is_due_only_for_its_own_key(slots: RetrySlots, clock: FakeClock) -> None:
    slots.assign(b"a", 0.0, 1.0)
    clock.moment = 0.5
    assert (slots.is_due(b"a"), slots.is_due(b"b")) == (True, False)


def test_a_slot_is_claimed_once(slots: RetrySlots, clock: FakeClock) -> None:
    slots.assign(b"a", 0.0, 1.0)
    slots.claim(b"a")
    slots.claim(b"a")
    assert (slots.is_due(b"a"), len(slots)) == (False, 0)


def test_two_calls_with_one_key_get_two_slots(slots: RetrySlots, clock: FakeClock) -> None:
    first, second = slots.assign(b"a", 0.0, 1.0), slots.assign(b"a", 0.0, 1.0)
    slots.claim(b"a")
    assert (first, second, slots.is_due(b"a")) == (0.0, 1.0, False)
    clock.moment = 1.0
    assert slots.is_due(b"a")


def test_retry_times_stay_short_if_nobody_returns(slots: RetrySlots, clock: FakeClock) -> None:
    for number in range(200):
        slots.assign(b"%d" % number, 0.2, 0.2)
        clock.moment += 0.5
    clock.moment += 20.0
    assert len(slots) == 0
    assert [slots.assign(key, 0.2, 5.0) for key in (b"a", b"b")] == pytest.approx([0.2, 0.2], abs=0.1)


def test_a_call_beyond_the_longest_retry_time_gets_no_slot(slots: RetrySlots) -> None:
    assert slots.assign(b"huge", 873.0, 800.0) == 25.0
    assert len(slots) == 0
    assert slots.assign(b"small", 0.2, 0.2) == pytest.approx(0.2)


def test_a_large_call_delays_a_small_one_only_by_the_small_ones_own_time(slots: RetrySlots) -> None:
    delays = [slots.assign(key, 1.0, work) for key, work in ((b"large", 400.0), (b"small", 0.5), (b"next", 0.5))]
    assert delays == pytest.approx([1.0, 1.5, 2.0])


def test_slots_lapse_independently_of_each_other(slots: RetrySlots, clock: FakeClock) -> None:
    slots.assign(b"long ago", 24.0, 0.0)
    clock.moment = 23.0
    slots.assign(b"just now", 1.0, 0.0)
    clock.moment = 26.0
    assert len(slots) == 1
    assert slots.is_due(b"long ago")


def test_the_number_of_slots_is_bounded(slots: RetrySlots) -> None:
    for number in range(10_500):
        slots.assign(b"%d" % number, 1.0, 0.0)
    assert len(slots) == 10_000


@dataclass
class Engine:
    """Computes one call after another, at 1,000 tokens a second."""

    clock: FakeClock
    tokens_per_second: float = 1000.0
    free_at: float = 0.0

    def tokens_before(self, num_tokens: int) -> int:
        return round(max(0.0, self.free_at - self.clock.moment) * self.tokens_per_second)

    def work(self, num_tokens: int) -> float:
        """Queues a call, and returns when it will be done."""
        self.free_at = max(self.free_at, self.clock.moment) + num_tokens / self.tokens_per_second
        return self.free_at


@dataclass
class Crowd:
    """Clients that each send half-second calls one after another, and retry at the time they were given."""

    clock: FakeClock
    admission: Admission
    engine: Engine
    waits: list[float] = field(default_factory=list)
    num_rejected: int = 0

    def run(self, num_clients: int, seconds: float) -> None:
        rng = random.Random(0)
        events: list[tuple[float, int, float, CancelToken | None]] = [
            (0.0, client, 0.0, None) for client in range(num_clients)
        ]
        while events and (event := heapq.heappop(events))[0] < seconds:
            self.clock.moment, client, since, running = event
            if running:
                self.admission.leave(running, ANONYMOUS)
                self.waits.append(self.clock.moment - since)
                since = self.clock.moment
            call = CancelToken()
            try:
                self.admission.enter(call, ANONYMOUS, 500, b"%d" % client)
            except ServerBusy as error:
                self.num_rejected += 1
                delay = error.retry_seconds or 0.0
                again = self.clock.moment + max(delay, 0.1) + rng.uniform(0.0, 0.5) * min(delay, 1.0)
                heapq.heappush(events, (again, client, since, None))
                continue
            done = self.engine.work(500)
            self.admission.settle(call, 500)
            heapq.heappush(events, (done, client, since, call))


def crowd(clock: FakeClock) -> Crowd:
    engine = Engine(clock)
    admission = Admission(max_concurrent=32, max_waiting=128, max_queue_seconds=1.0, now=clock)
    admission.backlog = engine
    return Crowd(clock, admission, engine)


def test_many_retrying_clients_keep_the_engine_busy_and_none_waits_for_long(clock: FakeClock) -> None:
    found = crowd(clock)
    found.run(num_clients=32, seconds=300.0)

    share = len(found.waits) * 0.5 / 300.0
    assert share > 0.95
    fair = 32 * 0.5
    assert max(found.waits) < 1.5 * fair
    assert found.num_rejected < 4 * len(found.waits)
