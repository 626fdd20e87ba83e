from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from paths import TESTS

from shortlist.schemas.document import Column, ForeignKey, Table
from shortlist.schemas.sql.parse import parse_tables

FIXTURES = TESTS / "fixtures" / "tables"
CASES = sorted(FIXTURES.glob("*/*.sql"))
IDS = [f"{path.parent.name}-{path.stem}" for path in CASES]


def expected_of(path: Path) -> dict[str, Any]:
    return {"unparsed": [], "warnings": 0} | json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def full_table(short: dict[str, Any]) -> dict[str, Any]:
    defaults = {"kind": "table", "comment": "", "foreign_keys": [], "members": []}
    columns = [column + ["", "", "", []][len(column) - 1 :] for column in short["columns"]]
    return defaults | short | {"columns": columns, "num_statements": short.get("num_statements", 1)}


def shown_table(table: Table) -> dict[str, Any]:
    return {
        "name": table.full_name,
        "kind": table.kind,
        "comment": table.comment,
        "columns": [shown_column(column) for column in table.columns],
        "foreign_keys": [shown_key(key) for key in table.foreign_keys],
        "members": [member.full_name for member in table.members],
        "num_statements": num_statements(table.source),
    }


def shown_column(column: Column) -> list[Any]:
    return [column.name, column.type, "key" * column.is_primary_key, column.comment, list(column.enum)]


def shown_key(key: ForeignKey) -> str:
    return f"{', '.join(key.columns)} -> {key.target_table}({', '.join(key.target_columns)})"


def num_statements(source: str) -> int:
    return len(
        re.findall(r"^(?:/\*!\d+ )?(?:CREATE|ALTER TABLE|COMMENT ON|EXEC)\b", source, re.MULTILINE | re.IGNORECASE)
    )


@pytest.mark.parametrize("path", CASES, ids=IDS)
def test_a_script_yields_its_tables_when_its_dialect_is_given(path: Path) -> None:
    script, expected = path.read_text(encoding="utf-8"), expected_of(path)

    parsed = parse_tables(script, dialect=path.parent.name)

    assert [shown_table(table) for table in parsed.tables] == [full_table(table) for table in expected["tables"]]
    assert [[left_out.name, left_out.line, left_out.column] for left_out in parsed.unparsed] == expected["unparsed"]
    assert len(parsed.warnings) == expected["warnings"]


@pytest.mark.parametrize("path", CASES, ids=IDS)
def test_a_script_yields_the_same_when_its_dialect_is_detected(path: Path) -> None:
    script = path.read_text(encoding="utf-8")

    detected = parse_tables(script)

    assert detected.tables == parse_tables(script, dialect=path.parent.name).tables


@pytest.mark.parametrize("path", CASES, ids=IDS)
def test_a_script_with_carriage_returns_yields_the_same(path: Path) -> None:
    script = path.read_text(encoding="utf-8")

    parsed = parse_tables(script.replace("\n", "\r\n"), dialect=path.parent.name)

    assert [shown_table(table) for table in parsed.tables] == [
        full_table(table) for table in expected_of(path)["tables"]
    ]
