from __future__ import annotations

import logging
import re
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shortlist.schemas.document import Column, ForeignKey
from shortlist.schemas.errors import LimitExceeded, UnknownDialect
from shortlist.schemas.sql import parse as table
from shortlist.schemas.sql.definitions import nodes
from shortlist.schemas.sql.parse import DIALECTS, parse_tables

FRAGMENTS = [
    "CREATE TABLE t (a int, b text);",
    "create or replace view v as select a, b from t;",
    "ALTER TABLE t ADD CONSTRAINT k PRIMARY KEY (a);",
    "COMMENT ON COLUMN t.a IS 'about a';",
    "CREATE INDEX i ON t (a);",
    "INSERT INTO t VALUES (1, 'x;y');",
    "CREATE FUNCTION f() RETURNS int AS $$ begin; end $$;",
    "COPY t FROM stdin;\n1\t'\n\\.\n",
    "DELIMITER //\n",
    "\nGO\n",
    "\n/\n",
    "-- note\n",
    "/*!40101 SET x */;",
    *"'\"`[]()<>,;$\\/*-#\n\r\t\0",
    "BEGIN",
    "END;",
    "é漢😀",
    "CREATE TABLE",
    "CREATE",
    "x int",
    "struct<",
]
SOME_DIALECTS = [None, "postgres", "mysql", "tsql", "bigquery", "snowflake", "oracle", "sqlite", "clickhouse"]


def only_columns(ddl: str, dialect: str | None = None) -> tuple[Column, ...]:
    return parse_tables(ddl, dialect=dialect).tables[0].columns


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=12), max_size=14), st.sampled_from(SOME_DIALECTS))
def test_any_text_is_read_without_an_error_and_contains_every_source(parts: list[str], dialect: str | None) -> None:
    script = " ".join(parts)

    parsed = parse_tables(script, dialect=dialect)

    assert all(line in script for found in parsed.tables for line in found.source.split("\n"))
    assert [found.index for found in parsed.tables] == list(range(len(parsed.tables)))
    num_lines = len(re.split("\r\n|\r|\n", script))
    assert all(1 <= left_out.line <= num_lines and left_out.column >= 1 for left_out in parsed.unparsed)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_plain_table_reads_the_same_in_every_dialect(dialect: str) -> None:
    parsed = parse_tables("CREATE TABLE s.t (id INT NOT NULL, name VARCHAR(20), PRIMARY KEY (id));", dialect=dialect)

    assert parsed.dialect == dialect
    assert parsed.tables[0].full_name == "s.t"
    assert [(column.name, column.type) for column in parsed.tables[0].columns] == [
        ("id", "int"),
        ("name", "varchar(20)"),
    ]
    assert [column.is_primary_key for column in parsed.tables[0].columns] == [True, False]


@pytest.mark.parametrize(
    ("given_name", "known_name"),
    [
        ("PostgreSQL", "postgres"),
        ("mssql", "tsql"),
        ("SQL Server", "tsql"),
        ("MariaDB", "mysql"),
        ("t-sql", "tsql"),
        ("BigQuery", "bigquery"),
    ],
    ids=str,
)
def test_a_dialect_may_have_several_names(given_name: str, known_name: str) -> None:
    assert parse_tables("", dialect=given_name).dialect == known_name


def test_an_unknown_dialect_is_rejected_with_a_list_of_the_known_ones() -> None:
    with pytest.raises(UnknownDialect, match="postgres") as caught:
        parse_tables("CREATE TABLE t (a int)", dialect="klingon")

    assert caught.value.known == DIALECTS


@pytest.mark.parametrize("ddl", ["", "   \n", ";;;", "-- nothing\n", "SELECT 1", "hello", "\ufeff"], ids=repr)
def test_a_script_without_tables_yields_none(ddl: str) -> None:
    parsed = parse_tables(ddl)

    assert (parsed.tables, parsed.unparsed, parsed.warnings) == ((), (), ())


def test_a_source_is_its_create_and_what_is_attached_in_script_order() -> None:
    create, insert, index, comment = (
        "CREATE  TABLE t (\n  a int -- it\n);",
        "INSERT INTO t VALUES (1);",
        "create index i on t(a);",
        "COMMENT ON TABLE t IS 'x'",
    )

    parsed = parse_tables("\n\n".join((create, insert, index, comment)))

    assert parsed.tables[0].source == "\n".join((create, index, comment))


def test_a_table_created_twice_is_kept_twice_and_the_last_takes_what_follows() -> None:
    parsed = parse_tables("CREATE TABLE t (a int); CREATE TABLE t (b int); COMMENT ON TABLE t IS 'the second';")

    assert [(found.index, found.comment) for found in parsed.tables] == [(0, ""), (1, "the second")]


def test_equal_names_in_two_schemas_are_different_tables() -> None:
    parsed = parse_tables(
        "CREATE TABLE a.t (x int); CREATE TABLE b.t (x int);COMMENT ON TABLE a.t IS 'first'; CREATE INDEX i ON B.T (x);"
    )

    assert [found.comment for found in parsed.tables] == ["first", ""]
    assert ["CREATE INDEX" in found.source for found in parsed.tables] == [False, True]


@pytest.mark.parametrize(
    ("ddl", "comments"),
    [
        ("CREATE TABLE t (\n a int, -- one\n b int -- two\n)", ["one", "two"]),
        ("CREATE TABLE t (\n a int -- one\n , b int -- two\n)", ["one", "two"]),
        ("CREATE TABLE t (\n -- one\n a int,\n -- two\n b int\n)", ["one", "two"]),
        ("CREATE TABLE t (a int, /* two */ b int /* too */)", ["", "two too"]),
        ("CREATE TABLE t (a /* one */ int, b int)", ["one", ""]),
        ("CREATE TABLE t (\n a int, -- one\n        -- more\n b int\n)", ["one more", ""]),
        ("CREATE TABLE t (\n a int, -- one\n -- two\n b int\n)", ["one", "two"]),
        ("CREATE TABLE t (\n a int,\n b int\n -- the end\n)", ["", "the end"]),
        ("CREATE TABLE t (\n a int, --\n -----------\n b int)", ["", ""]),
        ("CREATE TABLE t (\n a int,\n /* over\n  * two lines */\n b int)", ["", "over two lines"]),
        ("CREATE TABLE t (\n a int DEFAULT '-- no', -- yes\n b text DEFAULT '/*'\n)", ["yes", ""]),
    ],
    ids=[
        "after-comma",
        "before-comma",
        "line-above",
        "within-line",
        "mid-column",
        "goes-on",
        "next",
        "last",
        "rules",
        "block",
        "strings",
    ],
)
def test_a_comment_belongs_to_the_column_beside_it(ddl: str, comments: list[str]) -> None:
    assert [column.comment for column in only_columns(ddl, "postgres")] == comments


@pytest.mark.parametrize(
    "ddl",
    [
        "CREATE TABLE t ( -- Criminal offences\n a int)",
        "-- Criminal offences\nCREATE TABLE t (a int)",
        "CREATE TABLE x (b int);\n\n/* Criminal\n offences */\nCREATE TABLE t (a int)",
        "CREATE TABLE t -- Criminal offences\n(\n a int)",
        "CREATE TABLE t (a int); -- Criminal offences",
        "CREATE TABLE t (a int) COMMENT 'Criminal offences'",
        "CREATE TABLE t (a int) COMMENT='Criminal offences'",
    ],
    ids=["opening-line", "above", "block-above", "after-name", "after-end", "clause", "clause-equals"],
)
def test_a_comment_at_the_head_of_a_table_is_the_tables(ddl: str) -> None:
    found = parse_tables(ddl, dialect="mysql").tables[-1]

    assert (found.comment, found.columns[0].comment) == ("Criminal offences", "")


def test_a_comment_above_a_blank_line_belongs_to_nothing() -> None:
    assert parse_tables("-- Licence: MIT\n\nCREATE TABLE t (a int)").tables[0].comment == ""


@pytest.mark.parametrize(
    ("ddl", "dialect", "full_name"),
    [
        ('CREATE TABLE "My Cat"."s.1"."T t" (a int)', "snowflake", "My Cat.s.1.T t"),
        ("CREATE TABLE [srv].[db]..[t] (a int)", "tsql", "srv.db.t"),
        ("CREATE TABLE `a-b.c.d` (a int64)", "bigquery", "a-b.c.d"),
        ("CREATE TABLE a-b.c.d (a int64)", "bigquery", "a-b.c.d"),
        ("CREATE TABLE #tmp (a int)", "tsql", "#tmp"),
    ],
    ids=["quoted", "empty-part", "one-quote", "dashes", "temporary"],
)
def test_qualified_names_lose_only_their_quotes(ddl: str, dialect: str, full_name: str) -> None:
    assert parse_tables(ddl, dialect=dialect).tables[0].full_name == full_name


def test_keys_may_be_composite_unnamed_and_inline() -> None:
    found = parse_tables(
        "CREATE TABLE t (a int, b int REFERENCES u, c int UNIQUE, PRIMARY KEY (a, b),"
        " FOREIGN KEY (a, c) REFERENCES s.v (x, y), UNIQUE (b, c))"
    ).tables[0]

    assert found.foreign_keys == (ForeignKey(("b",), "u"), ForeignKey(("a", "c"), "s.v", ("x", "y")))
    assert [column.is_primary_key for column in found.columns] == [True, True, False]


def test_an_opaque_command_is_reported_as_unparsed() -> None:
    parsed = parse_tables("CREATE TABLE t (a int);\n  CREATE INDEX ON (;\nCREATE TABLE u (a int);", dialect="postgres")

    assert [found.name for found in parsed.tables] == ["t", "u"]
    assert [(left_out.index, left_out.line) for left_out in parsed.unparsed] == [(1, 2)]


def test_a_deeply_nested_statement_is_reported_and_the_others_are_parsed() -> None:
    deep = "CREATE TABLE deep (a int DEFAULT " + "(" * 5000 + "1" + ")" * 5000 + ");"

    parsed = parse_tables(f"CREATE TABLE t (a int);{deep}CREATE TABLE u (a int);")

    assert [found.name for found in parsed.tables] == ["t", "u"]
    assert [left_out.name for left_out in parsed.unparsed] == ["deep"]
    assert "nested" in parsed.unparsed[0].reason


def test_a_parser_out_of_stack_leaves_what_the_tokens_say() -> None:
    with patch.object(nodes.sqlglot, "parse_one", side_effect=RecursionError):
        parsed = parse_tables("CREATE TABLE s.t (a int PRIMARY KEY); CREATE VIEW v AS SELECT 1", dialect="postgres")

    assert [(found.full_name, found.columns[0].is_primary_key) for found in parsed.tables] == [("s.t", True)]
    assert [(left_out.name, left_out.reason) for left_out in parsed.unparsed] == [("v", "nested too deeply")]


def test_a_reason_never_contains_the_whole_statement() -> None:
    odd = "nonsense " * 500
    parsed = parse_tables(
        f"CREATE TABLE t {odd}; CREATE TABLE u (a int MASK {odd}, PRIMARY KEY (a) {odd})", dialect="postgres"
    )

    assert 0 < len(parsed.unparsed[0].reason) < 200
    assert 0 < max(map(len, parsed.warnings)) < 300


def test_a_script_beyond_the_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_DDL_CHARS", 10)

    with pytest.raises(LimitExceeded) as caught:
        parse_tables("CREATE TABLE t (a int)")

    assert (caught.value.limit, caught.value.actual) == (10, 22)


def test_more_tables_than_the_limit_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_TABLES", 2)

    with pytest.raises(LimitExceeded, match="more than 2 tables"):
        parse_tables("CREATE TABLE t (a int);" * 3)


def test_no_sql_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        parse_tables("CREATE TABLE secret_plan (a int) ~~ odd; CREATE INDEX ON (;", dialect="postgres")

    assert "secret_plan" not in caplog.text
    assert "INDEX" not in caplog.text


@pytest.mark.parametrize("quote", ["'", '"', "`", "[", "$$", "/*", "(", "\\'", "$a$"], ids=repr)
def test_a_long_run_of_open_quotes_is_read_quickly(quote: str) -> None:
    parsed = parse_tables("CREATE TABLE t (a int);\n" + f"x {quote}" * 20_000, dialect="mysql")

    assert parsed.tables[0].name == "t"


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE Orders (OrderID int, PersonID int FOREIGN KEY REFERENCES Persons(ID))",
        "CREATE TABLE Orders (OrderID int, PersonID int CONSTRAINT fk FOREIGN KEY REFERENCES Persons(ID))",
    ],
    ids=["bare", "named"],
)
def test_a_foreign_key_after_its_column_is_read(script: str) -> None:
    for dialect in ("", "tsql"):
        (table,) = parse_tables(script, dialect=dialect).tables
        assert [(key.columns, key.target_table) for key in table.foreign_keys] == [(("PersonID",), "Persons")]
