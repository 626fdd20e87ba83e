"""Fits the weights that combine the features into one calibrated score, on queries held out of training.

Tools, tables and plain documents are fitted separately, in three steps. The first fits the direction, by listwise
likelihood over each query's candidates. The second fits what tells whether anything fits: the best candidate's value,
the highest logit, and how far the mean is above the usual one. This moves all candidates alike. Documents have no such
term, since callers send any selection of them. The third fits scale and bias, so that the best candidate's score is the
probability that it is relevant, over whole and small catalogs, and how far the others are below it. Sets have the same
weight, but judged ones half of all.

The quality is measured by fitting on four fifths of the sets and judged pools, and measuring on the rest. The
abstention threshold is the highest that 95 % of answerable queries reach.

    python training/fit_score.py --features build/train/features.pt build/train/judged.pt \
        --model router/models/shortlist-small
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (its customary name)

from shortlist.router.checkpoints.native import read_description, write_description
from shortlist.router.ranking.join_paths import join_evidence
from shortlist.router.ranking.score import FEW

FEATURES = (
    "logit", "cosine", "lexical_share", "lexical_match", "query_maxsim", "document_maxsim", "part_cosine", "neighbour",
    "bridge",
)  # fmt: skip
# In these units all features have a similar spread; otherwise the penalty would act on the cosine alone.
UNITS = torch.tensor([1.0, 20.0, 2.0, 4.0, 20.0, 20.0, 20.0, 1.0, 1.0])
LOGIT, SHARE = FEATURES.index("logit"), FEATURES.index("lexical_share")
# The last two come from the joins and the values of the other features.
OWN = len(FEATURES) - 2
ROUNDS = 4
SHIFT = ("contrast", "usual", "best_logit", "best_value")
WEIGHTS = ("bias", *FEATURES, *SHIFT)
KINDS = {"tools": "tools/", "tables": "tables/", "documents": "docs/"}
SHIFTED = ("tools", "tables")
# Sets whose candidates are all judged; together they count as much as all other sets of their kind.
JUDGED = ("tools/tasks", "tables/real_schemas")
JUDGED_SHARE = 0.5
# Of a candidate that would do as well as the needed ones, which has no part in the fit of the direction.
ACCEPTABLE = 0.5
FOLDS = 5
MOST_CONTRAST = 0.95
COLUMN_FEATURES = ("logit", "lexical_match", "join_need")
CANDIDATES = 50
ANSWERABLE = 0.95
KEEP_RATE = 0.4
# Relative to the scale of the fitted direction, which is 1.
LEAST_SCALE = 0.1


@dataclass(frozen=True, slots=True)
class Pool:
    """One catalog for one query: features `(candidates, 9)`, those of joins 0, and labels `(candidates,)`.

    A label is 1 if the candidate is relevant, `ACCEPTABLE` if it would do as well, else 0. `fold` is the part in which
    all queries with the same candidates are left out of a fit together. `is_none` says that the query is one that
    nothing fits, instead of one whose relevant candidates were taken out. `links` are the candidates that each joins.
    """

    set: str
    features: torch.Tensor
    labels: torch.Tensor
    fold: int = 0
    is_none: bool = False
    links: tuple[tuple[int, ...], ...] = ()

    @property
    def is_answerable(self) -> bool:
        """Whether any candidate is relevant."""
        return bool(self.labels.sum() > 0)


def main() -> None:
    """Fits the weights, prints their quality, and writes them to the model folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, nargs="+", required=True, help="of gather.py and gather_judged.py")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--variant", help="the variant to fit, instead of the model itself")
    options = parser.parse_args()
    candidates, columns = load(options.features)
    described = read_description(options.model)
    target = described["variants"][options.variant] if options.variant else described
    target.setdefault("score_weights", {})
    for kind, prefix in KINDS.items():
        queries = [query for query in candidates if query["set"].startswith(prefix)]
        pools = [pool for query in queries for pool in make_pools(query)]
        if pools:
            target["score_weights"][kind] = dict(zip(WEIGHTS, fit(pools, kind in SHIFTED), strict=True))
            report(kind, pools)
    if columns:
        target["column_weights"] = fit_columns(columns)
    write_description(options.model, described)
    print(json.dumps({"score_weights": target["score_weights"], "column_weights": target["column_weights"]}, indent=1))


def load(paths: Sequence[Path]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the gathered queries and columns of several files."""
    files = [torch.load(path, weights_only=True) for path in paths]
    candidates = [query for file in files for query in file["candidates"]]
    return candidates, [one for file in files for one in file["columns"]]


def fit(pools: Sequence[Pool], has_shift: bool = True) -> list[float]:
    """Fits the values of `WEIGHTS`, `(14,)`."""
    direction = fit_direction(pools)
    usual = usual_mean(pools, direction) if has_shift else 0.0
    return calibrate(pools, direction, usual, fit_shift(pools, direction, usual) if has_shift else None)


def make_pools(query: dict[str, Any]) -> list[Pool]:
    """Makes a query's catalogs: whole and small ones, with and without the relevant candidates and those alike."""
    features, labels, alike = query["features"], query["labels"], query["alike"]
    if query["set"] in JUDGED:
        labels = torch.where(alike & (labels == 0), ACCEPTABLE, labels)
    ranked = torch.arange(len(labels)) < query["num_ranked"]
    whole = ranked.nonzero().flatten()[:CANDIDATES]
    without = (ranked & ~alike & (labels == 0)).nonzero().flatten()[:CANDIDATES]
    rng = random.Random(query["query"])
    wrong = [place for place in range(len(labels)) if not labels[place] and not alike[place]]
    few = rng.sample(wrong, min(len(wrong), rng.randint(3, 30)))
    answers = (labels == 1).nonzero().flatten().tolist()
    fold = zlib.crc32(query.get("pool", query["set"]).encode()) % FOLDS
    chosen = [whole, without, torch.tensor(sorted(few))]
    if answers:
        chosen.append(torch.tensor(sorted([*answers, *few])))
    joins = torch.zeros(len(labels), len(labels))
    joins[query["links"][:, 0], query["links"][:, 1]] = 1
    made = [
        Pool(query["set"], _catalog(features[places]), labels[places], fold, links=_links(joins[places][:, places]))
        for places in chosen
        if len(places) > 1
    ]
    return [replace(pool, is_none=place == 0 and not query["num_relevant"]) for place, pool in enumerate(made)]


def _catalog(features: torch.Tensor) -> torch.Tensor:
    features = torch.cat([features, torch.zeros(len(features), len(FEATURES) - OWN)], 1)
    features[:, SHARE] /= features[:, SHARE].max().clamp(min=1e-9)  # relative to the best match in this catalog
    return features


def _links(joins: torch.Tensor) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row.nonzero().flatten().tolist()) for row in joins) if joins.any() else ()


def joined(pool: Pool, direction: torch.Tensor) -> torch.Tensor:
    """Returns all features `(candidates, 9)`, with those of joins as a request with these weights has them."""
    if not pool.links:
        return pool.features
    values = (pool.features[:, :OWN] @ direction[:OWN]).tolist()
    return torch.cat([pool.features[:, :OWN], torch.tensor(join_evidence(values, pool.links))], 1)


def values_of(pool: Pool, direction: torch.Tensor) -> torch.Tensor:
    """Returns the weighted sum of each candidate's features, `(candidates,)`."""
    return joined(pool, direction) @ direction


def scaled(direction: torch.Tensor, scale: float) -> torch.Tensor:
    """Returns the direction with which all values are `scale` times as large; those of joins are already."""
    return torch.cat([scale * direction[:OWN], direction[OWN:]])


def fit_direction(pools: Sequence[Pool], used: torch.Tensor | None = None) -> torch.Tensor:
    """Returns the weights `(9,)` that maximise the likelihood of relevant candidates among the irrelevant ones.

    `used` says with 0 which features have no part. Joins tell by the other features' values, so that these weights are
    found in rounds, the first without joins.
    """
    used = torch.ones(len(FEATURES)) if used is None else used
    without = torch.cat([used[:OWN], torch.zeros(len(FEATURES) - OWN)])
    direction = _fit_direction(pools, without, torch.zeros(len(FEATURES)))
    if any(pool.links for pool in pools) and used[OWN:].any():
        for _ in range(ROUNDS):
            direction = _fit_direction(pools, used, direction)
    return direction


def _fit_direction(pools: Sequence[Pool], used: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor([1.0, 0.5, 0.5, *[0.0] * (len(FEATURES) - 3)], requires_grad=True)
    found = [pool for pool in pools if (pool.labels == 1).any() and (pool.labels == 0).any()]
    share = set_shares(found)
    labels = torch.nn.utils.rnn.pad_sequence([one.labels for one in found], batch_first=True, padding_value=torch.nan)
    features = torch.nn.utils.rnn.pad_sequence([joined(one, known) for one in found], batch_first=True)

    def loss() -> torch.Tensor:
        losses = listwise(features @ (UNITS * used * weights), labels)
        return (share * losses).sum() + 1e-3 * weights.square().sum()

    minimise(loss, [weights])
    return UNITS * used * weights.detach()


def fit_shift(pools: Sequence[Pool], direction: torch.Tensor, usual: float) -> torch.Tensor:
    """Returns the weights (>= 0) of the best value, the highest logit and minus the excess, `(3,)`.

    They are the ones that best tell catalogs that have an answer from those that have none, in judged sets if there are
    any: in others, what is left of a catalog without its answers often has some that would do.
    """
    pools = [pool for pool in pools if pool.set in JUDGED] or pools
    # Where users ask for what is not there, those queries show it better than catalogs without their answers.
    asked = {pool.set for pool in pools if pool.is_none}
    pools = [pool for pool in pools if pool.is_answerable or pool.is_none or pool.set not in asked]
    known, fits = evidence(pools, direction, usual), torch.tensor([float(pool.is_answerable) for pool in pools])
    plain = torch.tensor([1.0, 0.0, 0.0])
    if fits.min() == fits.max():
        return plain
    share = set_shares(pools)
    for is_answerable in (0, 1):  # both sides count the same, however often callers ask for what is not there
        share[fits == is_answerable] /= share[fits == is_answerable].sum().clamp(min=1e-9)
    used = torch.ones(known.shape[1])
    while True:
        weights, bias = torch.zeros(known.shape[1], requires_grad=True), torch.tensor(0.0, requires_grad=True)

        def loss(weights: torch.Tensor = weights, bias: torch.Tensor = bias, used: torch.Tensor = used) -> torch.Tensor:
            logits = known @ (used * weights) + bias
            losses = F.binary_cross_entropy_with_logits(logits, fits, reduction="none")
            return (share * losses).sum() + 1e-3 * weights.square().sum()

        minimise(loss, [weights, bias])
        found = used * weights.detach()
        if bool((found >= 0).all()):
            break
        used = used * (found >= 0)  # with a negative weight, a better candidate would lower the scores
    best, logit, excess = found.tolist()
    # If all candidates are better by the same, so are their scores.
    of_logit = float(direction[LOGIT])
    most = MOST_CONTRAST * (best + (logit / of_logit if of_logit > 0 else 0.0))
    found = torch.tensor([best, logit, min(excess, most)])
    return found if best + logit > 0 else plain


def evidence(pools: Sequence[Pool], direction: torch.Tensor, usual: float) -> torch.Tensor:
    """Returns each catalog's best value, its highest logit, and minus its excess, `(pools, 3)`."""
    best, _ = tops(pools, direction)
    highest = torch.tensor([float(pool.features[:, LOGIT].max()) for pool in pools])
    return torch.stack([best, highest, -excesses(pools, direction, usual)], 1)


def calibrate(pools: Sequence[Pool], direction: torch.Tensor, usual: float, shift: torch.Tensor | None) -> list[float]:
    """Returns the values of `WEIGHTS` that make the best candidate's score the probability that it is relevant."""
    scale, bias = torch.tensor(1.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)
    # Without unanswerable catalogs; with them, scores would depend on how often callers ask for what a catalog lacks.
    pools = [pool for pool in pools if pool.is_answerable]
    best, right = tops(pools, direction)
    values = best if shift is None else evidence(pools, direction, usual) @ shift
    share = set_shares(pools)

    def loss() -> torch.Tensor:
        return (share * F.binary_cross_entropy_with_logits(scale * values + bias, right, reduction="none")).sum()

    minimise(loss, [scale, bias])
    if float(scale.detach()) < LEAST_SCALE:
        # Sets whose high scores are often wrong could make the scale negative, or so small that scores round to ties.
        print(f"the fitted scale of the scores is {float(scale.detach()):.3f}; using {LEAST_SCALE}")
        scale = torch.tensor(LEAST_SCALE)
        minimise(loss, [bias])
    fitted, moved = float(scale.detach()), float(bias.detach())
    if shift is None:
        return _rounded([moved, *scaled(direction, fitted).tolist(), 0.0, 0.0, 0.0, 0.0])
    spread = fit_spread(pools, direction, fitted * values + moved)
    of_best, of_logit, of_excess = (fitted * shift).tolist()
    moves = [of_excess / spread, spread * usual, of_logit, of_best / spread - 1]
    return _rounded([moved, *scaled(direction, spread).tolist(), *moves])


def fit_spread(pools: Sequence[Pool], direction: torch.Tensor, best: torch.Tensor) -> float:
    """Returns by how much the others' logits are below the `best` `(pools,)`, per unit of their values, LEAST_SCALE.. .

    It is the one with which all candidates' scores are closest to the probability that they are relevant.
    """
    found = [values_of(pool, direction) for pool in pools]
    values = torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=-torch.inf)
    labels = torch.nn.utils.rnn.pad_sequence([one.labels for one in pools], batch_first=True, padding_value=torch.nan)
    below = (values - values.max(1, keepdim=True).values).masked_fill(labels.isnan(), 0.0)
    share = set_shares(pools) / (~labels.isnan()).sum(1)
    right = (labels > 0).float()
    spread = torch.tensor(1.0, requires_grad=True)

    def loss() -> torch.Tensor:
        losses = F.binary_cross_entropy_with_logits(best[:, None] + spread * below, right, reduction="none")
        return (share * losses.masked_fill(labels.isnan(), 0.0).sum(1)).sum()

    minimise(loss, [spread])
    return max(float(spread.detach()), LEAST_SCALE)


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def usual_mean(pools: Sequence[Pool], direction: torch.Tensor) -> float:
    """Returns the mean over catalogs of the mean value of their candidates."""
    means = torch.tensor([float(values_of(pool, direction).mean()) for pool in pools])
    return float((set_shares(pools) * means).sum())


def excesses(pools: Sequence[Pool], direction: torch.Tensor, usual: float) -> torch.Tensor:
    """Returns how far each catalog's mean value is above the usual one, less for few candidates, `(pools,)`."""
    values = [values_of(pool, direction) - usual for pool in pools]
    return torch.tensor([float(one.sum()) / (len(one) + FEW) for one in values])


def set_shares(pools: Sequence[Pool]) -> torch.Tensor:
    """Returns weights of the pools, which sum to 1: sets share equally, but judged ones have half of all."""
    counts: dict[str, int] = {}
    for pool in pools:
        counts[pool.set] = counts.get(pool.set, 0) + 1
    judged = [name for name in counts if name in JUDGED]
    num_others = len(counts) - len(judged)
    of_judged = JUDGED_SHARE if num_others else 1.0
    of_others = 1 - JUDGED_SHARE if judged else 1.0
    share = {name: of_judged / len(judged) if name in judged else of_others / num_others for name in counts}
    return torch.tensor([share[pool.set] / counts[pool.set] for pool in pools])


def logits(pool: Pool, weights: torch.Tensor) -> torch.Tensor:
    """Returns the logit of each candidate's score, `(candidates,)`; `weights` are `WEIGHTS`."""
    contrast, usual, best_logit, best_value = weights[-len(SHIFT) :].tolist()
    direction = weights[1 : -len(SHIFT)]
    best, highest, below = evidence([pool], direction, usual)[0].tolist()
    return weights[0] + values_of(pool, direction) + best_value * best + best_logit * highest + contrast * below


def top(pool: Pool, direction: torch.Tensor) -> tuple[float, float]:
    """Returns the best candidate's value, and 1 if it is relevant or acceptable."""
    values = values_of(pool, direction)
    best = int(torch.argmax(values))
    return float(values[best]), float(pool.labels[best] > 0)


def tops(pools: Sequence[Pool], direction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the best candidate's value in each catalog, and whether it is right."""
    found = [top(pool, direction) for pool in pools]
    return torch.tensor([value for value, _ in found]), torch.tensor([right for _, right in found])


def listwise(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns for each pool the mean cross-entropy of each relevant candidate against all irrelevant ones, `(pools,)`.

    Both arguments are `(pools, candidates)`.
    """
    others = torch.logsumexp(scores.masked_fill(labels != 0, -torch.inf), 1, keepdim=True)
    relevant = (labels == 1).float()
    return ((torch.logaddexp(scores, others) - scores) * relevant).sum(1) / relevant.sum(1)


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
        return fit_direction(pools, torch.tensor([float(name not in names) for name in FEATURES]))

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
        if not found:
            continue
        cells = [f"{hit_at_1(found, view):.2f} / {recall_at_5(found, view):.2f}" for view in views.values()]
        print(f"{name:<28}" + "".join(f"{cell:>20}" for cell in cells))
        means.append([(hit_at_1(found, view), recall_at_5(found, view)) for view in views.values()])
    cells = [f"{hit:.3f} / {recall:.3f}" for hit, recall in torch.tensor(means).mean(0).tolist()]
    print(f"{'mean':<28}" + "".join(f"{cell:>20}" for cell in cells))
    scores: list[tuple[float, float, bool]] = []
    left_out: list[Pool] = []
    for fold in sorted({pool.fold for pool in pools}):
        seen = torch.tensor(fit([pool for pool in pools if pool.fold != fold] or pools, kind in SHIFTED))
        left_out += (own := [pool for pool in pools if pool.fold == fold])
        scores += [score_top(pool, seen) for pool in own]
    for part, is_part in (("judged", True), ("other", False)):
        chosen = [score for score, pool in zip(scores, left_out, strict=True) if (pool.set in JUDGED) is is_part]
        if chosen:
            report_calibration(f"{kind}, {part} sets, left out", chosen)


def report_calibration(name: str, scores: Sequence[tuple[float, float, bool]]) -> None:
    """Prints how well the best scores tell right from wrong, and whether anything fits."""
    answerable = [(score, right) for score, right, is_answerable in scores if is_answerable]
    empty = [score for score, _, is_answerable in scores if not is_answerable]
    print(
        f"{name}: {sum(right for _, right in answerable) / len(answerable):.3f} right; "
        f"ECE of the top score {calibration_error(answerable):.3f}, {len(answerable)} catalogs"
    )
    if empty:
        threshold, under = abstain([score for score, _ in answerable], empty)
        print(f"{name}: 95 % of answerable queries score at least {threshold:.3f}; {under:.0%} of the others less")


def abstain(answerable: Sequence[float], empty: Sequence[float]) -> tuple[float, float]:
    """Returns the score that 95 % of the answerable catalogs reach, and the share of the others below it."""
    threshold = sorted(answerable)[int((1 - ANSWERABLE) * len(answerable))]
    return threshold, sum(score < threshold for score in empty) / max(len(empty), 1)


def hit_at_1(pools: Sequence[Pool], direction: torch.Tensor) -> float:
    """Returns how often the best candidate is relevant."""
    return sum(top(pool, direction)[1] for pool in pools) / max(len(pools), 1)


def recall_at_5(pools: Sequence[Pool], direction: torch.Tensor) -> float:
    """Returns the share of the relevant candidates that are among the five best, as a mean over pools."""
    needed = [(pool.labels == 1).float() for pool in pools]
    orders = [torch.argsort(-values_of(pool, direction), stable=True)[:5] for pool in pools]
    recalls = [float(one[order].sum() / one.sum().clamp(min=1)) for one, order in zip(needed, orders, strict=True)]
    return sum(recalls) / max(len(pools), 1)


def score_top(pool: Pool, weights: torch.Tensor) -> tuple[float, float, bool]:
    """Returns the best candidate's score, whether it is relevant, and whether any candidate is."""
    _, right = top(pool, weights[1 : -len(SHIFT)])
    return float(torch.sigmoid(logits(pool, weights).max())), right, pool.is_answerable


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
