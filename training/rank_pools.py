r"""Ranks the documents of each judged pool of tools for each of its queries by an encoder, to draw hard negatives.

    python training/rank_pools.py --data DATA --model MODEL --out build/train/ranks.jsonl

Writes one line a query: the numbers of its pool and of the query in it, and the places of the documents, best first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from judged import JudgedSets, Pool

from shortlist import Router
from shortlist.evaluation.ranking import dataset_item
from shortlist.router.first_stage.candidates import Candidates
from shortlist.router.first_stage.embedder import Embedder


def main() -> None:
    """Ranks all pools and saves the orders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    if options.out.exists():
        print(f"{options.out} exists already")
        return
    embedder = Router.load(options.model).embedder
    if embedder is None:
        raise SystemExit(f"{options.model} has no encoder")
    pools = JudgedSets(options.data, "train", kinds=("tools",)).tools
    part = options.out.with_suffix(".part")
    with part.open("w", encoding="utf-8") as lines:
        for number, pool in enumerate(pools):
            for wish, order in enumerate(orders(pool, embedder)):
                lines.write(json.dumps({"pool": number, "wish": wish, "order": order}) + "\n")
            if number % 50 == 0:
                print(f"{number} of {len(pools)} pools", flush=True)
    part.rename(options.out)


def orders(pool: Pool, embedder: Embedder) -> Iterator[list[int]]:
    """Yields for each query of a pool the places of its documents, best first."""
    candidates = Candidates([dataset_item(one.item, place) for place, one in enumerate(pool.documents)])
    for wish in pool.wishes:
        scores = candidates.first_stage(wish.text, embedder).scores
        yield [int(place) for place in np.argsort(-scores, kind="stable")]


if __name__ == "__main__":
    main()
