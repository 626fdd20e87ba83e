"""Scripts as dump, export and modelling tools write them are read in full, without the dialect being given.

Each script lies beside a text with a line for each table: its columns (`*` marks the primary key), comments in quotes,
foreign keys, and the members of its family.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from paths import TESTS

from shortlist.schemas.document import Column, Table
from shortlist.schemas.sql.parse import parse_tables

SCRIPTS = sorted((TESTS / "fixtures/dump_tools").glob("*.sql"))


def shown(table: Table) -> str:
    kind = "" if table.kind == "table" else f"{table.kind} "
    columns = ", ".join(shown_column(column) for column in table.columns)
    comment = [f"'{table.comment}'"] if table.comment else []
    keys = [
        f"{', '.join(key.columns)}->{key.target_table}({', '.join(key.target_columns)})" for key in table.foreign_keys
    ]
    members = [f"with {', '.join(member.full_name for member in table.members)}"] if table.members else []
    return " ".join([f"{kind}{table.full_name} ({columns})", *comment, *keys, *members])


def shown_column(column: Column) -> str:
    return column.name + "*" * column.is_primary_key + (f" '{column.comment}'" if column.comment else "")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_of_a_tool_is_read_in_full(path: Path) -> None:
    parsed = parse_tables(path.read_text(encoding="utf-8"))

    assert [shown(table) for table in parsed.tables] == path.with_suffix(".txt").read_text(
        encoding="utf-8"
    ).splitlines()
    assert parsed.unparsed == ()


def test_windows_line_ends_change_nothing() -> None:
    script = "CREATE TABLE a (\r\n  id int, -- the id\r\n  b text\r\n);\r\nGO\r\nCOMMENT ON TABLE a IS 'x';\r\n"

    assert [shown(table) for table in parse_tables(script).tables] == ["a (id 'the id', b) 'x'"]
