"""Compares two models on the same held-out queries, from the features of each that `gather.py` or `mine.py` saved.

Features of `gather.py` compare cross-encoders if both were gathered with the same first stage, and whole models if each
was gathered with its own. A document that a first stage missed counts as not found. Each set is scored with weights
fitted on the other sets. Features of `mine.py` compare first stages, each with the weights that fit it best. Every
difference has its 95 % interval over 2,000 resamples of the queries within each set.

    python training/compare.py build/train/features-old.pt build/train/features-new.pt
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fit_first_stage import DEPTHS, Features, Rows, fit
from fit_first_stage import mean_over_sets as mean
from fit_score import Pool, abstain, logits, make_pools
from fit_score import fit as fit_score

MEASURES = ("hit@1", "recall@3", "recall@5")
RESAMPLINGS = 2_000
# set → query → for each of its catalogs: the best score, and whether the catalog holds a relevant document
Bests = dict[str, list[list[tuple[float, bool]]]]


def main() -> None:
    """Prints the means over sets and their differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    options = parser.parse_args()
    old, new = (torch.load(path, weights_only=True) for path in (options.old, options.new))
    if "candidates" in old:
        compare_models(old["candidates"], new["candidates"])
    else:
        compare_first_stages(old, new)


def compare_first_stages(old: Features, new: Features) -> None:
    """Prints the recall of the first stages at each depth."""
    if [asked(old, name) for name in old] != [asked(new, name) for name in new]:
        raise SystemExit("the files have different queries; mine both with the same --data, --seed and --max-corpus")
    (old_weights, old_rows), (new_weights, new_rows) = fit(old), fit(new)
    for kind in ("tools", "tables"):
        before, after = (
            {name: rows for name, rows in found.items() if name.startswith(kind)}
            for found in (old_rows[old_weights], new_rows[new_weights])
        )
        if before:
            report(kind, before, after, [f"recall@{depth}" for depth in DEPTHS])


def asked(features: Features, name: str) -> tuple[str, list[str]]:
    """Returns the name of a set and its queries."""
    return name, [query["query"] for query in features[name]["queries"]]


def report(kind: str, before: Rows, after: Rows, measures: Sequence[str]) -> None:
    """Prints the means over sets with the interval of their difference, then the means of each set."""
    print(f"{kind}, {sum(map(len, before.values()))} queries of {len(before)} sets")
    low, high = interval({name: after[name] - before[name] for name in before})
    for place, name in enumerate(measures):
        was, now = (float(mean(rows)[place]) for rows in (before, after))
        print(f"  {name:<10} {was:.3f} -> {now:.3f}  [{low[place]:+.3f}, {high[place]:+.3f}]")
    for name in before:
        pairs = zip(before[name].mean(0).tolist(), after[name].mean(0).tolist(), strict=True)
        print(f"    {name:<30} " + "  ".join(f"{was:.2f} -> {now:.2f}" for was, now in pairs))


def compare_models(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> None:
    """Prints the quality of the final score, and how often it stays low for catalogs without a relevant document."""
    if [query["query"] for query in old] != [query["query"] for query in new]:
        raise SystemExit("the files have different queries; gather both with the same --first-stage and --queries")
    for kind in ("tools", "tables"):
        (before, bests_before), (after, bests_after) = (measure(features, kind) for features in (old, new))
        report(kind, before, after, MEASURES)
        low, high = abstention_interval(bests_before, bests_after)
        was, now = map(abstention, (bests_before, bests_after))
        print(f"  nothing relevant, score below the threshold {was:.2f} -> {now:.2f}  [{low:+.2f}, {high:+.2f}]")


def measure(features: Sequence[dict[str, Any]], kind: str) -> tuple[Rows, Bests]:
    """Measures every set with weights fitted on the others; also returns the best score of each catalog."""
    pools = {
        number: [pool for pool in make_pools(query) if len(pool.labels) > 1]
        for number, query in enumerate(features)
        if query["set"].startswith(kind)
    }
    rows: Rows = {}
    bests: Bests = {}
    for name in dict.fromkeys(own[0].set for own in pools.values()):
        others = [pool for own in pools.values() for pool in own if pool.set != name]
        weights = torch.tensor(fit_score(others))
        mine = {number: own for number, own in pools.items() if own[0].set == name}
        rows[name] = torch.tensor([
            values(own[0], weights, features[number]["num_relevant"]) for number, own in mine.items()
        ])  # fmt: skip
        bests[name] = [
            [(float(torch.sigmoid(logits(pool, weights).max())), pool.is_answerable) for pool in own]
            for own in mine.values()
        ]
    return rows, bests


def abstention(bests: Bests) -> float:
    """Returns the share of catalogs without a relevant document whose best score is below the abstention threshold.

    95 % of the catalogs with a relevant document reach that threshold.
    """
    scores = [score for queries in bests.values() for query in queries for score in query]
    with_answer, without = ([best for best, has_one in scores if has_one == wanted] for wanted in (True, False))
    return abstain(with_answer, without)[1]


def values(pool: Pool, weights: torch.Tensor, num_relevant: int) -> list[float]:
    """Measures the ranking of a query's whole catalog; recall counts all relevant documents, dropped ones included."""
    order = torch.argsort(-logits(pool, weights), stable=True)
    labels = pool.labels[order]
    return [float(labels[0] > 0), *(float((labels[:k] == 1).sum()) / num_relevant for k in (3, 5))]


def interval(differences: Rows, seed: int = 1) -> tuple[list[float], list[float]]:
    """Returns the bounds of the middle 95 % of the mean over sets; queries are resampled within each set."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(RESAMPLINGS):
        again = {
            name: one[torch.randint(len(one), (len(one),), generator=generator)] for name, one in differences.items()
        }
        drawn.append(mean(again))
    bounds = torch.quantile(torch.stack(drawn), torch.tensor([0.025, 0.975]), dim=0)
    return bounds[0].tolist(), bounds[1].tolist()


def abstention_interval(before: Bests, after: Bests, seed: int = 1) -> tuple[float, float]:
    """Returns the bounds of the middle 95 % of the difference; queries are resampled within each set."""
    rng = random.Random(seed)
    drawn = []
    for _ in range(RESAMPLINGS):
        again = {name: rng.choices(range(len(queries)), k=len(queries)) for name, queries in before.items()}
        was, now = (
            abstention({name: [bests[name][number] for number in again[name]] for name in again})
            for bests in (before, after)
        )
        drawn.append(now - was)
    drawn.sort()
    return drawn[int(0.025 * RESAMPLINGS)], drawn[int(0.975 * RESAMPLINGS)]


if __name__ == "__main__":
    main()
