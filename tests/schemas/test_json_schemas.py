"""Checks the published JSON Schemas against what the program accepts and prints."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import server_fakes
from google.protobuf import json_format
from jsonschema import Draft202012Validator
from paths import ROOT
from server_fakes import tool

from shortlist.evaluation.dataset import load_dataset
from shortlist.evaluation.ranking import evaluate
from shortlist.server.cli.main import main
from shortlist.v1 import router_pb2 as pb

FOLDER = ROOT / "schemas/json"
FILES = sorted(FOLDER.glob("*.schema.json"))
TOOLS = [tool("create_refund", "Refund a payment"), tool("ping")]
CORPUS = [{"id": "refund", "group": "pay", "tool": TOOLS[0]}, {"id": "ping", "tool": TOOLS[1]}]
QUERIES = [{"id": "1", "query": "refund a payment", "lang": "en", "relevant": ["refund"], "split": "test"}]
QUERY = pb.Query(text="refund")
TURNS = pb.Query(conversation=pb.Conversation(messages=[pb.ChatMessage(role="user", content="refund")]))
REQUESTS = [
    pb.SelectToolsRequest(query=QUERY, tools=[pb.ToolText(json="[]", namespace="a")], top_n=0, always_include=["a"]),
    pb.SelectToolsRequest(query=TURNS, tools=[pb.ToolText()], max_candidates=3, min_score=0.5, allow_degraded=True),
    pb.SelectTablesRequest(query=QUERY, ddl="create table a (b int)", dialect="postgres", expected_version="1"),
    pb.RerankRequest(query=TURNS, documents=["a", ""], max_query_tokens=9, overlap_tokens=0, return_documents=False),
]


@pytest.fixture(scope="module")
def generated() -> dict[str, dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("json_schemas", ROOT / "proto/json_schemas.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, dict[str, Any]] = module.all_schemas()
    return made


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))


def problems(name: str, value: Any) -> list[str]:
    found = Draft202012Validator(read(name)).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command line with the fake Router and decodes what it prints."""
    monkeypatch.setitem(sys.modules, "shortlist.router.pipeline", server_fakes)

    def run(*arguments: str, stdin: str = "") -> Any:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        assert main(arguments) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, lines in (("corpus", CORPUS), ("queries", QUERIES)):
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_committed_files_match_the_code(generated: dict[str, dict[str, Any]]) -> None:
    assert {path.name.removesuffix(".schema.json"): json.loads(path.read_text("utf-8")) for path in FILES} == generated


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.split(".")[0])
def test_each_file_is_a_schema_with_a_unique_name(path: Path) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:shortlist:v1:{path.name.removesuffix('.schema.json')}"
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


def test_they_are_installed_with_the_package() -> None:
    import shortlist.schemas as installed

    found = Path(str(installed.__file__)).parent / "json"
    assert {path.name for path in found.glob("*.schema.json")} == {path.name for path in FILES}
    assert '"json/*.schema.json"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "arguments", "stdin"),
    [
        ("select_tools_response", ["tools", "refund"], json.dumps([*TOOLS, {"no": "name"}])),
        ("select_tables_response", ["tables", "refund"], "create table a (b int);\ncreate table oops (;"),
        ("rerank_response", ["rerank", "refund"], "refund\nother\n"),
        ("get_info_response", ["info"], ""),
        ("config", ["config", "--port", "0", "--disabled", "info,metrics"], ""),
    ],
)
def test_the_output_of_a_command_matches_its_schema(
    printed: Callable[..., Any], name: str, arguments: list[str], stdin: str
) -> None:
    assert problems(name, printed(*arguments, "--json", stdin=stdin)) == []


def test_the_output_of_an_evaluation_matches_its_schema(printed: Callable[..., Any], data: Path) -> None:
    assert problems("evaluation", printed("eval", "--data", str(data), "--method", "bm25", "--json")) == []


def test_an_evaluation_by_languages_matches_its_schema(data: Path) -> None:
    assert problems("evaluation", evaluate(load_dataset(data), None, method="bm25").as_json()) == []


@pytest.mark.parametrize("is_snake", [True, False], ids=["as in the proto", "as protobuf's JSON"])
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: type(each).__name__)
def test_requests_of_the_service_match_their_schemas(request_: Any, is_snake: bool) -> None:
    written = json_format.MessageToDict(request_, preserving_proto_field_name=is_snake)
    name = {"SelectToolsRequest": "select_tools_request", "SelectTablesRequest": "select_tables_request"}
    assert problems(name.get(type(request_).__name__, "rerank_request"), written) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rerank_request", {"documents": []}, "$: 'query' is a required property"),
        ("rerank_request", {"query": {"text": "a"}, "top_k": 1}, "top_k"),
        ("rerank_request", {"query": {"text": "a"}, "top_n": -1}, "$.top_n: -1 is less than the minimum of 0"),
        ("rerank_request", {"query": {"text": "a", "conversation": {"messages": []}}}, "$.query"),
        ("select_tools_request", {"query": {"text": "a"}, "min_score": 2}, "$.min_score"),
        ("select_tables_request", {"query": {"text": "a"}, "ddl": ["a"]}, "$.ddl"),
        ("select_tools_response", {"items": []}, "'report' is a required property"),
        ("get_info_response", {"num_parameters": 3}, "$.num_parameters"),
        ("config", {"port": {"value": 70_000, "source": "default"}}, "$.port.value"),
        ("corpus_line", {"id": "a"}, "$"),
        ("query_line", {"id": "a", "query": "b", "split": "test"}, "'relevant' is a required property"),
        ("model", {"format": 1}, "$.format: 2 was expected"),
        ("model", {"shape": {"num_layers": "2"}}, "$.shape.num_layers: '2' is not of type 'integer'"),
        ("model", {"score_weights": {"tools": {"mood": 1}}}, "$.score_weights.tools"),
        ("model", {"variants": {"fast": {"num_layers": 0}}}, "$.variants.fast"),
    ],
)
def test_invalid_values_are_rejected(name: str, value: Any, expected: str) -> None:
    assert any(expected in problem for problem in problems(name, value))


def test_the_built_in_model_matches_its_schema() -> None:
    described = json.loads((ROOT / "router/models/shortlist-small/shortlist.json").read_text(encoding="utf-8"))
    assert problems("model", described) == []


def test_the_lines_of_an_evaluation_set_match_their_schemas() -> None:
    assert [problem for line in CORPUS for problem in problems("corpus_line", line)] == []
    assert problems("corpus_line", {"id": 1, "ddl": "create table a (b int)", "dialect": "postgres"}) == []
    assert [problem for line in QUERIES for problem in problems("query_line", line)] == []
