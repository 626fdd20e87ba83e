"""Each method of evaluation ranks by what its name says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from meanings import Meanings
from own_folders import write_whole

from shortlist import Router
from shortlist.evaluation.dataset import Dataset, load_dataset
from shortlist.evaluation.ranking import METHODS, evaluate
from shortlist.schemas.errors import InvalidInput

# By words only "date" is found. By meaning "orders" comes first, then "date"; fused, words carry "date" past it; and
# the cross-encoder holds "city" to be best.
QUERY = "date Bestellungen"
TOOLS = ["city", "date", "orders", "email"]
VECTORS = {
    "Bestellungen": (0.0, 1.0, 0.0),
    "orders": (0.0, 1.0, 0.0),
    "date": (0.3, 0.7, 0.0),
    "city": (0.5, 0.5, 0.0),
    "email": (1.0, 0.0, 0.0),
}
LOGITS = {"city": 2.0, "orders": 1.0, "email": -1.0}


@pytest.fixture
def router(tmp_path: Path) -> Router:
    router = Router.load(write_whole(tmp_path / "model").folder, device="cpu", dtype="float32")
    return router.with_scorer(Meanings(VECTORS, logits=LOGITS))


def data_for(tmp_path: Path, relevant: str) -> Dataset:
    folder = tmp_path / "data"
    folder.mkdir()
    corpus = [{"id": name, "tool": {"name": name, "parameters": {}}} for name in TOOLS]
    query = {"id": "q", "query": QUERY, "lang": "de", "relevant": [relevant], "split": "test"}
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in corpus))
    (folder / "queries.jsonl").write_text(json.dumps(query) + "\n")
    return load_dataset(folder)


@pytest.mark.parametrize(
    ("method", "best"), [("bm25", "date"), ("encoder", "orders"), ("fused", "date"), ("rerank", "city")]
)
def test_a_method_puts_its_best_first(tmp_path: Path, router: Router, method: str, best: str) -> None:
    found = evaluate(data_for(tmp_path, best), router, method=method)

    assert (found.method, found.metrics["hit@1"]) == (method, 1)


@pytest.mark.parametrize(("candidates", "hits"), [(0, 1), (4, 1), (3, 1), (2, 0), (1, 0)])
def test_reranking_takes_the_best_of_the_first_stage(
    tmp_path: Path, router: Router, candidates: int, hits: int
) -> None:
    found = evaluate(data_for(tmp_path, "city"), router, candidates=candidates)

    assert found.metrics["hit@1"] == hits
    assert found.metrics["recall@5"] == 1


def test_the_encoder_goes_by_meaning_alone(tmp_path: Path, router: Router) -> None:
    data = data_for(tmp_path, "email")

    by_method = {method: evaluate(data, router, method=method).metrics["recall@3"] for method in METHODS}

    # What means the least is last by meaning, but by words it is no worse than others.
    assert by_method["encoder"] == by_method["fused"] == 0


@pytest.mark.parametrize(("method", "named"), [("bm25", False), ("encoder", True), ("fused", True), ("rerank", True)])
def test_the_model_is_named_where_it_took_part(tmp_path: Path, router: Router, method: str, named: bool) -> None:
    found = evaluate(data_for(tmp_path, "date"), router, method=method)

    assert found.model == ("tiny-own 1.2.3" if named else "")


@pytest.mark.parametrize("method", ["encoder", "fused"])
def test_a_method_of_the_encoder_needs_one(tmp_path: Path, tiny_model_dir: Path, method: str) -> None:
    plain = Router.load(tiny_model_dir, device="cpu", dtype="float32")

    with pytest.raises(InvalidInput, match=f"method: {tiny_model_dir.name} has no encoder; use rerank or bm25"):
        evaluate(data_for(tmp_path, "date"), plain, method=method)


@pytest.mark.parametrize("method", ["encoder", "fused", "rerank"])
def test_only_words_need_no_model(tmp_path: Path, method: str) -> None:
    with pytest.raises(InvalidInput, match=f"method: {method} needs a model"):
        evaluate(data_for(tmp_path, "date"), None, method=method)


def test_an_unknown_method_is_an_error_that_names_those_there_are(tmp_path: Path, router: Router) -> None:
    with pytest.raises(InvalidInput, match="unknown method 'luck'; use one of rerank, bm25, encoder, fused"):
        evaluate(data_for(tmp_path, "date"), router, method="luck")
