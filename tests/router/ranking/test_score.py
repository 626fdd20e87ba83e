from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.router.ranking.score import Features, Scored, ScoreWeights, choose, final_scores

SCORED = [Scored(0, 0.2), Scored(1, 0.9), Scored(2, 0.5), Scored(3, 0.5), Scored(4, 0.1)]
WITH_PINS = [Scored(0, 0.2), Scored(1, 0.9), Scored(2, 0.05, is_pinned=True), Scored(3, 0.95, is_pinned=True)]
WEIGHTS = ScoreWeights(bias=-1.0, logit=0.5, lexical_share=2.0)

candidates = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans()), max_size=8).map(
    lambda drawn: [Scored(place, score, is_pinned) for place, (score, is_pinned) in enumerate(drawn)]
)


def places(scored: list[Scored]) -> list[int]:
    return [one.place for one in scored]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((0, 0.0), [1, 2, 3, 0, 4]),
        ((1, 0.0), [1]),
        ((3, 0.0), [1, 2, 3]),
        ((99, 0.0), [1, 2, 3, 0, 4]),
        ((0, 0.5), [1, 2, 3]),
        ((2, 0.2), [1, 2]),
        ((5, 1.0), []),
    ],
    ids=["all", "one", "ties_by_place", "beyond_the_list", "at_least", "both", "none"],
)
def test_the_best_come_first(rules: tuple[int, float], expected: list[int]) -> None:
    assert places(choose(SCORED, *rules)) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((1, 0.0), [3, 1, 2]),
        ((0, 0.0), [3, 1, 0, 2]),
        ((5, 0.99), [3, 2]),
    ],
    ids=["extra_to_top_n", "with_all", "below_the_least_score"],
)
def test_pinned_candidates_are_chosen_regardless_of_the_rules(rules: tuple[int, float], expected: list[int]) -> None:
    assert places(choose(WITH_PINS, *rules)) == expected


def test_nothing_is_chosen_from_nothing() -> None:
    assert choose([], 5, 0.0) == []


@given(scored=candidates, top_n=st.integers(0, 6), min_score=st.sampled_from([0.0, 0.25, 1.0]))
def test_a_choice_is_ordered_and_contains_every_pinned_candidate(
    scored: list[Scored], top_n: int, min_score: float
) -> None:
    chosen = choose(scored, top_n, min_score)

    others = [one for one in chosen if not one.is_pinned]
    assert chosen == sorted(chosen, key=lambda one: (-one.score, one.place))
    assert {one for one in scored if one.is_pinned} <= set(chosen)
    assert len(others) <= (top_n or len(scored))
    assert all(one.score >= min_score for one in others)


def test_without_weights_the_score_is_the_sigmoid_of_the_logit() -> None:
    features = Features(logit=1.5, lexical_share=0.9)

    assert final_scores([features], None)[0] == pytest.approx(1 / (1 + math.exp(-1.5)))


def test_with_weights_all_features_count() -> None:
    features = Features(logit=2.0, lexical_share=0.4)

    # -1 + 0.5 * 2 + 2 * 0.4 = 0.8
    assert final_scores([features], WEIGHTS)[0] == pytest.approx(1 / (1 + math.exp(-0.8)))


def test_the_contrast_lowers_candidates_that_are_no_better_than_the_rest() -> None:
    weights = ScoreWeights(bias=0.0, logit=1.0, contrast=0.8, usual=-4.0)

    standing_out = final_scores([Features(2.0), *[Features(-4.0)] * 30], weights)[0]
    one_of_many = final_scores([Features(2.0), *[Features(1.5)] * 30], weights)[0]

    assert standing_out > 0.8
    assert one_of_many < 0.2


def test_the_contrast_hardly_acts_on_a_few_candidates() -> None:
    weights = ScoreWeights(bias=0.0, logit=1.0, contrast=0.8, usual=-4.0)

    (alone,) = final_scores([Features(3.0)], weights)

    assert alone > 0.85


def test_the_highest_logit_moves_all_scores_alike() -> None:
    weights = ScoreWeights(bias=-1.0, logit=0.0, cosine=2.0, best_logit=0.5, best_value=-0.5)

    found = final_scores([Features(4.0, cosine=0.0), Features(0.0, cosine=1.0)], weights)

    # the best value is 2, the highest logit 4: both move by -1 + 2 - 1
    assert [math.log(one / (1 - one)) for one in found] == pytest.approx([0.0, 2.0])


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["without_weights", "with_weights"])
@pytest.mark.parametrize(
    ("logit", "expected"),
    [(1e4, 1.0), (-1e4, 0.0), (1e308, 1.0), (-1e308, 0.0), (math.inf, 1.0), (-math.inf, 0.0)],
)
def test_extreme_logits_do_not_overflow(logit: float, expected: float, weights: ScoreWeights | None) -> None:
    assert final_scores([Features(logit)], weights)[0] == expected


@given(logit=st.floats(-50, 50), more=st.floats(0, 50))
def test_a_higher_logit_never_lowers_the_score(logit: float, more: float) -> None:
    lower, higher = final_scores([Features(logit), Features(logit + more)], None)

    assert 0 <= lower <= higher + 1e-15
    assert higher <= 1
