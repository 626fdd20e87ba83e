"""Checks that a quote that is not SQL, or never closes, costs no statement behind it."""

from __future__ import annotations

import time

import pytest
from shown_tables import shown

from shortlist.schemas.sql.parse import parse_tables

TWO_TABLES = "CREATE TABLE lots (id int, kind varchar(9) DEFAULT 'new');\nCREATE TABLE bids (id int);\n"
BOTH = ["lots(id, kind)", "bids(id)"]

NOT_SQL = {
    "a remark of SQL*Plus": "REM Don't run this on production\n",
    "a prompt with an open bracket": "PROMPT (the sellers' tables\n",
    "prose": "Here's what we've got so far:\n\n",
    "a comment mark of another language": "# you'll need version 5\n",
    "inches": "PROMPT 5\" and 3' pipes\n",
    "a string in prose": "Say 'tis so\n",
    "an include line": "@include 'types\n",
    "a row with an apostrophe": "INSERT INTO notes VALUES (1, 'it's late);\n",
    "a comment with an apostrophe": "COMMENT ON TABLE x IS 'the buyer's notes';\n",
    "a query": "SELECT 'a, b FROM c;\n",
    "a quoted name": 'GRANT ALL ON "notes TO joe;\n',
    "a backtick": "SELECT `a FROM b;\n",
    "a comment that does not close": "/* the old ones\n",
    "a dollar quote": "COMMENT ON TABLE x IS $$never;\n",
}


@pytest.mark.parametrize("before", NOT_SQL)
@pytest.mark.parametrize("dialect", ["", "postgres", "oracle", "mysql", "tsql", "sqlite"])
def test_an_open_quote_before_a_table_loses_no_table(before: str, dialect: str) -> None:
    assert shown(NOT_SQL[before] + TWO_TABLES, dialect) == BOTH


@pytest.mark.parametrize("before", NOT_SQL)
def test_an_open_quote_between_tables_loses_no_table(before: str) -> None:
    script = f"CREATE TABLE users (id int PRIMARY KEY);\n{NOT_SQL[before]}{TWO_TABLES}"
    assert shown(script) == ["users(id*)", *BOTH]


@pytest.mark.parametrize("text", ["SELECT 'a, b FROM c;\n", "/* the old ones\n"])
def test_the_text_that_was_passed_over_is_named_by_its_line(text: str) -> None:
    (warning,) = parse_tables(f"-- first\n{text}{TWO_TABLES}", dialect="postgres").warnings
    assert "passed over" in warning
    assert "line 2" in warning


def test_a_default_that_does_not_close_costs_no_column_before_it() -> None:
    assert shown("CREATE TABLE a (id int, s text DEFAULT 'x);\nCREATE TABLE b (t text DEFAULT 'y');") == [
        "a(id, s)",
        "b(t)",
    ]


MEANT = {
    "a row": "INSERT INTO pages VALUES (1, 'First:\nCREATE TABLE phantom (x int);\nDone');",
    "a row with more columns": "INSERT INTO pages VALUES ('one\nCREATE TABLE phantom (x int);', 2, 'three');",
    "a function": "CREATE FUNCTION f() RETURNS void AS '\nCREATE TABLE phantom (x int);\n' LANGUAGE sql;",
    "a comment": "COMMENT ON TABLE users IS 'Made by\nCREATE TABLE phantom (x int)';",
    "a commented-out table": "/* not yet\nCREATE TABLE phantom (x int);\n*/",
}


@pytest.mark.parametrize("text", MEANT)
def test_a_statement_in_a_text_that_is_meant_is_no_table(text: str) -> None:
    script = f"CREATE TABLE users (id int);\n{MEANT[text]}\nCREATE TABLE last (id int);"
    assert [line.split("(")[0] for line in shown(script, "postgres")] == ["users", "last"]


BODIES = {
    "words of blocks in a comment": "-- in this case nothing ends\n  RETURN NEW;",
    "words of blocks in a string": "RAISE NOTICE 'the case must END';",
    "a temporary table": "CREATE TEMP TABLE scratch (id int);",
    "an apostrophe in a comment": "-- don't\n  RETURN NEW;",
}
# A body without a tag would end at these in PostgreSQL too.
BODIES_WITH_DOLLARS = {
    "another dollar quote": "PERFORM regexp_replace(x, $$re$, '');",
    "a pattern": "PERFORM x ~ '^a$$re$';",
}
TAGS = ["function", "_", "BODY"]


def tables_around_functions(body: str, tag: str) -> list[str]:
    """Returns the tables of a script in which two functions with this body are between three tables."""
    return shown(
        "CREATE TABLE a (id serial);\n"
        f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS ${tag}$\nBEGIN\n  {body}\nEND;\n${tag}$;\n"
        "CREATE TABLE b (id serial);\n"
        f"CREATE FUNCTION g() RETURNS trigger AS ${tag}$\nBEGIN\n  {body}\nEND;\n${tag}$ LANGUAGE plpgsql;\n"
        "CREATE TABLE c (id serial);\n"
    )


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("tag", ["", *TAGS])
def test_a_function_body_ends_at_its_own_tag(body: str, tag: str) -> None:
    assert tables_around_functions(BODIES[body], tag) == ["a(id)", "b(id)", "c(id)"]


@pytest.mark.parametrize("body", BODIES_WITH_DOLLARS)
@pytest.mark.parametrize("tag", TAGS)
def test_a_function_body_does_not_end_at_another_tag(body: str, tag: str) -> None:
    assert tables_around_functions(BODIES_WITH_DOLLARS[body], tag) == ["a(id)", "b(id)", "c(id)"]


@pytest.mark.parametrize(("opening", "dialect"), [("$a{}$", "postgres"), ("[", "sqlite"), ("x /*", "sqlite")])
def test_many_open_quotes_are_read_in_time_that_grows_with_the_script(opening: str, dialect: str) -> None:
    script = "".join(f"{opening.format(i)}\nCREATE TABLE t{i} (x int);\n" for i in range(4_000))
    began = time.process_time()
    parse_tables(script, dialect=dialect)
    assert time.process_time() - began < 20
