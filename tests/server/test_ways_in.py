"""One odd tool, document or table costs itself alone, and the answer is the same on every way in."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import server_fakes
from google.protobuf import json_format
from rest_fixtures import field_of
from server_fixtures import ServerThread

from shortlist import Client, InvalidInput
from shortlist.client.client import AsyncClient
from shortlist.client.convert import read_selection
from shortlist.schemas.results import Selection
from shortlist.schemas.tools.parse import parse_tools
from shortlist.server.cli.main import main
from shortlist.v1 import router_pb2 as pb

QUERY = "refund a payment"
PLAIN = '{"name": "refund", "description": "Gives a payment back"}'
DEEP = "[" * 3000 + "]" * 3000
ODD = {
    "Infinity": '{"name": "odd", "parameters": {"properties": {"a": {"maximum": Infinity, "default": 1}}}}',
    "NaN": '{"name": "odd", "parameters": {"properties": {"a": {"default": NaN}}}}',
    "1e400": '{ "name":"odd", "inputSchema": {"properties": {"a": {"type": "number", "maximum": 1e400}}}}',
    "half a surrogate pair": '{"name": "odd", "description": "a payment \\ud83d"}',
    "a key twice": '{"name": "odd", "description": "first", "description": "refund last"}',
    "3,000 levels": f'{{"name": "odd", "parameters": {{"properties": {{"a": {{"default": {DEEP}}}}}}}}}',
    "5,000 digits": f'{{"name": "odd", "parameters": {{"properties": {{"a": {{"minimum": -{"9" * 5000}}}}}}}}}',
    "nameless": '{"description": "no name", "x": NaN}',
}
JSON = {"Content-Type": "application/json"}


@dataclass
class Asker:
    """Sends the same tool texts in every way."""

    server: ServerThread
    web: httpx.Client
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    folder: Path

    def router(self, texts: list[str]) -> Selection:
        return server_fakes.Router(self.server.engine).select_tools(QUERY, texts, top_n=0)

    def client(self, texts: list[str]) -> Selection:
        with Client(self.server.app.address, timeout_seconds=60) as client:
            return client.select_tools(QUERY, texts, top_n=0)

    def async_client(self, texts: list[str]) -> Selection:
        async def ask() -> Selection:
            async with AsyncClient(self.server.app.address, timeout_seconds=60) as client:
                return await client.select_tools(QUERY, texts, top_n=0)

        return asyncio.run(ask())

    def rest_objects(self, texts: list[str]) -> Selection:
        return self._rest(f"[{', '.join(texts)}]")

    def rest_texts(self, texts: list[str]) -> Selection:
        return self._rest(json.dumps([{"json": text} for text in texts]))

    def command_line(self, texts: list[str]) -> Selection:
        return self._command_line("tools.jsonl", "\n".join(texts))

    def file_with_a_list(self, texts: list[str]) -> Selection:
        return self._command_line("tools.json", f'{{"tools": [{", ".join(texts)}]}}')

    def _command_line(self, name: str, text: str) -> Selection:
        self.monkeypatch.setitem(sys.modules, "shortlist.router.pipeline", server_fakes)
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        assert main(["tools", QUERY, str(path), "--top-n", "0", "--json"]) == 0
        return selection_of(json.loads(self.capsys.readouterr().out))

    def _rest(self, tools: str) -> Selection:
        body = f'{{"query": {json.dumps(QUERY)}, "tools": {tools}, "top_n": 0}}'
        answer = self.web.post("/v1/tools:select", content=body, headers=JSON)
        assert answer.status_code == 200, answer.text
        return selection_of(answer.json())


def selection_of(answer: dict[str, Any]) -> Selection:
    return read_selection(json_format.ParseDict(answer, pb.SelectToolsResponse()))


@pytest.fixture
def asker(
    rest_server: ServerThread,
    web: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Asker:
    return Asker(rest_server, web, monkeypatch, capsys, tmp_path)


WAYS: list[Callable[[Asker, list[str]], Selection]] = [
    Asker.client,
    Asker.async_client,
    Asker.rest_objects,
    Asker.rest_texts,
    Asker.command_line,
]


@pytest.mark.parametrize("ask", WAYS, ids=lambda ask: ask.__name__)
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_tool_gives_the_same_answer_on_every_way_in(
    asker: Asker, odd: str, ask: Callable[[Asker, list[str]], Selection]
) -> None:
    texts = [PLAIN, odd, '{"name": "ping"}']
    expected, parsed = asker.router(texts), parse_tools(texts)

    found = ask(asker, texts)

    assert (found.items, found.unparsed, found.warnings) == (expected.items, expected.unparsed, expected.warnings)
    assert (found.unparsed, found.warnings) == (parsed.unparsed, parsed.warnings)
    assert {item.index: item.source for item in found.items} == {tool.index: tool.source for tool in parsed.tools}
    assert found.items[0].name == "refund"
    assert len(found.items) + len(found.unparsed) == 3
    assert len(found.warnings) + len(found.unparsed) == 1


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_tool_gives_the_same_answer_in_a_list_of_tools(asker: Asker, odd: str) -> None:
    texts = [PLAIN, odd, '{"name": "ping"}']

    found, expected = asker.file_with_a_list(texts), asker.rest_objects(texts)

    assert (found.items, found.warnings) == (expected.items, expected.warnings)
    assert [(one.index, one.reason) for one in found.unparsed] == [(one.index, one.reason) for one in expected.unparsed]


@pytest.mark.parametrize("ask", [Asker.client, Asker.rest_texts], ids=lambda ask: ask.__name__)
def test_a_text_with_an_unescaped_half_of_a_pair_is_read_alike(
    asker: Asker, ask: Callable[[Asker, list[str]], Selection]
) -> None:
    texts = [PLAIN, '{"name": "odd", "description": "\ud83d \ud83d\ude00"}']

    found, expected = ask(asker, texts), asker.router(texts)

    assert (found.items, found.warnings) == (expected.items, expected.warnings)
    assert found.warnings == ("tools[1]: tool 'odd': half of a surrogate pair is not a character and is read as "
                              "U+FFFD: \\ud83d",)  # fmt: skip


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return {"name": "odd", "x": inner}


@pytest.mark.parametrize(
    ("tool", "warning"),
    [
        ({"name": "odd", "x": float("nan")}, "a number that is not finite is left out: NaN"),
        ({"name": "odd", "x": -(10**5000)}, "a number that is not finite is left out: -Infinity"),
        ({"name": "odd", "description": "\udc00"}, "is read as U+FFFD: \\udc00"),
        ({"name": "odd", "x": {1: "a", "1": "b"}}, 'the last one counts: "1"'),
        (nested(3000), "nested more than 200 levels deep; deeper levels are not read"),
    ],
    ids=["NaN", "digits", "half a pair", "a key twice", "levels"],
)
@pytest.mark.parametrize("ask", [Asker.router, Asker.client, Asker.async_client], ids=lambda ask: ask.__name__)
def test_an_odd_mapping_costs_no_other(
    asker: Asker, tool: Any, warning: str, ask: Callable[[Asker, list[Any]], Selection]
) -> None:
    found = ask(asker, [PLAIN, tool])

    assert [item.name for item in found.items] == ["refund", "odd"]
    assert [text.startswith("tools[1]: tool 'odd': ") and text.endswith(warning) for text in found.warnings] == [True]


def test_a_mapping_that_contains_itself_is_refused_by_its_place(asker: Asker) -> None:
    tool: dict[str, Any] = {"name": "odd"}
    tool["x"] = [tool]

    with pytest.raises(InvalidInput, match="contains itself") as caught:
        asker.client([PLAIN, tool])  # type: ignore[list-item]

    assert caught.value.field == "tools[1]"


HALF = "half of a surrogate pair is not a character and is read as U+FFFD: \\ud83d"


def test_an_odd_document_is_read_alike_by_a_router_and_a_client(server: ServerThread, client: Client) -> None:
    documents = ["a", "b \ud83d", "\ud83d\ude00"]

    expected = server_fakes.Router(server.engine).rerank("b", documents, top_n=0)
    found = client.rerank("b", documents, top_n=0)

    assert (found.items, found.warnings) == (expected.items, expected.warnings)
    assert {item.index: item.source for item in found.items} == {0: "a", 1: "b \ufffd", 2: "😀"}
    assert found.warnings == (f"documents[1]: {HALF}",)


@pytest.mark.parametrize(
    ("document", "returned", "warning"),
    [
        ('"b \\ud83d"', {"text": "b \ufffd"}, HALF),
        ('{"text": "b", "rating": NaN}', {"text": "b"}, "a number that is not finite is left out: NaN"),
        ('{"text": "b", "tags": [1e400, 2]}', {"text": "b", "tags": [2]}, "not finite is left out: 1e400"),
        ('{"text": "a", "text": "b"}', {"text": "b"}, 'the last one counts: "text"'),
        (f'{{"text": "b", "id": {"1" * 5000}}}', {"text": "b"}, "left out: 111111111111… (5000 digits)"),
    ],
    ids=["half a pair", "NaN", "1e400", "a key twice", "digits"],
)
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_an_odd_document_costs_no_other_over_rest(
    web: httpx.Client, path: str, document: str, returned: dict[str, Any], warning: str
) -> None:
    body = f'{{"query": "b", "documents": ["a", {document}], "return_documents": true}}'

    answer = web.post(path, content=body, headers=JSON)

    assert answer.status_code == 200, answer.text
    assert {result["index"]: result["document"] for result in answer.json()["results"]} == {
        0: {"text": "a"},
        1: returned,
    }
    [found] = answer.json()["meta"]["warnings"]
    assert found.startswith("documents[1]: ")
    assert found.endswith(warning)


def test_a_document_of_3000_levels_costs_no_other_over_rest(web: httpx.Client) -> None:
    body = f'{{"query": "b", "documents": ["b", {{"text": "a", "more": {DEEP}}}]}}'

    answer = web.post("/v1/rerank", content=body, headers=JSON).json()

    assert [result["index"] for result in answer["results"]] == [0, 1]
    assert answer["meta"]["warnings"] == ["documents[1]: nested more than 32 levels deep; deeper levels are not read"]


def test_an_odd_text_costs_no_other_for_text_embeddings_inference(web: httpx.Client) -> None:
    body = '{"query": "b", "texts": ["b", "\\ud83d"], "return_text": true}'

    answer = web.post("/rerank", content=body, headers=JSON).json()

    assert [result["text"] for result in answer] == ["b", "\ufffd"]


def test_an_odd_script_is_read_alike_by_a_router_a_client_and_rest(
    rest_server: ServerThread, web: httpx.Client
) -> None:
    script = "create table b (id int comment '\ud83d');\ncreate table a (id int);"
    body = json.dumps({"query": "b", "ddl": script})

    expected = server_fakes.Router(rest_server.engine).select_tables("b", script)
    with Client(rest_server.app.address, timeout_seconds=60) as client:
        called = client.select_tables("b", script)
    posted = selection_of(web.post("/v1/tables:select", content=body, headers=JSON).json())

    assert [item.name for item in expected.items] == ["b", "a"]
    assert expected.warnings[0] == f"ddl: {HALF}"
    assert [(one.items, one.warnings) for one in (called, posted)] == [(expected.items, expected.warnings)] * 2


def test_a_script_and_its_cleaned_copy_have_different_warnings(server: ServerThread) -> None:
    router = server_fakes.Router(server.engine)

    assert router.select_tables("b", "create table b (c int); -- \ud83d").warnings == (f"ddl: {HALF}",)
    assert router.select_tables("b", "create table b (c int); -- \ufffd").warnings == ()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"query": "\\ud83d", "tools": []}', "query"),
        ('{"query": {"text": "a", "text": "b"}, "tools": []}', "query"),
        ('{"query": "x", "tools": [], "top_n": NaN}', "top_n"),
        ('{"query": "x", "tools": [], "min_score": 1e400}', "min_score"),
        (f'{{"query": "x", "tools": [], "top_n": {"1" * 5000}}}', "top_n"),
        (f'{{"query": "x", "tools": [], "always_include": {DEEP}}}', "always_include"),
        ('{"query": "x", "tools": [], "always_include": ["\\ud83d"]}', "always_include[0]"),
        ('{"query": "x", "tools": [], "tools": []}', "tools"),
        ('{"query": "x", "tools": [{"json": "{}", "json": "{}"}]}', "tools[0].json"),
        ('{"query": "x", "tools": [{"json": "{}", "namespace": "\\ud83d"}]}', "tools[0].namespace"),
    ],
    ids=["half", "key in the query", "NaN", "1e400", "digits", "levels", "name", "key", "key of a text", "namespace"],
)
def test_an_oddity_outside_of_a_tool_is_the_callers_mistake(web: httpx.Client, body: str, field: str) -> None:
    answer = web.post("/v1/tools:select", content=body, headers=JSON)

    assert (answer.status_code, field_of(answer)) == (400, field)


@pytest.mark.parametrize(
    ("method", "arguments", "options", "field"),
    [
        ("select_tools", ("\ud83d", [PLAIN]), {}, "query"),
        ("select_tools", ([{"role": "user", "content": "\ud83d"}], [PLAIN]), {}, "query[0].content"),
        ("select_tools", ("x", [PLAIN]), {"namespaces": ["\ud83d"]}, "namespaces[0]"),
        ("select_tools", ("x", [PLAIN]), {"always_include": ["\ud83d"]}, "always_include[0]"),
        ("select_tables", ("x", "create table b (c int)"), {"dialect": "\ud83d"}, "dialect"),
    ],
    ids=["query", "message", "namespace", "name", "dialect"],
)
@pytest.mark.parametrize("way", ["router", "client"])
def test_half_a_pair_outside_of_a_tool_is_the_callers_mistake(
    server: ServerThread, client: Client, way: str, method: str, arguments: Any, options: dict[str, Any], field: str
) -> None:
    selector = {"router": server_fakes.Router(server.engine), "client": client}[way]

    with pytest.raises(InvalidInput) as caught:
        getattr(selector, method)(*arguments, **options)

    assert caught.value.field == field


NOTHING: list[tuple[str, str, Any, str]] = [
    ("no tools", "select_tools", [], "no tools were given"),
    ("no readable tool", "select_tools", ["5", "[6, 7]"], "none of the 3 tools could be read"),
    ("no script", "select_tables", " \n", "the script defines no table"),
    ("comments", "select_tables", "-- tables follow\n/* soon */", "the script defines no table"),
    ("no readable table", "select_tables", "create table (;", "the script defines no table that can be read; "
     "1 statement is left out"),
    ("no documents", "rerank", [], "no documents were given"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "given", "warning"), [row[1:] for row in NOTHING], ids=[row[0] for row in NOTHING])
@pytest.mark.parametrize("way", ["router", "client"])
def test_nothing_to_rank_is_an_answer_with_a_warning(
    server: ServerThread, client: Client, way: str, method: str, given: Any, warning: str
) -> None:
    selector = {"router": server_fakes.Router(server.engine), "client": client}[way]

    selection = getattr(selector, method)("x", given)

    assert (selection.items, selection.num_candidates) == ((), 0)
    assert selection.warnings[-1] == warning


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/tools:select", {"query": "x"}, "tools"),
        ("/v1/tools:select", {"query": "x", "tools": None}, "tools"),
        ("/v1/tools:select", {"tools": []}, "query"),
        ("/v1/tables:select", {"query": "x"}, "ddl"),
        ("/v1/tables:select", {"query": "x", "ddl": None}, "ddl"),
        ("/v1/rerank", {"query": "x"}, "documents"),
        ("/v2/rerank", {"query": "x"}, "documents"),
    ],
)
def test_what_is_missing_over_rest_is_named(web: httpx.Client, path: str, body: dict[str, Any], field: str) -> None:
    answer = web.post(path, json=body)

    assert (answer.status_code, answer.json()["message"]) == (400, f"{field}: is missing")


@pytest.mark.parametrize(
    ("path", "body", "warning"),
    [
        ("/v1/tools:select", {"query": "x", "tools": []}, "no tools were given"),
        ("/v1/tools:select", {"query": "x", "tools": [{"a": 1}, {"b": 2}]}, "none of the 2 tools could be read"),
        ("/v1/tables:select", {"query": "x", "ddl": ""}, "the script defines no table"),
    ],
    ids=["no tools", "no readable tool", "no script"],
)
def test_an_empty_list_over_rest_is_an_answer_with_a_warning(
    web: httpx.Client, path: str, body: dict[str, Any], warning: str
) -> None:
    answer = web.post(path, json=body)

    assert (answer.status_code, answer.json()["report"]["warnings"]) == (200, [warning])


def test_no_documents_over_rest_is_an_answer_with_a_warning(web: httpx.Client) -> None:
    answer = web.post("/v1/rerank", json={"query": "x", "documents": []})

    assert (answer.status_code, answer.json()["meta"]["warnings"]) == (200, ["no documents were given"])
