"""Makes training groups: a query, its relevant documents and look-alikes that are not relevant.

Negatives come from where a server's candidates come from: the best of the whole corpus by BM25; for tables also
from the query's own database, and for sets with given candidates from those. Documents that read the same as a
relevant one are never negatives. Queries of a set's `test` split are never trained on, nor are training queries that
equal a test query of any set.

    python training/mine.py --data DATA --out build/train/groups.jsonl
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

from shortlist.router.dataset import Dataset, DatasetQuery, load_dataset
from shortlist.router.retrieval import Bm25
from shortlist.schemas.serialise import lexical_text

# Training queries per set: breadth first, roughly by the fourth root of a set's size and by how much its form matters.
QUOTAS = {
    "tools/toole": 900, "tools/sealtools": 600, "tools/ha_intents": 650, "tools/sgd": 200, "tools/acebench_en": 300,
    "tools/acebench_zh": 250, "tools/rotbench": 200, "tools/api_bank": 100, "tools/api_bank_lv3": 150,
    "tools/toolrl_rlla": 250, "tools/glaive_demo": 100, "tools/toolalpaca": 190, "tools/tooltalk": 45,
    "tools/nestful": 200, "tools/graph_tool_call_bench": 150, "tools/openapi": 700, "tools/openapi_zh": 300,
    "tools/pyfunc": 400, "tools/mcp_pseudo": 350, "tools/mcp": 700,
    "tables/spider": 1100, "tables/spider_syn": 900, "tables/bird_train": 900, "tables/statbot_swiss": 270,
    "tables/ehrsql": 120, "tables/sede": 120, "tables/archer": 150,
}  # fmt: skip
# Sets with a `dev` split that may be trained on as well.
DEV_IS_TRAIN = {"tables/ehrsql", "tables/sede"}
# Held out of training to fit the final score on, where a set has no dev split: databases, or single queries.
HELD_OUT_DATABASES = 15
HELD_OUT_QUERIES = 40
MAX_CORPUS = 20_000
NUM_NEGATIVES = 6
MAX_POSITIVES = 3
CANDIDATES = 50


def main() -> None:
    """Writes groups for training and for fitting, one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=None)
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    forbidden = test_queries(arguments.data)
    with arguments.out.open("w", encoding="utf-8") as out:
        for name, quota in QUOTAS.items():
            if arguments.only and name not in arguments.only:
                continue
            started = time.monotonic()
            rng = random.Random(f"{arguments.seed} {name}")
            groups = mine(load_dataset(arguments.data / name), name, quota, forbidden, rng)
            for group in groups:
                out.write(json.dumps(group, ensure_ascii=False) + "\n")
            print(f"{name}: {len(groups)} groups in {time.monotonic() - started:.0f} s", flush=True)


def test_queries(data: Path) -> set[str]:
    """Collects every test query of every set, normalised, so that none is trained on through another set."""
    found = set()
    for path in sorted(data.glob("*/*/queries.jsonl")):
        with path.open(encoding="utf-8") as lines:
            found.update(normal(query["query"]) for query in map(json.loads, lines) if query["split"] == "test")
    return found


def normal(text: str) -> str:
    """Lower-cases and keeps letters and digits: what makes two queries the same."""
    return re.sub(r"\W+", " ", text).strip().lower()


def mine(data: Dataset, name: str, quota: int, forbidden: set[str], rng: random.Random) -> list[dict[str, object]]:
    """Draws `quota` training queries and up to 40 held-out ones with their documents."""
    wanted = {"train", "dev"} if name in DEV_IS_TRAIN else {"train"}
    pool = [q for q in data.queries if q.split in wanted and q.relevant and normal(q.text) not in forbidden]
    rng.shuffle(pool)
    pool, held_out = hold_out(data, name, pool, rng)
    chosen = pool[:quota]
    rng.shuffle(held_out)
    held_out = held_out[:HELD_OUT_QUERIES]
    corpus = choose_corpus(data, [*chosen, *held_out], rng)
    miner = Miner(data, corpus, rng)
    groups = [miner.group(query, name, "train") for query in chosen]
    return groups + [miner.group(query, name, "dev") for query in held_out]


def hold_out(
    data: Dataset, name: str, pool: list[DatasetQuery], rng: random.Random
) -> tuple[list[DatasetQuery], list[DatasetQuery]]:
    """Parts the queries that the final score is fitted on from the trained ones, by database where there are many."""
    if name in ("tables/spider", "tables/spider_syn", "tables/bird_train"):
        databases = sorted({query.group for query in pool})
        held = set(random.Random("held-out databases").sample(databases, min(HELD_OUT_DATABASES, len(databases) // 4)))
        return [q for q in pool if q.group not in held], [q for q in pool if q.group in held]
    dev = [query for query in data.queries if query.split == "dev"]
    if dev and name not in DEV_IS_TRAIN:
        return pool, dev
    count = min(HELD_OUT_QUERIES, len(pool) // 8)
    return pool[count:], pool[:count]


def choose_corpus(data: Dataset, queries: Sequence[DatasetQuery], rng: random.Random) -> list[int]:
    """Keeps every relevant document and a random rest of a very large corpus."""
    everything = list(range(len(data.documents)))
    if len(everything) <= MAX_CORPUS:
        return everything
    needed = {identifier for query in queries for identifier in query.relevant | set(query.candidates or ())}
    kept = {index for index in everything if data.documents[index].id in needed}
    return sorted(kept | set(rng.sample(everything, MAX_CORPUS)))


class Miner:
    """Finds the documents of a group."""

    def __init__(self, data: Dataset, corpus: Sequence[int], rng: random.Random) -> None:
        self._data, self._rng = data, rng
        self._corpus = [data.documents[index] for index in corpus]
        self._texts = [lexical_text(document.item) for document in self._corpus]
        self._place = {document.id: place for place, document in enumerate(self._corpus)}
        self._bm25 = Bm25(self._texts)
        self._in_group: dict[str, list[int]] = {}
        for place, document in enumerate(self._corpus):
            self._in_group.setdefault(document.group, []).append(place)

    def group(self, query: DatasetQuery, name: str, split: str) -> dict[str, object]:
        """Returns ids only; documents are written out when training reads them, in a form drawn anew."""
        positives = [self._place[identifier] for identifier in query.relevant if identifier in self._place]
        same = {self._texts[place] for place in positives}
        ranked = [place for place in self._bm25.top(query.text, CANDIDATES) if self._texts[place] not in same]
        given = [
            self._place[i]
            for i in query.candidates or ()
            if i in self._place and self._texts[self._place[i]] not in same
        ]
        negatives = self._draw(query, ranked, given, same) if split == "train" else ranked
        return {
            "set": name, "split": split, "query": query.text, "lang": query.lang,
            "positives": self._ids(positives[:MAX_POSITIVES] if split == "train" else positives),
            "negatives": self._ids(negatives),
        }  # fmt: skip

    def _draw(self, query: DatasetQuery, ranked: list[int], given: list[int], same: set[str]) -> list[int]:
        rng = self._rng
        own = [p for p in self._in_group.get(query.group, ()) if query.group and self._texts[p] not in same]
        pools = [(ranked[:12], 3), (rng.sample(given, len(given)), 2), (rng.sample(own, len(own)), 2), (ranked[12:], 2)]
        chosen: list[int] = []
        for pool, count in pools:
            fresh = [place for place in pool if place not in chosen]
            chosen += rng.sample(fresh, min(count, len(fresh), NUM_NEGATIVES - len(chosen)))
        while len(chosen) < min(NUM_NEGATIVES, len(self._corpus) - len(same) - 2):
            place = rng.randrange(len(self._corpus))
            if place not in chosen and self._texts[place] not in same:
                chosen.append(place)
        return chosen

    def _ids(self, places: Sequence[int]) -> list[str]:
        return [self._corpus[place].id for place in places]


if __name__ == "__main__":
    main()
