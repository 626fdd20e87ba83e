from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import TESTS

from shortlist.schemas.document import Column, ForeignKey, Parameter, Table, Tool
from shortlist.schemas.serialise import (
    column_document,
    lexical_details,
    lexical_text,
    split_name,
    table_document,
    tool_document,
)
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools

FIXTURES = TESTS / "fixtures" / "serialise"
EXPECTED = sorted(FIXTURES.glob("*.txt"))
TOOL_CASES = [path for path in EXPECTED if FIXTURES.joinpath(path.name.split(".")[0] + ".json").exists()]
TABLE_CASES = [path for path in EXPECTED if FIXTURES.joinpath(path.name.split(".")[0] + ".sql").exists()]
INPUTS = sorted([*FIXTURES.glob("*.json"), *FIXTURES.glob("*.sql")])

words = st.text("abcdefgxyzABC _-.é漢", max_size=24)
long_texts = st.lists(words, max_size=12).map(" ".join)
names = st.text("abcXYZ_.", min_size=1, max_size=16).filter(lambda name: bool(split_name(name)))
parameters = st.builds(
    Parameter,
    name=names,
    path=names,
    type=st.sampled_from(["", "string", "integer", "array of object"]),
    description=long_texts,
    enum=st.lists(names, max_size=3).map(tuple),
    default=st.none() | names,
    depth=st.integers(0, 3),
)
tools = st.builds(
    Tool,
    name=names,
    description=long_texts,
    title=long_texts,
    namespace=words,
    parameters=st.lists(parameters, max_size=6).map(tuple),
)
columns = st.builds(
    Column, name=names, type=words, comment=long_texts, is_primary_key=st.booleans(), enum=st.tuples(names)
)
tables = st.builds(
    Table,
    name=names,
    namespace=words,
    kind=st.sampled_from(["table", "view"]),
    comment=long_texts,
    columns=st.lists(columns, max_size=6).map(tuple),
    foreign_keys=st.lists(st.builds(ForeignKey, columns=st.tuples(names), target_table=names), max_size=3).map(tuple),
)


def count_words(text: str) -> int:
    return len(text.split())


def input_of(path: Path, suffix: str) -> str:
    return FIXTURES.joinpath(path.name.split(".")[0] + suffix).read_text(encoding="utf-8")


def budget_of(path: Path) -> int | None:
    match = re.search(r"\.within-(\d+)$", path.stem)
    return int(match[1]) if match else None


def expected_of(path: Path) -> str:
    return path.read_text(encoding="utf-8").removesuffix("\n")


@pytest.mark.parametrize("path", TOOL_CASES, ids=lambda path: path.stem)
def test_a_tool_gives_the_expected_document(path: Path) -> None:
    case = json.loads(input_of(path, ".json"))
    (tool,) = parse_tools([json.dumps(case["tool"])], namespaces=[case["namespace"]]).tools

    document = tool_document(tool, count_tokens=count_words, budget_tokens=budget_of(path))

    assert document == expected_of(path)


@pytest.mark.parametrize("path", TABLE_CASES, ids=lambda path: path.stem)
def test_a_table_gives_the_expected_document(path: Path) -> None:
    (table,) = parse_tables(input_of(path, ".sql")).tables

    document = table_document(table, count_tokens=count_words, budget_tokens=budget_of(path))

    assert document == expected_of(path)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_every_input_has_its_full_document(path: Path) -> None:
    assert path.with_suffix(".txt") in EXPECTED


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("getHTTPStatus_v2", "get http status v2"),
        ("list-open_orders", "list open orders"),
        ("com.example/users:find", "com example users find"),
        ("XMLParser", "xml parser"),
        ("s3Bucket", "s3 bucket"),
        ("ÜberWeisung", "über weisung"),
        ("获取天气", "获取天气"),
        ("__", "__"),
        ("", ""),
    ],
)
def test_an_identifier_splits_into_its_words(name: str, expected: str) -> None:
    assert split_name(name) == expected


@given(tool=tools, spare=st.integers(12, 60))
def test_a_tools_document_stays_within_its_budget(tool: Tool, spare: int) -> None:
    budget = count_words(split_name(tool.name)) + spare

    document = tool_document(tool, count_tokens=count_words, budget_tokens=budget)

    assert count_words(document) <= budget
    assert split_name(tool.name) in document
    assert document == tool_document(tool, count_tokens=count_words, budget_tokens=budget)


@given(table=tables, spare=st.integers(12, 60))
def test_a_tables_document_stays_within_its_budget(table: Table, spare: int) -> None:
    budget = count_words(split_name(table.name)) + spare

    document = table_document(table, count_tokens=count_words, budget_tokens=budget)

    assert count_words(document) <= budget
    assert split_name(table.name) in document
    assert document == table_document(table, count_tokens=count_words, budget_tokens=budget)


@given(tool=tools)
def test_a_sufficient_budget_changes_nothing(tool: Tool) -> None:
    full = tool_document(tool)

    assert tool_document(tool, count_tokens=count_words, budget_tokens=count_words(full)) == full


def test_a_description_without_spaces_is_cut_by_characters() -> None:
    tool = Tool("translate", "翻訳" * 40)

    document = tool_document(tool, count_tokens=len, budget_tokens=20)

    assert document == "translate. " + "翻訳翻訳翻訳翻訳翻"


def test_without_a_budget_no_detail_is_clipped() -> None:
    values = tuple(f"{'z' * 50}{number}" for number in range(40))
    tool = Tool("f", parameters=(Parameter("a", "a", description="x" * 401, enum=values, default="y" * 41),))

    assert tool_document(tool) == f"f\nparameters: a: {'x' * 401} [{', '.join(values)}] = {'y' * 41}"


def test_a_column_is_written_with_its_table() -> None:
    table = Table("orders", comment="All orders.", columns=(Column("paidAt", "timestamp(3)", "When paid"),))

    assert column_document(table, table.columns[0]) == "orders. All orders. column: paid at (timestamp): When paid"


def test_the_first_stage_reads_names_descriptions_and_parameters() -> None:
    tool = Tool("find_user", "Finds.", "Find", "crm", (Parameter("email", "email", description="not this"),))

    assert lexical_text(tool) == "crm\nfind_user\nFind\nFinds.\nemail"


def test_the_first_stage_also_reads_what_is_said_about_parameters_and_all_values() -> None:
    parameters = (Parameter("by", "by", description="How to look.", enum=("mail", "phone")), Parameter("x", "by.x"))
    values = tuple(f"value{number}" for number in range(30))

    assert lexical_details(Tool("find_user", parameters=parameters)) == "How to look.\nmail\nphone"
    assert lexical_details(Table("t", columns=(Column("a", enum=values),))) == "\n".join(values)


def test_the_first_stage_reads_columns_and_their_comments() -> None:
    table = Table("users", "crm", comment="People.", columns=(Column("id"), Column("mail", comment="Address")))

    assert lexical_text(table) == "crm\nusers\nPeople.\nid  mail Address"
