from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shortlist.router.engine.batches import plan_batches, share_out

LENGTHS = st.lists(st.integers(1, 90), max_size=60)
BUDGETS = st.integers(1, 200)
STREAMS = st.integers(1, 8)


@given(LENGTHS, BUDGETS)
def test_every_pair_is_planned_once(lengths: list[int], budget: int) -> None:
    planned = [index for batch in plan_batches(lengths, budget) for index in batch]

    assert sorted(planned) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS)
def test_batches_keep_within_the_budget_unless_one_pair_exceeds_it(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)

    assert all(len(batch) == 1 or sum(lengths[index] for index in batch) <= budget for batch in batches)


@given(LENGTHS, BUDGETS)
def test_batches_run_from_long_to_short_and_ties_keep_their_order(lengths: list[int], budget: int) -> None:
    planned = [index for batch in plan_batches(lengths, budget) for index in batch]

    assert planned == sorted(planned, key=lambda index: (-lengths[index], index))


@given(LENGTHS, BUDGETS, STREAMS)
def test_sharing_out_plans_every_pair_once_within_the_budget(lengths: list[int], budget: int, streams: int) -> None:
    batches = share_out(lengths, budget, streams)

    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or sum(lengths[index] for index in batch) <= budget for batch in batches)


@given(st.lists(st.integers(20, 120), min_size=20, max_size=90), st.integers(1, 4))
def test_streams_get_about_as_many_tokens_each(lengths: list[int], streams: int) -> None:
    batches = share_out(lengths, 2_048, streams)

    sizes = [sum(lengths[index] for index in batch) for batch in batches]
    share = sum(lengths) / (streams * -(-sum(lengths) // (2_048 * streams)))
    assert all(size <= max(256, share + 61) for size in sizes)


def test_few_tokens_are_one_batch() -> None:
    assert len(share_out([60] * 4, 2_048, 2)) == 1
    assert len(share_out([60] * 8, 2_048, 2)) == 2
