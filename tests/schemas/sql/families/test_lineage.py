"""Tables and views have the columns that they take from other tables of the script."""

from __future__ import annotations

import pytest

from shortlist.schemas.document import Table
from shortlist.schemas.sql.parse import parse_tables

ITEMS = "CREATE TABLE items (id int PRIMARY KEY, label text);\n"


def last_table(script: str, dialect: str | None = None) -> Table:
    parsed = parse_tables(script, dialect=dialect)
    assert parsed.unparsed == ()
    return parsed.tables[-1]


def names_of(table: Table) -> list[str]:
    return [column.name for column in table.columns]


COPIES: list[tuple[str | None, str]] = [
    ("postgres", "CREATE TABLE c (LIKE items INCLUDING ALL);"),
    ("postgres", "CREATE TABLE c AS TABLE items WITH NO DATA;"),
    ("mysql", "CREATE TABLE c LIKE items;"),
    ("mysql", "CREATE TABLE IF NOT EXISTS `c` (LIKE `items`);"),
    ("hive", "CREATE EXTERNAL TABLE c LIKE items LOCATION '/x';"),
    ("snowflake", "CREATE TRANSIENT TABLE c CLONE items AT (OFFSET => -60) COMMENT = 'then';"),
    ("snowflake", "CREATE OR REPLACE TABLE c LIKE items COPY GRANTS;"),
    ("bigquery", "CREATE SNAPSHOT TABLE c CLONE items OPTIONS (expiration_timestamp = TIMESTAMP '2030-01-01');"),
    ("bigquery", "CREATE TABLE c COPY items;"),
    ("databricks", "CREATE OR REPLACE TABLE c SHALLOW CLONE items VERSION AS OF 3;"),
    ("databricks", "CREATE TABLE c DEEP CLONE items LOCATION 's3://x';"),
    ("clickhouse", "CREATE TABLE c AS items ENGINE = Distributed(k, d, items, rand());"),
    ("clickhouse", "CREATE TABLE c ON CLUSTER k AS items;"),
    ("clickhouse", "CREATE TABLE c ENGINE = Distributed('{cluster}', currentDatabase(), 'items');"),
    ("oracle", "CREATE TABLE c FOR EXCHANGE WITH TABLE items;"),
    ("fabric", "CREATE TABLE c AS CLONE OF items AT '2030-01-01T00:00:00';"),
    (None, "CREATE TABLE c WITH ('connector' = 'kafka') LIKE items;"),
    ("duckdb", "CREATE TABLE c AS FROM items;"),
]


@pytest.mark.parametrize(("dialect", "statement"), COPIES, ids=[f"{dialect}-{text[:40]}" for dialect, text in COPIES])
def test_a_copy_is_a_table_of_its_own_with_the_same_columns(dialect: str | None, statement: str) -> None:
    copy = last_table(ITEMS + statement, dialect)

    assert (copy.name, names_of(copy), copy.columns[1].type) == ("c", ["id", "label"], "text")
    assert copy.source == statement


def test_columns_are_put_where_like_is_written() -> None:
    assert names_of(last_table(ITEMS + "CREATE TABLE c (a int, LIKE items, b int);")) == ["a", "id", "label", "b"]


def test_a_table_of_flink_has_the_columns_of_the_one_it_is_like_and_its_own() -> None:
    script = ITEMS + "CREATE TABLE c (seen int) WITH ('connector' = 'kafka') LIKE items (INCLUDING ALL);"
    assert names_of(last_table(script)) == ["id", "label", "seen"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("CREATE TABLE c (a int) SELECT 1 AS z, items.* FROM items;", ["a", "z", "id", "label"]),
        ("CREATE TABLE c (label text, KEY (label)) ENGINE=InnoDB AS SELECT * FROM items;", ["label", "id"]),
        ("CREATE TABLE c (a int) IGNORE SELECT * FROM items;", ["a", "id", "label"]),
        ("CREATE TABLE c (a int, b what is this) SELECT * FROM items;", ["a", "b", "id", "label"]),
    ],
)
def test_a_query_adds_columns_to_those_that_mysql_lists(statement: str, expected: list[str]) -> None:
    assert names_of(last_table(ITEMS + statement, "mysql")) == expected


@pytest.mark.parametrize(
    ("dialect", "script"),
    [
        ("postgres", "CREATE TYPE kind AS (id int, label text); CREATE TABLE c OF kind (PRIMARY KEY (id));"),
        ("postgres", "CREATE TYPE s.kind AS (id int, label text); CREATE TABLE c OF s.kind;"),
        (
            "oracle",
            "CREATE OR REPLACE TYPE kind AS OBJECT (id NUMBER, label CLOB, MEMBER FUNCTION f RETURN NUMBER);\n/\n"
            "CREATE TABLE c OF kind (id PRIMARY KEY) OBJECT IDENTIFIER IS PRIMARY KEY;",
        ),
    ],
)
def test_a_typed_table_has_the_columns_of_its_type(dialect: str, script: str) -> None:
    assert names_of(last_table(script, dialect)) == ["id", "label"]


def test_the_list_of_a_typed_table_says_more_about_its_columns() -> None:
    script = "CREATE TYPE kind AS (id int, label text); CREATE TABLE c OF kind (id WITH OPTIONS PRIMARY KEY);"
    (column, _) = last_table(script, "postgres").columns

    assert (column.name, column.type, column.is_primary_key) == ("id", "int", True)


VIEWS = [
    ("SELECT * FROM items", ["id", "label"]),
    ("SELECT i.*, o.name FROM items i JOIN owners o ON o.id = i.id", ["id", "label", "name"]),
    ("SELECT * FROM items JOIN owners USING (id)", ["id", "label", "name"]),
    ("SELECT 1 AS n, items.* FROM items, owners", ["n", "id", "label"]),
    ("WITH x AS (SELECT * FROM items), y AS (SELECT *, 1 AS n FROM x) SELECT * FROM y", ["id", "label", "n"]),
    ("WITH x (a, b) AS (SELECT * FROM items) SELECT * FROM x", ["a", "b"]),
    ("SELECT * FROM (SELECT id AS k, label FROM items) s", ["k", "label"]),
    ("SELECT * FROM items UNION ALL SELECT 1, 'x'", ["id", "label"]),
    ("SELECT * FROM items WHERE EXISTS (SELECT * FROM owners)", ["id", "label"]),
    ("SELECT *, id + 1 AS next FROM unknown, items", ["id", "label", "next"]),
    ("SELECT count(*) AS n FROM items", ["n"]),
]


@pytest.mark.parametrize(("query", "expected"), VIEWS, ids=[query for query, _ in VIEWS])
@pytest.mark.parametrize("verb", ["VIEW", "TABLE"])
def test_a_star_stands_for_the_columns_of_its_tables(verb: str, query: str, expected: list[str]) -> None:
    found = last_table(f"{ITEMS}CREATE TABLE owners (id int, name text);\nCREATE {verb} v AS {query};", "postgres")

    assert names_of(found) == expected
    assert not any(column.is_primary_key for column in found.columns)


@pytest.mark.parametrize(
    ("dialect", "query", "expected"),
    [
        ("bigquery", "SELECT * EXCEPT (label) FROM items", ["id"]),
        ("snowflake", "SELECT * EXCLUDE (id) RENAME (label AS name) FROM items", ["name"]),
        ("duckdb", "SELECT * REPLACE (upper(label) AS label) FROM items", ["id", "label"]),
        ("clickhouse", "SELECT i.* EXCEPT label FROM items AS i", ["id"]),
    ],
)
def test_columns_are_left_out_and_renamed_as_the_star_says(dialect: str, query: str, expected: list[str]) -> None:
    assert names_of(last_table(f"{ITEMS}CREATE VIEW v AS {query};", dialect)) == expected


def test_listed_names_of_a_view_get_the_types_that_the_star_stands_for() -> None:
    view = last_table(ITEMS + "CREATE VIEW v (a, b) AS SELECT * FROM items;")

    assert [(column.name, column.type) for column in view.columns] == [("a", "int"), ("b", "text")]


@pytest.mark.parametrize(
    "statement",
    ["CREATE VIEW a AS SELECT * FROM items;\n", "CREATE TABLE a (LIKE items);\n", "CREATE TABLE a () INHERITS (b);\n"],
)
def test_a_table_may_be_created_behind_what_takes_its_columns(statement: str) -> None:
    parsed = parse_tables(f"{statement}CREATE VIEW b AS SELECT * FROM items;\n{ITEMS}", dialect="postgres")
    found = {table.name: names_of(table) for one in parsed.tables for table in (one, *one.members)}

    assert found == {name: ["id", "label"] for name in ("a", "b", "items")}
    assert parsed.warnings == ()


def test_what_is_not_created_is_one_warning_for_all_that_take_its_columns() -> None:
    parsed = parse_tables("CREATE TABLE a LIKE gone; CREATE TABLE b LIKE gone;", dialect="mysql")

    assert [table.name for table in parsed.tables] == ["a", "b"]
    assert parsed.warnings == (
        "the script does not create what other tables take their columns from, so these may lack columns: "
        "'gone (for a and 1 more)'",
    )


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE OR REPLACE TABLE items CLONE items AT (TIMESTAMP => '2024-01-01'::timestamp);",
        "CREATE OR REPLACE TABLE items CLONE elsewhere.backups.items_1;",
        "DROP TABLE items; CREATE TABLE items CLONE elsewhere.items;",
        "CREATE OR REPLACE TABLE items LIKE items;",
        "CREATE OR REPLACE TABLE items AS SELECT * FROM items QUALIFY true;",
    ],
)
def test_a_clone_does_not_wipe_the_table_that_it_is_named_after(statement: str) -> None:
    parsed = parse_tables(ITEMS + statement, dialect="snowflake")

    assert [names_of(table) for table in parsed.tables] == [["id", "label"]]
    assert parsed.warnings == ()


def test_a_copy_has_the_columns_of_its_time_and_a_child_those_of_today() -> None:
    script = (
        f"{ITEMS}CREATE TABLE copy (LIKE items); CREATE TABLE child (more int) INHERITS (items);"
        "COMMENT ON COLUMN child.id IS 'its number'; ALTER TABLE items ADD COLUMN price numeric;"
    )
    _, copy, child = parse_tables(script, dialect="postgres").tables

    assert names_of(copy) == ["id", "label"]
    assert names_of(child) == ["id", "label", "more", "price"]
    assert child.columns[0].comment == "its number"


def test_columns_of_two_parents_come_in_their_order() -> None:
    script = f"{ITEMS}CREATE TABLE places (id int, lat real); CREATE TABLE c (note text) INHERITS (items, places);"

    assert names_of(last_table(script)) == ["id", "label", "lat", "note"]


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("CREATE VIEW v AS SELECT * FROM v;", id="itself"),
        pytest.param("CREATE VIEW v AS SELECT * FROM w; CREATE VIEW w AS SELECT * FROM v;", id="a circle"),
        pytest.param("CREATE TABLE v (LIKE v);", id="a table like itself"),
        pytest.param(
            "CREATE VIEW v AS SELECT * FROM (SELECT * FROM (SELECT * FROM generate_series(1, 2)));", id="none"
        ),
        pytest.param("CREATE VIEW v AS WITH RECURSIVE r AS (SELECT * FROM r) SELECT * FROM r;", id="recursion"),
    ],
)
def test_columns_that_nothing_defines_are_missing(script: str) -> None:
    assert {len(table.columns) for table in parse_tables(script, dialect="postgres").tables} == {0}


def test_stars_over_stars_stay_small() -> None:
    doubled = ", ".join(f"a{step + 1} AS (SELECT * FROM a{step} x, a{step} y)" for step in range(40))
    many = ", ".join(["items"] * 5_000)
    script = f"{ITEMS}CREATE VIEW v AS WITH a0 AS (SELECT * FROM {many}), {doubled} SELECT * FROM a40;"

    assert names_of(last_table(script, "postgres")) == ["id", "label"]


def test_a_long_line_of_copies_is_followed_from_its_end() -> None:
    line = "".join(f"CREATE TABLE c{step}z (LIKE c{step + 1}z);\n" for step in range(1_500))

    assert names_of(parse_tables(f"{line}CREATE TABLE c1500z (id int);").tables[0]) == ["id"]
