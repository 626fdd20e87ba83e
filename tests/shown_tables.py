"""Writes the tables of a script in one line each, for tests."""

from __future__ import annotations

from shortlist.schemas.document import Column, Table
from shortlist.schemas.sql.parse import parse_tables


def shown(script: str, dialect: str | None = None) -> list[str]:
    """Returns each table as ``schema.name(key*, column 'comment') 'comment' column -> target(column)``."""
    return [_table(table) for table in parse_tables(script, dialect=dialect).tables]


def _table(table: Table) -> str:
    keys = [
        f"{', '.join(key.columns)} -> {key.target_table}{_targets(key.target_columns)}" for key in table.foreign_keys
    ]
    text = f"{table.full_name}({', '.join(map(_column, table.columns))})"
    return " ".join(filter(None, [text, f"'{table.comment}'" if table.comment else "", "; ".join(keys)]))


def _column(column: Column) -> str:
    return f"{column.name}{'*' if column.is_primary_key else ''}" + (f" '{column.comment}'" if column.comment else "")


def _targets(columns: tuple[str, ...]) -> str:
    return f"({', '.join(columns)})" if columns else ""
