"""Sets of documents, conversations, graded answers and queries that nothing fits are measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from meanings import Meanings
from own_folders import write_whole

from shortlist import Router
from shortlist.evaluation.abstention import measure_abstention
from shortlist.evaluation.dataset import load_dataset
from shortlist.evaluation.metrics import measure
from shortlist.evaluation.ranking import evaluate
from shortlist.schemas.conversation import Message
from shortlist.schemas.errors import InvalidInput
from shortlist.server.cli.main import main

LOGITS = {"city": 3.0, "orders": 2.0, "email": -4.0, "date": -3.0}


def write_set(folder: Path, documents: Sequence[dict[str, Any]], queries: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, lines in (("corpus", documents), ("queries", queries)):
        written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(written, encoding="utf-8")
    return folder


def query(identifier: str, relevant: Sequence[str], **more: Any) -> dict[str, Any]:
    return {"id": identifier, "query": "refund order", "lang": "en", "split": "dev", "relevant": relevant} | more


@pytest.fixture
def router(tmp_path: Path) -> Router:
    vectors = dict.fromkeys((*LOGITS, "other"), (1.0, 0.0, 0.0))
    made = Router.load(write_whole(tmp_path / "model").folder, device="cpu", dtype="float32")
    return made.with_scorer(Meanings(vectors, logits=LOGITS))


@pytest.fixture
def tools() -> list[dict[str, Any]]:
    return [{"id": name, "tool": {"name": name, "parameters": {}}} for name in LOGITS]


def test_plain_documents_are_ranked_by_their_text(tmp_path: Path) -> None:
    passages = [{"id": "a", "text": "Opening hours of the museum"}, {"id": "b", "text": "How to refund an order"}]
    data = load_dataset(write_set(tmp_path / "docs", passages, [query("q", ["b"])]))
    found = evaluate(data, None, method="bm25", split="dev")
    assert (found.kind, found.documents, found.metrics["hit@1"]) == ("documents", 2, 1)


def test_an_acceptable_document_is_a_hit_and_is_not_needed() -> None:
    found = measure(["ok", "needed", "wrong"], {"needed"}, {"ok"})
    assert (found["hit@1"], found["recall@1"], found["complete@3"]) == (1, 0, 1)
    assert found["ndcg@10"] < 1
    assert measure(["needed", "ok"], {"needed"}, {"ok"})["ndcg@10"] == pytest.approx(1)


def test_a_conversation_is_ranked_by_all_that_was_said(tmp_path: Path, tools: list[dict[str, Any]]) -> None:
    turns = [
        {"role": "user", "content": "when will it rain in that city"},
        {"role": "assistant", "content": "tomorrow"},
        {"role": "user", "content": "and then?"},
    ]
    asked = query("q", ["city"], query="and then?", messages=turns)
    data = load_dataset(write_set(tmp_path / "talk", tools, [asked]))
    assert data.queries[0].query == tuple(Message(one["role"], one["content"]) for one in turns)
    assert evaluate(data, None, method="bm25", split="dev").metrics["hit@1"] == 1


def test_an_unknown_role_is_an_error_with_its_line(tmp_path: Path, tools: list[dict[str, Any]]) -> None:
    asked = query("q", ["city"], messages=[{"role": "narrator", "content": "hi"}])
    folder = write_set(tmp_path / "talk", tools, [asked])
    with pytest.raises(InvalidInput, match=r"line 1: .*narrator"):
        load_dataset(folder)


def test_styles_and_groups_are_measured_separately(tmp_path: Path, tools: list[dict[str, Any]]) -> None:
    asked = [query("q", ["city"], query="city", src="terse"), query("r", ["date"], query="city", src="vague")]
    found = evaluate(load_dataset(write_set(tmp_path / "set", tools, asked)), None, method="bm25", split="dev")
    assert {style: one["hit@1"] for style, one in found.by_style.items()} == {"terse": 1, "vague": 0}
    assert found.by_group == {}


def test_an_interval_holds_the_mean(tmp_path: Path, tools: list[dict[str, Any]]) -> None:
    asked = [query(str(n), ["city" if n % 3 else "date"], query="city") for n in range(30)]
    found = evaluate(load_dataset(write_set(tmp_path / "set", tools, asked)), None, method="bm25", split="dev")
    low, high = found.intervals["hit@1"]
    assert low < found.metrics["hit@1"] < high


def test_queries_that_nothing_fits_are_told_apart_by_the_first_score(
    tmp_path: Path, tools: list[dict[str, Any]], router: Router
) -> None:
    answered = query("q", ["city"], candidates=["city", "date"])
    folder = write_set(tmp_path / "set", tools, [answered])
    none = query("n", [], candidates=["email", "date"])
    (folder / "queries_none.jsonl").write_text(json.dumps(none) + "\n", encoding="utf-8")
    found = evaluate(load_dataset(folder), router, split="dev")
    assert found.queries == 1
    assert (found.nothing_fits["queries"], found.nothing_fits["auc"], found.nothing_fits["under_threshold"]) == (
        1,
        1,
        1,
    )


def test_no_query_without_an_answer_gives_no_measure_of_abstention(
    tmp_path: Path, tools: list[dict[str, Any]], router: Router
) -> None:
    found = evaluate(load_dataset(write_set(tmp_path / "set", tools, [query("q", ["city"])])), router, split="dev")
    assert found.nothing_fits == {}
    assert found.calibration_error is not None


def test_abstention_matches_what_is_worked_out_by_hand() -> None:
    found = measure_abstention([0.2, 0.6, 0.8, 0.9], [0.1, 0.6, 0.7])
    assert found["auc"] == pytest.approx((1 + 1.5 + 3 + 3) / 12, abs=1e-4)
    assert (found["threshold"], found["under_threshold"]) == (0.2, pytest.approx(1 / 3, abs=1e-4))


def test_a_table_that_a_schema_defines_again_counts_once(tmp_path: Path) -> None:
    tables = [{"id": "s.a", "group": "s", "ddl": f"create table a ({name} int)"} for name in ("first", "second")]
    data = load_dataset(write_set(tmp_path / "set", tables, [query("q", ["s.a"])]))
    assert [document.item.columns[0].name for document in data.documents if hasattr(document.item, "columns")] == [
        "first"
    ]


def test_the_command_prints_styles_intervals_and_what_nothing_fits(
    tmp_path: Path, tools: list[dict[str, Any]], tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [query("q", ["city"], src="terse"), query("r", ["date"], src="vague"), query("n", [])]
    folder = write_set(tmp_path / "set", tools, asked)
    assert main(["eval", "--data", str(folder), "--split", "dev", "--model", str(tiny_model_dir)]) == 0
    printed = capsys.readouterr().out
    assert [
        word for word in ("terse (1)", "vague (1)", "from", "to", "nothing fits (1 queries)") if word not in printed
    ] == []
