r"""Measures the cost of 8-bit layers: ranks held-out queries with the shipped folder and with the float32 runs.

    python training/rounding.py --data DATA --first-stage build/train/first_stage.pt --base build/train/base \
        --cross-encoder build/train/cross --encoder build/train/encoder --model router/models/shortlist-small
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from base import load_base_encoder
from export import TOKEN_WIDTH, load_cross_encoder, load_encoder_runs
from gather import CANDIDATES, narrowing_scores, router_of

from shortlist import Router
from shortlist.evaluation.dataset import Dataset, load_dataset
from shortlist.evaluation.ranking import dataset_item
from shortlist.router.checkpoints.native import read_folder
from shortlist.router.first_stage.candidates import Candidates


def main() -> None:
    """Compares the two and prints the differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "first-stage", "base", "model"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("cross-encoder", "encoder"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, help="the runs given to export.py")
    parser.add_argument("--queries", type=int, default=8, help="queries per set")
    options = parser.parse_args()
    rounded = read_folder(options.model)
    encoder, _ = load_base_encoder(options.base, token_width=TOKEN_WIDTH)
    load_encoder_runs(encoder, *options.encoder)
    whole = replace(rounded, model=load_cross_encoder(options.base, *options.cross_encoder), encoder=encoder)
    routers = [router_of(rounded), router_of(whole)]
    features: dict[str, Any] = torch.load(options.first_stage, weights_only=True)
    gaps = []
    print(f"{'set':<28}{'8 bits: hit@1, recall@5':>26}{'float':>16}")
    for name, kept in features.items():
        queries = random.Random(name).sample(kept["queries"], min(options.queries, len(kept["queries"])))
        data = load_dataset(options.data / name, only=set(kept["ids"]))
        kind = name.partition("/")[0]
        found = [mean([measure(router, data, kind, query) for query in queries]) for router in routers]
        gaps.append([mine - other for mine, other in zip(*found, strict=True)])
        print(f"{name:<28}{found[0][0]:>19.3f}, {found[0][1]:.3f}{found[1][0]:>9.3f}, {found[1][1]:.3f}", flush=True)
    hit, recall = mean(gaps)
    print(f"mean difference: hit@1 {hit:+.4f}, recall@5 {recall:+.4f} over {len(gaps)} sets")


def measure(router: Router, data: Dataset, kind: str, query: dict[str, Any]) -> list[float]:
    """Ranks the candidates of the shipped first stage with one router; returns hit@1 and recall@5."""
    assert router.embedder is not None
    order = torch.argsort(-narrowing_scores(query["features"].float(), router.embedder.settings), stable=True)
    chosen = order[:CANDIDATES].tolist()
    items = Candidates([dataset_item(data.documents[place].item, place) for place in chosen])
    scored, _ = router.score_items(query["query"], items, kind)
    best = [chosen[one.place] for one in sorted(scored, key=lambda one: (-one.score, one.place))[:5]]
    relevant = set(query["relevant"])
    return [float(best[0] in relevant), len(relevant & set(best)) / len(relevant)]


def mean(rows: list[list[float]]) -> list[float]:
    """Returns the mean of each column."""
    return [sum(column) / len(column) for column in zip(*rows, strict=True)]


if __name__ == "__main__":
    main()
