"""Fits the weights that the first stage gives to words and MaxSim beside the cosine, on held-out queries.

Chooses the pair of weights with the best mean over sets of recall@50 and recall@10; prints the recalls of all pairs.

    python training/fit_first_stage.py --features build/train/first_stage.pt --model router/models/shortlist-small
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from gather import narrowing_scores

from shortlist.router.checkpoints.native import read_description, write_description
from shortlist.router.first_stage.embedder import RetrievalSettings

LEXICAL = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
MAXSIM = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
WEIGHTS = [(lexical, maxsim) for maxsim in MAXSIM for lexical in (LEXICAL if maxsim < 2 else (*LEXICAL[1:], 0.6, 1.0))]
DEPTHS = (1, 5, 10, 50)
Features = dict[str, dict[str, Any]]  # as mine.py saves them
Rows = dict[str, torch.Tensor]  # set → (queries, measures)


def main() -> None:
    """Fits the weights, prints the recalls, and writes the weights to the model folder if one is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=Path, nargs="+", required=True)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    features: Features = {}
    for path in options.features:
        features |= torch.load(path, weights_only=True)
    best, found = fit(features)
    means = {weights: mean_over_sets(rows).tolist() for weights, rows in found.items()}
    print(f"{'words, MaxSim':<28}recall@" + "/".join(map(str, DEPTHS)))
    for (lexical, maxsim), values in means.items():
        print(f"{f'{lexical:g}, {maxsim:g}':<28}" + "/".join(f"{value:.3f}"[1:] for value in values))
    print("best:", best)
    for name in features:
        cells = (
            "/".join(f"{value:.2f}"[-4:] for value in found[weights][name].mean(0).tolist())
            for weights in ((0.1, 0.0), best)
        )
        print(f"{name:<32}" + "".join(f"{cell:>22}" for cell in cells))
    if options.model:
        described = read_description(options.model)
        described["retrieval"]["lexical_weight"], described["retrieval"]["maxsim_weight"] = best
        write_description(options.model, described)


def fit(features: Features) -> tuple[tuple[float, float], dict[tuple[float, float], Rows]]:
    """Returns the best weights, and the recalls of all."""
    found = {weights: recalls(features, *weights) for weights in WEIGHTS}
    return max(WEIGHTS, key=lambda weights: float(mean_over_sets(found[weights])[2:].sum())), found


def mean_over_sets(rows: Rows) -> torch.Tensor:
    """Returns the mean over sets of the means over queries, `(measures,)`."""
    return torch.stack([one.mean(0) for one in rows.values()]).mean(0)


def recalls(features: Features, lexical: float, maxsim: float) -> Rows:
    """Returns the recall of each query at each depth, by set."""
    gathered: dict[str, list[list[float]]] = {}
    for name, query in ((name, query) for name, kept in features.items() for query in kept["queries"]):
        known = query["features"].float()
        relevant = torch.tensor(query["relevant"])
        order = torch.argsort(-narrowing_scores(known, RetrievalSettings(0, lexical, 0, maxsim)), stable=True)[
            : DEPTHS[-1]
        ]
        hits = torch.isin(order, relevant)
        gathered.setdefault(name, []).append([float(hits[:depth].sum()) / len(relevant) for depth in DEPTHS])
    return {name: torch.tensor(values) for name, values in gathered.items()}


if __name__ == "__main__":
    main()
