"""A Router and a Client refuse the same wrong arguments by the same errors, and answer alike."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import server_fakes
from server_fixtures import ServerThread

from shortlist import Client, InvalidInput, Message, Router, SelectionOptions, Selector
from shortlist.client.client import AsyncClient

TOOLS = [{"name": "refund", "description": "Refunds a payment"}, {"name": "ping"}, {"name": "invoice"}]
DDL = "CREATE TABLE orders (id INT, total NUMERIC); CREATE TABLE customers (id INT, email TEXT);"
METHODS = ("select_tools", "select_tables", "rerank")


@pytest.fixture(params=["router", "client"])
def selector(request: pytest.FixtureRequest, server: ServerThread) -> Iterator[Selector]:
    """The fake Router, in this process and behind a server."""
    if request.param == "router":
        yield server_fakes.Router(server.engine)
        return
    with Client(server.app.address, timeout_seconds=60) as client:
        yield client


# The title, the method, its arguments, its options, and the field that the error names.
WRONG: list[tuple[str, str, Any, Any, str]] = [
    ("one name for a list", "select_tools", ("x", TOOLS), {"always_include": "refund"}, "always_include"),
    ("one namespace for a list", "select_tools", ("x", TOOLS), {"namespaces": "crm"}, "namespaces"),
    ("too few namespaces", "select_tools", ("x", TOOLS), {"namespaces": ["crm"]}, "namespaces"),
    ("tools are a number", "select_tools", ("x", 7), {}, "tools"),
    ("a tool is a number", "select_tools", ("x", [*TOOLS, 7]), {}, "tools[3]"),
    ("a number as text", "select_tools", ("x", TOOLS), {"top_n": "3"}, "top_n"),
    ("a timeout as text", "rerank", ("x", ["a"]), {"timeout_seconds": "3"}, "timeout_seconds"),
    ("a timeout of 0", "rerank", ("x", ["a"]), {"timeout_seconds": 0}, "timeout_seconds"),
    ("an unknown option", "select_tools", ("x", TOOLS), {"top_m": 3}, "top_m"),
    ("an option of tables", "select_tools", ("x", TOOLS), {"keep_columns": 0.5}, "keep_columns"),
    ("the query is a number", "select_tools", (7, TOOLS), {}, "query"),
    ("a message without its role", "select_tools", ([{"content": "x"}], TOOLS), {}, "query[0].role"),
    ("a message is a text", "select_tools", (["x"], TOOLS), {}, "query[0]"),
    ("the script is a number", "select_tables", ("x", 7), {}, "ddl"),
    ("the dialect is a number", "select_tables", ("x", DDL), {"dialect": 7}, "dialect"),
    ("a document is None", "rerank", ("x", ["a", None]), {}, "documents[1]"),
    ("a document is a mapping", "rerank", ("x", [{"text": "a"}]), {}, "documents[0]"),
    ("one document for a list", "rerank", ("x", "a"), {}, "documents"),
    ("an option of tools", "rerank", ("x", ["a"]), {"always_include": ["a"]}, "always_include"),
]


@pytest.mark.parametrize(
    ("method", "arguments", "options", "field"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_a_wrong_argument_is_named(
    selector: Selector, method: str, arguments: tuple[Any, ...], options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        getattr(selector, method)(*arguments, **options)

    assert caught.value.field == field


@pytest.mark.parametrize(
    "query",
    [
        "refund",
        [{"role": "user", "content": "refund"}],
        [{"role": "user", "content": [{"type": "text", "text": "refund"}, {"type": "image_url"}]}],
        [{"role": "system", "content": None}, {"role": "user", "content": "refund"}],
        [Message("user", "refund")],
    ],
    ids=["text", "messages", "parts", "a message without content", "messages of ours"],
)
def test_a_query_is_a_text_or_messages(selector: Selector, query: Any) -> None:
    assert [item.name for item in selector.select_tools(query, TOOLS, top_n=1).items] == ["refund"]


def test_none_takes_the_default(selector: Selector) -> None:
    assert len(selector.select_tools("x", TOOLS * 3, top_n=None).items) == 5


def test_options_and_keywords_say_the_same(selector: Selector) -> None:
    options = SelectionOptions(top_n=1, always_include=("ping",))
    by_options = selector.select_tools("refund", TOOLS, options)

    by_keywords = selector.select_tools("refund", TOOLS, top_n=1, always_include=["ping"])

    assert by_options.items == by_keywords.items


def test_half_a_surrogate_pair_in_a_tool_costs_no_other_tool(selector: Selector) -> None:
    odd = {"name": "odd", "description": "\ud83d"}

    assert len(selector.select_tools("refund", [odd, *TOOLS], top_n=0).items) == 4


def test_a_router_and_a_client_answer_alike(server: ServerThread) -> None:
    router = server_fakes.Router(server.engine)
    with Client(server.app.address, timeout_seconds=60) as client:
        for ask in (
            lambda one: one.select_tools("refund", TOOLS, top_n=2, always_include=["invoice"]),
            lambda one: one.select_tables("total", DDL, keep_columns=1.0),
            lambda one: one.rerank("a b", ["a", "a b", "c"], return_documents=False),
        ):
            expected, found = ask(router), ask(client)
            assert replace(found, timings=expected.timings) == expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [Router, Client, AsyncClient], ids=lambda kind: kind.__name__)
def test_all_take_what_a_selector_takes(kind: type[Any], method: str) -> None:
    wanted = list(inspect.signature(getattr(Selector, method)).parameters)

    assert [name for name in inspect.signature(getattr(kind, method)).parameters if name != "cancel"] == wanted
