from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import random_model
from own_folders import write

from shortlist import Router
from shortlist.evaluation.columns import KEEP_RATES, evaluate_columns
from shortlist.evaluation.dataset import load_dataset
from shortlist.router.ranking.columns import ScoredColumn, keep_columns
from shortlist.router.ranking.score import ColumnFeatures, ColumnWeights, sigmoid
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.sql.parse import parse_tables
from shortlist.server.cli.main import main

DDL = {
    "shop.orders": "create table orders (id int primary key, customer_id int, total numeric, note text, "
    "foreign key (customer_id) references customers (id))",
    "shop.customers": "create table customers (id int primary key, email text)",
    "lab.samples": "create table samples (id int, mass numeric, taken date)",
}
QUERIES: list[dict[str, Any]] = [
    {"id": "q1", "query": "total of all orders", "group": "shop", "relevant": ["shop.orders"],
     "columns": ["shop.orders.total"]},
    {"id": "q2", "query": "email of each customer", "group": "shop", "relevant": ["shop.customers"],
     "columns": ["shop.customers.email", "shop.customers.ID"]},
    {"id": "q3", "query": "mass of the samples", "group": "lab", "relevant": ["lab.samples"],
     "columns": ["lab.samples.mass"]},
    {"id": "q4", "query": "everything", "group": "lab", "relevant": ["lab.samples"], "columns": None},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tables = [{"id": i, "group": i.partition(".")[0], "dialect": "sqlite", "ddl": ddl} for i, ddl in DDL.items()]
    queries = [{"lang": "en", "split": "test", "candidates": None} | query for query in QUERIES]
    for name, lines in (("corpus", tables), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return tmp_path


@pytest.fixture
def router(tmp_path: Path) -> Router:
    weights = {"bias": 0.5, "logit": 0.0, "lexical_match": 2.0}
    return Router.load(write(tmp_path / "own", random_model(), column_weights=weights), device="cpu", dtype="float32")


def test_every_column_is_scored_in_order_with_the_models_weights(router: Router) -> None:
    scored = router.score_columns("total", parse_tables(";".join(DDL.values())).tables[:2])
    assert [one.name for one in scored] == [
        "orders.id", "orders.customer_id", "orders.total", "orders.note", "customers.id", "customers.email",
    ]  # fmt: skip
    others = [one.score for one in scored if one.name != "orders.total"]
    assert others == pytest.approx([sigmoid(0.5)] * 5)
    assert sigmoid(1.0) < scored[2].score < sigmoid(2.5)


def test_no_tables_give_no_scores(router: Router) -> None:
    assert router.score_columns("total", []) == []


def test_the_score_combines_all_features() -> None:
    weights = ColumnWeights(bias=-1.0, logit=0.5, lexical_match=2.0, join_need=0.25)
    assert weights.score(ColumnFeatures(2.0, 0.5, 4.0)) == pytest.approx(sigmoid(2.0))


def test_the_best_columns_are_kept_rounded_up_with_ties_in_order() -> None:
    scored = [ScoredColumn(0, place, f"t.c{place}", score) for place, score in enumerate([0.1, 0.9, 0.5, 0.5, 0.2])]
    assert [one.name for one in keep_columns(scored, 0.41)] == ["t.c1", "t.c2", "t.c3"]


@pytest.mark.parametrize("rate", [0.0, -1.0, 1.5, float("nan")])
def test_a_keep_rate_out_of_range_is_rejected(rate: float) -> None:
    with pytest.raises(InvalidInput, match="share above 0"):
        keep_columns([], rate)


def test_words_alone_keep_the_columns_that_the_queries_name(folder: Path) -> None:
    found = evaluate_columns(load_dataset(folder), None, method="bm25")
    # q1 and q3 name their column; both of q2's columns are among the 4 of 6 that the words rank first.
    assert (found.queries, found.documents, found.metrics["recall@60%"]) == (3, 6, 1.0)
    assert list(found.metrics) == [f"recall@{rate:.0%}" for rate in KEEP_RATES]


def test_the_model_ranks_columns_too(folder: Path, router: Router) -> None:
    found = evaluate_columns(load_dataset(folder), router, limit=2)
    assert (found.kind, found.method, found.model, found.queries) == ("columns", "rerank", "tiny-own 1.2.3", 2)


@pytest.mark.parametrize("method", ["encoder", "fused", "rerank"])
def test_a_method_that_cannot_rank_columns_is_rejected(folder: Path, method: str) -> None:
    with pytest.raises(InvalidInput, match="columns are ranked by rerank"):
        evaluate_columns(load_dataset(folder), None, method=method)


def test_a_set_without_columns_is_rejected(folder: Path) -> None:
    text = (folder / "queries.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) | {"columns": None} for line in text.splitlines()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(InvalidInput, match="lists the columns"):
        evaluate_columns(load_dataset(folder), None, method="bm25")


def test_a_query_without_a_database_is_rejected(folder: Path) -> None:
    text = (folder / "queries.jsonl").read_text(encoding="utf-8")
    (folder / "queries.jsonl").write_text(text.replace('"group": "lab"', '"group": ""'), encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"query 'q3' has the group '', but corpus\.jsonl has no table"):
        evaluate_columns(load_dataset(folder), None, method="bm25")


def test_the_command_prints_one_json_object(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--data", str(folder), "--kind", "columns", "--method", "bm25", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "columns"
