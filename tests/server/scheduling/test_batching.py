from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_fakes import FakeEngine, FakePair
from server_fixtures import wait_until

from shortlist.router.engine.protocols import CancelToken, TextVectors
from shortlist.schemas.errors import RequestCancelled, ServerUnavailable
from shortlist.server.scheduling.batching import BatchError, BatchingScorer, Job, fill_batch

Submit = Callable[..., "Future[object]"]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(max_batch_tokens=100)


@pytest.fixture
def scorer(engine: FakeEngine) -> Iterator[BatchingScorer]:
    scorer = BatchingScorer([engine])
    yield scorer
    engine.gate.set()
    scorer.close()


@pytest.fixture
def submit(scorer: BatchingScorer, engine: FakeEngine) -> Iterator[Submit]:
    """Calls score() or embed() on a thread, and returns once its pairs are in the queue or in the engine."""
    with ThreadPoolExecutor() as pool:

        def submit(pairs: list[FakePair], cancel: CancelToken | None = None, *, embeds: bool = False) -> Future[object]:
            before = num_submitted_tokens(scorer, engine)
            future = pool.submit(scorer.embed if embeds else scorer.score, pairs, cancel=cancel)
            wait_until(lambda: num_submitted_tokens(scorer, engine) > before)
            return future

        yield submit
        engine.gate.set()


@pytest.fixture
def busy(submit: Submit, engine: FakeEngine) -> Future[object]:
    """A request whose only pair keeps the engine busy until the gate opens."""
    engine.gate.clear()
    future = submit(pairs_of("busy", [10]))
    engine.wait_until_entered()
    return future


def num_submitted_tokens(scorer: BatchingScorer, engine: FakeEngine) -> int:
    return scorer.num_waiting_tokens + sum(len(pair) for batch in engine.batches for pair in batch)


def values_of(embedded: TextVectors) -> list[list[float]]:
    return [one.vector.tolist() for one in embedded.texts]


def pairs_of(query: str, lengths: list[int]) -> list[FakePair]:
    return [FakePair(query, query if place % 2 else "", length) for place, length in enumerate(lengths)]


def test_logits_come_in_the_order_of_the_pairs(scorer: BatchingScorer) -> None:
    scores = scorer.score([FakePair("a b", chunk) for chunk in ("a", "", "a b", "b and more words")])
    assert scores.logits == [0.5, 0.0, 1.0, 0.5]


def test_tokens_and_times_are_counted(scorer: BatchingScorer) -> None:
    scores = scorer.score(pairs_of("a", [10, 20, 30]))
    assert (scores.num_tokens, scores.infer_ms >= 0, scores.queue_ms >= 0) == (60, True, True)


def test_an_empty_list_of_pairs_does_not_reach_the_engine(scorer: BatchingScorer, engine: FakeEngine) -> None:
    assert scorer.score([]).logits == []
    assert engine.batches == []


def test_no_batch_exceeds_the_budget(scorer: BatchingScorer, engine: FakeEngine) -> None:
    scorer.score(pairs_of("a", [30] * 10))
    assert [len(batch) for batch in engine.batches] == [3, 3, 3, 1]


def test_a_pair_above_the_budget_runs_alone(scorer: BatchingScorer, engine: FakeEngine) -> None:
    scorer.score(pairs_of("a", [10, 500, 20]))
    assert [[len(pair) for pair in batch] for batch in engine.batches] == [[500], [20, 10]]


def test_concurrent_requests_share_a_batch(submit: Submit, engine: FakeEngine, busy: Future[object]) -> None:
    futures = [submit(pairs_of("first", [10, 10])), submit(pairs_of("second", [10, 10]))]
    engine.gate.set()
    assert [future.result(60).logits for future in futures] == [[0.0, 1.0], [0.0, 1.0]]
    assert engine.queries == [{"busy"}, {"first", "second"}]


def test_a_huge_request_delays_a_small_one_by_one_batch(
    submit: Submit, engine: FakeEngine, busy: Future[object]
) -> None:
    huge = submit(pairs_of("huge", [20] * 500))
    small = submit(pairs_of("small", [20, 20]))
    engine.gate.set()
    small.result(60)
    huge.result(60)
    assert max(place for place, queries in enumerate(engine.queries) if "small" in queries) == 1


def test_a_request_near_its_deadline_overtakes_earlier_ones(
    submit: Submit, engine: FakeEngine, busy: Future[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shortlist.server.scheduling.batching._URGENT_SECONDS", 100.0)
    futures = [submit(pairs_of(f"patient{place}", [90])) for place in range(3)]
    futures.append(submit(pairs_of("hurried", [90]), CancelToken(timeout_seconds=60)))
    engine.gate.set()
    for future in futures:
        future.result(60)

    assert engine.queries.index({"hurried"}) <= 2


def test_many_urgent_requests_do_not_starve_one_without_a_deadline(
    submit: Submit, engine: FakeEngine, busy: Future[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shortlist.server.scheduling.batching._URGENT_SECONDS", 100.0)
    patient = submit(pairs_of("patient", [90]))
    hurried = [submit(pairs_of(f"hurried{place}", [90]), CancelToken(timeout_seconds=60)) for place in range(4)]
    engine.gate.set()
    for future in (patient, *hurried):
        future.result(60)

    assert engine.queries.index({"patient"}) <= 2


def test_the_rest_of_a_batch_goes_to_requests_with_more_pairs(
    submit: Submit, engine: FakeEngine, busy: Future[object]
) -> None:
    huge = submit(pairs_of("huge", [20] * 8))
    small = submit(pairs_of("small", [20]))
    engine.gate.set()
    huge.result(60)
    small.result(60)
    assert [sum(map(len, batch)) for batch in engine.batches] == [10, 100, 80]


def test_cancelled_pairs_leave_the_queue_uncomputed(
    submit: Submit, scorer: BatchingScorer, engine: FakeEngine, busy: Future[object]
) -> None:
    cancel = CancelToken()
    waiting = submit(pairs_of("unwanted", [20] * 50), cancel)
    cancel.cancel()
    with pytest.raises(RequestCancelled):
        waiting.result(60)
    assert scorer.num_waiting_tokens == 0
    engine.gate.set()
    busy.result(60)
    assert engine.queries == [{"busy"}]


def test_expired_pairs_leave_the_queue_uncomputed(
    scorer: BatchingScorer, engine: FakeEngine, busy: Future[object]
) -> None:
    with pytest.raises(RequestCancelled):
        scorer.score(pairs_of("late", [20]), cancel=CancelToken(timeout_seconds=0.2))
    engine.gate.set()
    scorer.score(pairs_of("next", [20]))
    assert engine.queries == [{"busy"}, {"next"}]


def test_a_cancelled_caller_does_not_wait_for_the_running_batch(submit: Submit, engine: FakeEngine) -> None:
    engine.gate.clear()
    cancel = CancelToken()
    running = submit(pairs_of("running", [20]), cancel)
    engine.wait_until_entered()
    cancel.cancel()
    with pytest.raises(RequestCancelled):
        running.result(60)


def test_a_request_cancelled_before_it_begins_is_not_queued(scorer: BatchingScorer, engine: FakeEngine) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(RequestCancelled):
        scorer.score(pairs_of("a", [10]), cancel=cancel)
    assert engine.batches == []


def test_a_failing_batch_fails_only_the_requests_in_it(scorer: BatchingScorer) -> None:
    with pytest.raises(BatchError) as caught:
        scorer.score([FakePair("a", "explode")])
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert scorer.score([FakePair("a", "a")]).logits == [1.0]


def test_too_few_logits_fail_the_batch(scorer: BatchingScorer, engine: FakeEngine) -> None:
    engine.run = lambda pairs: [0.5]  # type: ignore[method-assign]
    with pytest.raises(BatchError):
        scorer.score(pairs_of("a", [10, 10]))


def test_closing_fails_waiting_requests_and_finishes_the_running_batch(
    submit: Submit, scorer: BatchingScorer, engine: FakeEngine, busy: Future[object]
) -> None:
    waiting = submit(pairs_of("waiting", [20]))
    closing = threading.Thread(target=scorer.close)
    closing.start()
    with pytest.raises(ServerUnavailable):
        waiting.result(60)
    engine.gate.set()
    closing.join(60)
    assert busy.result(60).logits == [0.0]


def test_a_closed_scorer_rejects_requests(scorer: BatchingScorer) -> None:
    scorer.close()
    with pytest.raises(ServerUnavailable):
        scorer.score(pairs_of("a", [10]))


def test_vectors_come_in_the_order_of_the_texts(scorer: BatchingScorer) -> None:
    embedded = scorer.embed([FakePair("a b", chunk, length) for chunk, length in (("a", 7), ("", 90), ("a b", 60))])
    assert values_of(embedded) == [[0.5, 7.0], [0.0, 90.0], [1.0, 60.0]]
    assert (embedded.num_tokens, embedded.infer_ms >= 0, embedded.queue_ms >= 0) == (157, True, True)


def test_an_empty_list_of_texts_does_not_reach_the_engine(scorer: BatchingScorer, engine: FakeEngine) -> None:
    assert scorer.embed([]).texts == []
    assert engine.batches == []


def test_texts_and_pairs_never_share_a_batch(submit: Submit, engine: FakeEngine, busy: Future[object]) -> None:
    futures = [submit(pairs_of("text", [10, 10]), embeds=True), submit(pairs_of("pair", [10, 10]))]
    futures += [submit(pairs_of("another text", [10]), embeds=True), submit(pairs_of("another pair", [10]))]
    engine.gate.set()
    assert all(future.result(60) for future in futures)
    expected = [("score", {"busy"}), ("embed", {"text", "another text"}), ("score", {"pair", "another pair"})]
    assert list(zip(engine.kinds, engine.queries, strict=True)) == expected


def test_scoring_and_embedding_take_turns(submit: Submit, engine: FakeEngine, busy: Future[object]) -> None:
    futures = [submit(pairs_of("pairs", [20] * 20)), submit(pairs_of("texts", [20] * 20), embeds=True)]
    engine.gate.set()
    assert all(future.result(60) for future in futures)
    assert engine.kinds == ["score", *["score", "embed"] * 4]


@pytest.mark.parametrize("embeds", [True, False], ids=["texts_behind_pairs", "pairs_behind_texts"])
def test_a_huge_request_of_one_kind_delays_a_small_one_of_the_other_by_one_batch(
    submit: Submit, engine: FakeEngine, busy: Future[object], embeds: bool
) -> None:
    huge = submit(pairs_of("huge", [20] * 500), embeds=not embeds)
    small = submit(pairs_of("small", [20, 20]), embeds=embeds)
    engine.gate.set()
    small.result(60)
    huge.result(60)
    assert [place for place, queries in enumerate(engine.queries) if "small" in queries] == [2]


def test_many_threads_each_get_their_own_answers(scorer: BatchingScorer, engine: FakeEngine) -> None:
    chunks = ["a b", "a", "a"] * 3
    requests = [[FakePair("a b", chunk, 1 + 2 * seed) for chunk in chunks] for seed in range(20)]
    with ThreadPoolExecutor(16) as pool:
        scoring = [pool.submit(scorer.score, pairs) for pairs in requests]
        embedding = [pool.submit(scorer.embed, pairs) for pairs in requests]
    shares = [1.0, 0.5, 0.5] * 3
    assert [future.result().logits for future in scoring] == [shares] * 20
    vectors = [list(map(list, zip(shares, map(len, pairs), strict=True))) for pairs in requests]
    assert [values_of(future.result()) for future in embedding] == vectors
    assert all(sum(map(len, batch)) <= 100 for batch in engine.batches)


def test_a_failing_embedding_fails_its_caller_only(
    submit: Submit, scorer: BatchingScorer, engine: FakeEngine, busy: Future[object]
) -> None:
    failing = submit([FakePair("a", "explode")], embeds=True)
    waiting = submit([FakePair("a", "a")])
    engine.gate.set()
    with pytest.raises(BatchError) as caught:
        failing.result(60)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert waiting.result(60).logits == [1.0]
    assert values_of(scorer.embed([FakePair("a", "a", 3)])) == [[1.0, 3.0]]


def test_cancelled_texts_leave_the_queue_uncomputed(
    submit: Submit, scorer: BatchingScorer, engine: FakeEngine, busy: Future[object]
) -> None:
    cancel = CancelToken()
    waiting = submit(pairs_of("unwanted", [20] * 50), cancel, embeds=True)
    cancel.cancel()
    with pytest.raises(RequestCancelled):
        waiting.result(60)
    engine.gate.set()
    busy.result(60)
    assert (scorer.num_waiting_tokens, engine.queries) == (0, [{"busy"}])


def test_closing_fails_waiting_texts_and_rejects_new_ones(
    submit: Submit, scorer: BatchingScorer, engine: FakeEngine, busy: Future[object]
) -> None:
    waiting = submit(pairs_of("waiting", [20]), embeds=True)
    assert scorer.close(timeout_seconds=0) is False
    with pytest.raises(ServerUnavailable):
        waiting.result(60)
    with pytest.raises(ServerUnavailable):
        scorer.embed(pairs_of("late", [10]))


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=30), min_size=1, max_size=8), st.integers(10, 120))
def test_every_pair_is_batched_once_within_the_budget(requests: list[list[int]], budget: int) -> None:
    jobs = deque(Job(pairs_of("q", lengths), CancelToken()) for lengths in requests)
    batches = list(batches_of(jobs, budget))
    placed = [(id(job), index) for batch in batches for job, index in batch]
    sizes = [sum(len(job.pairs[index]) for job, index in batch) for batch in batches]
    assert len(placed) == len(set(placed)) == sum(map(len, requests))
    assert all(size <= budget or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))


@settings(deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(1, 40), min_size=50, max_size=200))
def test_no_request_waits_longer_than_its_fair_share(length: int, neighbour: list[int]) -> None:
    small = Job(pairs_of("small", [length]), CancelToken())
    jobs = deque([Job(pairs_of("huge", neighbour), CancelToken()), small])
    batches = list(batches_of(jobs, 100))
    assert min(place for place, batch in enumerate(batches) if (small, 0) in batch) <= 1


def batches_of(jobs: deque[Job], budget: int) -> Iterator[list[tuple[Job, int]]]:
    while jobs:
        yield fill_batch(jobs, budget)


def test_every_other_batch_starts_with_the_smallest_requests(
    submit: Submit, engine: FakeEngine, busy: Future[object]
) -> None:
    large = submit(pairs_of("large", [20] * 12))
    small = submit(pairs_of("small", [20] * 4))
    engine.gate.set()
    small.result(60)
    large.result(60)
    # Of two successive batches, one is divided evenly and one is filled in order, so the small call needs no third.
    counts = [sum(pair.query == "small" for pair in batch) for batch in engine.batches[1:]]
    assert (sum(counts[:2]), counts[0] in (2, 4)) == (4, True)


def test_a_large_call_alone_runs_in_smaller_batches(submit: Submit, engine: FakeEngine) -> None:
    submit(pairs_of("large", [25] * 40)).result(60)
    sizes = [sum(map(len, batch)) for batch in engine.batches]
    assert (sizes[0], sizes[-1], sum(sizes)) == (50, 100, 1000)


def test_a_batch_filled_in_order_adds_no_credit_for_the_next_even_one() -> None:
    small, large = (Job(pairs_of(query, [20] * count), CancelToken()) for query, count in (("s", 3), ("l", 20)))
    fill_batch(deque([small, large]), 100, evenly=False)
    other = Job(pairs_of("o", [20] * 20), CancelToken())
    batch = fill_batch(deque([large, other]), 80)
    assert [sum(job is one for job, _ in batch) for one in (large, other)] == [2, 2]


@pytest.fixture
def two_streams() -> Iterator[tuple[BatchingScorer, list[FakeEngine]]]:
    engines = [FakeEngine(max_batch_tokens=2_000) for _ in range(2)]
    scorer = BatchingScorer(engines)
    yield scorer, engines
    for engine in engines:
        engine.gate.set()
    scorer.close()


def test_one_call_is_divided_among_the_streams(two_streams: tuple[BatchingScorer, list[FakeEngine]]) -> None:
    scorer, engines = two_streams
    for engine in engines:
        engine.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(scorer.score, pairs_of("a", [50] * 20))
        for engine in engines:
            engine.wait_until_entered()  # both run before either is done
        for engine in engines:
            engine.gate.set()
        scores = future.result(60)
    assert scores.logits == [0.0, 1.0] * 10
    assert sorted(len(batch) for engine in engines for batch in engine.batches) == [10, 10]


def test_the_time_of_two_streams_counts_once(two_streams: tuple[BatchingScorer, list[FakeEngine]]) -> None:
    scorer, engines = two_streams
    for engine in engines:
        engine.seconds_per_token = 0.0004  # 0.2 s a batch
    scores = scorer.score(pairs_of("a", [50] * 20))
    assert 190 <= scores.infer_ms < 390
    assert scorer.tokens_per_second > 1_000 / 0.39


def test_a_stream_whose_thread_fails_leaves_the_other_one_working(
    two_streams: tuple[BatchingScorer, list[FakeEngine]],
) -> None:
    scorer, _ = two_streams
    with pytest.raises(BatchError):
        scorer.score([FakePair("a", "crash")])
    assert scorer.score(pairs_of("a", [50] * 20)).logits == [0.0, 1.0] * 10


def test_closing_waits_for_all_streams(two_streams: tuple[BatchingScorer, list[FakeEngine]]) -> None:
    scorer, engines = two_streams
    for engine in engines:
        engine.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(scorer.score, pairs_of("a", [50] * 20))
        for engine in engines:
            engine.wait_until_entered()
        engines[0].gate.set()
        assert scorer.close(timeout_seconds=0.2) is False
        engines[1].gate.set()
        assert scorer.close(timeout_seconds=60) is True
        assert future.result(60).logits == [0.0, 1.0] * 10
