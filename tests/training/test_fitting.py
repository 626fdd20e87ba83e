"""The score is fitted on the features of a request, and the fit finds the features that predict relevance."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from meanings import Meanings
from paths import ROOT

from shortlist.router.catalogs.catalog import item_of_tool
from shortlist.router.first_stage.candidates import Candidates
from shortlist.router.first_stage.embedder import Embedder, RetrievalSettings, VectorCache
from shortlist.router.ranking.score import Features, ScoreWeights, final_scores, with_joins
from shortlist.schemas.document import Tool

sys.path.append(str(ROOT / "training"))

import compare
import fit_first_stage
import fit_score
import gather

NUM = len(fit_score.FEATURES)
VECTORS = {"email": (0.0, 0.6, 0.8), "send": (1.0, 0.0, 0.0), "orders": (0.0, 0.0, 1.0)}


def pools_told_by(feature: str, *, count: int = 300) -> list[fit_score.Pool]:
    """Draws catalogs of eight candidates in which only one feature predicts relevance, with errors."""
    generator = torch.Generator().manual_seed(1)
    pools = []
    for number in range(count):
        values = torch.randn(8, generator=generator)
        features = torch.randn(8, NUM, generator=generator) / fit_score.UNITS
        features[:, fit_score.FEATURES.index(feature)] = values / fit_score.UNITS[fit_score.FEATURES.index(feature)]
        right = torch.distributions.Categorical(logits=2 * values).sample() if number % 3 else int(values.argmax())
        labels = torch.zeros(8)
        labels[int(right)] = 1
        pools.append(fit_score.Pool(f"tools/set{number % 2}", features, labels))
    return pools


def test_the_fit_has_a_weight_for_every_feature_of_a_request() -> None:
    known = set(Features.__dataclass_fields__) - {"is_mentioned"}  # a rule, not a weight

    assert set(fit_score.FEATURES) == known
    assert set(fit_score.WEIGHTS) == set(ScoreWeights.__dataclass_fields__)


def test_saved_first_stage_features_narrow_as_in_a_request() -> None:
    scorer = Meanings(VECTORS, has_tokens=True)
    settings = RetrievalSettings(64, 0.3, token_width=3, maxsim_weight=0.7)
    embedder = Embedder(scorer.tokenizer, scorer, settings, VectorCache())
    documents = ["send email", "orders", "send orders"]
    items = Candidates([item_of_tool(Tool("x", text, index=index)) for index, text in enumerate(documents)])

    found = items.first_stage("email orders", embedder)

    assert found.cosines is not None
    assert found.query_maxsim is not None
    assert found.document_maxsim is not None
    assert found.part_cosines is not None
    parts = (found.cosines, found.shares, found.query_maxsim, found.document_maxsim, found.part_cosines)
    kept = torch.stack([torch.from_numpy(part) for part in parts])
    assert gather.narrowing_scores(kept, settings).tolist() == pytest.approx(found.scores.tolist(), abs=1e-6)


def test_the_features_of_joins_are_the_same_in_the_fit_and_in_a_request() -> None:
    weights = ScoreWeights(bias=-0.5, logit=0.5, cosine=2.0, neighbour=0.3, bridge=0.4)
    known = [Features(3.0, cosine=0.5), Features(0.0), Features(1.0, cosine=0.2), Features(-2.0)]
    links = [[1], [0, 2], [1], []]
    own = torch.zeros(4, NUM)
    own[:, 0] = torch.tensor([one.logit for one in known])
    own[:, 1] = torch.tensor([one.cosine for one in known])
    pool = fit_score.Pool("tables/real_schemas", own, torch.zeros(4), links=tuple(map(tuple, links)))
    values = torch.tensor([getattr(weights, name) for name in fit_score.WEIGHTS])

    scores = final_scores(with_joins(known, weights, links), weights)

    assert torch.sigmoid(fit_score.logits(pool, values)).tolist() == pytest.approx(scores)
    doubled = fit_score.scaled(values[1:10], 2.0)
    assert fit_score.values_of(pool, doubled).tolist() == pytest.approx(
        (2 * fit_score.values_of(pool, values[1:10])).tolist()
    )


def test_a_table_between_two_that_fit_is_found_by_the_fit() -> None:
    generator = torch.Generator().manual_seed(2)
    pools = []
    for _ in range(60):
        own, labels = torch.zeros(12, NUM), torch.zeros(12)
        own[:, 0] = torch.randn(12, generator=generator) / 4
        own[[0, 2], 0] += 3.0
        labels[:3] = 1  # the second says nothing by itself, but joins the first and the third
        pools.append(fit_score.Pool("tables/real_schemas", own, labels, links=((1,), (0, 2), (1,), *((),) * 9)))

    direction = fit_score.fit_direction(pools)

    assert float(direction[-1]) > 0
    assert fit_score.recall_at_5(pools, direction) > 0.99
    without = fit_score.fit_direction(pools, torch.tensor([1.0] * fit_score.OWN + [0.0, 0.0]))
    assert without[-2:].tolist() == [0.0, 0.0]
    assert fit_score.recall_at_5(pools, without) < 0.9


@pytest.mark.parametrize("feature", ["logit", "cosine", "document_maxsim", "part_cosine"])
def test_the_direction_follows_the_feature_that_separates_relevant_from_irrelevant(feature: str) -> None:
    torch.manual_seed(2)
    weights = fit_score.fit_direction(pools_told_by(feature)) / fit_score.UNITS

    told = weights[fit_score.FEATURES.index(feature)]
    others = [float(abs(w)) for w, name in zip(weights, fit_score.FEATURES, strict=True) if name != feature]
    assert float(told) > 3 * max(others)


def test_a_fitted_score_is_the_probability_that_the_best_is_relevant() -> None:
    torch.manual_seed(3)
    pools = pools_told_by("logit", count=900)

    weights = fit_score.fit(pools[:600])

    scored = [fit_score.score_top(pool, torch.tensor(weights)) for pool in pools[600:]]
    assert fit_score.calibration_error([(score, right) for score, right, _ in scored]) < 0.08


def test_a_set_whose_high_scores_are_wrong_does_not_reverse_the_order(capsys: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator().manual_seed(5)
    pools = []
    for number in range(120):
        is_hard = number % 2 == 1
        features = torch.zeros(6, NUM)
        labels = torch.zeros(6)
        labels[0] = 1
        features[:, 0] = torch.randn(6, generator=generator)
        features[0, 0] += 1.5 if is_hard else 4.0
        features[1 + number % 5, 0] += 12.0 * (number % 4 == 1)  # half of the hard set has high scores that are wrong
        pools.append(fit_score.Pool(f"tables/set{number % 2}", features, labels))

    weights = fit_score.fit(pools)

    assert "the fitted scale of the scores is -" in capsys.readouterr().out
    assert weights[1] > 0
    found = [fit_score.score_top(pool, torch.tensor(weights))[1] for pool in pools]
    assert sum(found) / len(found) == pytest.approx(fit_score.hit_at_1(pools, fit_score.fit_direction(pools)), abs=0.01)


def test_the_column_fit_weighs_the_feature_that_finds_columns() -> None:
    generator = torch.Generator().manual_seed(4)
    questions = []
    for number in range(40):
        features = torch.randn(12, len(fit_score.COLUMN_FEATURES), generator=generator)
        labels = (features[:, 2] > 1).float()
        labels[int(features[:, 2].argmax())] = 1
        questions.append({"group": f"database{number % 8}", "features": features, "labels": labels})

    weights = fit_score.fit_columns(questions)

    assert weights["join_need"] > 3 * max(abs(weights[name]) for name in ("logit", "lexical_match"))


def features(skill: float, *, count: int = 40) -> list[dict[str, Any]]:
    """Draws the features that `gather.py` saves of two sets; a greater `skill` makes logits predict better."""
    generator = torch.Generator().manual_seed(2)
    kept = []
    for number in range(count):
        labels = torch.zeros(12)
        labels[number % 12] = 1
        features = torch.randn(12, NUM - 2, generator=generator) / fit_score.UNITS[: NUM - 2]
        features[:, 0] = torch.randn(12, generator=generator) + skill * labels
        kept.append({
            "set": f"tools/set{number % 2}", "query": f"q{number}", "features": features, "labels": labels,
            "alike": labels > 0, "links": torch.zeros(0, 2, dtype=torch.long), "num_ranked": 12,
            "num_relevant": 1,
        })  # fmt: skip
    return kept


def test_a_better_model_is_reported_as_better() -> None:
    (before, unsure), (after, sure) = (compare.measure(features(skill), "tools") for skill in (0.5, 4.0))

    low, high = compare.interval({name: after[name] - before[name] for name in before})

    assert compare.mean(after)[0] > compare.mean(before)[0] + 0.2
    assert 0 < low[0] < high[0]
    low_abstention, high_abstention = compare.abstention_interval(unsure, sure)
    assert 0 < low_abstention < compare.abstention(sure) - compare.abstention(unsure) < high_abstention


def test_a_model_compared_with_itself_has_no_difference() -> None:
    (rows, empty), (same, as_empty) = (compare.measure(features(2.0), "tools") for _ in range(2))

    assert compare.interval({name: same[name] - rows[name] for name in rows}) == ([0.0] * 3, [0.0] * 3)
    assert compare.abstention_interval(empty, as_empty) == (0.0, 0.0)


def test_documents_missed_by_the_first_stage_count_as_not_found() -> None:
    kept, missed = features(4.0), features(4.0)
    for query in missed[::4]:
        query["labels"][:], query["alike"][:] = 0, False

    (rows, _), (fewer, _) = (compare.measure(one, "tools") for one in (kept, missed))

    assert {name: len(one) for name, one in fewer.items()} == {name: len(one) for name, one in rows.items()}
    assert float(compare.mean(fewer)[2]) == pytest.approx(0.75, abs=0.03)
    assert float(compare.mean(rows)[2]) > 0.98


def first_stage(skill: float) -> fit_first_stage.Features:
    """Draws first-stage features of 100 documents for 40 queries of two sets; the cosine predicts relevance partly."""
    generator = torch.Generator().manual_seed(2)
    found: fit_first_stage.Features = {}
    for name in ("tools/a", "tools/b"):
        queries = []
        for number in range(40):
            known = torch.randn(5, 100, generator=generator) / 10
            known[0, number] += skill / 10
            queries.append({"query": f"q{number}", "relevant": [number], "features": known})
        found[name] = {"ids": [str(place) for place in range(100)], "queries": queries}
    return found


def test_a_better_first_stage_is_reported_as_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, skill in (("old", 0.5), ("new", 4.0)):
        torch.save(first_stage(skill), tmp_path / name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["compare.py", str(tmp_path / "old"), str(tmp_path / "new")])
        compare.main()

    printed = capsys.readouterr().out
    before, after, low, high = map(float, re.findall(r"[-+]?\d*\.\d+", printed.split("recall@5")[1].split("\n")[0]))
    assert before < 0.5
    assert after > 0.9
    assert 0 < low < high


def test_first_stages_with_different_queries_are_not_compared() -> None:
    old, new = first_stage(1.0), first_stage(1.0)
    new["tools/b"]["queries"][3]["query"] = "another"

    with pytest.raises(SystemExit, match="different queries"):
        compare.compare_first_stages(old, new)


def test_judged_sets_count_as_much_as_all_others_of_their_kind() -> None:
    names = ["tools/tasks"] * 4 + ["tools/toole", "tools/sgd", "tools/sgd"]
    pools = [fit_score.Pool(name, torch.zeros(2, NUM), torch.tensor([1.0, 0.0])) for name in names]
    assert fit_score.set_shares(pools).tolist() == pytest.approx([0.125] * 4 + [0.25, 0.125, 0.125])
    assert fit_score.set_shares(pools[:4]).tolist() == pytest.approx([0.25] * 4)
    assert fit_score.set_shares(pools[4:]).tolist() == pytest.approx([0.5, 0.25, 0.25])


def test_what_would_do_as_well_is_right_and_no_rival() -> None:
    query = features(1.0, count=1)[0] | {"set": "tools/tasks", "pool": "a"}
    query["alike"] = torch.arange(12) == 5
    whole, without, *_ = fit_score.make_pools(query)
    assert whole.labels.tolist() == [1.0, *[0.0] * 4, fit_score.ACCEPTABLE, *[0.0] * 6]
    assert len(without.labels) == 10
    assert not without.is_answerable
    losses = fit_score.listwise(torch.tensor([[0.0, 0.0, 50.0]]), torch.tensor([[1.0, 0.0, fit_score.ACCEPTABLE]]))
    assert losses.tolist() == pytest.approx([0.6931], abs=1e-3)
    best = torch.zeros(12, NUM)
    best[5, 0] = 9.0
    assert fit_score.top(fit_score.Pool("tools/tasks", best, whole.labels), torch.eye(NUM)[0])[1] == 1.0


def test_catalogs_that_nothing_fits_are_told_by_the_mean_of_their_values() -> None:
    weights, pools = fitted_on_catalogs_of_different_level()

    assert found_empty(pools, weights) > 0.8
    weights[-4:] = 0.0
    assert found_empty(pools, weights) < 0.3


def test_if_all_candidates_are_better_the_scores_are_not_lower() -> None:
    weights, _ = fitted_on_catalogs_of_different_level()
    better = torch.zeros(40, NUM)
    better[:, 0] = 3.0
    scores = [
        fit_score.logits(fit_score.Pool("tools/tasks", one, torch.zeros(40)), weights) for one in (better, 0 * better)
    ]
    assert float(scores[0].max()) >= float(scores[1].max())


def test_a_high_logit_tells_that_something_fits_even_where_others_rank_first() -> None:
    generator = torch.Generator().manual_seed(3)
    pools = []
    for number in range(600):
        features, labels = torch.randn(40, NUM, generator=generator), torch.zeros(40)
        features[:, 1] /= 20
        if number % 3:
            features[0, 1] += 0.3  # this feature ranks, in every catalog
            features[1, 0] = 6.0  # and this one is high only if something fits
            labels[0] = 1
        else:
            features[2, 1] += 0.3
        pools.append(fit_score.Pool("tools/tasks", features, labels, fold=number % 2, is_none=not number % 3))

    weights = torch.tensor(fit_score.fit(pools))

    assert float(weights[-2]) > 0
    assert found_empty(pools, weights) > 0.9
    weights[-4:] = 0.0
    assert found_empty(pools, weights) < 0.5


def test_the_best_score_is_calibrated_and_the_others_are_below_it_as_they_are_right() -> None:
    generator = torch.Generator().manual_seed(11)
    pools = []
    for _ in range(800):
        features = torch.zeros(10, NUM)
        features[:, 0] = 2 * torch.randn(10, generator=generator)
        labels = torch.bernoulli(torch.sigmoid(2 * features[:, 0] - 3), generator=generator)
        pools.append(fit_score.Pool("tools/tasks", features, labels))
    pools = [pool for pool in pools if pool.is_answerable]

    weights = torch.tensor(fit_score.fit(pools))

    scored = [
        (float(score), float(label))
        for pool in pools
        for score, label in zip(torch.sigmoid(fit_score.logits(pool, weights)), pool.labels, strict=True)
    ]
    assert fit_score.calibration_error(scored) < 0.05


def test_where_users_ask_for_what_is_not_there_those_queries_show_it() -> None:
    query = features(1.0, count=1)[0] | {"set": "tools/tasks", "pool": "a"}
    assert not any(pool.is_none for pool in fit_score.make_pools(query))
    query |= {"labels": torch.zeros(12), "num_relevant": 0}
    whole, *others = fit_score.make_pools(query)
    assert whole.is_none
    assert not any(pool.is_none for pool in others)


def found_empty(pools: list[fit_score.Pool], weights: torch.Tensor) -> float:
    """Returns the share of catalogs without an answer below the score that 95 % of the others reach."""
    scored = [fit_score.score_top(pool, weights) for pool in pools]
    answerable, empty = ([score for score, _, fits in scored if fits is wanted] for wanted in (True, False))
    return fit_score.abstain(answerable, empty)[1]


def fitted_on_catalogs_of_different_level() -> tuple[torch.Tensor, list[fit_score.Pool]]:
    generator = torch.Generator().manual_seed(7)
    pools = []
    for number in range(600):
        features, labels = torch.zeros(40, NUM), torch.zeros(40)
        features[:, 0] = torch.randn(40, generator=generator) / 2 + 6 * torch.randn(1, generator=generator)
        if number % 3:
            features[0, 0] += 5.0
            labels[0] = 1
        pools.append(fit_score.Pool("tools/tasks", features, labels, fold=number % 2))

    return torch.tensor(fit_score.fit(pools)), pools


def test_what_moves_all_scores_of_a_request_is_that_of_the_fit() -> None:
    weights = ScoreWeights(bias=0.5, logit=1.0, contrast=0.4, usual=-1.5, best_logit=0.3, best_value=-0.7)
    values = torch.tensor([0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4, -1.5, 0.3, -0.7])
    features = torch.zeros(3, NUM)
    features[:, 0] = torch.tensor([2.0, -1.0, 0.5])
    pool = fit_score.Pool("tools/tasks", features, torch.zeros(3))

    scores = final_scores([Features(logit) for logit in (2.0, -1.0, 0.5)], weights)

    assert torch.sigmoid(fit_score.logits(pool, values)).tolist() == pytest.approx(scores)
