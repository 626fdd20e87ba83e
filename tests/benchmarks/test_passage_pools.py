"""A pool of passages has the answer, its nearest passages by words and meaning, and no translation of it."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

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
    passages = [{"id": f"p{n}", "text": f"passage number {n} on orders", "lang": "en"} for n in range(60)]
    passages[1] |= {"key": "same"}
    passages[2] |= {"key": "same", "text": "orders city orders"}
    passages[3] |= {"text": "city and nothing else"}
    queries = [{"id": "q", "query": "orders city", "relevant": ["p1"], "split": "dev", "src": "qa"}]
    return load_dataset(write_set(tmp_path / "qa_little", passages, queries))


def write_set(folder: Path, corpus: list[dict[str, Any]], queries: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    for name, lines in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


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


def test_pools_of_parallel_passages_are_in_the_language_of_the_question_and_in_another(
    tmp_path: Path, embedder: Embedder
) -> None:
    groups = ("xquad-en", "xquad-de")
    passages = [
        {"id": f"{group}-{n}", "group": group, "text": f"{group} number {n}"} for group in groups for n in range(40)
    ]
    query = {"id": "q", "query": "orders", "group": "xquad-de", "relevant": ["xquad-de-7"], "split": "test", "src": "m"}
    data = load_dataset(write_set(tmp_path / "xquad", passages, [query]))

    pools = dict(passage_pools.draw_parallel(data, embedder))

    assert pools.keys() == {"q", "q in xquad-en"}
    assert {one.rpartition("-")[0] for one in pools["q in xquad-en"]} == {"xquad-en"}
    own, other = passage_pools.pooled(data, pools).queries
    assert (own.relevant, passage_pools.is_across(own)) == ({"xquad-de-7"}, False)
    assert (other.relevant, passage_pools.is_across(other)) == ({"xquad-en-7"}, True)
    assert "xquad-en-7" in (other.candidates or ())


def test_pools_are_written_as_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passages = [{"id": f"p{n}", "text": f"passage {n}"} for n in range(9)]
    query = {"id": "q", "query": "orders", "lang": "de", "relevant": ["p1"], "split": "dev", "src": "x-cross"}
    write_set(tmp_path / "docs/qa_one", passages, [query])
    monkeypatch.setattr(passage_pools, "read_pools", lambda: {"qa_one": {"q": ["p1", "p5"]}})

    passage_pools.write_set(tmp_path / "made/passages", tmp_path, ["qa_one"])

    made = load_dataset(tmp_path / "made/passages")
    assert [document.id for document in made.documents] == ["qa_one:p1", "qa_one:p5"]
    (written,) = made.split("dev")
    assert (written.style, written.lang, written.group) == ("across languages", "de", "qa_one")
    assert (written.relevant, written.candidates) == ({"qa_one:p1"}, ("qa_one:p1", "qa_one:p5"))
