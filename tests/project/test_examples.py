"""The example catalog and schema stay large and parse without warnings; the demo's layout and failures are tested."""

from __future__ import annotations

import importlib.util
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from paths import ROOT

from shortlist.schemas.document import ParsedTables
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools

EXAMPLES = ROOT / "examples"
CATALOG = sorted((EXAMPLES / "tools").glob("*.json"))


@pytest.fixture(scope="module")
def schema() -> ParsedTables:
    return parse_tables((EXAMPLES / "schema.sql").read_text(encoding="utf-8"), dialect="postgres")


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("shortlist_example_demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # `dataclass` looks its module up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", CATALOG, ids=lambda path: path.stem)
def test_every_catalog_file_parses_whole_and_without_warnings(path: Path) -> None:
    parsed = parse_tools([path.read_text(encoding="utf-8")])

    assert len(parsed.tools) >= 9
    assert parsed.unparsed == ()
    assert parsed.warnings == ()


def test_the_catalog_holds_at_least_140_distinct_tools_of_ten_services() -> None:
    texts = [path.read_text(encoding="utf-8") for path in CATALOG]
    parsed = parse_tools(texts, namespaces=[path.stem for path in CATALOG])

    assert len({(tool.namespace, tool.name) for tool in parsed.tools}) == len(parsed.tools) >= 140
    assert len({tool.namespace for tool in parsed.tools}) >= 10


def test_several_services_share_a_tool_name() -> None:
    names = Counter(tool.name for tool in parse_tools([path.read_text(encoding="utf-8") for path in CATALOG]).tools)

    shared = {name for name, count in names.items() if count > 1}
    assert shared >= {"create_event", "get_user", "list_items", "search", "send_message"}


def test_the_schema_parses_whole_into_at_least_40_tables(schema: ParsedTables) -> None:
    assert len(schema.tables) >= 40
    assert schema.unparsed == ()
    assert schema.warnings == ()


def test_the_schema_parses_the_same_when_its_dialect_is_detected(schema: ParsedTables) -> None:
    detected = parse_tables((EXAMPLES / "schema.sql").read_text(encoding="utf-8"))

    assert detected.unparsed == ()
    assert [table.full_name for table in detected.tables] == [table.full_name for table in schema.tables]


def test_keys_and_comments_declared_later_in_the_schema_reach_their_tables(schema: ParsedTables) -> None:
    tables = {table.full_name: table for table in schema.tables}

    assert [column.name for column in tables["sales.orders"].columns if column.is_primary_key] == ["order_id"]
    assert ("customer_id", "ship_to_no") in {key.columns for key in tables["sales.orders"].foreign_keys}
    assert tables["billing.invoices"].comment == "Invoices to customers"
    assert tables["sales.mv_monthly_revenue"].kind == "materialized view"


@pytest.mark.parametrize(
    ("score", "drawn"),
    [
        (0.0, "        "),
        (0.5, "████    "),
        (0.51, "████▏   "),
        (1.0, "████████"),
        (1.7, "████████"),
        (-1.0, "        "),
    ],
    ids=["none", "half", "an eighth of a cell more", "full", "above one", "below zero"],
)
def test_a_bar_is_as_long_as_its_score(demo: ModuleType, score: float, drawn: str) -> None:
    assert demo.bar(score) == drawn


@pytest.mark.parametrize(
    ("text", "fitted"),
    [("abc", "abc   "), ("abcdef", "abcdef"), ("abcdefg", "abcde…"), ("日本", "日本  "), ("日本語の", "日本… ")],
    ids=["padded", "exact", "cut", "wide characters padded", "wide characters cut"],
)
def test_text_is_fitted_to_terminal_cells(demo: ModuleType, text: str, fitted: str) -> None:
    assert demo.fit(text, 6) == fitted


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_of_a_table_is_wider_than_the_terminal(demo: ModuleType, width: int) -> None:
    row = ("1", "0.987 ███████▉", "日本の長い名前" * 9, "logistics_and_more", "what it is " * 30)
    lines = demo.table_lines(("#", "Score", "Name", "Schema", "What it is"), [row], width)

    assert max(sum(1 + (unicodedata.east_asian_width(sign) == "W") for sign in line) for line in lines) <= width


def test_a_question_without_spaces_is_broken_at_the_width(demo: ModuleType) -> None:
    assert demo.wrap("名前はまだ無い", 6) == ["名前は", "まだ無", "い"]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; sys.exit('no model found')", "process ended\nThe last lines of its stderr:\n  | no model found"),
        ("print('hello')", "its first line was 'hello'"),
        ("import time; print('listening on grpc://127.0.0.1:1', flush=True); time.sleep(60)", "127.0.0.1:1: "),
    ],
    ids=["server ends at once", "server prints something else", "server cannot be reached"],
)
def test_the_demo_fails_with_the_reason_when_its_server_does(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program: str, message: str
) -> None:
    monkeypatch.setattr(demo, "SERVER_COMMAND", (sys.executable, "-c", program))

    assert demo.main([]) == 1
    assert message in capsys.readouterr().err
