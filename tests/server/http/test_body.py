"""Request bodies of the REST API: declared types, size limits and strict parsing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_fixtures import ask, detail_of, field_of, reason_of
from server_fixtures import ServerThread

from shortlist.schemas.errors import InvalidInput, LimitExceeded
from shortlist.server.http.body import read_json

StartServer = Callable[..., ServerThread]

JSON = {"Content-Type": "application/json"}
QUESTION = {"query": "word", "documents": ["word"]}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
    ],
    ids=["none", "text", "form", "utf-16"],
)
def test_a_body_not_declared_as_json_is_rejected(web: httpx.Client, headers: Mapping[str, str]) -> None:
    answer = web.post("/v1/rerank", content=json.dumps(QUESTION), headers=headers)
    assert (answer.status_code, reason_of(answer), field_of(answer)) == (415, "UNSUPPORTED_CONTENT", "Content-Type")


def test_a_compressed_body_is_rejected(web: httpx.Client) -> None:
    answer = web.post("/v1/rerank", content=b"\x1f\x8b", headers={**JSON, "Content-Encoding": "gzip"})
    assert (answer.status_code, field_of(answer)) == (415, "Content-Encoding")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
def test_the_charset_utf_8_is_accepted(web: httpx.Client, kind: str) -> None:
    answer = web.post("/v1/rerank", content=json.dumps(QUESTION), headers={"Content-Type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "at line 1, column 1", id="empty"),
        pytest.param(b'{"query": "x",\n "documents" []}', "at line 2, column 14", id="no colon"),
        pytest.param(b'{"query": "x"} x', "at line 1, column 16", id="more after it"),
        pytest.param(b'{"query": "\xff"}', "byte 11", id="no UTF-8"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="too deep"),
        pytest.param(b'{"query":' * 5_000 + b"1" + b"}" * 5_000, "nested too deeply", id="objects too deep"),
        pytest.param(b'{"top_n": ' + b"9" * 10_000 + b"}", "too many digits", id="too long a number"),
        pytest.param(b'"text"', "should be a JSON object", id="a string"),
        pytest.param(b"NaN", "should be a JSON object", id="no number"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/tools:select"])
def test_a_body_that_is_not_a_json_object_is_refused_with_the_place(
    web: httpx.Client, path: str, body: bytes, message: str
) -> None:
    answer = web.post(path, content=body, headers=JSON)
    assert (answer.status_code, message in answer.json()["message"]) == (400, True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param('{"query": "x", "query": "y", "documents": []}', "query", id="twice"),
        pytest.param('{"query": {"text": "a", "text": "b"}, "documents": []}', "query", id="twice within"),
        pytest.param('{"query": "x", "documents": ["a", NaN]}', "documents[1]", id="NaN as a document"),
        pytest.param('{"query": "x", "documents": [], "rank_fields": ["a", -Infinity]}', "rank_fields[1]", id="inf"),
        pytest.param('{"query": "x", "documents": [], "top_n": 1e999}', "top_n", id="too large"),
        pytest.param('{"query": "\\ud800", "documents": []}', "query", id="half a surrogate pair"),
        pytest.param('{"query": "x", "documents": [], "\\udfff": 1}', "", id="half a pair as a name"),
    ],
)
def test_values_that_only_json_allows_are_rejected_by_field(web: httpx.Client, body: str, field: str) -> None:
    answer = web.post("/v1/rerank", content=body, headers=JSON)
    assert (answer.status_code, field_of(answer)) == (400, field)


@pytest.mark.parametrize(
    "field",
    [
        '"x": NaN',
        '"x": {"a": 1, "a": 2}',
        '"x": {"y": [1e400]}',
        '"x": ' + "9" * 5_000,
        '"x": ' + "[" * 3_000 + "]" * 3_000,
        '"x": "\\ud83d"',
        '"x": 1, "x": 2',
    ],
    ids=["NaN", "key-twice", "1e400", "digits", "levels", "half-a-pair", "field-twice"],
)
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank", "/infinity/rerank"])
def test_the_value_of_an_unknown_field_does_not_matter(web: httpx.Client, path: str, field: str) -> None:
    answer = web.post(path, content=f'{{"query": "x", "documents": ["a"], {field}}}', headers=JSON)

    assert answer.status_code == 200
    assert answer.json()["meta"]["warnings"] == ["x: is not a known field and was ignored"]


def test_the_value_of_an_unknown_tei_field_does_not_matter(web: httpx.Client) -> None:
    answer = web.post("/rerank", content='{"query": "x", "texts": ["a"], "z": [NaN]}', headers=JSON)

    assert answer.status_code == 200
    assert "z: is not a known field" in answer.headers["x-shortlist-warnings"]


def test_a_threshold_that_is_not_applied_may_have_any_value(web: httpx.Client) -> None:
    answer = web.post("/v1/rerank", content='{"query": "x", "documents": ["a"], "score_threshold": NaN}', headers=JSON)

    assert answer.json()["meta"]["warnings"][0].startswith("score_threshold: was not applied")


def test_complete_surrogate_pairs_are_accepted(web: httpx.Client) -> None:
    answer = web.post("/v1/rerank", content='{"query": "x", "documents": ["\\ud83d\\ude00"]}', headers=JSON)
    assert answer.json()["results"][0]["document"] == {"text": "😀"}


@pytest.mark.parametrize("depth", [30, 300, 450, 480, 5000])
def test_a_deeply_nested_tool_is_not_an_internal_error(web: httpx.Client, depth: int) -> None:
    inner = '{"properties": {"a": ' * depth + "{}" + "}}" * depth
    body = f'{{"query": "x", "tools": [{{"name": "deep", "parameters": {inner}}}]}}'
    assert web.post("/v1/tools:select", content=body, headers=JSON).status_code in (200, 400)


@pytest.mark.parametrize("is_declared", [True, False], ids=["by its length", "while it arrives"])
def test_a_body_above_the_limit_is_rejected(start_server: StartServer, is_declared: bool) -> None:
    def pieces() -> Iterator[bytes]:
        yield from [b" " * 65536] * 40

    content: Any = b" " * (40 * 65536) if is_declared else pieces()
    with ask(start_server(http_port=0, max_message_mb=1)) as web:
        answer = web.post("/v1/rerank", content=content, headers=JSON)
    assert (answer.status_code, reason_of(answer)) == (413, "LIMIT_EXCEEDED")
    assert detail_of(answer, "ErrorInfo")["metadata"]["limit"] == str(1024 * 1024)


def test_an_exceeded_limit_names_the_field_of_the_contract(web: httpx.Client) -> None:
    answers = [
        web.post("/v1/rerank", json={"query": "x" * 1_000_001, "documents": ["a"]}),
        web.post("/rerank", json={"query": "x" * 1_000_001, "texts": ["a"]}),
        web.post("/v1/tools:select", json={"query": "x" * 1_000_001, "tools": []}),
    ]
    assert [field_of(answer) for answer in answers] == ["query", "query", "query.text"]


def test_a_duplicate_name_is_found_among_many_without_comparing_each_with_each() -> None:
    body = "{" + ",".join(f'"n{number}": 0' for number in range(100_000)) + ',"z": 1, "z": 2}'
    with pytest.raises(InvalidInput, match="z: is given twice"):
        read_json(body.encode())  # comparing each with each would take minutes


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
NAMES = st.sampled_from(["query", "tools", "documents", "texts", "ddl"]) | st.text()


@given(st.dictionaries(NAMES, VALUES), st.sampled_from([None, 0, 3]), st.booleans())
def test_a_body_without_oddities_is_read_as_by_any_decoder(
    fields: dict[str, Any], indent: int | None, is_ascii: bool
) -> None:
    body = read_json(json.dumps(fields, indent=indent, ensure_ascii=is_ascii).encode())

    assert (body.fields, body.warnings) == (fields, [])
    assert {name: list(map(json.loads, sources)) for name, sources in body.sources.items()} == {
        name: value
        for name, value in fields.items()
        if name in ("tools", "documents", "texts") and isinstance(value, list)
    }


@given(st.dictionaries(NAMES, VALUES), st.integers(min_value=0), st.sampled_from([b"", b",", b"}", b'"', b"[", b"x"]))
def test_a_damaged_body_is_read_or_refused(fields: dict[str, Any], place: int, damage: bytes) -> None:
    body = json.dumps(fields).encode()
    place %= len(body)

    with contextlib.suppress(InvalidInput):
        read_json(body[:place] + damage + body[place + 1 :])


def test_a_byte_order_mark_is_ignored() -> None:
    assert read_json(b'\xef\xbb\xbf{"query": "x"}').fields == {"query": "x"}


def test_a_body_of_too_many_fields_is_refused() -> None:
    body = "{" + ",".join(f'"n{number}": 0' for number in range(150_001)) + "}"
    with pytest.raises(InvalidInput, match="more than 150000 fields"):
        read_json(body.encode())


@pytest.mark.parametrize("name", ["tools", "documents", "texts"])
def test_entries_above_the_limit_are_counted_and_not_read_one_by_one(name: str) -> None:
    body = f'{{"{name}": [' + "0," * 2_000_000 + "NaN]}"
    with pytest.raises(LimitExceeded, match="2000001 entries, but at most 20000") as caught:
        read_json(body.encode())
    assert (caught.value.field, caught.value.limit, caught.value.actual) == (name, 20_000, 2_000_001)
