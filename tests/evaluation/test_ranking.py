from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from shortlist import Router
from shortlist.evaluation.dataset import load_dataset
from shortlist.evaluation.metrics import MEASURES, mean_measures, measure
from shortlist.evaluation.ranking import Pools, choose_queries, evaluate, rank
from shortlist.router.first_stage.candidates import ranked
from shortlist.schemas.document import Table, Tool
from shortlist.schemas.errors import InvalidInput
from shortlist.server.cli.main import main

TOOLS = [
    ("t1", "mail", "send_email", "Send an email"),
    ("t2", "mail", "read_inbox", "Read the inbox"),
    ("t3", "pay", "create_refund", "Refund a payment"),
    ("t4", "pay", "list_payments", "List payments"),
    ("t5", "web", "get_weather", "Weather forecast"),
    ("t6", "web", "search_web", "Search the web"),
]
# By words: q1 finds t1; q2 finds t3, then t4; q3 finds t5, whatever its pool's order; q4 finds nothing, so its pool's
# order stands and the relevant t2 is second.
TOOL_QUERIES: list[dict[str, Any]] = [
    {"id": "q1", "query": "send an email", "lang": "en", "relevant": ["t1"], "group": "mail"},
    {
        "id": "q2",
        "query": "refund the payment",
        "lang": "en",
        "relevant": ["t3", "t4"],
        "candidates": None,
        "group": "pay",
    },
    {"id": "q3", "query": "weather morgen", "lang": "de", "relevant": ["t5"], "candidates": ["t6", "t5"]},
    {"id": "q4", "query": "hilfe", "lang": "de", "relevant": ["t2"], "candidates": ["t1", "t2"], "src": "Chat"},
    {"id": "q5", "query": "search", "lang": "en", "relevant": ["t6"], "split": "dev"},
    {"id": "q6", "query": "nothing fits", "lang": "en", "relevant": []},
]
TABLES = [
    ("shop.orders", "shop", "create table orders (id int, total numeric)"),
    ("shop.users", "shop", "create table users (id int, email text)"),
    ("hr.users", "hr", "create table users (id int, salary numeric)"),
    ("hr.leave", "hr", "create table days_off (id int)"),
    ("lab.samples", "lab", "create table samples (id int, total numeric)"),
]
TABLE_QUERIES: list[dict[str, Any]] = [
    {"id": "q1", "query": "total of all orders", "lang": "en", "relevant": ["shop.orders"], "group": "shop"},
    {"id": "q2", "query": "salary of users", "lang": "en", "relevant": ["hr.users"], "group": "hr"},
]
JSON_KEYS = (
    "dataset",
    "kind",
    "scope",
    "method",
    "model",
    "candidates",
    "queries",
    "documents",
    "metrics",
    "by_lang",
    "seconds",
    "intervals",
    "by_style",
    "by_group",
    "nothing_fits",
    "calibration_error",
)


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_tools(folder: Path) -> Path:
    folder.mkdir()
    corpus = [
        {"id": key, "group": group, "tool": {"name": name, "description": description, "parameters": {}}}
        for key, group, name, description in TOOLS
    ]
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", [{"split": "test"} | query for query in TOOL_QUERIES])
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    return write_tools(tmp_path / "little")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "schemas"
    folder.mkdir()
    corpus = [{"id": key, "group": group, "dialect": "sqlite", "ddl": ddl} for key, group, ddl in TABLES]
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", [{"split": "test"} | query for query in TABLE_QUERIES])
    return folder


@pytest.fixture(scope="module")
def router(tiny_model_dir: Path) -> Router:
    return Router.load(tiny_model_dir, device="cpu", dtype="float32")


def test_measures_match_those_worked_out_by_hand() -> None:
    found = measure(["a", "b", "c", "d"], {"b", "d"})

    assert found == {
        "recall@1": 0.0,
        "recall@3": 0.5,
        "recall@5": 1.0,
        "recall@10": 1.0,
        "recall@50": 1.0,
        "hit@1": 0.0,
        "complete@3": 0.0,
        "complete@5": 1.0,
        "complete@10": 1.0,
        "ndcg@10": pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3))),
    }


def test_the_ideal_gain_covers_ten_places() -> None:
    many = [str(number) for number in range(12)]

    assert measure(many, set(many))["ndcg@10"] == pytest.approx(1)
    assert measure(many, set(many))["complete@10"] == 0


def test_a_relevant_document_outside_the_pool_is_missed() -> None:
    assert measure(["a"], {"a", "b"})["recall@50"] == 0.5


def test_the_mean_of_nothing_is_0() -> None:
    assert mean_measures([]) == dict.fromkeys(MEASURES, 0)


def test_measures_of_bm25_on_tools_match_those_worked_out_by_hand(tools: Path) -> None:
    found = evaluate(load_dataset(tools), None, method="bm25")

    assert (found.dataset, found.kind, found.method, found.model) == ("little", "tools", "bm25", "")
    assert (found.queries, found.documents) == (4, 6)
    assert found.metrics["recall@1"] == pytest.approx((1 + 0.5 + 1 + 0) / 4)
    assert found.metrics["hit@1"] == 0.75
    assert (found.metrics["recall@3"], found.metrics["complete@3"]) == (1, 1)
    assert found.metrics["ndcg@10"] == pytest.approx((3 + 1 / math.log2(3)) / 4, abs=1e-4)


def test_languages_are_measured_separately(tools: Path) -> None:
    by_lang = evaluate(load_dataset(tools), None, method="bm25").by_lang

    assert {lang: (of["queries"], of["recall@1"]) for lang, of in by_lang.items()} == {"de": (2, 0.5), "en": (2, 0.75)}


@pytest.mark.parametrize(("scope", "documents"), [("group", 2), ("all", 4), ("corpus", 5)])
def test_the_scope_says_which_tables_are_ranked(tables: Path, scope: str, documents: int) -> None:
    found = evaluate(load_dataset(tables), None, method="bm25", scope=scope)

    assert (found.kind, found.scope, found.documents) == ("tables", scope, documents)
    assert found.metrics["hit@1"] == 1


def test_a_scope_of_groups_needs_groups(tools: Path) -> None:
    write_lines(tools / "queries.jsonl", [{"split": "test"} | TOOL_QUERIES[2]])

    with pytest.raises(InvalidInput, match="have no group; use the scope corpus"):
        evaluate(load_dataset(tools), None, method="bm25", scope="group")


def test_an_unknown_scope_is_an_error(tools: Path) -> None:
    with pytest.raises(InvalidInput, match="use one of group, all, corpus"):
        evaluate(load_dataset(tools), None, method="bm25", scope="world")


@pytest.mark.parametrize(
    ("where", "expected"),
    [("lang=de", ["q3", "q4"]), ("src=chat", ["q4"]), (None, ["q1", "q2", "q3", "q4"])],
    ids=["field", "any_case", "all"],
)
def test_where_picks_queries_by_a_field(tools: Path, where: str | None, expected: list[str]) -> None:
    chosen = choose_queries(load_dataset(tools), "test", where, None)

    assert [query.id for query in chosen] == expected


@pytest.mark.parametrize("where", ["mood=good", "lang", "=de"])
def test_where_needs_a_field_and_a_value(tools: Path, where: str) -> None:
    with pytest.raises(InvalidInput, match="write FIELD=VALUE"):
        choose_queries(load_dataset(tools), "test", where, None)


def test_where_needs_a_value_that_a_query_has(tools: Path) -> None:
    with pytest.raises(InvalidInput, match="no query of little has lang=zz"):
        choose_queries(load_dataset(tools), "test", "lang=zz", None)


def test_a_limit_takes_the_same_sample_every_time(tools: Path) -> None:
    first = choose_queries(load_dataset(tools), "test", None, 2)

    assert len(first) == 2
    assert choose_queries(load_dataset(tools), "test", None, 2) == first
    assert len(choose_queries(load_dataset(tools), "test", None, 9)) == 4


def test_a_missing_split_is_an_error_that_lists_the_splits(tools: Path) -> None:
    with pytest.raises(InvalidInput, match="little has no split 'train'; it has: dev, test"):
        evaluate(load_dataset(tools), None, method="bm25", split="train")


def test_documents_not_reranked_follow_in_first_stage_order(tools: Path, router: Router) -> None:
    data = load_dataset(tools)
    items = Pools(data, data.split("test"), "corpus").of(data.queries[0])
    query = "search the web for an email payment"
    first_stage = ranked(items.first_stage(query, None).shares)

    order = rank(items, query, router, "rerank", 3, "tools").places

    assert sorted(order[:3]) == sorted(first_stage[:3])
    assert order[3:] == first_stage[3:]


def test_reranking_one_candidate_keeps_the_order_of_bm25(tools: Path, router: Router) -> None:
    data = load_dataset(tools)

    found = evaluate(data, router, candidates=1)

    assert found.metrics == evaluate(data, None, method="bm25").metrics
    assert (found.method, found.model) == ("rerank", f"{router.info.name} {router.info.version}")


def test_every_candidate_may_be_reranked(tables: Path, router: Router) -> None:
    found = evaluate(load_dataset(tables), router, candidates=0, scope="group")

    assert found.metrics["recall@3"] == 1
    assert found.candidates == 0


def test_documents_are_tools_or_tables(tools: Path, tables: Path) -> None:
    assert all(isinstance(document.item, Tool) for document in load_dataset(tools).documents)
    assert all(isinstance(document.item, Table) for document in load_dataset(tables).documents)


@pytest.mark.parametrize(("name", "namespace"), [("mcp", "mail"), ("openapi", "mail"), ("toole", "")])
def test_the_group_is_a_namespace_where_it_is_a_server(tmp_path: Path, name: str, namespace: str) -> None:
    assert load_dataset(write_tools(tmp_path / name)).documents[0].item.namespace == namespace


def test_a_folder_named_by_a_dot_has_its_own_name(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tools)

    assert load_dataset(Path()).name == "little"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{bad", "line 1 is not JSON"),
        ("[1]", "line 1 is not a JSON object"),
        ('{"id": "q", "query": "x", "split": "test"}', "line 1 lacks the field 'relevant'"),
    ],
    ids=["no_json", "no_object", "no_field"],
)
def test_an_invalid_line_is_an_error(tools: Path, line: str, message: str) -> None:
    (tools / "queries.jsonl").write_text(line + "\n", encoding="utf-8")

    with pytest.raises(InvalidInput, match=message):
        load_dataset(tools)


@pytest.mark.parametrize(
    ("document", "message"),
    [({"tool": {"title": 3}}, "corpus document d"), ({"ddl": "select 1"}, "corpus document d: no table")],
    ids=["tool", "table"],
)
def test_a_document_that_cannot_be_parsed_is_an_error(tools: Path, document: dict[str, Any], message: str) -> None:
    write_lines(tools / "corpus.jsonl", [{"id": "d"} | document])

    with pytest.raises(InvalidInput, match=message):
        load_dataset(tools)


def test_a_missing_file_is_named(tools: Path) -> None:
    (tools / "queries.jsonl").unlink()

    with pytest.raises(InvalidInput, match=r"holds no queries\.jsonl"):
        load_dataset(tools)


def test_the_command_prints_one_json_object(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["eval", "--data", str(tools), "--method", "bm25", "--json"])

    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert tuple(printed) == JSON_KEYS
    assert tuple(printed["metrics"]) == MEASURES
    assert tuple(printed["by_lang"]["de"]) == ("queries", *MEASURES)
    assert (printed["dataset"], printed["queries"], printed["candidates"]) == ("little", 4, 50)


def test_the_command_prints_a_readable_table(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["eval", "--data", str(tables), "--method", "bm25", "--scope", "all"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0] == "schemas (tables), scope all: bm25"
    assert lines[1] == "2 queries against 4 documents, 50 candidates"
    assert lines[3].split() == list(MEASURES)
    assert lines[4].split() == ["all", *["1.000"] * len(MEASURES)]


def test_the_command_says_which_splits_there_are(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["eval", "--data", str(tools), "--method", "bm25", "--split", "none"])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert "it has: dev, test" in err


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("queries", {"relevant": ["t9"]}, r"relevant of query 'x': corpus\.jsonl has no document 't9'"),
        ("queries", {"candidates": ["t1", "t9"]}, r"candidates of query 'x': corpus\.jsonl has no document 't9'"),
        ("queries", {"relevant": "t1"}, "relevant should be a list of ids"),
        ("queries", {"relevant": None}, "relevant should be a list of ids"),
        ("queries", {"candidates": ["t1", "t1"]}, "candidates lists an id twice"),
        ("corpus", {"id": "t1", "tool": {"name": "again"}}, "the id 't1' occurs twice"),
    ],
    ids=["no such answer", "no such candidate", "a text", "nothing", "a candidate twice", "a document twice"],
)
def test_invalid_ids_are_an_error_and_not_a_miss(tools: Path, file: str, line: dict[str, Any], message: str) -> None:
    whole = {"id": "x", "query": "x", "lang": "en", "relevant": ["t1"], "split": "test"} if file == "queries" else {}
    with (tools / f"{file}.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(whole | line) + "\n")
    with pytest.raises(InvalidInput, match=message):
        load_dataset(tools)


def test_ids_may_be_numbers(tmp_path: Path) -> None:
    write_lines(tmp_path / "corpus.jsonl", [{"id": n, "tool": {"name": f"tool{n}"}} for n in range(3)])
    query = {"id": 1, "query": "tool2", "lang": "en", "relevant": [2], "candidates": [1, 2], "split": "test"}
    write_lines(tmp_path / "queries.jsonl", [query])
    assert evaluate(load_dataset(tmp_path), None, method="bm25").metrics["hit@1"] == 1.0


def test_several_tables_in_one_document_are_an_error(tables: Path) -> None:
    with (tables / "corpus.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"id": "two", "ddl": "create table a (x int); create table b (x int)"}) + "\n")
    with pytest.raises(InvalidInput, match="corpus document two: its ddl defines several tables"):
        load_dataset(tables)


def test_a_split_without_answers_is_an_error(tools: Path) -> None:
    write_lines(tools / "queries.jsonl", [{"id": "q", "query": "x", "lang": "en", "relevant": [], "split": "test"}])
    with pytest.raises(InvalidInput, match=r"no query in the split 'test' of .* has relevant documents"):
        evaluate(load_dataset(tools), None, method="bm25")
