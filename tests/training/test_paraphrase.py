"""A sentence of documentation becomes a user's query; any other text is not changed."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from shortlist.schemas.document import Parameter

sys.path.append(str(ROOT / "training"))

import paraphrase


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
def test_a_sentence_that_begins_with_a_verb_is_split_after_it(sentence: str, expected: tuple[str, str]) -> None:
    assert paraphrase.imperative(sentence) == expected


@pytest.mark.parametrize(
    "sentence",
    ["This lists orders", "Adds, updates or removes a note", "删除订单", "Delete", "The plural rule.", ""],
    ids=["no_verb", "several_verbs", "chinese", "one_word", "a_thing", "empty"],
)
def test_any_other_sentence_is_not_changed(sentence: str) -> None:
    assert paraphrase.imperative(sentence) is None
    assert paraphrase.paraphrase(sentence, (), random.Random(1)) == sentence


@given(st.integers(0, 2**32 - 1))
def test_a_paraphrase_keeps_the_object_of_the_sentence(seed: int) -> None:
    parameters = (Parameter("order_id", "order_id", "string"), Parameter("page", "page", "integer"))

    asked = paraphrase.paraphrase("Returns the {specified} invoices of an order.", parameters, random.Random(seed))

    assert "{specified} invoices of an order" in asked
    assert "page" not in asked
    assert asked == paraphrase.paraphrase(
        "Returns the {specified} invoices of an order.", parameters, random.Random(seed)
    )


def test_some_parameters_get_values() -> None:
    parameter = Parameter("status", "status", "string", enum=("open", "closed"))

    wish = paraphrase.with_values("list orders", [parameter], random.Random(1))

    assert wish.startswith("list orders")
    assert "status" in wish
    assert "open" in wish or "closed" in wish


def test_specified_is_replaced_by_a_word_that_users_say() -> None:
    asked = {
        paraphrase.paraphrase("Deletes the specified order", (), random.Random(seed)).lower() for seed in range(60)
    }

    assert not any("specified" in one for one in asked)
    assert {mine for mine in ("my order", "this order", "the order") if any(mine in one for one in asked)} == {
        "my order", "this order", "the order",
    }  # fmt: skip
