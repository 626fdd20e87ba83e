"""A budget takes a little from every long part, and is used up wherever something is left out."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.router.checkpoints.loading import BUILT_IN, load_model
from shortlist.schemas.document import Column, ForeignKey, Parameter, Table, Tool
from shortlist.schemas.serialise import (
    CountTokens,
    Fitted,
    fit_column,
    fit_table,
    fit_tool,
    split_name,
    table_document,
    tool_document,
)

LETTERS = "abcdefgijkmnopqrstuvwxyzABCKL_-.,éß漢字かなтеклинש "
words = st.text(LETTERS, max_size=14)
sentences = st.lists(words, max_size=60).map(" ".join)
names = st.text("abcdeXYZ_é漢", min_size=1, max_size=18).filter(lambda name: bool(split_name(name)))
parameters = st.builds(
    Parameter,
    name=names,
    path=names,
    type=st.sampled_from(["", "string", "integer", "array of object", "number or null"]),
    description=sentences,
    enum=st.lists(names, max_size=30).map(tuple),
    default=st.none() | words,
    required=st.booleans(),
    depth=st.integers(0, 2),
)
tools = st.builds(
    Tool,
    name=names,
    description=sentences,
    title=words,
    namespace=words,
    parameters=st.lists(parameters, max_size=20).map(tuple),
)
columns = st.builds(
    Column,
    name=names,
    type=st.sampled_from(["", "bigint", "varchar(20)"]),
    comment=st.just("") | sentences,
    is_primary_key=st.booleans(),
    enum=st.lists(names, max_size=20).map(tuple),
)
tables = st.builds(
    Table,
    name=names,
    namespace=words,
    comment=sentences,
    columns=st.lists(columns, max_size=60).map(tuple),
    foreign_keys=st.lists(st.builds(ForeignKey, columns=st.tuples(names), target_table=names), max_size=8).map(tuple),
)
budgets = st.sampled_from([64, 96, 160, 400])
# A value or a name is written whole or not at all; the longest drawn ones have so many tokens.
LONGEST_PIECE = 16


def count_words(text: str) -> int:
    return len(text.split())


@pytest.fixture(scope="module")
def count_real() -> CountTokens:
    return load_model(BUILT_IN).tokenizer.count


def check(fitted: Fitted, whole: str, count: CountTokens, budget: int) -> None:
    is_whole = count(whole) <= budget

    assert (fitted.text == whole) == is_whole
    assert bool(fitted.left_out) != is_whole
    assert count(fitted.text) <= budget
    assert is_whole or count(fitted.text) >= min(0.9 * budget, budget - LONGEST_PIECE)


@given(tool=tools, budget=budgets)
def test_a_tool_uses_its_budget_in_real_tokens(count_real: CountTokens, tool: Tool, budget: int) -> None:
    check(fit_tool(tool, count_real, budget), tool_document(tool), count_real, budget)


@given(tool=tools, budget=st.sampled_from([160, 400]), count=st.sampled_from([len, count_words]))
def test_a_tool_uses_its_budget_in_words_or_characters(tool: Tool, budget: int, count: CountTokens) -> None:
    check(fit_tool(tool, count, budget), tool_document(tool), count, budget)


@given(table=tables, budget=budgets)
def test_a_table_uses_its_budget_in_real_tokens(count_real: CountTokens, table: Table, budget: int) -> None:
    check(fit_table(table, count_real, budget), table_document(table), count_real, budget)


@given(table=tables, budget=st.sampled_from([160, 400]), count=st.sampled_from([len, count_words]))
def test_a_table_uses_its_budget_in_words_or_characters(table: Table, budget: int, count: CountTokens) -> None:
    check(fit_table(table, count, budget), table_document(table), count, budget)


@given(tool=tools, budget=budgets)
def test_fitting_is_deterministic_and_the_number_of_tokens_only_saves_a_count(tool: Tool, budget: int) -> None:
    fitted = fit_tool(tool, count_words, budget)

    assert fit_tool(tool, count_words, budget) == fitted
    check(
        fit_tool(tool, count_words, budget, count_words(tool_document(tool))), tool_document(tool), count_words, budget
    )


class Counter:
    """Counts words, and how often and how many characters it was asked to count."""

    def __init__(self) -> None:
        self.num_counts = self.num_chars = 0

    def __call__(self, text: str) -> int:
        self.num_counts += 1
        self.num_chars += len(text)
        return count_words(text)


READ_ROW = Tool(
    "row_read",
    "Reads a row.",
    parameters=(
        Parameter("what", "what", description="What to read: the cells, the comments, or the people who follow it."),
        Parameter("cursor", "cursor", description="Where to go on reading. " * 30),
        Parameter("row", "row", description="The number of the row"),
    ),
)


def test_a_document_a_little_above_its_budget_loses_only_a_little() -> None:
    whole = count_words(tool_document(READ_ROW))

    fitted = fit_tool(READ_ROW, count_words, whole - 5)

    assert count_words(fitted.text) >= whole - 10
    assert fitted.text.startswith("row read. Reads a row.\nparameters: what: What to read: the cells, the comments, or")
    assert fitted.text.endswith("…; row: The number of the row")
    assert fitted.left_out == ("parameter details",)


def test_long_details_are_cut_to_the_same_length() -> None:
    tool = Tool("f", parameters=tuple(Parameter(name, name, description="word " * 90) for name in "abcd"))

    fitted = fit_tool(tool, count_words, 100)

    lengths = [count_words(entry) for entry in fitted.text.partition("parameters: ")[2].split("; ")]
    assert max(lengths) - min(lengths) <= 1


def test_required_and_enumerated_parameters_come_before_others_and_those_for_paging_last() -> None:
    plain = [Parameter(f"plain{number}", f"plain{number}") for number in range(30)]
    paging = Parameter("page_token", "page_token", required=True)
    tool = Tool(
        "f",
        parameters=(paging, *plain, Parameter("kind", "kind", enum=("a", "b")), Parameter("id", "id", required=True)),
    )

    text = fit_tool(tool, count_words, 20).text

    assert "; kind [a, b]; id" in text
    assert "page token" not in text


def test_a_long_description_leaves_room_for_the_names_of_parameters() -> None:
    named = [f"field{number}" for number in range(10)]
    tool = Tool("f", "Some words about it. " * 75, parameters=tuple(Parameter(name, name) for name in named))

    fitted = fit_tool(tool, count_words, 160)

    assert [name for name in named if name not in fitted.text] == []
    assert fitted.text.count("Some words about it.") >= 30
    assert fitted.left_out == ("words of the description",)


def test_a_wide_table_keeps_its_keys_and_its_commented_and_telling_columns() -> None:
    plain = [Column(f"measure_{number}", "numeric") for number in range(200)]
    telling = [Column("city_name"), Column("xq", comment="Height above the sea"), Column("region_id")]
    table = Table(
        "places", columns=(*plain, *telling, Column("id", is_primary_key=True)), foreign_keys=(REGION_KEY, REGION_KEY)
    )

    fitted = fit_table(table, count_words, 100)

    assert "; city name; xq: Height above the sea; region id; id" in fitted.text
    assert fitted.text.endswith("\nreferences: regions")
    assert set(fitted.left_out) == {"columns", "column details"}


REGION_KEY = ForeignKey(("REGION_ID",), "regions")


def test_values_that_fit_are_all_kept_and_others_are_counted() -> None:
    values = tuple(f"value{number}" for number in range(30))
    tool = Tool("f", parameters=(Parameter("a", "a", enum=values),))

    assert tool_document(tool).endswith("value28, value29]")
    text = fit_tool(tool, count_words, 26).text
    kept = text.count("value")
    assert 18 < kept < 24
    assert text.endswith(f"value{kept - 1}, … {30 - kept} more]")


def test_nested_parameters_are_kept_by_name() -> None:
    nested = Parameter("street", "address.street", depth=1)
    outer = Parameter("address", "address", type="object", description="Where to send it. " * 20)

    assert "; address street" in fit_tool(Tool("f", parameters=(outer, nested)), count_words, 30).text


def test_the_comment_of_a_table_leaves_room_for_a_column_and_its_values() -> None:
    column = Column("state", "enum", enum=tuple(f"state{number}" for number in range(400)))
    table = Table("t", comment="Says much. " * 200, columns=(column,))

    fitted = fit_column(table, column, count_words, 60)

    assert "column: state" in fitted.text
    assert ("[state0, state1, " in fitted.text, "Says much." in fitted.text) == (True, True)
    assert fitted.left_out == ("words of the comment", "column details")


@pytest.mark.parametrize(
    "tool",
    [
        Tool("f", parameters=(Parameter("a", "a", enum=tuple(f"value{number}" for number in range(100_000))),)),
        Tool("f", "word " * 200_000),
        Tool("f", "x" * 1_000_000),
        Tool("f", "字" * 300_000, parameters=(Parameter("a", "a", description="字" * 300_000),)),
        Tool("f", parameters=tuple(Parameter(f"p{number}", f"p{number}") for number in range(500))),
    ],
    ids=["values", "words", "one word", "unspaced", "parameters"],
)
def test_little_of_a_huge_tool_is_tokenized(tool: Tool) -> None:
    count = Counter()

    fit_tool(tool, count, 160)

    assert (count.num_counts < 25, count.num_chars < 50_000_000) == (True, True)


def test_common_tools_take_few_counts(count_real: CountTokens) -> None:
    rng = random.Random(7)
    vocabulary = ["list", "order", "customer", "the", "of", "payment", "invoice", "number", "which", "to", "return"]

    def text(most: int) -> str:
        return " ".join(rng.choices(vocabulary, k=rng.randint(3, most)))

    count = Counter()
    for number in range(50):
        given = tuple(Parameter(text(3), f"{text(3)} {at}", description=text(25)) for at in range(15))
        fit_tool(Tool(f"tool{number}", text(60), parameters=given), lambda text: count(text) and count_real(text), 160)

    assert count.num_counts <= 50 * 5


def test_a_whole_that_is_shorter_than_its_cuts_is_kept() -> None:
    values = ("x" * 15, "x" * 16)
    tool = Tool("x", namespace="aa", parameters=(Parameter("x", "x", description="a " + "a" * 20, enum=values),))
    full = tool_document(tool)
    assert tool_document(tool, count_tokens=count_words, budget_tokens=count_words(full)) == full
