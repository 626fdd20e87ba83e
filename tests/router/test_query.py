from __future__ import annotations

from collections.abc import Sequence

import pytest
from requests_made import named, tool

from shortlist import Router
from shortlist.schemas.conversation import Message, last_turn, query_text, ranked_text, read_query
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
        ([user("earlier"), assistant("yes?"), user(LONG)], f"user: earlier\nassistant: yes?\nuser: {LONG}"),
        ([Message("system", "Be terse."), user("do it")], "do it"),
        ([user(LONG), Message("tool", '{"ok": true}'), user("do it")], f"user: {LONG}\nuser: do it"),
        ([user(LONG), assistant("Done, the order of customer 42 is refunded.")], LONG),
        ([user(LONG), user("   ")], LONG),
        ([assistant("How may I help you today, dear customer?")], "How may I help you today, dear customer?"),
    ],
    ids=["one_turn", "all_turns", "not_the_system", "not_a_tools_answer", "not_what_followed", "blank", "no_user"],
)
def test_messages_give_the_last_request_after_the_turns_that_it_continues(
    messages: Sequence[Message], expected: str
) -> None:
    assert query_text(messages) == expected


def test_a_long_earlier_turn_loses_its_middle() -> None:
    text, warnings = ranked_text([assistant("first " * 40 + "word " * 400 + "last " * 40), user("do it")])

    assert text.startswith("assistant: first first")
    assert text.endswith("last last\nuser: do it")
    assert "word" not in text
    assert len(text) < 450
    assert warnings == ("query: 1 of 1 earlier turns were cut or left out: messages[0]",)


def test_the_latest_turns_are_kept_and_the_last_is_never_cut() -> None:
    messages = [user("one two three four five six"), assistant("seven eight nine ten eleven"), user("do it now")]

    def within(num_words: int) -> tuple[str, tuple[str, ...]]:
        return ranked_text(messages, lambda text: len(text.split()) <= num_words)

    assert within(17)[0].startswith("user: one two three four five six\nassistant: seven")
    assert within(17)[1] == ()
    assert within(10) == (
        "assistant: seven eight nine ten eleven\nuser: do it now",
        ("query: 1 of 2 earlier turns were cut or left out: messages[0]",),
    )
    assert within(9)[0] == "assistant: seven eight nine ten\nuser: do it now"
    assert within(3)[0] == within(1)[0] == "do it now"
    assert within(1)[1] == ("query: 2 of 2 earlier turns were cut or left out: messages[0], messages[1]",)


def test_many_turns_without_room_are_counted() -> None:
    messages = [user(f"this is the turn with the number {number}") for number in range(30)]

    _, warnings = ranked_text(messages, lambda text: len(text.split()) <= 20)

    assert warnings == (
        "query: 28 of 29 earlier turns were cut or left out: messages[0], messages[1], messages[2] and 25 more",
    )


def test_turns_that_are_read_whole_give_no_warning() -> None:
    assert ranked_text([user(LONG), user("do it")])[1] == ()


def test_the_last_turn_of_a_written_conversation_is_found() -> None:
    assert last_turn(query_text([user(LONG), assistant("user: no"), user("do it")])) == "do it"
    assert last_turn(LONG) == LONG


@pytest.mark.parametrize(
    "query",
    ["", " \n\t", [], [user("  ")], [user(""), assistant("")]],
    ids=["empty", "white_space", "no_messages", "blank_message", "blank_messages"],
)
def test_a_blank_query_is_rejected(query: str | Sequence[Message]) -> None:
    with pytest.raises(InvalidInput, match="is empty") as caught:
        query_text(query)

    assert caught.value.field == "query"


def test_a_long_yes_is_read_with_what_it_answers() -> None:
    conversation = [
        {"role": "user", "content": "Please call off my table at Luigi's"},
        {"role": "assistant", "content": "Shall I call off the reservation at Luigi's?"},
        {"role": "user", "content": "yes please do exactly that for me right now, many thanks"},
    ]
    tools = [
        tool("cancel_reservation", "Cancel a restaurant reservation"),
        tool("book_table", "Book a table in a restaurant"),
        tool("send_sms", "Send a text message"),
        tool("confirm_step", "Confirm a pending step"),
    ]
    assert named(Router.load(device="cpu").select_tools(conversation, tools))[0] == "cancel_reservation"


def test_a_message_with_its_text_under_text_is_read() -> None:
    assert query_text(read_query([{"role": "user", "text": "Book a room"}])) == "Book a room"
