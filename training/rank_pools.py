r"""Ranks the documents of each judged pool of tools for each of its queries by an encoder, to draw hard negatives.

    python training/rank_pools.py --data DATA --model MODEL --out build/train/ranks.jsonl

Writes one line a query: the name of its pool, its number in it, and the places of the documents, best first.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from judged import WISHES, JudgedSets, Pool

from shortlist import Router
from shortlist.evaluation.ranking import dataset_item
from shortlist.router.first_stage.bm25 import Bm25
from shortlist.router.first_stage.embedder import Embedder


def main() -> None:
    """Ranks all pools and saves the orders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("data", "model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--wishes", type=Path, default=WISHES, help="the folder with more judged pools")
    parser.add_argument("--ranked", type=Path, help="the orders of the first pools, known from another call")
    parser.add_argument("--share", type=float, default=1.0, help="rank only this share of the pools, for a trial")
    options = parser.parse_args()
    if options.out.exists():
        print(f"{options.out} exists already")
        return
    embedder = Router.load(options.model, cache_dir="off").embedder
    if embedder is None:
        raise SystemExit(f"{options.model} has no encoder")
    pools = JudgedSets(options.data, "train", kinds=("tools",), wishes=options.wishes).tools
    pools = pools[: math.ceil(options.share * len(pools))]
    known = options.ranked.read_text(encoding="utf-8") if options.ranked else ""
    ranked = {str(json.loads(line)["pool"]) for line in known.splitlines()}
    pools = [pool for pool in pools if pool.name not in ranked]
    part = options.out.with_suffix(".part")
    with part.open("w", encoding="utf-8") as lines:
        lines.write(known)
        for number, pool in enumerate(pools):
            for wish, order in enumerate(orders(pool, embedder)):
                lines.write(json.dumps({"pool": pool.name, "wish": wish, "order": order}) + "\n")
            if number % 50 == 0:
                print(f"{number} of {len(pools)} pools", flush=True)
    part.rename(options.out)


def orders(pool: Pool, embedder: Embedder) -> Iterator[list[int]]:
    """Yields for each query of a pool the places of its documents by cosine and words, best first."""
    items = [dataset_item(one.item, place) for place, one in enumerate(pool.documents)]
    documents = np.stack([one.vector for one in embedder.embed_documents(items) if one is not None])
    queries = np.stack([one.vector for one in embedder.embed_queries([wish.text for wish in pool.wishes])])
    words = Bm25([item.words for item in items], [item.details for item in items])
    for wish, cosines in zip(pool.wishes, queries @ documents.T, strict=True):
        by_words = words.scores(wish.text)
        scores = cosines + embedder.settings.lexical_weight * by_words / max(float(by_words.max()), 1e-9)
        yield [int(place) for place in np.argsort(-scores, kind="stable")]


if __name__ == "__main__":
    main()
