r"""Draws the pools of passages that the quality of plain reranking is measured on, once, and keeps their ids.

For a sample of each set's dev questions, a pool is the answer and its 29 nearest passages: by BM25 and by the untrained
base encoder in turns. Passages that say the same in another language are left out.

    python benchmarks/passage_pools.py --data DATA --out benchmarks/passage_pools.json.gz
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt
from base_embedder import make_base_folder

from shortlist import Router
from shortlist.evaluation.dataset import Dataset, DatasetQuery, load_dataset
from shortlist.evaluation.ranking import dataset_item
from shortlist.router.first_stage.bm25 import Bm25
from shortlist.router.first_stage.embedder import Embedder

__all__ = ["POOLS", "is_across", "pooled", "read_pools"]

POOLS = Path(__file__).with_name("passage_pools.json.gz")
SIZE = 30
SEED = 0
# Passages of a larger set are sampled down to so many, the answers among them.
MAX_PASSAGES = {"docs": 300, "qa": 600, "code": 800, "tldr": 600}
QUESTIONS = {"docs": 10, "qa": 40, "code": 80, "tldr": 20}  # of each `src`

Pools = dict[str, dict[str, list[str]]]


def main() -> None:
    """Draws the pools of all sets and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with docs/")
    parser.add_argument("--out", type=Path, default=POOLS)
    parser.add_argument("--base", type=Path, default=Path("build/train/base"))
    parser.add_argument("--base-embedder", type=Path, default=Path("build/base-embedder"))
    options = parser.parse_args()
    embedder = Router.load(make_base_folder(options.base, options.base_embedder)).embedder
    assert embedder is not None
    drawn: Pools = {}
    for folder in sorted((options.data / "docs").iterdir()):
        if folder.name.partition("_")[0] in QUESTIONS:
            drawn[folder.name] = dict(draw(load_dataset(folder), embedder))
            print(f"{folder.name}: {len(drawn[folder.name])} pools", flush=True)
    options.out.write_bytes(gzip.compress(json.dumps(drawn).encode(), mtime=0))


def read_pools(path: Path = POOLS) -> Pools:
    """Reads the pools: by set and by query, the ids of the passages."""
    found: Pools = json.loads(gzip.decompress(path.read_bytes()))
    return found


def pooled(data: Dataset, pools: dict[str, list[str]]) -> Dataset:
    """Returns a set with the queries that have a pool, each with that pool as its candidates."""
    queries = tuple(replace(q, candidates=tuple(pools[q.id])) for q in data.queries if q.id in pools)
    return replace(data, queries=queries)


def is_across(query: DatasetQuery) -> bool:
    """Whether the passage that answers is in another language than the question."""
    return query.style.endswith("-cross")


def draw(data: Dataset, embedder: Embedder) -> Iterator[tuple[str, list[str]]]:
    """Yields the id of each question of a set's sample, and the ids of its pool in random order."""
    rng = random.Random(f"{SEED} {data.name}")
    kind = data.name.partition("_")[0]
    questions: list[DatasetQuery] = []
    dev = data.split("dev")
    for style in sorted({query.style for query in dev}):
        own = [query for query in dev if query.style == style]
        questions += rng.sample(own, min(len(own), QUESTIONS[kind]))
    passages = Passages.of(data, choose_passages(data, questions, MAX_PASSAGES[kind], rng), embedder)
    for question in questions:
        pool = passages.nearest(question)
        rng.shuffle(pool)
        yield question.id, pool


def choose_passages(data: Dataset, questions: Sequence[DatasetQuery], most: int, rng: random.Random) -> list[int]:
    """Returns the places of the answers, and of random other passages up to `most`."""
    needed = {identifier for question in questions for identifier in question.relevant}
    answers = [place for place, document in enumerate(data.documents) if document.id in needed]
    others = [place for place, document in enumerate(data.documents) if document.id not in needed]
    return sorted(answers + rng.sample(others, min(len(others), max(0, most - len(answers)))))


@dataclass(frozen=True, slots=True)
class Passages:
    """Passages with their ids, what their translations share, words and vectors `(passages, width)`."""

    ids: list[str]
    keys: list[str]
    words: Bm25
    vectors: npt.NDArray[np.float32]
    embedder: Embedder

    @classmethod
    def of(cls, data: Dataset, places: Sequence[int], embedder: Embedder) -> Passages:
        """Embeds the passages at `places`."""
        chosen = [data.documents[place] for place in places]
        items = [dataset_item(document.item, place) for place, document in enumerate(chosen)]
        embedded = [one for one in embedder.embed_documents(items) if one is not None]
        vectors = np.stack([one.vector for one in embedded]).astype(np.float32)
        keys = [document.key or str(document.item) for document in chosen]
        return cls([document.id for document in chosen], keys, Bm25([item.words for item in items]), vectors, embedder)

    def nearest(self, question: DatasetQuery) -> list[str]:
        """Returns the answers of a question and its nearest passages, `SIZE` in all."""
        by_words = self.words.scores(question.text)
        by_vector = self.vectors @ self.embedder.embed_queries([question.text])[0].vector
        orders = [np.argsort(-scores, kind="stable").tolist() for scores in (by_words, by_vector)]
        same = {key for identifier, key in zip(self.ids, self.keys, strict=True) if identifier in question.relevant}
        chosen = dict.fromkeys(place for place, identifier in enumerate(self.ids) if identifier in question.relevant)
        for place in chain.from_iterable(zip_longest(*orders)):
            if len(chosen) < SIZE and place not in chosen and self.keys[place] not in same:
                chosen[place] = None
        return [self.ids[place] for place in chosen]


if __name__ == "__main__":
    main()
