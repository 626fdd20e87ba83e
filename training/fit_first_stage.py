"""Fits how much a word match adds to a cosine in the first stage, on queries held out of training.

Takes the weight with the best mean over sets of recall@50 and recall@10, and prints what every weight gives.

    python training/fit_first_stage.py --evidence build/train/first_stage.pt --model router/models/shortlist-small
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from shortlist.router.weights import read_description, write_description

WEIGHTS = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 100.0)
DEPTHS = (1, 5, 10, 50)


def main() -> None:
    """Fits, reports, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evidence", type=Path, nargs="+", required=True)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    evidence: dict[str, dict[str, Any]] = {}
    for path in options.evidence:
        evidence |= torch.load(path, weights_only=True)
    found = {weight: recalls(evidence, weight) for weight in WEIGHTS}
    names = list(found[WEIGHTS[0]])
    print(f"{'recall@' + '/'.join(map(str, DEPTHS)):<32}" + "".join(f"{weight:>22}" for weight in WEIGHTS))
    for name in names:
        cells = ["/".join(f"{value:.2f}"[-4:] for value in found[weight][name]) for weight in WEIGHTS]
        print(f"{name:<32}" + "".join(f"{cell:>22}" for cell in cells))
    means = {w: [sum(found[w][n][d] for n in names) / len(names) for d in range(len(DEPTHS))] for w in WEIGHTS}
    print(f"{'mean':<32}" + "".join(f"{'/'.join(f'{value:.3f}'[1:] for value in means[w]):>22}" for w in WEIGHTS))
    best = max(WEIGHTS, key=lambda weight: means[weight][2] + means[weight][3])
    print("best:", best)
    if options.model:
        described = read_description(options.model)
        described["retrieval"]["lexical_weight"] = best
        write_description(options.model, described)


def recalls(evidence: dict[str, dict[str, Any]], weight: float) -> dict[str, list[float]]:
    """Returns the recall at each depth by set."""
    gathered: dict[str, list[list[float]]] = {}
    for name, query in ((name, query) for name, kept in evidence.items() for query in kept["queries"]):
        cosines, shares = query["evidence"].float()
        relevant = torch.tensor(query["relevant"])
        order = torch.argsort(-(cosines + weight * shares), stable=True)[: DEPTHS[-1]]
        hits = torch.isin(order, relevant)
        gathered.setdefault(name, []).append([float(hits[:depth].sum()) / len(relevant) for depth in DEPTHS])
    return {name: torch.tensor(values).mean(0).tolist() for name, values in gathered.items()}


if __name__ == "__main__":
    main()
