"""Conversations as chat APIs and frameworks write them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shortlist.schemas.conversation import Message, read_query
from shortlist.schemas.errors import InvalidInput


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("user", "user"),
        ("USER", "user"),
        ("human", "user"),
        ("Human", "user"),
        ("HumanMessage", "user"),
        (" User ", "user"),
        ("assistant", "assistant"),
        ("ai", "assistant"),
        ("AI", "assistant"),
        ("AIMessageChunk", "assistant"),
        ("model", "assistant"),
        ("bot", "assistant"),
        ("CHATBOT", "assistant"),
        ("system", "system"),
        ("SYSTEM", "system"),
        ("SystemMessage", "system"),
        ("developer", "system"),
        ("tool", "tool"),
        ("TOOL", "tool"),
        ("ToolMessage", "tool"),
        ("function", "tool"),
    ],
)
@pytest.mark.parametrize("key", ["role", "type"])
def test_a_role_has_the_names_that_apis_give_it(key: str, name: str, role: str) -> None:
    assert read_query([{key: name, "content": "x"}]) == (Message(role, "x"),)


def test_a_message_of_ours_takes_the_same_names() -> None:
    assert read_query([Message("Human", "x")]) == (Message("user", "x"),)


@pytest.mark.parametrize("role", ["agent", "message", "", "userr", 3, ["user"], "\ud83d", "x" * 9999])
def test_an_unknown_role_is_named_with_the_known_ones(role: Any) -> None:
    messages = [{"role": "user", "content": "x"}] * 3 + [{"role": role, "content": "x"}]

    with pytest.raises(
        InvalidInput, match=r"use user \(or human\), assistant \(or ai, .* tool \(or function\)"
    ) as caught:
        read_query(messages)

    assert caught.value.field == "query[3].role"
    assert len(str(caught.value)) < 300
    str(caught.value).encode()


class Dumped(SimpleNamespace):
    """Stands for a message object of a library, which says by `model_dump` what it holds."""

    def model_dump(self) -> dict[str, Any]:
        return dict(vars(self))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "a"}, Message("user", "a")),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
         Message("user", "a\nb")),
        ({"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "u"}]},
         Message("user", "a")),
        ({"role": "user", "content": ["a", {"type": "image_url", "image_url": {"url": "u"}}]}, Message("user", "a")),
        ({"role": "user", "content": [{"text": "a"}, {"image": {"format": "png"}}, {"toolResult": {}}]},
         Message("user", "a")),
        ({"role": "user", "content": [{"type": "text", "text": {"value": "a", "annotations": []}}]},
         Message("user", "a")),
        ({"role": "user", "content": {"type": "text", "text": "a"}}, Message("user", "a")),
        ({"role": "user", "parts": [{"text": "a"}, {"inlineData": {"data": "QQ=="}}]}, Message("user", "a")),
        ({"parts": [{"text": "a"}]}, Message("user", "a")),
        ({"role": "user", "parts": "a"}, Message("user", "a")),
        ({"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}, Message("assistant", "")),
        ({"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "a"}]}, Message("assistant", "a")),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
         Message("assistant", "")),
        ({"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}, Message("assistant", "")),
        ({"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "input": {"x": 1}}]},
         Message("assistant", "a")),
        ({"role": "ai", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "reasoning", "text": "hm"}]},
         Message("assistant", "")),
        ({"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "42"}]}]},
         Message("user", "")),
        ({"role": "tool", "tool_call_id": "1", "content": "42"}, Message("tool", "42")),
        ({"role": "CHATBOT", "message": "a"}, Message("assistant", "a")),
        ({"role": "TOOL", "tool_results": [{}]}, Message("tool", "")),
        ({"type": "human", "data": {"content": "a", "id": None}}, Message("user", "a")),
        ({"type": "message", "role": "user", "content": "a"}, Message("user", "a")),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, Message("assistant", "")),
        ({"type": "function_call_output", "call_id": "1", "output": "42"}, Message("tool", "")),
        ({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
         Message("assistant", "")),
        (("human", "a"), Message("user", "a")),
        (Dumped(type="human", content="a"), Message("user", "a")),
        ({"role": "assistant", "content": [Dumped(type="text", text="a"), Dumped(type="tool_use", id="1")]},
         Message("assistant", "a")),
    ],
    ids=["text", "parts", "responses", "texts and an image", "bedrock", "threads", "one part", "gemini",
         "gemini without a role", "gemini's text", "gemini's call", "gemini's thought", "null with calls",
         "calls alone", "anthropic's call", "thinking", "anthropic's result", "result", "cohere", "cohere's result",
         "langchain's data", "responses message", "responses call", "responses result", "responses reasoning",
         "pair", "object", "part objects"],
)  # fmt: skip
def test_messages_are_taken_as_apis_write_them(message: Any, expected: Message) -> None:
    assert read_query([message]) == (expected,)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("x", "query[0]"),
        (None, "query[0]"),
        ({"content": "x"}, "query[0].role"),
        ({"role": "user", "content": 7}, "query[0].content"),
        ({"role": "user", "content": ["a", 7]}, "query[0].content[1]"),
        ({"role": "user", "contents": "x"}, "query[0].contents"),
        ({"role": "user", "content": "\ud83d"}, "query[0].content"),
        (Message("user", 7), "query[0].content"),  # type: ignore[arg-type]
    ],
    ids=["text", "null", "no role", "number", "number as part", "misspelt", "half a pair", "message of ours"],
)
def test_a_message_that_cannot_be_read_is_named(message: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_query([message])

    assert caught.value.field == field
