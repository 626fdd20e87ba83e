"""Makes training groups: a query, its relevant documents, and look-alikes that are not relevant (hard negatives).

Look-alikes are chosen as a server chooses candidates: the best of the corpus by BM25, or by BM25 and the encoder if one
is given. A query's own candidates are kept apart. A document that reads the same as a relevant one is never a
look-alike. Queries of a `test` split are never trained on, nor are queries that equal a test query of any set except
for letter case and punctuation, nor questions and databases that any set holds out. After an interruption, the same
command continues.

    python training/mine.py --data DATA --out build/train/groups.jsonl
    python training/mine.py --data DATA --out build/train/fused.jsonl --encoder MODEL --scale 0.4
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parts import Parts

from shortlist import Router
from shortlist.evaluation.dataset import Dataset, DatasetQuery, load_dataset, load_queries
from shortlist.evaluation.ranking import dataset_item
from shortlist.router.first_stage.bm25 import Bm25
from shortlist.router.first_stage.candidates import Candidates, FirstStage
from shortlist.schemas.document import Table, Tool
from shortlist.schemas.serialise import lexical_details, lexical_text, split_name

# The most training queries per set; the training scripts decide how often each set is drawn.
QUOTAS = {
    "tools/toole": 14000, "tools/sealtools": 2000, "tools/ha_intents": 7000, "tools/sgd": 1500,
    "tools/acebench_en": 400, "tools/acebench_zh": 400, "tools/rotbench": 800, "tools/api_bank": 200,
    "tools/api_bank_lv3": 200, "tools/toolrl_rlla": 400, "tools/glaive_demo": 150, "tools/toolalpaca": 200,
    "tools/tooltalk": 50, "tools/nestful": 300, "tools/graph_tool_call_bench": 300, "tools/openapi": 10000,
    "tools/openapi_zh": 4000, "tools/pyfunc": 5000, "tools/mcp_pseudo": 4000, "tools/mcp": 1500,
    "tables/spider": 6000, "tables/spider_syn": 6000, "tables/bird_train": 8000, "tables/statbot_swiss": 400,
    "tables/ehrsql": 1500, "tables/sede": 900, "tables/archer": 500,
}  # fmt: skip
# Sets whose `dev` split is trained on too.
DEV_IS_TRAIN = {"tables/ehrsql", "tables/sede"}
# Sets without a dev split hold out whole databases, or else single queries, to fit the final score.
HELD_OUT_BY_DATABASE = ("tables/spider", "tables/spider_syn", "tables/bird_train")
HELD_OUT_DATABASES = 15
HELD_OUT_QUERIES = 120
MAX_POSITIVES = 4
LOOKALIKES = 40
# Sets whose corpus holds the same tool many times; a query ranks only its own candidates.
POOLED_APART = {"tools/sgd", "tools/rotbench", "tools/api_bank"}
# By set: the ids of its documents, and for each held-out query the places of the relevant documents, the features of
# the first stage `(4, documents)` in float16 (cosine, BM25 share, MaxSim of query and of document), and the best match.
HELD_OUT_FEATURES: dict[str, dict[str, Any]] = {}


def main() -> None:
    """Writes the groups for training and for fitting, one JSON object per line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, help="a model folder whose encoder helps to find look-alikes")
    parser.add_argument("--scale", type=float, default=1.0, help="a factor for the quotas above 1,000 queries")
    parser.add_argument("--features", type=Path, help="save the first stage's features of the held-out queries here")
    parser.add_argument("--max-corpus", type=int, default=14_000, help="sample a larger corpus down to this size")
    parser.add_argument("--held-out-only", action="store_true", help="make no groups for training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=None)
    options = parser.parse_args()
    parts = Parts(options)
    if parts.is_done:
        if options.features and not options.features.exists():
            raise SystemExit(f"{options.features} is missing; remove {options.out} too, to make both again")
        return
    forbidden = test_queries(options.data)
    splits = {name: split(options.data / name, name, forbidden, options.seed) for name in QUOTAS}
    keep_apart(splits)
    names = [name for name in QUOTAS if not options.only or name in options.only]
    for name in names:
        if parts.has(name):
            continue
        started = time.monotonic()
        quota = QUOTAS[name] if QUOTAS[name] <= 1000 else max(1000, round(QUOTAS[name] * options.scale))
        groups = list(mine(options.data / name, name, quota, splits[name], options))
        lines = (json.dumps(group, ensure_ascii=False) + "\n" for group in groups)
        parts.put(name, lines, HELD_OUT_FEATURES.get(name))
        print(f"{name}: {len(groups)} groups in {time.monotonic() - started:.0f} s", flush=True)
    if options.features:
        parts.save_kept(names, options.features)
    parts.join(names)


def test_queries(data: Path) -> set[str]:
    """Collects every test query of every set, normalised, so that none is trained on through another set."""
    found = set()
    for path in sorted(data.glob("*/*/queries.jsonl")):
        with path.open(encoding="utf-8") as lines:
            found.update(normal(query["query"]) for query in map(json.loads, lines) if query["split"] == "test")
    return found


def normal(text: str) -> str:
    """Returns the text in lower case with only its letters and digits; equal results mean the same query."""
    return re.sub(r"[\W_]+", " ", text).strip().lower()


@dataclass(slots=True)
class Split:
    """A set's queries in random order, for training and held out; `rng` draws the rest of the set's choices."""

    trained: list[DatasetQuery]
    held_out: list[DatasetQuery]
    rng: random.Random


def split(folder: Path, name: str, forbidden: set[str], seed: int) -> Split:
    """Splits a set's queries, without the test queries; a missing set has none."""
    rng = random.Random(f"{seed} {name}")
    wanted = {"train", "dev"} if name in DEV_IS_TRAIN else {"train"}
    queries = load_queries(folder) if (folder / "queries.jsonl").exists() else []
    pool = [q for q in queries if q.split in wanted and q.relevant and normal(q.text) not in forbidden]
    rng.shuffle(pool)
    pool, held_out = hold_out(queries, name, pool, rng)
    held_out = [query for query in held_out if normal(query.text) not in forbidden]
    rng.shuffle(held_out)
    return Split(pool, held_out, rng)


def keep_apart(splits: dict[str, Split]) -> None:
    """Removes from every set's training queries the questions and the databases that any set holds out."""
    asked = {normal(query.text) for one in splits.values() for query in one.held_out}
    databases = {query.group for name in HELD_OUT_BY_DATABASE if name in splits for query in splits[name].held_out}
    for name, one in splits.items():
        one.trained = [
            query
            for query in one.trained
            if normal(query.text) not in asked and not (name.startswith("tables/") and query.group in databases)
        ]


def mine(
    folder: Path, name: str, quota: int, queries: Split, options: argparse.Namespace
) -> Iterator[dict[str, object]]:
    """Finds the look-alikes of `quota` training queries and of up to 120 held-out ones."""
    chosen = [] if options.held_out_only else queries.trained[:quota]
    held_out = queries.held_out[:HELD_OUT_QUERIES]
    data = load_dataset(folder, only=choose_corpus(folder, [*chosen, *held_out], options.max_corpus, queries.rng))
    return Miner(data, name, options.encoder).groups([(q, "train") for q in chosen] + [(q, "dev") for q in held_out])


def hold_out(
    queries: Sequence[DatasetQuery], name: str, pool: list[DatasetQuery], rng: random.Random
) -> tuple[list[DatasetQuery], list[DatasetQuery]]:
    """Splits queries into training and held-out ones, which fit the final score; by database if there are many."""
    if name in HELD_OUT_BY_DATABASE:
        databases = sorted({query.group for query in pool})
        held = set(random.Random("held-out databases").sample(databases, min(HELD_OUT_DATABASES, len(databases) // 4)))
        return [q for q in pool if q.group not in held], [q for q in pool if q.group in held]
    dev = [query for query in queries if query.split == "dev" and query.relevant]
    if dev and name not in DEV_IS_TRAIN:
        texts = {normal(query.text) for query in dev}
        return [query for query in pool if normal(query.text) not in texts], dev
    count = min(HELD_OUT_QUERIES, len(pool) // 8)
    return pool[count:], pool[:count]


def choose_corpus(folder: Path, queries: Sequence[DatasetQuery], most: int, rng: random.Random) -> set[str]:
    """Returns the ids of all relevant documents, and random other ones up to `most` documents in all."""
    with (folder / "corpus.jsonl").open(encoding="utf-8") as lines:
        everything = [json.loads(line)["id"] for line in lines]
    if len(everything) <= most:
        return set(everything)
    needed = {identifier for query in queries for identifier in query.relevant}
    rest = [identifier for identifier in everything if identifier not in needed]
    return needed | set(rng.sample(rest, max(0, most - len(needed))))


class Miner:
    """Makes the groups of one set."""

    def __init__(self, data: Dataset, name: str, encoder: Path | None) -> None:
        self._data, self._name = data, name
        self._texts = [lexical_text(document.item) for document in data.documents]
        self._sense = [sense(document.item) for document in data.documents]
        self._place = {document.id: place for place, document in enumerate(data.documents)}
        self._bm25 = Bm25(self._texts, [lexical_details(document.item) for document in data.documents])
        self._dense = DenseSide(data, encoder) if encoder else None

    def groups(self, queries: Sequence[tuple[DatasetQuery, str]]) -> Iterator[dict[str, object]]:
        """Yields groups of document ids; training writes the documents in a new variation at each step."""
        trained = [query.text for query, split in queries if split == "train"]
        cosines = iter(self._dense.cosines(trained) if self._dense and trained else ())
        for query, split in queries:
            yield self._group(query, split, next(cosines, None) if split == "train" else None)

    def _group(self, query: DatasetQuery, split: str, cosines: np.ndarray | None) -> dict[str, object]:
        """Makes the group of one query."""
        positives = [self._place[identifier] for identifier in sorted(query.relevant) if identifier in self._place]
        same = {self._sense[place] for place in positives}
        if self._dense and split == "dev":
            found = self._dense.first_stage(query.text)
            scores = found.scores
            if self._name not in POOLED_APART:
                self._keep_features(query, found, positives)
        else:
            scores = self._bm25.scores(query.text)
            if cosines is not None and self._dense:
                scores = cosines + self._dense.lexical_weight * scores / max(float(scores.max()), 1e-9)
        ranked = np.argsort(-scores, kind="stable")
        given = [self._place[i] for i in query.candidates or () if i in self._place]
        return {
            "set": self._name, "split": split, "query": query.text, "lang": query.lang, "group": query.group,
            "positives": self._ids(positives[:MAX_POSITIVES] if split == "train" else positives),
            "lookalikes": self._ids(self._others(ranked[: 2 * LOOKALIKES].tolist(), same)[:LOOKALIKES]),
            "given": self._ids(self._others(given, same)),
        }  # fmt: skip

    def _keep_features(self, query: DatasetQuery, found: FirstStage, positives: list[int]) -> None:
        kept = HELD_OUT_FEATURES.setdefault(
            self._name, {"ids": [document.id for document in self._data.documents], "queries": []}
        )
        nothing = np.zeros_like(found.shares)
        known = (found.cosines, found.shares, found.query_maxsim, found.document_maxsim, found.part_cosines)
        kept["queries"].append({
            "query": query.text, "lang": query.lang, "relevant": positives,
            "features": torch.from_numpy(np.stack([nothing if k is None else k for k in known]).astype(np.float16)),
            "best_match": float(found.matches.max()),
        })  # fmt: skip

    def _others(self, places: Sequence[int], same: set[str]) -> list[int]:
        return [place for place in places if self._sense[place] not in same]

    def _ids(self, places: Sequence[int]) -> list[str]:
        return [self._data.documents[place].id for place in places]


def sense(item: Tool | Table) -> str:
    """Returns a text that is equal for versions of the same document; of a tool it is the name and the description."""
    if isinstance(item, Tool):
        return normal(f"{split_name(item.name)} {item.description[:200]}")
    return lexical_text(item)


class DenseSide:
    """The encoder's vectors of one corpus."""

    def __init__(self, data: Dataset, model: Path) -> None:
        embedder = Router.load(model, cache_dir="off").embedder
        if embedder is None:
            raise SystemExit(f"{model} has no encoder")
        self._embedder, self.lexical_weight = embedder, embedder.settings.lexical_weight
        items = [dataset_item(document.item, place) for place, document in enumerate(data.documents)]
        self._items = Candidates(items)
        self._documents = np.stack([one.vector for one in embedder.embed_documents(items) if one is not None])

    def cosines(self, queries: Sequence[str]) -> np.ndarray:
        """Returns the cosines `(queries, documents)`."""
        return np.stack([one.vector for one in self._embedder.embed_queries(queries)]) @ self._documents.T

    def first_stage(self, query: str) -> FirstStage:
        """Returns the first-stage features of every document, as in a request."""
        return self._items.first_stage(query, self._embedder)


if __name__ == "__main__":
    main()
