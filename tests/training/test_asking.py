"""A sentence of documentation becomes what a user would ask, and everything else stays as it is."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from shortlist.schemas.document import Parameter

sys.path.append(str(ROOT / "training"))

import asking


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Deletes the order.", ("delete", "the order")),
        ("Queries a table", ("query", "a table")),
        ("Searches all mails.", ("search", "all mails")),
        ("Get a user", ("get", "a user")),
        ("Processes payments.", ("process", "payments")),
    ],
    ids=["third_person", "y", "es", "imperative", "sses"],
)
def test_a_sentence_that_begins_with_a_verb_becomes_an_order(sentence: str, expected: tuple[str, str]) -> None:
    assert asking.imperative(sentence) == expected


@pytest.mark.parametrize(
    "sentence",
    ["This lists orders", "Adds, updates or removes a note", "删除订单", "Delete", "The plural rule.", ""],
    ids=["no_verb", "several_verbs", "chinese", "one_word", "a_thing", "empty"],
)
def test_any_other_sentence_stays_as_it_is(sentence: str) -> None:
    assert asking.imperative(sentence) is None
    assert asking.ask(sentence, (), random.Random(1)) == sentence


@given(st.integers(0, 2**32 - 1))
def test_what_is_asked_keeps_what_it_is_about(seed: int) -> None:
    parameters = (Parameter("order_id", "order_id", "string"), Parameter("page", "page", "integer"))

    asked = asking.ask("Returns the {specified} invoices of an order.", parameters, random.Random(seed))

    assert "{specified} invoices of an order" in asked
    assert "page" not in asked
    assert asked == asking.ask("Returns the {specified} invoices of an order.", parameters, random.Random(seed))


def test_values_are_given_for_some_parameters() -> None:
    parameter = Parameter("status", "status", "string", enum=("open", "closed"))

    wish = asking.with_values("list orders", [parameter], random.Random(1))

    assert wish.startswith("list orders")
    assert "status" in wish
    assert "open" in wish or "closed" in wish


def test_a_specified_thing_is_one_that_the_user_has() -> None:
    asked = {asking.ask("Deletes the specified order", (), random.Random(seed)).lower() for seed in range(60)}

    assert not any("specified" in one for one in asked)
    assert {mine for mine in ("my order", "this order", "the order") if any(mine in one for one in asked)} == {
        "my order", "this order", "the order",
    }  # fmt: skip
