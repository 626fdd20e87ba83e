"""Checks the OpenAPI document against the behaviour of the server."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_fixtures import ServerThread

from shortlist.server import limits
from shortlist.server.auth.authenticator import AnonymousAuthenticator
from shortlist.server.http import openapi
from shortlist.server.http.openapi_examples import EXAMPLES
from shortlist.server.http.routes import RestApi
from shortlist.server.services import make_services, methods_by_path

DOCUMENT = openapi.describe(needs_key=False)
OPERATIONS = [(path, verb, operation) for path, verbs in DOCUMENT["paths"].items() for verb, operation in verbs.items()]
SCHEMAS = DOCUMENT["components"]["schemas"]
ASKED = [
    ("/v1/rerank", "RerankV1", "RerankResults"),
    ("/v2/rerank", "RerankV2", "RerankResults"),
    ("/v1/v2/rerank", "RerankV2", "RerankResults"),
    ("/rerank", "TeiRerank", "TeiResults"),
    ("/infinity/rerank", "RerankV1", "InfinityResults"),
    ("/v1/tools:select", "SelectToolsRequest", "SelectToolsResponse"),
    ("/v1/tables:select", "SelectTablesRequest", "SelectTablesResponse"),
]


def check(value: Any, schema: str) -> None:
    """Validates a value against a schema of the document."""
    whole = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": SCHEMAS}}
    jsonschema.Draft202012Validator(whole).validate(value)


def nodes_of(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes_of(inner)


def test_the_document_is_served_unchanged(web: httpx.Client) -> None:
    assert web.get("/openapi.json").json() == json.loads(json.dumps(DOCUMENT))


def test_every_route_is_described_and_no_other(rest_server: ServerThread) -> None:
    app = rest_server.app
    methods = {method.name: method for method in methods_by_path(make_services(app.settings)).values()}
    api = RestApi(app.dispatcher, AnonymousAuthenticator(app.settings), app.settings, methods, is_serving=lambda: True)
    served = {(route.path, verb.lower()) for route in api.app.routes for verb in route.methods - {"HEAD"}}
    assert served == {(path, verb) for path, verb, _ in OPERATIONS}


def test_every_reference_resolves() -> None:
    for node in nodes_of(DOCUMENT):
        found: Any = DOCUMENT
        for part in node.get("$ref", "#/").removeprefix("#/").split("/"):
            found = found[part] if part else found


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_valid(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_the_document_forbids_a_query_of_white_space_alone() -> None:
    characters = set(map(chr, range(sys.maxunicode + 1)))
    blank = {character for character in characters if not character.strip()}

    assert SCHEMAS["TeiRerank"]["properties"]["query"]["pattern"] == limits.NOT_BLANK
    assert {character for character in characters if not re.search(limits.NOT_BLANK, character)} == blank


def test_every_operation_has_a_unique_id() -> None:
    assert len({operation["operationId"] for _, _, operation in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize(
    "name", ["SelectToolsRequest", "SelectTablesResponse", "SelectionReport", "RerankV1", "TeiRerank"]
)
def test_every_field_has_a_description(name: str) -> None:
    fields = SCHEMAS[name]["properties"]
    assert [field for field, schema in fields.items() if not schema.get("description")] == []


@pytest.mark.parametrize(("path", "question", "answer"), ASKED)
def test_examples_match_real_requests_and_responses(web: httpx.Client, path: str, question: str, answer: str) -> None:
    asked, answered = EXAMPLES[path]
    check(asked, question)
    check(answered, answer)
    got = web.post(path, json=asked)
    assert got.status_code == 200
    check(got.json(), answer)


@pytest.mark.parametrize(
    "fields",
    [{"dialect": "postgresql"}, {"dialect": "PG"}, {"topN": 1}, {"keepColumns": "0.5"}, {"max_candidates": None}],
    ids=["another name of a dialect", "in capitals", "camel case", "a number as a string", "null"],
)
def test_the_document_allows_what_the_server_accepts(web: httpx.Client, fields: dict[str, Any]) -> None:
    body = {"query": "orders", "ddl": "CREATE TABLE orders (id int)", **fields}
    check(body, "SelectTablesRequest")
    assert web.post("/v1/tables:select", json=body).status_code == 200


def check_body(body: dict[str, Any]) -> None:
    """Validates a body of `/rerank`, which has a schema of its own in the route."""
    schema = DOCUMENT["paths"]["/rerank"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": {"schemas": SCHEMAS}}).validate(body)


@pytest.mark.parametrize(
    ("fields", "answered"),
    [
        ({"documents": ["a"]}, "RerankResults"),
        ({"documents": [{"text": "a"}], "return_documents": "true", "topN": 3}, "RerankResults"),
        ({"texts": ["a"], "raw_scores": "False"}, "TeiResults"),
        ({"texts": ["a"], "documents": None}, "TeiResults"),
    ],
    ids=["documents", "more of them", "texts", "null"],
)
def test_the_document_says_what_rerank_takes(web: httpx.Client, fields: dict[str, Any], answered: str) -> None:
    check_body({"query": "a", **fields})
    check(web.post("/rerank", json={"query": "a", **fields}).json(), answered)


@pytest.mark.parametrize(
    "fields",
    [{}, {"texts": ["a"], "documents": ["a"]}, {"documents": ["a"], "top_n": 1, "topN": 1}],
    ids=["neither", "both", "one field by two names"],
)
def test_the_document_forbids_what_rerank_rejects(web: httpx.Client, fields: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check_body({"query": "a", **fields})
    assert web.post("/rerank", json={"query": "a", **fields}).status_code == 400


def test_the_document_names_the_header_of_warnings(web: httpx.Client) -> None:
    answer = web.post("/rerank", json={"query": "a", "texts": ["a"], "unknown": 1})
    described = DOCUMENT["paths"]["/rerank"]["post"]["responses"]["200"]["headers"]
    assert "X-Shortlist-Warnings" in described
    assert "X-Shortlist-Warnings" in answer.headers


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v1/tools:select", "/v1/nothing"])
def test_errors_match_their_schema(web: httpx.Client, path: str) -> None:
    check(web.post(path, json={"query": 3}).json(), "Error")


def test_info_matches_its_schema(web: httpx.Client) -> None:
    check(web.get("/v1/info").json(), "GetInfoResponse")


def test_the_document_says_whether_a_key_is_needed() -> None:
    paths = openapi.describe(needs_key=True)["paths"]
    assert paths["/v1/rerank"]["post"]["security"] == [{"bearer": []}, {"key": []}]
    assert {} in DOCUMENT["paths"]["/v1/rerank"]["post"]["security"]
    assert paths["/healthz"]["get"]["security"] == [{}]


def test_the_html_page_shows_every_route_and_loads_nothing(web: httpx.Client) -> None:
    page = web.get("/docs")
    assert [path for path, _, _ in OPERATIONS if path not in page.text] == []
    assert re.findall(r"<(?:script|link|img|iframe)|\ssrc=|@import|url\(", page.text) == []
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


NAMES = sorted({name for schema in SCHEMAS.values() for name in schema.get("properties", {})})
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
QUESTIONS = st.sampled_from([EXAMPLES[path][0] for path, _, _ in ASKED])
CHANGED = st.builds(
    lambda question, changed: {**question, **changed},
    QUESTIONS,
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3),
)
BYTES = st.binary(max_size=40) | st.text('{}[]":,\\u d8019NaInfity', max_size=30).map(str.encode)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    path=st.sampled_from([path for path, _, _ in ASKED]),
    body=VALUES | CHANGED,
)
def test_no_json_body_causes_an_internal_error(web: httpx.Client, path: str, body: Any) -> None:
    answer = web.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 409, 413)
    if answer.status_code != 200:
        check(answer.json(), "Error")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(path=st.sampled_from([path for path, _, _ in ASKED]), body=BYTES)
def test_no_bytes_cause_an_internal_error(web: httpx.Client, path: str, body: bytes) -> None:
    answer = web.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    check(answer.json(), "Error")
