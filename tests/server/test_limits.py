from __future__ import annotations

from typing import Any

import pytest

from shortlist.schemas.errors import LimitExceeded
from shortlist.server.limits import MAX_DOCUMENTS, MAX_MESSAGES, MAX_NAMES, MAX_TOOL_TEXTS
from shortlist.server.services import Method, router_service
from shortlist.server.settings import Settings
from shortlist.v1 import router_pb2 as pb

LONG = "x" * 1001
METHODS = {method.request_class: method for method in router_service(Settings()).methods}


def method_of(request: Any) -> Method:
    return METHODS[type(request)]


def accept(request: Any) -> None:
    method_of(request).check(request)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.RerankRequest(query=pb.Query(text="x" * 1_000_001)), "query.text"),
        (pb.RerankRequest(documents=["x"] * (MAX_DOCUMENTS + 1)), "documents"),
        (pb.RerankRequest(expected_model=LONG), "expected_model"),
        (pb.SelectToolsRequest(expected_version=LONG), "expected_version"),
        (pb.SelectToolsRequest(tools=[pb.ToolText()] * (MAX_TOOL_TEXTS + 1)), "tools"),
        (pb.SelectToolsRequest(tools=[pb.ToolText(), pb.ToolText(namespace=LONG)]), "tools[1].namespace"),
        (pb.SelectToolsRequest(always_include=["x"] * (MAX_NAMES + 1)), "always_include"),
        (pb.SelectTablesRequest(always_include=["x", LONG]), "always_include[1]"),
        (pb.SelectTablesRequest(dialect=LONG), "dialect"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_names_the_field_that_is_above_its_limit(request_: Any, field: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        method_of(request_).check(request_)
    assert (caught.value.field, caught.value.actual > caught.value.limit) == (field, True)


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([pb.ChatMessage(role="user")] * (MAX_MESSAGES + 1), "query.conversation.messages"),
        ([pb.ChatMessage(role="user", content="x" * 600_000)] * 2, "query.conversation.messages"),
        ([pb.ChatMessage(role=LONG)], "query.conversation.messages[0].role"),
    ],
    ids=["many", "long together", "a role"],
)
def test_a_conversation_has_limits_too(messages: list[pb.ChatMessage], field: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        accept(pb.RerankRequest(query=pb.Query(conversation=pb.Conversation(messages=messages))))
    assert caught.value.field == field


def test_a_request_at_the_limits_is_accepted() -> None:
    accept(pb.RerankRequest(query=pb.Query(text="x" * 1_000_000), documents=["x"] * MAX_DOCUMENTS))
    accept(pb.SelectToolsRequest(always_include=["x" * 1000] * MAX_NAMES))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(pb.RerankRequest(documents=["x" * 400] * 4, max_candidates=0), 400, id="all documents"),
        pytest.param(pb.RerankRequest(documents=["x" * 400] * 4, max_candidates=1), 100, id="one of four"),
        pytest.param(pb.RerankRequest(), 0, id="nothing"),
        pytest.param(pb.SelectToolsRequest(tools=[pb.ToolText(json="x" * 400)]), 100, id="one tool"),
        pytest.param(pb.SelectToolsRequest(tools=[pb.ToolText(json="x" * 10**6)]), 8000, id="fifty of many tools"),
        pytest.param(pb.SelectTablesRequest(ddl="x" * 10**6, max_candidates=0), 250_000, id="all tables"),
        pytest.param(pb.SelectTablesRequest(ddl="x" * 400, keep_columns=0.5), 600, id="columns of a small script"),
        pytest.param(pb.SelectTablesRequest(ddl="x" * 10**6, keep_columns=1), 12_000, id="columns of five tables"),
        pytest.param(pb.SelectTablesRequest(ddl="x" * 400, keep_columns=1, top_n=0), 600, id="columns of all tables"),
    ],
)
def test_tokens_are_estimated_from_length_and_candidates(request_: Any, expected: int) -> None:
    estimate = method_of(request_).expected_tokens
    assert estimate is not None
    assert estimate(request_) == expected
