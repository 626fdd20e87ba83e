"""The check of what Shortlist reads finds what is lost and what is invented, by every kind of reference."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from paths import ROOT, TESTS

from shortlist.schemas.document import Column, ForeignKey, ParsedTables, Table

COUNTS = TESTS / "fixtures/reading/counts.json"
# Names a folder of real scripts to check; they are not part of the repository.
FOLDER = os.environ.get("SHORTLIST_READING_SCRIPTS", "")
REAL_SCRIPTS = sorted(Path(FOLDER).glob("*.sql")) if FOLDER else []

SHOP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE sale (id INTEGER, line INTEGER, customer_id INTEGER REFERENCES customer (id), PRIMARY KEY (id, line));
CREATE VIEW names AS SELECT name FROM customer;
"""


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("reading")


@pytest.fixture
def check(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs the command over one script with `counts` as its entry, and returns its status and its JSON."""

    def run(text: str, **counts: Any) -> tuple[int, dict[str, Any]]:
        (tmp_path / "shop.sql").write_text(text, encoding="utf-8")
        (tmp_path / "counts.json").write_text(json.dumps({"shop.sql": counts}), encoding="utf-8")
        status = script.main([str(tmp_path), "--counts", str(tmp_path / "counts.json"), "--json"])
        return status, json.loads(capsys.readouterr().out)["shop.sql"]

    return run


def loses(monkeypatch: pytest.MonkeyPatch, script: ModuleType, *tables: Table) -> None:
    """Lets Shortlist read these tables, whatever the script."""
    monkeypatch.setattr(script, "parse_tables", lambda text, dialect=None: ParsedTables(tables, dialect="sqlite"))


def short(table: Any) -> str:
    """Writes a table's facts in one line."""
    keys = [
        f"{', '.join(columns)} -> {target}({', '.join(targets)})" for columns, target, targets in table.foreign_keys
    ]
    comments = [f"{column}: {text}" for column, text in table.column_comments.items()]
    parts = [f"{table.full_name}({', '.join(table.columns)})", f"key {', '.join(table.primary_key)}"]
    return "; ".join([*parts, *keys, *filter(None, [table.comment]), *comments])


def postgres_tables(text: str) -> list[str]:
    pytest.importorskip("pglast")
    tables, _ = importlib.import_module("reading_postgres").read_postgres(text)
    return [short(table) for table in tables if not table.is_optional]


def postgres_statements(text: str) -> list[str]:
    return [statement for _, statement in importlib.import_module("reading_postgres").split(text)]


def test_a_script_that_is_read_right_passes(check: Callable[..., Any]) -> None:
    status, found = check(SHOP, dialect="sqlite")

    assert status == 0
    assert found["checked_by"] == "SQLite"
    assert found["expected"] == found["found"]
    assert list(found["found"].values()) == [3, 5, 2, 1, 0, 0]
    assert found["differences"] == []


def test_what_is_lost_is_named(script: ModuleType, check: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    loses(monkeypatch, script, Table("sale", columns=(Column("id"), Column("line"), Column("customer_id"))))
    status, found = check(SHOP, dialect="sqlite")

    assert status == 1
    assert found["differences"] == [
        "lost tables: customer",
        "lost primary keys of sale: (id, line) is read as ()",
        "lost foreign keys of sale: (customer_id) -> customer(id)",
        "lost tables: names",
    ]
    assert found["lost"] == {"tables": 2, "primary keys": 1, "foreign keys": 1}


def test_what_is_invented_is_named(
    script: ModuleType, check: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = (Column("id", is_primary_key=True), Column("id"), Column("total"))
    keys = (ForeignKey(("total",), "sale", ()),)
    loses(monkeypatch, script, Table("sale", columns=columns, foreign_keys=keys), Table("refund"))
    _, found = check("CREATE TABLE sale (id INTEGER);", dialect="sqlite")

    assert found["differences"] == [
        "invented columns of sale: total",
        "invented columns of sale: id (twice)",
        "invented primary keys of sale: () is read as (id)",
        "invented foreign keys of sale: (total) -> sale()",
        "invented tables: refund",
    ]
    assert found["invented"] == {"tables": 1, "columns": 2, "primary keys": 1, "foreign keys": 1}


def test_a_script_of_another_dialect_is_held_to_its_counts(check: Callable[..., Any]) -> None:
    counts = dict(zip(importlib.import_module("facts").KINDS, (2, 3, 2, 1, 1, 0), strict=True))
    text = "CREATE TABLE a (id INT PRIMARY KEY) COMMENT='x'; CREATE TABLE b (id INT, c INT, d INT);"
    status, found = check(text, dialect="mysql", **counts)

    assert (status, found["checked_by"]) == (1, "hand")
    assert found["lost"] == {"primary keys": 1, "foreign keys": 1}
    assert found["invented"] == {"columns": 1}


def test_a_script_without_reader_and_counts_is_not_checked(check: Callable[..., Any]) -> None:
    status, found = check("CREATE TABLE a (id NUMBER);", dialect="oracle")

    assert status == 0
    assert found["checked_by"] == ""
    assert found["notes"] == ["not checked: there are no counts"]


def test_a_reader_that_is_not_installed_is_said(
    script: ModuleType, check: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "find_spec", lambda name: None)
    _, found = check("CREATE TABLE a (id int);", dialect="postgres")

    assert found["notes"] == ["not checked: pglast is not installed"]


def test_the_table_shows_losses_beside_the_numbers(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loses(monkeypatch, script, Table("sale", columns=(Column("id"), Column("line"), Column("total"))))
    (tmp_path / "shop.sql").write_text(SHOP, encoding="utf-8")
    script.main([str(tmp_path)])

    printed = capsys.readouterr()
    assert printed.err == "1/1 shop.sql\n"
    assert "| shop.sql | sqlite | sqlite | SQLite | 3 −2 | 5 −1 +1 | 2 −1 | 1 −1 | 0 | 0 |\n" in printed.out
    assert "scripts: 1, checked: 1, lost (−): 5, invented (+): 1" in printed.out
    assert "- lost tables: customer, names\n" in printed.out


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ('{"shop.sql": {"dialect": "mysql", "tables": 3}}', "shop.sql has no number for columns, primary keys"),
        ('{"shop.sql": {"tables": "3"}}', "shop.sql has no number for tables"),
        ("{", "counts.json is not JSON"),
        ('{"shop.sql": 3}', "must be an object that maps the name of each script to an object"),
    ],
    ids=["counts missing", "no number", "not JSON", "no object"],
)
def test_a_wrong_file_of_counts_is_an_error(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], counts: str, message: str
) -> None:
    (tmp_path / "counts.json").write_text(counts, encoding="utf-8")

    assert script.main([str(tmp_path), "--counts", str(tmp_path / "counts.json")]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_scripts_is_an_error(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([str(tmp_path)]) == 2
    assert "holds no *.sql files" in capsys.readouterr().err


def test_sqlite_refuses_files_and_goes_on_after_an_error(tmp_path: Path) -> None:
    file = tmp_path / "made.db"
    text = f".bail on\nATTACH '{file}' AS other;\nCREATE TABLE a (x, y AS (x + 1));\nCREATE TABLE a (x);\n"
    tables, notes = importlib.import_module("reading_engines").read_sqlite(text)

    assert [short(table) for table in tables] == ["a(x, y); key "]
    assert notes == ["line 1: SQLite: not authorized", "line 3: SQLite: table a already exists"]
    assert not file.exists()


def test_duckdb_says_its_keys_and_comments() -> None:
    pytest.importorskip("duckdb")
    text = """
    CREATE SCHEMA s; CREATE TABLE s.u (id INT PRIMARY KEY);
    CREATE TABLE s.t (a INT, b INT REFERENCES s.u, PRIMARY KEY (a));
    COMMENT ON TABLE s.t IS 'about t'; COMMENT ON COLUMN s.t.b IS 'about b';
    CREATE VIEW v AS SELECT a FROM s.t;
    INSTALL httpfs FROM 'nowhere';
    """
    tables, notes = importlib.import_module("reading_engines").read_duckdb(text)

    assert sorted(short(table) for table in tables) == [
        "s.t(a, b); key a; b -> u(id); about t; b: about b",
        "s.u(id); key id",
        "v(a); key ",
    ]
    assert [note.partition(":")[0] for note in notes] == ["line 6"]


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("\\restrict key\nselect ';' ; -- a;\nselect 2;", ["select ';' ;", "-- a;\nselect 2;"]),
        ("COPY t (a) FROM stdin;\n1\t';\n\\.\nselect 1;", ["COPY t (a) FROM stdin;", "select 1;"]),
        ("\\c other\nselect 1;\n\\connect - me\n", ["\\c other", "select 1;", "\\connect - me"]),
        ("\\if false\nselect 1;\n\\else\nselect 2;\n\\endif\nselect 3;", ["select 2;", "select 3;"]),
        (
            "create table :schema.t (a int, b :\"kind\" default 'x'::text);",
            ["create table schema.t (a int, b \"kind\" default 'x'::text);"],
        ),
        (
            "do $x$ begin; end $x$; select $1; select E'\\';' ;",
            ["do $x$ begin; end $x$;", "select $1;", "select E'\\';' ;"],
        ),
        (
            "create function f() begin atomic select case when a then b end; end; select 1",
            ["create function f() begin atomic select case when a then b end; end;", "select 1"],
        ),
        ("/* a /* b; */ c; */ select 1;", ["/* a /* b; */ c; */ select 1;"]),
    ],
    ids=["commands", "copy", "connect", "if", "variables", "quotes", "atomic", "comments"],
)
def test_a_script_is_split_as_psql_does(text: str, statements: list[str]) -> None:
    assert postgres_statements(text) == statements


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        (
            "create schema s create table a (id int primary key) create view v as select id from a;",
            ["s.a(id); key id", "s.v(id); key "],
        ),
        (
            "create table p (a int, b text) partition by list (a); create table q partition of p for values in (1);"
            "create table c (z int, primary key (a)) inherits (p); create table l (like c including all);",
            ["p(a, b); key ", "q(a, b); key ", "c(a, b, z); key a", "l(a, b, z); key a"],
        ),
        (
            "create type y as (m int, n int); create table t of y; create unique index i on t (m, n);"
            "alter table t add constraint k primary key using index i;",
            ["t(m, n); key m, n"],
        ),
        (
            "create table u (id int); create table t (a int, b int references u, c int);"
            "alter table t drop column c, add d int references u (id); alter table u rename to w;"
            "alter table t rename column a to e; alter table w set schema s; comment on column t.e is 'x';",
            ["s.w(id); key ", "t(e, b, d); key ; b -> w(); d -> w(id); e: x"],
        ),
        (
            "create table a (x int); drop table a; create temp table b as select x, 1 as y, now() from a;"
            "create materialized view m (k) as select x from b; create view n as select * from m;",
            ["b(x, y); key ", "m(k); key ", "n(); key "],
        ),
        (
            "create function f() returns void as $$ begin create table no (x int); end $$ language plpgsql;"
            "do $$ begin if true then create table yes (x int); end if;"
            " alter table yes add foreign key (x) references z (y); exception when others then null; end $$;",
            ["yes(x); key ; x -> z(y)"],
        ),
        (
            "create table a (x int);\n\\c other\ncreate table a (y int);\nalter table a add z int;",
            ["a(x); key ", "a(y, z); key "],
        ),
    ],
    ids=["schema", "inherited", "types", "altered", "queries", "blocks", "databases"],
)
def test_libpg_query_says_what_a_script_defines(text: str, tables: list[str]) -> None:
    assert postgres_tables(text) == tables


def test_a_statement_that_libpg_query_refuses_is_said_and_may_be_read_or_not(check: Callable[..., Any]) -> None:
    pytest.importorskip("pglast")
    status, found = check("create table a (x int);\ncreate table s.b (x int y text);\n", dialect="postgres")

    assert status == 0
    assert found["notes"] == ['line 2: libpg_query: syntax error at or near "y", at index 24']
    assert found["expected"]["tables"] == 1


@pytest.mark.skipif(not FOLDER, reason="SHORTLIST_READING_SCRIPTS names no folder")
@pytest.mark.parametrize("path", REAL_SCRIPTS, ids=lambda path: path.stem)
def test_nothing_of_a_real_script_is_lost_or_invented(script: ModuleType, path: Path) -> None:
    result = script.read(path, script.load_counts(COUNTS).get(path.name, {}))

    assert result.checked_by, result.notes
    assert {kind: number for kind, number in result.lost.items() if number} == {}
    assert {kind: number for kind, number in result.invented.items() if number} == {}
