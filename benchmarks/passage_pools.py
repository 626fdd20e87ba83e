r"""Draws the pools of passages that the quality of plain reranking is measured on, once, and keeps their ids.

For a sample of each set's dev questions, a pool is the answer and its 29 nearest passages: by BM25 and by the untrained
base encoder in turns. Passages that say the same in another language are left out. Of xquad, which is for tests only, a
question has a pool of passages in its own language, and one in another.

    python benchmarks/passage_pools.py --data DATA --out benchmarks/passage_pools.json.gz [--only xquad]

`write_set` writes the pools as a set that `shortlist eval` reads.
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
from typing import Any

import numpy as np
import numpy.typing as npt
from base_embedder import make_base_folder

from shortlist import Router
from shortlist.evaluation.dataset import Dataset, DatasetQuery, load_dataset
from shortlist.evaluation.ranking import dataset_item
from shortlist.router.first_stage.bm25 import Bm25
from shortlist.router.first_stage.embedder import Embedder

__all__ = ["PARALLEL", "POOLS", "is_across", "pooled", "read_pools", "write_set"]

POOLS = Path(__file__).with_name("passage_pools.json.gz")
SIZE = 30
SEED = 0
# Passages of a larger set are sampled down to so many, the answers among them.
MAX_PASSAGES = {"docs": 300, "qa": 600, "code": 800, "tldr": 600}
QUESTIONS = {"docs": 10, "qa": 40, "code": 80, "tldr": 20}  # of each `src`
# A set whose passages are the same in every language, and how many of its questions are drawn in each language.
PARALLEL, PARALLEL_QUESTIONS = "xquad", 40
SAME, ACROSS = "same language", "across languages"

# Between the id of a question and the group of passages in another language that it is asked about.
ACROSS_MARK = " in "

Pools = dict[str, dict[str, list[str]]]


def main() -> None:
    """Draws the pools of all sets and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with docs/")
    parser.add_argument("--out", type=Path, default=POOLS)
    parser.add_argument("--only", help="draw the pools of this set alone, and keep the others in the file")
    parser.add_argument("--base", type=Path, default=Path("build/train/base"))
    parser.add_argument("--base-embedder", type=Path, default=Path("build/base-embedder"))
    options = parser.parse_args()
    embedder = Router.load(make_base_folder(options.base, options.base_embedder), cache_dir="off").embedder
    assert embedder is not None
    drawn: Pools = read_pools(options.out) if options.only else {}
    for folder in sorted((options.data / "docs").iterdir()):
        if options.only not in (None, folder.name):
            continue
        if folder.name == PARALLEL or folder.name.partition("_")[0] in QUESTIONS:
            draw_set = draw_parallel if folder.name == PARALLEL else draw
            drawn[folder.name] = dict(draw_set(load_dataset(folder), embedder))
            print(f"{folder.name}: {len(drawn[folder.name])} pools", flush=True)
    options.out.write_bytes(gzip.compress(json.dumps(drawn).encode(), mtime=0))


def read_pools(path: Path = POOLS) -> Pools:
    """Reads the pools: by set and by query, the ids of the passages."""
    found: Pools = json.loads(gzip.decompress(path.read_bytes()))
    return found


def pooled(data: Dataset, pools: dict[str, list[str]]) -> Dataset:
    """Returns a set with the queries that have a pool, each with that pool as its candidates."""
    queries = [replace(q, candidates=tuple(pools[q.id])) for q in data.queries if q.id in pools]
    by_id = {query.id: query for query in data.queries}
    for identifier in pools:
        asked, mark, group = identifier.partition(ACROSS_MARK)
        if mark:
            query = by_id[asked]
            answers = frozenset(one.replace(query.group, group) for one in query.relevant)
            style = f"{query.style}-cross"
            queries.append(
                replace(query, id=identifier, relevant=answers, candidates=tuple(pools[identifier]), style=style)
            )
    return replace(data, queries=tuple(queries))


def is_across(query: DatasetQuery) -> bool:
    """Whether the passage that answers is in another language than the question."""
    return query.style.endswith("-cross")


def write_set(folder: Path, data: Path, names: Sequence[str]) -> None:
    """Writes the pools of some sets under `data` as one set; a query's style says whether its pool is in its language.

    An interrupted write leaves no folder behind.
    """
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    pools = read_pools()
    with (part / "corpus.jsonl").open("w") as corpus, (part / "queries.jsonl").open("w") as queries:
        for name in names:
            whole = load_dataset(data / "docs" / name)
            found = pooled(whole, pools[name])
            used = {identifier for query in found.queries for identifier in query.candidates or ()}
            for document in whole.documents:
                if document.id in used:
                    corpus.write(json.dumps({"id": f"{name}:{document.id}", "text": document.item}) + "\n")
            for query in found.queries:
                queries.write(json.dumps(_written(name, query)) + "\n")
    part.rename(folder)


def _written(name: str, query: DatasetQuery) -> dict[str, Any]:
    return {
        "id": f"{name}:{query.id}", "query": query.text, "lang": query.lang, "group": name, "split": query.split,
        "src": ACROSS if is_across(query) else SAME,
        "relevant": [f"{name}:{one}" for one in sorted(query.relevant)],
        "candidates": [f"{name}:{one}" for one in query.candidates or ()],
    }  # fmt: skip


def draw_parallel(data: Dataset, embedder: Embedder) -> Iterator[tuple[str, list[str]]]:
    """Yields pools in the language of a question, and in another one, whose answer is the same passage there.

    The latter have the question's id with `ACROSS_MARK` and that language.
    """
    by_group: dict[str, list[int]] = {}
    for place, document in enumerate(data.documents):
        by_group.setdefault(document.group, []).append(place)
    passages = {group: Passages.of(data, places, embedder) for group, places in by_group.items()}
    rng = random.Random(f"{SEED} {data.name}")
    for group in sorted(passages):
        own = [query for query in data.queries if query.group == group]
        for question in rng.sample(own, min(len(own), PARALLEL_QUESTIONS)):
            other = rng.choice([name for name in sorted(passages) if name != group])
            for where in (group, other):
                answers = frozenset(one.replace(group, where) for one in question.relevant)
                pool = passages[where].nearest(replace(question, relevant=answers))
                rng.shuffle(pool)
                yield question.id + ("" if where == group else f"{ACROSS_MARK}{where}"), pool


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
