"""Training's variations of queries and documents keep the wishes and the names."""

from __future__ import annotations

import random
import sys
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paths import ROOT

from shortlist.schemas.document import Column, Parameter, Table, Tool

sys.path.append(str(ROOT / "training"))

import documents
import widen

seeds = st.integers(0, 10_000)
queries = st.text("ab cdeXY.?é客 \n", min_size=1, max_size=60)
names = st.text("abeioXYZ_-9é客", min_size=1, max_size=24)

TOOL = Tool(
    "getOpenOrders",
    "Lists the open orders of a customer by their date. Only the newest hundred of them are returned at once.",
    namespace="shop",
    parameters=(Parameter("customer_id", "customer_id", "string", "Whose orders"),),
)
TABLE = Table(
    "customer_orders",
    comment="What was bought",
    columns=(
        Column("order_id", "int", is_primary_key=True),
        Column("totalAmount", "numeric", "In euros"),
        Column("city"),
    ),
)
OTHERS = [Table("stores", columns=(Column("street"), Column("postcode"), Column("country"), Column("phone")))]


def rngs(count: int = 400) -> list[random.Random]:
    return [random.Random(seed) for seed in range(count)]


def letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def keeps_letters(varied: str, name: str) -> bool:
    """Whether the letters of a short name occur in a long one in the same order, the first letter included."""
    rest = iter(letters(name))
    return letters(varied)[:1] == letters(name)[:1] and all(letter in rest for letter in letters(varied))


def asked(query: str) -> str:
    """The wish without the punctuation and spaces at its end; ". ." becomes empty."""
    return query.strip().rstrip(". ").lower()


@given(query=queries, seed=seeds)
def test_a_seed_gives_the_same_typing_errors(query: str, seed: int) -> None:
    assert widen.misspell(query, random.Random(seed)) == widen.misspell(query, random.Random(seed))


@given(query=queries.filter(str.strip), seed=seeds)
def test_a_misspelt_query_is_never_empty(query: str, seed: int) -> None:
    assert widen.misspell(query, random.Random(seed)).strip()


def test_typing_errors_are_few_and_differ() -> None:
    query = "list the open orders of this customer by date, please"

    misspelt = [widen.misspell(query, rng) for rng in rngs()]

    assert len(set(misspelt)) > 100
    assert all(abs(len(one) - len(query)) <= len(query) // 12 for one in misspelt)


@given(wishes=st.lists(queries.filter(asked), min_size=1, max_size=4), seed=seeds)
@example(wishes=["see. .", "?"], seed=0)
def test_joined_wishes_keep_all_wishes(wishes: list[str], seed: int) -> None:
    joined = widen.join_wishes(wishes, random.Random(seed)).lower()

    assert all(asked(wish) in joined for wish in wishes)


@pytest.mark.parametrize("ending", ["", ".", "?", "!"])
def test_a_wish_before_another_sentence_ends_with_punctuation(ending: str) -> None:
    joined = [widen.join_wishes([f"Book a hotel{ending}", "send an email"], rng) for rng in rngs(80)]

    followed = [text for text in joined if "hotel" + (ending or ".") + " " in text]
    assert [text for text in joined if text not in followed and "\n" not in text and ";" not in text] == []


@given(query=queries, seed=seeds)
def test_a_conversation_begins_with_the_wish_and_ends_with_an_assent(query: str, seed: int) -> None:
    text = widen.put_in_conversation(query, random.Random(seed))

    assert text.startswith(query + "\n")
    assert text[len(query) :].strip()


@given(name=names.filter(letters), seed=seeds)
def test_a_tools_name_keeps_its_letters(name: str, seed: int) -> None:
    assert letters(name) in letters(widen.vary_tool(replace(TOOL, name=name), random.Random(seed)).name)


def test_a_namespace_is_in_a_tools_name_or_before_it_but_not_both() -> None:
    varied = [widen.vary_tool(replace(TOOL, namespace="My Shop"), rng) for rng in rngs()]

    named = {one.name for one in varied if "shop" in one.name}
    assert named == {f"my_shop_{TOOL.name}", f"{TOOL.name}_for_my_shop"}
    assert all(not one.namespace for one in varied if one.name in named)


@given(name=names.filter(letters), seed=seeds)
def test_a_tables_names_keep_letters_in_their_order(name: str, seed: int) -> None:
    table = Table(name, columns=(Column(name), Column("city")))

    varied = widen.vary_table(table, (), random.Random(seed))

    assert any(keeps_letters(varied.name.removeprefix(layer), name) for layer in ("", *widen._LAYERS))
    assert any(keeps_letters(column.name, name) for column in varied.columns)
    assert len(varied.columns) == 2


def test_a_varied_tool_keeps_a_description_or_parameters() -> None:
    varied = [widen.vary_tool(TOOL, rng) for rng in rngs()]

    assert TOOL in varied
    assert len(set(varied)) > 4
    assert all(one.description or one.parameters for one in varied)
    short = [one for one in varied if len(one.parameters) <= len(TOOL.parameters)]
    assert all(TOOL.description.startswith(one.description) for one in short)
    assert 0 < len(varied) - len(short) < len(varied) / 8
    assert all(TOOL.description in one.description for one in varied if one not in short)


def test_a_tool_of_a_bare_single_word_keeps_its_description() -> None:
    bare = Tool("ping", "Asks whether a host is there")

    assert all(widen.vary_tool(bare, rng).description for rng in rngs())


def test_a_table_keeps_all_its_columns() -> None:
    varied = [widen.vary_table(TABLE, OTHERS, rng) for rng in rngs()]

    kept = [sum(any(keeps_letters(c.name, own.name) for c in one.columns) for own in TABLE.columns) for one in varied]
    assert set(kept) == {len(TABLE.columns)}
    assert {len(one.columns) > len(TABLE.columns) for one in varied} == {True, False}


def test_a_widened_table_holds_its_own_columns_in_order_and_one_key() -> None:
    keyed = [replace(OTHERS[0], columns=(Column("store_id", is_primary_key=True),))]
    widened = [one for one in (widen.vary_table(TABLE, keyed, rng) for rng in rngs()) if len(one.columns) > 3]

    assert all([column for column in one.columns if column in TABLE.columns] == list(TABLE.columns) for one in widened)
    assert {sum(column.is_primary_key for column in one.columns) for one in widened} == {1}


def group(query: str, *positives: str, name: str = "tools/toole") -> documents.Group:
    return documents.Group(name, "train", query, "shop", positives, (), ())


def test_a_joined_query_has_the_relevant_documents_of_all_its_wishes() -> None:
    pool = [group("book a hotel", "hotel"), group("send an email", "mail", "inbox"), group("list orders", "orders")]
    drawn = [documents.draw_query(pool[0], pool, rng) for rng in rngs(1000)]

    joined = [(text.lower(), answers) for text, answers in drawn if len(answers) > 1]
    wishes = {one.query: set(one.positives) for one in pool}
    expected = [set().union(*(needed for wish, needed in wishes.items() if wish in text)) for text, _ in joined]
    assert len(joined) > 20
    assert [set(answers) for _, answers in joined] == expected
    assert all("hotel" in answers for _, answers in drawn)


def test_a_question_about_tables_is_never_joined() -> None:
    pool = [group(f"question {number}", f"table {number}", name="tables/spider") for number in range(5)]

    assert {tuple(documents.draw_query(pool[0], pool, rng)[1]) for rng in rngs()} == {("table 0",)}


def test_most_queries_are_drawn_unchanged() -> None:
    pool = [group("Book a hotel in Paris", "hotel")]

    unchanged = [documents.draw_query(pool[0], pool, rng)[0] == pool[0].query for rng in rngs()]

    assert sum(unchanged) / len(unchanged) > 0.6
