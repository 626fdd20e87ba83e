"""Runs SQLite and DuckDB scripts in an empty database in memory, and reads what the engine says it has made."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from facts import Key, TableFacts, foreign_key
from reading_postgres import split

_DOT_COMMAND = re.compile(r"^\.[a-z][^\n]*$", re.MULTILINE)


def read_sqlite(script: str) -> tuple[list[TableFacts], list[str]]:
    """Returns the tables and views that a script leaves, and a line for each statement that SQLite refused."""
    notes = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.set_authorizer(_refuse_files)
        for line, statement in _sqlite_statements(_DOT_COMMAND.sub("", script)):
            try:
                database.execute(statement)
            except sqlite3.Error as error:
                notes.append(f"line {line}: SQLite: {error}")
        made = database.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        own = [(name, kind) for name, kind in made if not name.startswith("sqlite_")]
        return [_sqlite_table(database, name, kind == "view") for name, kind in own], notes


def _refuse_files(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def _sqlite_statements(script: str) -> Iterator[tuple[int, str]]:
    """Yields each statement and the line it begins in."""
    start = end = 0
    while (end := script.find(";", end) + 1) > 0:
        if sqlite3.complete_statement(script[start:end]):
            yield script.count("\n", 0, start) + 1, script[start:end]
            start = end
    if script[start:].strip():
        yield script.count("\n", 0, start) + 1, script[start:]


def _sqlite_table(database: sqlite3.Connection, name: str, is_view: bool) -> TableFacts:
    quoted = '"' + name.replace('"', '""') + '"'
    try:
        columns = database.execute(f"PRAGMA table_xinfo({quoted})").fetchall()
    except sqlite3.Error:  # a view of a table that does not exist
        return TableFacts(name.lower(), is_view=is_view, is_open=True)
    keys: dict[int, list[Any]] = {}
    for row in database.execute(f"PRAGMA foreign_key_list({quoted})"):
        keys.setdefault(row[0], []).append(row)
    return TableFacts(
        name.lower(),
        is_view=is_view,
        columns=[column[1].lower() for column in columns if column[6] != 1],  # 1 is hidden
        primary_key=tuple(column[1].lower() for column in columns if column[5]),
        foreign_keys=[_sqlite_key(rows) for rows in keys.values()],
        is_open=is_view,
    )


def _sqlite_key(rows: list[Any]) -> Key:
    return foreign_key([row[3] for row in rows], rows[0][2], [row[4] for row in rows if row[4]])


def read_duckdb(script: str) -> tuple[list[TableFacts], list[str]]:
    """Returns the tables and views that a script leaves, and a line for each statement that DuckDB refused."""
    import duckdb

    notes = []
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as database:
        for start, statement in split(script):
            try:
                database.execute(statement)
            except duckdb.Error as error:
                line = script.count("\n", 0, start) + 1
                notes.append(f"line {line}: DuckDB: {str(error).splitlines()[0]}")
        tables = dict(_duckdb_tables(database))
        _add_duckdb_columns(database, tables)
        _add_duckdb_keys(database, tables)
    return list(tables.values()), notes


def _duckdb_tables(database: Any) -> Iterator[tuple[tuple[str, str], TableFacts]]:
    made = (
        "SELECT schema_name, table_name, comment, false FROM duckdb_tables() WHERE NOT internal UNION ALL "
        "SELECT schema_name, view_name, comment, true FROM duckdb_views() WHERE NOT internal"
    )
    for schema, name, comment, is_view in database.execute(made).fetchall():
        namespace = "" if schema == "main" else schema.lower()
        yield (schema, name), TableFacts(name.lower(), namespace, is_view, comment=comment or "", is_open=is_view)


def _add_duckdb_columns(database: Any, tables: dict[tuple[str, str], TableFacts]) -> None:
    columns = (
        "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal "
        "ORDER BY table_oid, column_index"
    )
    for schema, name, column, comment in database.execute(columns).fetchall():
        table = tables[schema, name]
        table.columns.append(column.lower())
        if comment:
            table.column_comments[column.lower()] = comment


def _add_duckdb_keys(database: Any, tables: dict[tuple[str, str], TableFacts]) -> None:
    keys = (
        "SELECT schema_name, table_name, constraint_type, constraint_column_names, referenced_table, "
        "referenced_column_names FROM duckdb_constraints()"
    )
    for schema, name, kind, columns, target, targets in database.execute(keys).fetchall():
        table = tables[schema, name]
        if kind == "PRIMARY KEY":
            table.primary_key = tuple(column.lower() for column in columns)
        elif kind == "FOREIGN KEY":
            table.foreign_keys.append(foreign_key(columns, target, targets))
