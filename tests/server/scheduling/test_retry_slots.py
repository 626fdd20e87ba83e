from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest

from shortlist.schemas.errors import ServerBusy
from shortlist.server.call import Call
from shortlist.server.scheduling.admission import Admission
from shortlist.server.scheduling.retry_slots import RetrySlots


@dataclass
class FakeClock:
    moment: float = 0.0

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def line(clock: FakeClock) -> RetrySlots:
    return RetrySlots(clock)


def test_each_is_told_a_time_after_the_work_of_those_before(line: RetrySlots) -> None:
    assert [line.put_off(key, 1.0, 0.5) for key in (b"a", b"b", b"c")] == pytest.approx([1.0, 1.5, 2.0])


def test_nobody_is_told_more_than_a_client_is_patient_for(line: RetrySlots) -> None:
    assert max(line.put_off(b"%d" % number, 1.0, 2.0) for number in range(20)) == pytest.approx(25.0)


def test_a_turn_begins_when_it_was_said_to_and_lapses_some_time_later(line: RetrySlots, clock: FakeClock) -> None:
    line.put_off(b"a", 2.0, 1.0)
    turns = []
    for clock.moment in (0.0, 1.9, 2.0, 3.9, 4.1):
        turns.append(line.has_turn(b"a"))
    assert (turns, len(line)) == ([False, False, True, True, False], 0)


def test_others_have_no_turn_by_that(line: RetrySlots, clock: FakeClock) -> None:
    line.put_off(b"a", 0.0, 1.0)
    clock.moment = 0.5
    assert (line.has_turn(b"a"), line.has_turn(b"b")) == (True, False)


def test_a_place_is_taken_once(line: RetrySlots, clock: FakeClock) -> None:
    line.put_off(b"a", 0.0, 1.0)
    line.take(b"a")
    line.take(b"a")
    assert (line.has_turn(b"a"), len(line)) == (False, 0)


def test_two_alike_have_two_places(line: RetrySlots, clock: FakeClock) -> None:
    first, second = line.put_off(b"a", 0.0, 1.0), line.put_off(b"a", 0.0, 1.0)
    line.take(b"a")
    assert (first, second, line.has_turn(b"a")) == (0.0, 1.0, False)
    clock.moment = 1.0
    assert line.has_turn(b"a")


def test_where_nobody_comes_again_newcomers_are_not_told_to_wait_for_them(line: RetrySlots, clock: FakeClock) -> None:
    for number in range(200):
        line.put_off(b"%d" % number, 0.2, 0.2)
        clock.moment += 0.5
    clock.moment += 20.0
    assert len(line) == 0
    assert [line.put_off(key, 0.2, 5.0) for key in (b"a", b"b")] == pytest.approx([0.2, 0.2], abs=0.1)


def test_a_call_that_no_time_would_do_for_keeps_nobody_out(line: RetrySlots) -> None:
    assert line.put_off(b"huge", 873.0, 800.0) == 25.0
    assert len(line) == 0
    assert line.put_off(b"small", 0.2, 0.2) == pytest.approx(0.2)


def test_a_large_call_holds_a_small_one_up_for_no_longer_than_that_one_takes(line: RetrySlots) -> None:
    told = [line.put_off(key, 1.0, work) for key, work in ((b"large", 400.0), (b"small", 0.5), (b"next", 0.5))]
    assert told == pytest.approx([1.0, 1.5, 2.0])


def test_a_place_lapses_in_its_time_whatever_is_before_it(line: RetrySlots, clock: FakeClock) -> None:
    line.put_off(b"long ago", 24.0, 0.0)
    clock.moment = 23.0
    line.put_off(b"just now", 1.0, 0.0)
    clock.moment = 26.0
    assert len(line) == 1
    assert line.has_turn(b"long ago")


def test_as_many_places_are_kept_as_memory_is_meant_for(line: RetrySlots) -> None:
    for number in range(10_500):
        line.put_off(b"%d" % number, 1.0, 0.0)
    assert len(line) == 10_000


@dataclass
class Engine:
    """Works one call after another off, 1,000 tokens a second."""

    clock: FakeClock
    tokens_per_second: float = 1000.0
    free_at: float = 0.0

    def tokens_before(self, num_tokens: int) -> int:
        return round(max(0.0, self.free_at - self.clock.moment) * self.tokens_per_second)

    def work(self, num_tokens: int) -> float:
        """Takes a call on, and returns when it is done."""
        self.free_at = max(self.free_at, self.clock.moment) + num_tokens / self.tokens_per_second
        return self.free_at


@dataclass
class Crowd:
    """Clients that each send a call of half a second, again and again, and come again when they are told to."""

    clock: FakeClock
    admission: Admission
    engine: Engine
    waits: list[float] = field(default_factory=list)
    num_refused: int = 0

    def run(self, num_clients: int, seconds: float) -> None:
        rng = random.Random(0)
        events: list[tuple[float, int, float, Call | None]] = [
            (0.0, client, 0.0, None) for client in range(num_clients)
        ]
        while events and (event := heapq.heappop(events))[0] < seconds:
            self.clock.moment, client, since, running = event
            if running:
                self.admission.leave(running)
                self.waits.append(self.clock.moment - since)
                since = self.clock.moment
            call = Call("Rerank")
            try:
                self.admission.enter(call, 500, b"%d" % client)
            except ServerBusy as error:
                self.num_refused += 1
                told = error.retry_seconds or 0.0
                again = self.clock.moment + max(told, 0.1) + rng.uniform(0.0, 0.5) * min(told, 1.0)
                heapq.heappush(events, (again, client, since, None))
                continue
            done = self.engine.work(500)
            self.admission.settle(call.cancel, 500)
            heapq.heappush(events, (done, client, since, call))


def crowd(clock: FakeClock) -> Crowd:
    engine = Engine(clock)
    admission = Admission(max_concurrent=32, max_waiting=128, max_queue_seconds=1.0, now=clock)
    admission.backlog = engine
    return Crowd(clock, admission, engine)


def test_a_crowd_that_comes_again_keeps_the_engine_busy_and_nobody_waits_for_long(clock: FakeClock) -> None:
    found = crowd(clock)
    found.run(num_clients=32, seconds=300.0)

    share = len(found.waits) * 0.5 / 300.0
    assert share > 0.95
    fair = 32 * 0.5
    assert max(found.waits) < 1.5 * fair
    assert found.num_refused < 4 * len(found.waits)
