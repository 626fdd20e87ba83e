from __future__ import annotations

import math
import time

from shortlist.router.ranking.join_paths import join_evidence
from shortlist.router.ranking.score import Features, ScoreWeights, final_scores, with_joins

WEIGHTS = ScoreWeights(bias=-1.0, logit=1.0, neighbour=0.5)


def neighbours(values: list[float], links: list[list[int]]) -> list[float]:
    return [neighbour for neighbour, _ in join_evidence(values, links)]


def bridges(values: list[float], links: list[list[int]]) -> list[float]:
    return [bridge for _, bridge in join_evidence(values, links)]


def chain(count: int) -> list[list[int]]:
    return [[other for other in (place - 1, place + 1) if 0 <= other < count] for place in range(count)]


def test_the_neighbour_feature_is_how_far_the_best_joined_table_is_above_the_mean() -> None:
    assert neighbours([3.0, 0.0, 1.0, -2.0], [[1], [0, 2], [1], []]) == [-0.5, 2.5, -0.5, 0.0]


def test_a_bridge_is_as_relevant_as_the_less_relevant_of_the_two_tables_that_it_joins() -> None:
    # 1 alone joins 0 and 2; 3 joins 4 and 5, which join each other, so that it is not needed.
    links = [[1], [0, 2], [1], [4, 5], [3, 5], [3, 4]]
    assert bridges([3.0, -1.0, 2.0, -1.0, 3.0, 0.0], links) == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_all_tables_on_a_path_of_several_joins_are_bridges() -> None:
    values = [3.0, 0.0, 0.0, 0.0, 2.0, *[-1.0] * 5]
    assert bridges(values, chain(5) + [[]] * 5) == [0.0, 2.0, 2.0, 2.0, *[0.0] * 6]


def test_a_path_of_more_than_four_joins_tells_nothing() -> None:
    values = [3.0, *[0.0] * 9, 3.0]
    assert bridges(values, chain(11))[5] == 0.0


def test_only_shortest_paths_count() -> None:
    # From 0 to 3 through 1, or through 2 and 4.
    links = [[1, 2], [0, 3], [0, 4], [1, 4], [2, 3]]
    assert bridges([4.0, 0.0, 0.0, 4.0, 0.0], links)[1] > 2
    assert bridges([4.0, 0.0, 0.0, 4.0, 0.0], links)[2] <= 0


def test_a_bridge_rises_above_an_equal_table_that_joins_one_of_the_two() -> None:
    features = [Features(3.0), Features(2.0), Features(0.0), Features(0.0)]
    weights = ScoreWeights(bias=0.0, logit=1.0, bridge=0.5)
    _, _, bridge, leaf = final_scores(with_joins(features, weights, [[2, 3], [2], [0, 1], [0]]), weights)
    assert bridge > leaf


def test_joins_tell_by_all_that_is_known_of_a_table() -> None:
    weights = ScoreWeights(bias=0.0, logit=1.0, cosine=4.0, neighbour=0.5)
    found = with_joins([Features(0.0, cosine=1.0), Features(0.0), Features(0.0)], weights, [[1], [0], []])
    assert [one.neighbour for one in found] == [0.0 - 4 / 3, 4 - 4 / 3, 0.0]


def test_what_joins_told_before_does_not_count() -> None:
    features = [Features(1.0, neighbour=9.0, bridge=9.0), Features(0.0), Features(2.0)]
    weights = ScoreWeights(bias=0.0, logit=1.0, neighbour=0.5, bridge=0.5)
    links = [[1], [0, 2], [1]]
    once = with_joins(features, weights, links)
    assert with_joins(once, weights, links) == once


def test_a_table_without_a_finite_value_lends_nothing() -> None:
    found = join_evidence([2.0, -math.inf, 1.0], chain(3))
    assert all(math.isfinite(value) for pair in found for value in pair)
    assert found[0] == (0.0, 0.0)


def test_a_table_that_joins_itself_is_not_its_own_neighbour() -> None:
    assert neighbours([3.0, 1.0], [[0], []]) == [0.0, 0.0]


def test_a_hub_of_many_tables_is_fast() -> None:
    count = 5_000
    links = [list(range(1, count)), *([0] for _ in range(count - 1))]
    began = time.perf_counter()
    found = bridges([float(place % 7) for place in range(count)], links)
    assert found[0] > 0
    assert time.perf_counter() - began < 2


def test_without_joins_nothing_changes() -> None:
    features = [Features(3.0), Features(0.0)]
    assert with_joins(features, WEIGHTS, [[], []]) == features
    assert with_joins([], WEIGHTS, []) == []


def test_a_table_that_joins_with_a_good_one_rises_above_an_equal_one_that_does_not() -> None:
    features = [Features(3.0), Features(0.0), Features(0.0)]
    good, joined, alone = final_scores(with_joins(features, WEIGHTS, [[1], [0], []]), WEIGHTS)
    assert good > joined > alone
