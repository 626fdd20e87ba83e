"""A failing engine costs the batch that it failed on, not the server."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from server_fakes import FakeEngine, FakePair
from server_fixtures import wait_until

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.errors import DeadlineTooShort, ServerBusy, ServerUnavailable
from shortlist.server.scheduling.batching import BatchError, BatchingScorer, BatchRun, Rate, Restarts, is_out_of_memory


@dataclass
class SmallEngine(FakeEngine):
    """Has memory for batches of `max_pairs`, and returns NaN for a chunk that contains "nan"."""

    max_pairs: int = 1000
    sizes: list[int] = field(default_factory=list)

    def run(self, pairs: Sequence[FakePair]) -> list[float]:
        self.sizes.append(len(pairs))
        if len(pairs) > self.max_pairs:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes")
        return [
            math.nan if "nan" in pair.chunk else score for pair, score in zip(pairs, super().run(pairs), strict=True)
        ]


@pytest.fixture
def engine() -> SmallEngine:
    return SmallEngine(max_batch_tokens=10_000)


@pytest.fixture
def scorer(engine: SmallEngine) -> Iterator[BatchingScorer]:
    scorer = BatchingScorer([engine])
    yield scorer
    scorer.close()


def pairs(*chunks: str) -> list[FakePair]:
    return [FakePair("a b", chunk) for chunk in chunks]


def test_a_batch_too_large_for_the_memory_is_split_until_it_fits(scorer: BatchingScorer, engine: SmallEngine) -> None:
    engine.max_pairs = 2
    assert scorer.score(pairs("a", "a b", "", "a", "b")).logits == [0.5, 1.0, 0.0, 0.5, 0.5]
    assert engine.sizes == [5, 2, 3, 1, 2]


def test_a_single_pair_that_is_too_large_fails_and_the_rest_goes_on(
    scorer: BatchingScorer, engine: SmallEngine
) -> None:
    engine.max_pairs = 0
    with pytest.raises(ServerBusy, match="too little memory"):
        scorer.score(pairs("a"))
    engine.max_pairs = 1000
    assert scorer.score(pairs("a")).logits == [0.5]


def test_logits_that_are_not_finite_fail_the_batch(scorer: BatchingScorer) -> None:
    with pytest.raises(BatchError) as caught:
        scorer.score(pairs("a", "nan"))
    assert "not all finite" in str(caught.value.__cause__)
    assert scorer.score(pairs("a")).logits == [0.5]


def test_the_thread_restarts_after_an_error_of_its_own(engine: SmallEngine, caplog: pytest.LogCaptureFixture) -> None:
    states: list[bool] = []
    scorer = BatchingScorer([engine], on_state=states.append, on_batch=explode_once())
    with pytest.raises(BatchError):
        scorer.score(pairs("a"))
    assert scorer.score(pairs("a b")).logits == [1.0]
    assert (states, "thread failed" in caplog.text) == ([False, True], True)
    scorer.close()


def test_a_thread_that_keeps_failing_is_given_up(engine: SmallEngine) -> None:
    states: list[bool] = []

    def explode(_: BatchRun) -> None:
        raise OSError("no")

    scorer = BatchingScorer([engine], on_state=states.append, on_batch=explode)
    for _ in range(6):
        with pytest.raises(BatchError):
            scorer.score(pairs("a"))
    wait_until(lambda: len(states) == 11)
    with pytest.raises(ServerUnavailable, match="engine has failed"):
        scorer.score(pairs("a"))
    assert states[-1] is False
    scorer.close()


def explode_once() -> object:
    left = [OSError("once")]

    def explode(_: BatchRun) -> None:
        if left:
            raise left.pop()

    return explode


def test_pairs_rejected_at_submission_are_never_computed(engine: SmallEngine) -> None:
    def reject(_: CancelToken, num_tokens: int) -> None:
        raise DeadlineTooShort(f"{num_tokens} are too many")

    scorer = BatchingScorer([engine], on_submit=reject)
    with pytest.raises(DeadlineTooShort, match="7 are too many"):
        scorer.score(pairs("a"))
    assert engine.batches == []
    scorer.close()


def test_each_batch_is_reported(engine: SmallEngine) -> None:
    reported: list[BatchRun] = []
    scorer = BatchingScorer([engine], on_batch=reported.append)
    scorer.score(pairs("a", "b c"))
    scorer.close()
    assert [(run.model, run.num_pairs, run.num_tokens, run.max_batch_tokens) for run in reported] == [
        ("score", 2, 15, 10_000)
    ]
    assert scorer.tokens_per_second > 0


def test_a_new_call_waits_for_an_equal_share_of_others_and_for_the_running_batch(engine: SmallEngine) -> None:
    engine.max_batch_tokens = 20
    engine.gate.clear()
    scorer = BatchingScorer([engine])
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool:
        running = pool.submit(scorer.score, [FakePair("x", "", 20)])
        engine.wait_until_entered()
        waiting = pool.submit(scorer.score, [FakePair("x", "", 10)] * 5)
        wait_until(lambda: scorer.num_waiting_tokens == 50)
        assert [scorer.tokens_before(tokens) for tokens in (1, 30, 500)] == [21, 50, 70]
        engine.gate.set()
        running.result(60)
        waiting.result(60)
    assert scorer.tokens_before(500) == 0
    scorer.close()


def test_the_rate_follows_recent_work() -> None:
    rate = Rate()
    assert rate.per_second == 0
    rate.note(1000, 1.0)
    assert rate.per_second == pytest.approx(1000)
    for _ in range(50):
        rate.note(100, 1.0)
    assert rate.per_second == pytest.approx(100, rel=0.01)


def test_restarts_long_ago_do_not_count() -> None:
    moment = [0.0]
    restarts = Restarts(lambda: moment[0])
    for _ in range(30):
        assert restarts.note()
        moment[0] += 20
    assert not restarts.is_given_up


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_only_a_lack_of_memory_is_retried_in_halves(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_memory_of_a_failed_batch_is_freed_before_its_halves_run(engine: SmallEngine) -> None:
    alive: list[weakref.ref[Activations]] = []
    seen: list[int] = []

    class Holding(SmallEngine):
        def run(self, pairs: Sequence[FakePair]) -> list[float]:
            seen.append(sum(one() is not None for one in alive))
            computed = Activations()
            alive.append(weakref.ref(computed))
            return super().run(pairs)

    scorer = BatchingScorer([Holding(max_batch_tokens=10_000, max_pairs=1)])
    assert scorer.score(pairs("a", "b", "a b", "")).logits == [0.5, 0.5, 1.0, 0.0]
    assert (len(seen), set(seen)) == (7, {0})
    scorer.close()


class Activations:
    """The tensors that a forward pass holds while it runs."""
