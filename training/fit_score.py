"""Fits the weights that combine the features into one calibrated score, on queries held out of training.

Tools and tables are fitted separately, in two steps. The first fits the direction, by listwise likelihood over each
query's candidates; every set has the same weight. The second fits scale and bias, so that the best candidate's score is
the probability that it is relevant, over whole and small catalogs. The quality is measured by fitting on all sets but
one and measuring on that one. The abstention threshold is the highest that 95 % of answerable queries reach.

    python training/fit_score.py --features build/train/features.pt --model router/models/shortlist-small
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its customary name)

from shortlist.router.checkpoints.native import read_description, write_description
from shortlist.router.ranking.score import Features, with_neighbours

FEATURES = (
    "logit", "cosine", "lexical_share", "lexical_match", "query_maxsim", "document_maxsim", "neighbour", "bridge",
)  # fmt: skip
# In these units all features have a similar spread; otherwise the penalty would act on the cosine alone.
UNITS = torch.tensor([1.0, 20.0, 2.0, 4.0, 20.0, 20.0, 1.0, 1.0])
LOGIT, SHARE = FEATURES.index("logit"), FEATURES.index("lexical_share")
COLUMN_FEATURES = ("logit", "lexical_match", "join_need")
CANDIDATES = 50
ANSWERABLE = 0.95
KEEP_RATE = 0.4
# Relative to the scale of the fitted direction, which is 1.
LEAST_SCALE = 0.1


@dataclass(frozen=True, slots=True)
class Pool:
    """One catalog for one query: features `(candidates, 8)` and labels `(candidates,)`, 1 if relevant."""

    set: str
    features: torch.Tensor
    labels: torch.Tensor

    @property
    def is_answerable(self) -> bool:
        """Whether any candidate is relevant."""
        return bool(self.labels.sum() > 0)


def main() -> None:
    """Fits the weights, prints their quality, and writes them to the model folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--variant", help="the variant to fit, instead of the model itself")
    options = parser.parse_args()
    features = torch.load(options.features, weights_only=True)
    described = read_description(options.model)
    target = described["variants"][options.variant] if options.variant else described
    target["score_weights"] = {}
    for kind in ("tools", "tables"):
        queries = [query for query in features["candidates"] if query["set"].startswith(kind)]
        pools = [pool for query in queries for pool in make_pools(query)]
        target["score_weights"][kind] = dict(zip(("bias", *FEATURES), fit(pools), strict=True))
        report(kind, pools)
    target["column_weights"] = fit_columns(features["columns"])
    write_description(options.model, described)
    print(json.dumps({"score_weights": target["score_weights"], "column_weights": target["column_weights"]}, indent=1))


def fit(pools: Sequence[Pool]) -> list[float]:
    """Fits bias and weights `(9,)`."""
    return calibrate(pools, fit_direction(pools))


def make_pools(query: dict[str, Any]) -> list[Pool]:
    """Makes a query's catalogs: whole and small ones, with and without the relevant candidates and those alike."""
    features, labels, alike = query["features"], query["labels"], query["alike"]
    ranked = torch.arange(len(labels)) < query["num_ranked"]
    whole = ranked.nonzero().flatten()[:CANDIDATES]
    without = (ranked & ~alike & (labels == 0)).nonzero().flatten()[:CANDIDATES]
    rng = random.Random(query["query"])
    wrong = [place for place in range(len(labels)) if not labels[place] and not alike[place]]
    few = rng.sample(wrong, min(len(wrong), rng.randint(3, 30)))
    answers = labels.nonzero().flatten().tolist()
    chosen = [whole, without, torch.tensor(sorted(few))]
    if answers:
        chosen.append(torch.tensor(sorted([*answers, *few])))
    joins = torch.zeros(len(labels), len(labels))
    joins[query["links"][:, 0], query["links"][:, 1]] = 1
    return [
        _pool(query["set"], features[places], labels[places], joins[places][:, places])
        for places in chosen
        if len(places) > 1
    ]


def _pool(name: str, features: torch.Tensor, labels: torch.Tensor, joins: torch.Tensor) -> Pool:
    features = torch.cat([features, joined_features(features[:, LOGIT], joins)], 1)
    features[:, SHARE] /= features[:, SHARE].max().clamp(min=1e-9)  # relative to the best match in this catalog
    return Pool(name, features, labels)


def joined_features(logits: torch.Tensor, joins: torch.Tensor) -> torch.Tensor:
    """Returns `neighbour` and `bridge` of each candidate `(candidates, 2)`, as a request computes them."""
    links = [row.nonzero().flatten().tolist() for row in joins]
    found = with_neighbours([Features(value) for value in logits.tolist()], links)
    return torch.tensor([[one.neighbour, one.bridge] for one in found]).view(-1, 2)


def fit_direction(pools: Sequence[Pool]) -> torch.Tensor:
    """Returns the weights `(8,)` that maximise the likelihood of relevant candidates among the irrelevant ones."""
    weights = torch.tensor([1.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0], requires_grad=True)
    found = [pool for pool in pools if 0 < pool.labels.sum() < len(pool.labels)]
    share = set_shares(found)

    def loss() -> torch.Tensor:
        losses = torch.stack([listwise(pool.features @ (UNITS * weights), pool.labels) for pool in found])
        return (share * losses).sum() + 1e-3 * weights.square().sum()

    minimise(loss, [weights])
    return UNITS * weights.detach()


def calibrate(pools: Sequence[Pool], direction: torch.Tensor) -> list[float]:
    """Returns bias and weights `(9,)` that make the best candidate's score the probability that it is relevant."""
    scale, bias = torch.tensor(1.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)
    # Without unanswerable catalogs; with them, scores would depend on how often callers ask for what a catalog lacks.
    pools = [pool for pool in pools if pool.is_answerable]
    tops = [top(pool, direction) for pool in pools]
    values = torch.tensor([value for value, _ in tops])
    right = torch.tensor([is_right for _, is_right in tops])
    share = set_shares(pools)

    def loss() -> torch.Tensor:
        return (share * F.binary_cross_entropy_with_logits(scale * values + bias, right, reduction="none")).sum()

    minimise(loss, [scale, bias])
    if float(scale.detach()) < LEAST_SCALE:
        # Sets whose high scores are often wrong could make the scale negative, or so small that scores round to ties.
        print(f"the fitted scale of the scores is {float(scale.detach()):.3f}; using {LEAST_SCALE}")
        scale = torch.tensor(LEAST_SCALE)
        minimise(loss, [bias])
    return [float(f"{value:.6g}") for value in (float(bias.detach()), *(scale.detach() * direction).tolist())]


def set_shares(pools: Sequence[Pool]) -> torch.Tensor:
    """Returns weights of the pools that give every set the same share; they sum to 1."""
    counts: dict[str, int] = {}
    for pool in pools:
        counts[pool.set] = counts.get(pool.set, 0) + 1
    return torch.tensor([1 / (counts[pool.set] * len(counts)) for pool in pools])


def top(pool: Pool, direction: torch.Tensor) -> tuple[float, float]:
    """Returns the best candidate's value, and 1 if it is relevant."""
    values = pool.features @ direction
    best = int(torch.argmax(values))
    return float(values[best]), float(pool.labels[best])


def listwise(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the mean cross-entropy of each relevant candidate against all irrelevant ones."""
    others = torch.logsumexp(scores[labels == 0], 0)
    relevant = scores[labels == 1]
    return (torch.logaddexp(relevant, others) - relevant).mean()


def minimise(loss: Callable[[], torch.Tensor], parameters: list[torch.Tensor]) -> None:
    """Runs L-BFGS to convergence; the problems are convex."""
    optimizer = torch.optim.LBFGS(parameters, max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


def report(kind: str, pools: Sequence[Pool]) -> None:
    """Prints hit@1 and recall@5 by set and by subset of features, then the calibration on sets left out of the fit."""

    def without(*names: str) -> torch.Tensor:
        kept = torch.tensor([float(name not in names) for name in FEATURES])
        return fit_direction([replace(pool, features=pool.features * kept) for pool in pools]) * kept

    views = {
        "cosine, words": without("logit", "query_maxsim", "document_maxsim", "neighbour", "bridge"),
        "first stage": without("logit", "neighbour", "bridge"),
        "logit": without(*FEATURES[1:]),
        "no MaxSim": without("query_maxsim", "document_maxsim"),
        "no joins": without("neighbour", "bridge"),
        "no bridges": without("bridge"),
        "all": without(),
    }
    print(f"{kind:<28}" + "".join(f"{name + ' hit@1/R@5':>20}" for name in views))
    names = list(dict.fromkeys(pool.set for pool in pools))
    means: list[list[tuple[float, float]]] = []
    for name in names:
        found = [pool for pool in pools if pool.set == name and pool.is_answerable]
        cells = [f"{hit_at_1(found, view):.2f} / {recall_at_5(found, view):.2f}" for view in views.values()]
        print(f"{name:<28}" + "".join(f"{cell:>20}" for cell in cells))
        means.append([(hit_at_1(found, view), recall_at_5(found, view)) for view in views.values()])
    cells = [f"{hit:.3f} / {recall:.3f}" for hit, recall in torch.tensor(means).mean(0).tolist()]
    print(f"{'mean':<28}" + "".join(f"{cell:>20}" for cell in cells))
    scores: list[tuple[float, float, bool]] = []
    for name in names:
        others = [pool for pool in pools if pool.set != name] if len(names) > 1 else pools
        seen = torch.tensor(calibrate(others, fit_direction(others)))
        scores += [score_top(pool, seen) for pool in pools if pool.set == name]
    answerable = [(score, right) for score, right, is_answerable in scores if is_answerable]
    empty = [score for score, _, is_answerable in scores if not is_answerable]
    threshold, under = abstain([score for score, _ in answerable], empty)
    print(
        f"{kind}, sets left out: ECE of the top score {calibration_error(answerable):.3f}, {len(answerable)} catalogs"
    )
    print(f"{kind}: 95 % of answerable queries score at least {threshold:.3f}; {under:.0%} of the others score less")


def abstain(answerable: Sequence[float], empty: Sequence[float]) -> tuple[float, float]:
    """Returns the score that 95 % of the answerable catalogs reach, and the share of the others below it."""
    threshold = sorted(answerable)[int((1 - ANSWERABLE) * len(answerable))]
    return threshold, sum(score < threshold for score in empty) / max(len(empty), 1)


def hit_at_1(pools: Sequence[Pool], direction: torch.Tensor) -> float:
    """Returns how often the best candidate is relevant."""
    return sum(top(pool, direction)[1] for pool in pools) / max(len(pools), 1)


def recall_at_5(pools: Sequence[Pool], direction: torch.Tensor) -> float:
    """Returns the share of the relevant candidates that are among the five best, as a mean over pools."""
    found = [pool.labels[torch.argsort(-(pool.features @ direction), stable=True)[:5]].sum() for pool in pools]
    return sum(float(hits / pool.labels.sum()) for hits, pool in zip(found, pools, strict=True)) / max(len(pools), 1)


def score_top(pool: Pool, weights: torch.Tensor) -> tuple[float, float, bool]:
    """Returns the best candidate's score, whether it is relevant, and whether any candidate is."""
    value, right = top(pool, weights[1:])
    return float(torch.sigmoid(torch.tensor(value) + weights[0])), right, pool.is_answerable


def calibration_error(scored: Sequence[tuple[float, float]], bins: int = 10) -> float:
    """Returns the expected calibration error over bins of equal width."""
    gathered: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
    for score, right in scored:
        gathered[min(int(score * bins), bins - 1)].append((score, right))
    gaps = [abs(sum(s for s, _ in one) - sum(r for _, r in one)) for one in gathered]
    return sum(gaps) / max(len(scored), 1)


def fit_columns(columns: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Fits the score of columns by binary cross-entropy, and prints the recall with 40 % of the columns kept.

    The recall is measured by fitting on the questions of one half of the databases and measuring on the other half,
    both ways.
    """
    databases = list(dict.fromkeys(one["group"] for one in columns))
    halves = [[one for one in columns if one["group"] in databases[start::2]] for start in (0, 1)]
    views: dict[str, list[float]] = {"logit": [], "all": []}
    for fitted, measured in (halves, halves[::-1]):
        weights = fit_column_weights(fitted)[1:]
        views["logit"] += [_column_recall(one, torch.eye(len(weights))[0]) for one in measured]
        views["all"] += [_column_recall(one, weights) for one in measured]
    for name, kept in views.items():
        print(f"columns, {name}: recall of gold columns at {KEEP_RATE:.0%} kept: {sum(kept) / len(kept):.3f}")
    fitted_on_all = (round(value, 4) for value in fit_column_weights(columns).tolist())
    return dict(zip(("bias", *COLUMN_FEATURES), fitted_on_all, strict=True))


def fit_column_weights(columns: Sequence[dict[str, Any]]) -> torch.Tensor:
    """Returns bias and weights `(4,)`."""
    weights = torch.tensor([0.0, 1.0, 0.0, 0.0], requires_grad=True)

    def loss() -> torch.Tensor:
        losses = [
            F.binary_cross_entropy_with_logits(weights[0] + one["features"] @ weights[1:], one["labels"])
            for one in columns
        ]
        return torch.stack(losses).mean() + 1e-4 * weights[1:].square().sum()

    minimise(loss, [weights])
    return weights.detach()


def _column_recall(one: dict[str, Any], weights: torch.Tensor) -> float:
    order = torch.argsort(-(one["features"] @ weights), stable=True)
    kept = order[: -(-len(order) * 4 // 10)]
    return float(one["labels"][kept].sum() / one["labels"].sum().clamp(min=1))


if __name__ == "__main__":
    main()
