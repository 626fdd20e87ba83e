from __future__ import annotations

from collections.abc import Sequence

import pytest

from shortlist.schemas.arguments import Message, query_text, ranked_text
from shortlist.schemas.errors import InvalidInput

LONG = "please refund the last order of customer 42"


def user(content: str) -> Message:
    return Message("user", content)


def assistant(content: str) -> Message:
    return Message("assistant", content)


def test_a_text_is_its_own_query() -> None:
    assert query_text("  refund \n the order ") == "refund \n the order"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user(LONG)], LONG),
        ([user("earlier"), assistant("yes?"), user(LONG)], LONG),
        ([user(LONG), assistant("Shall I?"), user("do it")], f"{LONG}\nShall I?\ndo it"),
        ([user("far back"), user(LONG), user("do it")], f"{LONG}\ndo it"),
        ([Message("system", "Be terse."), user("do it")], "do it"),
        ([user(LONG), Message("tool", '{"ok": true}'), user("do it")], f"{LONG}\ndo it"),
        ([user(LONG), assistant("Done, the order of customer 42 is refunded.")], LONG),
        ([user(LONG), user("   ")], LONG),
        ([user("do it"), user("帮我查一下北京明天的天气")], "帮我查一下北京明天的天气"),
        ([user("明天北京的天气怎么样呢请问"), user("好的")], "明天北京的天气怎么样呢请问\n好的"),
        ([assistant("How may I help you today, dear customer?")], "How may I help you today, dear customer?"),
    ],
    ids=[
        "one_turn",
        "enough_by_itself",
        "too_short_alone",
        "no_more_than_needed",
        "not_the_system",
        "not_a_tools_answer",
        "not_what_followed",
        "blank_turns",
        "unspaced_and_enough",
        "unspaced_and_short",
        "no_user",
    ],
)
def test_messages_give_the_last_request_after_the_turns_it_depends_on(
    messages: Sequence[Message], expected: str
) -> None:
    assert query_text(messages) == expected


def test_a_long_earlier_turn_is_cut() -> None:
    text = query_text([user("word " * 400), user("do it")])

    assert text == ("word " * 120) + "\ndo it"


def test_earlier_turns_are_cut_to_fit_and_the_last_is_not() -> None:
    messages = [user("one two three"), assistant("four five six"), user("do it now")]

    def within(num_words: int) -> str:
        return query_text(messages, lambda text: len(text.split()) <= num_words)

    assert within(6) == "four five six\ndo it now"
    assert within(5) == "four five\ndo it now"
    assert within(3) == within(1) == "do it now"


def test_a_cut_earlier_turn_is_told() -> None:
    _, warnings = ranked_text([Message("system", "Be terse."), user("word " * 400), user("do it")])

    assert warnings == ("query: messages[1], an earlier turn, was cut from 1,999 to 600 characters",)


def test_an_earlier_turn_without_room_is_told() -> None:
    _, warnings = ranked_text([user("one two three"), user("do it")], lambda text: len(text.split()) <= 2)

    assert warnings == ("query: messages[0], an earlier turn, was left out",)


@pytest.mark.parametrize(
    "messages",
    [[user("word " * 400), user(LONG)], [user(LONG), user("do it")]],
    ids=["not_needed", "whole"],
)
def test_turns_that_are_read_whole_or_not_needed_give_no_warning(messages: Sequence[Message]) -> None:
    assert ranked_text(messages)[1] == ()


@pytest.mark.parametrize(
    "query",
    ["", " \n\t", [], [user("  ")], [user(""), assistant("")]],
    ids=["empty", "white_space", "no_messages", "blank_message", "blank_messages"],
)
def test_a_blank_query_is_rejected(query: str | Sequence[Message]) -> None:
    with pytest.raises(InvalidInput, match="is empty") as caught:
        query_text(query)

    assert caught.value.field == "query"
