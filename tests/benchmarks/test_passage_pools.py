"""A pool of passages has the answer, its nearest passages by words and meaning, and no translation of it."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from meanings import Meanings
from own_folders import write_whole
from paths import ROOT

from shortlist import Router
from shortlist.evaluation.dataset import Dataset, load_dataset
from shortlist.router.first_stage.embedder import Embedder

sys.path.append(str(ROOT / "benchmarks"))

import passage_pools


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    folder = tmp_path / "qa_little"
    folder.mkdir()
    passages = [{"id": f"p{n}", "text": f"passage number {n} on orders", "lang": "en"} for n in range(60)]
    passages[1] |= {"key": "same"}
    passages[2] |= {"key": "same", "text": "orders city orders"}
    passages[3] |= {"text": "city and nothing else"}
    queries = [{"id": "q", "query": "orders city", "relevant": ["p1"], "split": "dev", "src": "qa"}]
    for name, lines in (("corpus", passages), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return load_dataset(folder)


@pytest.fixture
def embedder(tmp_path: Path) -> Embedder:
    router = Router.load(write_whole(tmp_path / "model").folder, device="cpu", dtype="float32")
    found = router.with_scorer(Meanings({"city": (0.0, 1.0, 0.0), "orders": (0.0, 0.5, 0.5)})).embedder
    assert found is not None
    return found


def test_a_pool_has_the_answer_and_its_nearest_without_translations(data: Dataset, embedder: Embedder) -> None:
    ((identifier, pool),) = passage_pools.draw(data, embedder)
    assert identifier == "q"
    assert len(pool) == len(set(pool)) == passage_pools.SIZE
    assert {"p1", "p3"} <= set(pool)
    assert "p2" not in pool


def test_pools_are_drawn_the_same_every_time(data: Dataset, embedder: Embedder) -> None:
    assert list(passage_pools.draw(data, embedder)) == list(passage_pools.draw(data, embedder))


def test_a_large_set_is_sampled_with_its_answers(data: Dataset) -> None:
    chosen = passage_pools.choose_passages(data, data.queries, 10, random.Random(1))
    assert len(chosen) == 10
    assert 1 in chosen


def test_a_query_with_a_pool_is_ranked_against_it(data: Dataset) -> None:
    (query,) = passage_pools.pooled(data, {"q": ["p1", "p5"]}).queries
    assert query.candidates == ("p1", "p5")
    assert passage_pools.pooled(data, {}).queries == ()
