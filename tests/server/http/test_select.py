"""The selections over HTTP: the proto's JSON mapping, and what is taken besides it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from google.protobuf import json_format
from rest_fixtures import field_of, reason_of
from server_fakes import tool
from server_fixtures import ServerThread

from shortlist import Client
from shortlist.client.convert import read_info, read_selection
from shortlist.v1 import router_pb2 as pb

CATALOG = [tool("create_refund", "Refund a payment"), tool("list_orders", "List the orders"), tool("ping")]
TEXTS = [{"json": json.dumps(one)} for one in CATALOG]
DDL = "create table orders (id int primary key);\ncreate table refunds (id int, order_id int);\n"


def select(web: httpx.Client, path: str = "/v1/tools:select", **fields: Any) -> dict[str, Any]:
    answer = web.post(path, json=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def names_of(answer: dict[str, Any]) -> list[str]:
    return [item["name"] for item in answer["items"]]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"top_n": 1, "always_include": ["ping"], "max_candidates": 2}, id="snake case"),
        pytest.param({"topN": 1, "alwaysInclude": ["ping"], "maxCandidates": 2}, id="camel case"),
        pytest.param({"topN": "1", "always_include": ["ping"], "maxCandidates": 2.0, "min_score": None}, id="mapped"),
    ],
)
def test_an_answer_over_http_is_that_over_grpc(
    rest_server: ServerThread, web: httpx.Client, fields: dict[str, Any]
) -> None:
    answer = select(web, query={"text": "refund"}, tools=TEXTS, **fields)
    with Client(rest_server.app.address, timeout_seconds=60) as client:
        expected = client.select_tools("refund", CATALOG, top_n=1, always_include=["ping"], max_candidates=2)
    parsed = read_selection(json_format.ParseDict(answer, pb.SelectToolsResponse()))
    assert replace(parsed, timings=expected.timings) == expected


def test_an_answer_is_in_snake_case_with_its_defaults(web: httpx.Client) -> None:
    answer = select(web, query={"text": "refund"}, tools=TEXTS, top_n=1)
    assert answer["items"][0]["always_included"] is False
    assert answer["report"]["num_dropped"] == 0


def test_tools_may_be_objects_and_keep_the_text_they_were_written_as(web: httpx.Client) -> None:
    text = '{"query": "refund a payment", "tools": [ ' + json.dumps(CATALOG[0], indent=1) + ' , {"name": "ping"}]}'
    answer = web.post("/v1/tools:select", content=text, headers={"Content-Type": "application/json"}).json()
    assert names_of(answer) == ["create_refund", "ping"]
    assert answer["items"][0]["source"] == json.dumps(CATALOG[0], indent=1)


def test_a_container_may_be_an_object(web: httpx.Client) -> None:
    assert sorted(names_of(select(web, query="x", tools=[{"tools": CATALOG}]))) == [
        "create_refund",
        "list_orders",
        "ping",
    ]


def test_objects_and_texts_mix_and_texts_keep_their_namespace(web: httpx.Client) -> None:
    answer = select(web, query="ping", tools=[CATALOG[0], {"json": '{"name": "ping"}', "namespace": "net"}])
    assert [(item["name"], item["namespace"]) for item in answer["items"]] == [("ping", "net"), ("create_refund", "")]


def test_an_object_without_a_name_is_reported(web: httpx.Client) -> None:
    report = select(web, query="x", tools=[{"description": "nameless"}])["report"]
    assert [unparsed["index"] for unparsed in report["unparsed"]] == [0]


def test_a_tool_in_other_letters_is_kept_as_it_is(web: httpx.Client) -> None:
    answer = select(web, query="x", tools=[{"name": "größe", "description": "測る"}])
    assert json.loads(answer["items"][0]["source"]) == {"name": "größe", "description": "測る"}
    assert "größe" in answer["items"][0]["source"]


@pytest.mark.parametrize(
    "query",
    [
        "refund",
        {"text": "refund"},
        {"conversation": {"messages": [{"role": "user", "content": "refund"}]}},
        {"conversation": {"messages": [{"role": "model"}, {"role": "user", "parts": [{"text": "refund"}]}]}},
        [{"role": "user", "content": "refund"}],
        [
            {"role": "user", "content": [{"type": "text", "text": "refund"}, {"type": "image_url"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "tool_call_id": "1", "content": "ping ping"},
        ],
        [{"type": "human", "content": "refund"}],
    ],
    ids=["string", "text", "conversation", "gemini in it", "messages", "openai", "langchain"],
)
def test_a_query_is_a_string_a_text_or_a_conversation(web: httpx.Client, query: Any) -> None:
    assert names_of(select(web, query=query, tools=CATALOG, top_n=1)) == ["create_refund"]


def test_tables_are_ranked_with_their_source(web: httpx.Client) -> None:
    answer = select(web, "/v1/tables:select", query="refunds of an order_id", ddl=DDL, dialect="postgres", top_n=1)
    assert answer["items"][0]["source"].rstrip(";") == "create table refunds (id int, order_id int)"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"query": 3}, "query", id="a number as query"),
        pytest.param({"query": []}, "query", id="a list as query"),
        pytest.param({"query": {"text": 3}}, "query.text", id="a number as text"),
        pytest.param({"query": {"text": "x", "conversation": {}}}, "query.conversation", id="two queries"),
        pytest.param({"query": {"txt": "x"}}, "query.txt", id="a misspelt name"),
        pytest.param({"query": " "}, "query", id="a blank query"),
        pytest.param({}, "query", id="no query"),
        pytest.param(
            {"query": {"conversation": {"messages": [{"role": "user"}, {"role": 3}]}}},
            "query.conversation.messages[1].role",
            id="a number as role",
        ),
        pytest.param({"query": [{"role": "user", "content": "x"}, {"role": "agent"}]}, "query[1].role", id="a role"),
        pytest.param({"query": [{"role": "user", "content": " "}]}, "query", id="blank messages"),
        pytest.param({"query": {"conversation": {"messages": {}}}}, "query.conversation.messages", id="no list"),
        pytest.param({"query": "x", "tools": {}}, "tools", id="an object as list"),
        pytest.param({"query": "x", "top_n": 1.5}, "top_n", id="a fraction"),
        pytest.param({"query": "x", "top_n": 2**31}, "top_n", id="above 32 bits"),
        pytest.param({"query": "x", "top_n": "many"}, "top_n", id="no number"),
        pytest.param({"query": "x", "top_n": True}, "top_n", id="a boolean as number"),
        pytest.param({"query": "x", "top_n": -1}, "top_n", id="negative"),
        pytest.param({"query": "x", "topN": 1, "top_n": 1}, "top_n", id="twice"),
        pytest.param({"query": "x", "min_score": "NaN"}, "min_score", id="NaN"),
        pytest.param({"query": "x", "min_score": 2}, "min_score", id="a score above 1"),
        pytest.param({"query": "x", "min_score": 10**400}, "min_score", id="an integer above all doubles"),
        pytest.param({"query": "x", "min_score": []}, "min_score", id="a list as number"),
        pytest.param({"query": "x", "allow_degraded": "yes"}, "allow_degraded", id="a text as boolean"),
        pytest.param({"query": "x", "always_include": ["a", 1]}, "always_include[1]", id="a number as name"),
        pytest.param({"query": "x", "always_includes": []}, "always_includes", id="a name not known"),
    ],
)
def test_a_wrong_field_is_named(web: httpx.Client, fields: dict[str, Any], field: str) -> None:
    answer = web.post("/v1/tools:select", json={"tools": [], **fields})
    assert (answer.status_code, field_of(answer), reason_of(answer)) == (400, field, "INVALID_FIELD")


@pytest.mark.parametrize(
    "odd",
    [
        {"json": 5},
        {"json": {}},
        {"namespace": {"a": 1}},
        {"json": [], "namespace": "x"},
        {"json": "{}", "namespace": 5},
    ],
    ids=["number", "object", "namespace", "list", "number-as-namespace"],
)
def test_an_odd_tool_costs_itself_alone_and_is_named(web: httpx.Client, odd: Any) -> None:
    answer = select(web, query="refund", tools=[CATALOG[0], odd, CATALOG[1]])

    assert names_of(answer) == ["create_refund", "list_orders"]
    assert [one["index"] for one in answer["report"]["unparsed"]] == [1]


def test_too_many_messages_are_refused_with_the_limit(web: httpx.Client) -> None:
    answer = web.post("/v1/tools:select", json={"query": [{"role": "user"}] * 10_001, "tools": []})
    assert (answer.status_code, field_of(answer), reason_of(answer)) == (413, "query", "LIMIT_EXCEEDED")


def test_a_name_that_is_not_known_says_which_is_meant(web: httpx.Client) -> None:
    answer = web.post("/v1/tables:select", json={"query": "x", "max_candidate": 3})
    assert answer.json()["message"] == "max_candidate: is not a known field; did you mean max_candidates?"


def test_an_unknown_dialect_has_its_reason(web: httpx.Client) -> None:
    answer = web.post("/v1/tables:select", json={"query": "x", "ddl": DDL, "dialect": "klingon"})
    assert (answer.status_code, reason_of(answer), field_of(answer)) == (400, "UNKNOWN_DIALECT", "dialect")


def test_another_model_than_expected_is_refused(web: httpx.Client) -> None:
    answer = web.post("/v1/tools:select", json={"query": "x", "tools": [], "expected_model": "other"})
    assert (answer.status_code, reason_of(answer)) == (409, "MODEL_MISMATCH")


def test_info_is_that_over_grpc(rest_server: ServerThread, web: httpx.Client) -> None:
    answer = web.get("/v1/info").json()
    with Client(rest_server.app.address, timeout_seconds=60) as client:
        assert read_info(json_format.ParseDict(answer, pb.GetInfoResponse())) == client.get_info()


def test_an_entry_that_is_no_object_costs_itself_alone(web: httpx.Client) -> None:
    tools = ['{"name": "as_text"}', None, 7, {"name": "as_object"}, {}]
    answer = web.post("/v1/tools:select", json={"query": "x", "tools": tools})

    assert {item["name"] for item in answer.json()["items"]} == {"as_text", "as_object"}
    assert [one["index"] for one in answer.json()["report"]["unparsed"]] == [1, 2, 4]
