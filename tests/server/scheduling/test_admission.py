from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.errors import DeadlineTooShort, RateLimited, ServerBusy
from shortlist.server.auth.authenticator import Caller
from shortlist.server.scheduling.admission import Admission


@dataclass
class FakeBacklog:
    """Jobs of the given numbers of tokens wait for an engine that computes 1,000 tokens a second."""

    jobs: tuple[int, ...] = ()
    tokens_per_second: float = 1000.0

    def tokens_before(self, num_tokens: int) -> int:
        return sum(min(job, num_tokens) for job in self.jobs)


@dataclass
class FakeClock:
    moment: float = 0.0

    def __call__(self) -> float:
        return self.moment


def admission_with(
    jobs: tuple[int, ...] = (), *, max_admitted: int = 10, max_queue_seconds: float = 2.0, now: Callable[[], float]
) -> Admission:
    admission = Admission(max_concurrent=1, max_waiting=max_admitted - 1, max_queue_seconds=max_queue_seconds, now=now)
    admission.backlog = FakeBacklog(jobs)
    return admission


def call(*, seconds: float | None = None, caller: Caller | None = None) -> tuple[CancelToken, Caller]:
    return CancelToken(timeout_seconds=seconds), caller or Caller("ada")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_calls_beyond_the_maximum_are_rejected(clock: FakeClock) -> None:
    admission = admission_with(max_admitted=2, now=clock)
    first = call()
    admission.enter(*first, 10)
    admission.enter(*call(), 10)
    with pytest.raises(ServerBusy, match="2 requests are already"):
        admission.enter(*call(), 10)
    admission.leave(*first)
    admission.enter(*call(), 10)
    assert admission.num_admitted == 2


def test_a_call_behind_too_much_work_is_rejected_with_a_retry_time(clock: FakeClock) -> None:
    with pytest.raises(ServerBusy, match=r"takes 3\.0 s;") as caught:
        admission_with((3000,), now=clock).enter(*call(), 5000)
    assert caught.value.retry_seconds == pytest.approx(1.0)


def test_a_small_call_does_not_wait_for_all_of_a_large_one(clock: FakeClock) -> None:
    admission = admission_with((1_000_000,), now=clock)
    admission.enter(*call(), 100)
    assert admission.num_admitted == 1


def test_admitted_calls_count_by_their_estimate_until_they_submit(clock: FakeClock) -> None:
    admission = admission_with(now=clock)
    first = call()
    admission.enter(*first, 3000)
    with pytest.raises(ServerBusy):
        admission.enter(*call(), 3000)
    admission.settle(first[0], 3000)
    assert admission.expected_tokens == 0


def test_a_call_whose_deadline_passes_before_its_turn_is_rejected_at_once(clock: FakeClock) -> None:
    with pytest.raises(DeadlineTooShort, match=r"deadline leaves 0\.50"):
        admission_with((1000,), now=clock).enter(*call(seconds=0.5), 1000)


def test_a_call_that_accepts_degraded_answers_is_not_rejected_for_its_deadline(clock: FakeClock) -> None:
    admission = admission_with((1000,), now=clock)
    admission.enter(*call(seconds=0.5), 1000, needs_in_time=False)
    assert admission.num_admitted == 1


def test_counted_tokens_are_rejected_if_they_cannot_be_computed_before_the_deadline(clock: FakeClock) -> None:
    admission = admission_with(now=clock)
    late = call(seconds=0.5)
    admission.enter(*late, 10)
    with pytest.raises(DeadlineTooShort):
        admission.settle(late[0], 1000)
    admission.settle(late[0], 1000, needs_in_time=False)


def test_nothing_is_rejected_while_the_engines_rate_is_unknown(clock: FakeClock) -> None:
    admission = admission_with(now=clock)
    admission.backlog = FakeBacklog((10**9,), tokens_per_second=0.0)
    admission.enter(*call(seconds=0.1), 10**9)
    assert admission.num_admitted == 1


def test_the_rate_of_a_caller_is_limited(clock: FakeClock) -> None:
    admission = admission_with(now=clock)
    ada = Caller("ada", rate=2.0, burst=2)
    admission.enter(*call(caller=ada), 1)
    admission.enter(*call(caller=ada), 1)
    with pytest.raises(RateLimited, match="ada has used up its rate of 2 requests") as caught:
        admission.enter(*call(caller=ada), 1)
    assert caught.value.retry_seconds == pytest.approx(0.5)
    admission.enter(*call(caller=Caller("bob", rate=2.0, burst=2)), 1)
    clock.moment = 0.5
    admission.enter(*call(caller=ada), 1)
    assert admission.num_admitted == 4


def test_the_concurrent_calls_of_a_caller_are_limited(clock: FakeClock) -> None:
    admission = admission_with(now=clock)
    ada = Caller("ada", max_calls=1)
    first = call(caller=ada)
    admission.enter(*first, 1)
    with pytest.raises(RateLimited, match="may have 1"):
        admission.enter(*call(caller=ada), 1)
    admission.leave(*first)
    admission.enter(*call(caller=ada), 1)
    assert admission.num_admitted == 1


def test_a_clock_that_jumps_back_does_not_empty_a_bucket(clock: FakeClock) -> None:
    clock.moment = 1000.0
    admission = admission_with(now=clock)
    ada = Caller("ada", rate=1.0, burst=2)
    admission.enter(*call(caller=ada), 1)
    clock.moment = 0.0
    admission.enter(*call(caller=ada), 1)
    assert admission.num_admitted == 2


def test_the_buckets_of_idle_callers_are_dropped(clock: FakeClock) -> None:
    admission = admission_with(max_admitted=10_000, now=clock)
    for number in range(5):
        visit = call(caller=Caller(f"caller {number}", rate=1.0))
        admission.enter(*visit, 1)
        admission.leave(*visit)
        clock.moment += 700
    assert len(admission._buckets) == 1


def test_a_bucket_is_kept_until_it_is_full_again(clock: FakeClock) -> None:
    admission = admission_with(now=clock)
    slow = Caller("slow", rate=0.001, burst=1)
    visit = call(caller=slow)
    admission.enter(*visit, 1)
    admission.leave(*visit)
    clock.moment = 700.0
    admission.enter(*call(caller=Caller("other", rate=1.0)), 1)
    with pytest.raises(RateLimited):
        admission.enter(*call(caller=slow), 1)


def test_estimates_are_corrected_by_counted_tokens(clock: FakeClock) -> None:
    admission = admission_with(now=clock)
    for _ in range(60):
        visit = call()
        admission.enter(*visit, 1000)
        admission.settle(visit[0], 250)
        admission.leave(*visit)
    admission.enter(*call(), 1000)
    assert admission.expected_tokens == pytest.approx(250, rel=0.05)


def test_up_to_five_typical_calls_may_wait_even_if_they_take_long(clock: FakeClock) -> None:
    admission = admission_with(now=clock)
    for _ in range(60):
        visit = call()
        admission.enter(*visit, 1500)
        admission.settle(visit[0], 1500)
        admission.leave(*visit)
    admission.backlog = FakeBacklog((1500,) * 4)
    admission.enter(*call(), 1500)
    admission.backlog = FakeBacklog((1500,) * 6)
    with pytest.raises(ServerBusy):
        admission.enter(*call(), 1500)


def test_a_large_call_in_parts_neither_becomes_typical_nor_hides_its_remaining_tokens(clock: FakeClock) -> None:
    admission = admission_with(now=clock)
    for _ in range(20):
        visit = call()
        admission.enter(*visit, 100)
        admission.settle(visit[0], 100)
        admission.leave(*visit)
    large = call()
    admission.enter(*large, 4_000_000)
    for part in range(1, 31):
        admission.settle(large[0], 131_072)
        assert admission.expected_tokens == 4_000_000 - part * 131_072
    admission.leave(*large)
    admission.backlog = FakeBacklog((2500,))
    with pytest.raises(ServerBusy):
        admission.enter(*call(), 2500)


def test_the_first_call_sets_what_is_typical(clock: FakeClock) -> None:
    admission = admission_with(max_queue_seconds=0.1, now=clock)
    first = call()
    admission.enter(*first, 1000)
    admission.settle(first[0], 1000)
    admission.leave(*first)
    admission.backlog = FakeBacklog((1000,) * 4)
    admission.enter(*call(), 1000)
    assert admission.num_admitted == 1
