"""Tables without foreign keys are joined by the names of their columns."""

from __future__ import annotations

import time

import pytest

from shortlist.router.catalogs.catalog import item_of_table
from shortlist.router.first_stage.candidates import Candidates
from shortlist.router.first_stage.implied_keys import implied_keys
from shortlist.schemas.document import Column, Table
from shortlist.schemas.sql.parse import parse_tables


def implied(ddl: str) -> set[tuple[str, str, str, str]]:
    tables = parse_tables(ddl).tables
    return {
        (table.name, key.column, tables[key.target].name, key.target_column)
        for table, keys in zip(tables, implied_keys(tables), strict=True)
        for key in keys
    }


@pytest.mark.parametrize("column", ["nurse_id", "NurseID", "id_nurse", "nurseid", "nurse_no", "head_nurse_id"])
@pytest.mark.parametrize("table", ["nurse", "nurses", "Nurses"])
def test_a_column_named_after_a_table_refers_to_its_key(column: str, table: str) -> None:
    ddl = f"create table shifts ({column} int, hours int); create table {table} (id int primary key, name text);"
    assert implied(ddl) == {("shifts", column, table, "id")}


@pytest.mark.parametrize("column", ["nurse", "hours", "nursery_id", "id", "is_nurse", "nurse_name"])
def test_other_columns_refer_to_nothing(column: str) -> None:
    assert implied(f"create table shifts ({column} int); create table nurses (id int primary key, name text);") == set()


def test_a_prefix_that_many_tables_share_is_no_part_of_their_names() -> None:
    tables = "".join(
        f"create table cc_{name} (id int primary key, x int);" for name in ("card", "call", "plan", "rate")
    )
    assert implied(f"{tables} create table cc_bill (id int primary key, id_card int)") == {
        ("cc_bill", "id_card", "cc_card", "id")
    }
    assert implied("create table DimDate (DateKey int); create table FactSale (DateKey int, x int)") == {
        ("FactSale", "DateKey", "DimDate", "DateKey")
    }


def test_a_column_with_the_name_of_another_tables_primary_key_refers_to_it() -> None:
    ddl = "create table trials (nct_id text primary key); create table outcomes (id int primary key, nct_id text);"
    assert implied(ddl) == {("outcomes", "nct_id", "trials", "nct_id")}


def test_a_name_that_is_the_primary_key_of_many_tables_refers_to_none() -> None:
    tables = "".join(f"create table {name} (object_ref_x int primary key);" for name in ["ore", "tin", "zinc", "lead"])
    assert implied(f"{tables} create table other (object_ref_x int, y int)") == set()


@pytest.mark.parametrize(
    ("table", "column"),
    [("movies", "movie_id"), ("cities", "city_id"), ("order_statuses", "order_status_id"), ("aliases", "alias_id")],
)
def test_plurals_of_all_kinds_are_understood(table: str, column: str) -> None:
    ddl = f"create table {table} (id int primary key); create table notes ({column} int, x int);"
    assert implied(ddl) == {("notes", column, table, "id")}


def test_a_table_of_the_same_schema_comes_before_a_nearer_one() -> None:
    one = "create table {}.users (id int primary key);"
    tables = parse_tables(one.format("shop") + one.format("crm") + "create table shop.orders (user_id int);").tables
    assert [key.target for key in implied_keys(tables)[2]] == [0]


def test_many_tables_of_one_name_take_no_time() -> None:
    tables = [Table("users", namespace=f"s{n}", columns=(Column("id"), Column("user_id"))) for n in range(20_000)]
    began = time.process_time()
    implied_keys(tables)
    assert time.process_time() - began < 5


def test_a_declared_key_is_not_implied_again() -> None:
    ddl = "create table nurses (id int primary key); create table shifts (nurse_id int references nurses (id));"
    assert implied(ddl) == set()


def test_a_table_without_a_key_is_no_target() -> None:
    assert implied("create table shifts (nurse_id int); create table nurses (name text, born date);") == set()


def test_of_several_tables_the_nearest_is_meant() -> None:
    one = "create table {0}.users (id int primary key); create table {0}.logins (user_id int);"
    tables = parse_tables(one.format("a") + one.format("b")).tables
    assert [[key.target for key in keys] for keys in implied_keys(tables)] == [[], [0], [], [2]]


def test_implied_joins_are_links_of_candidates() -> None:
    ddl = "create table shifts (nurse_id int); create table nurses (id int primary key); create table wards (x int);"
    candidates = Candidates([item_of_table(table) for table in parse_tables(ddl).tables])
    assert candidates.links_among([0, 1, 2]) == [[1], [0], []]


def test_a_schema_that_declares_its_keys_is_joined_by_these_alone() -> None:
    tables = "create table nurses (id int primary key); create table wards (id int primary key);"
    shifts = "create table shifts (nurse_id int {}, deputy int {}, ward_id int);"

    def links(*declared: str) -> list[list[int]]:
        parsed = parse_tables(tables + shifts.format(*declared)).tables
        return Candidates([item_of_table(table) for table in parsed]).links_among([0, 1, 2])

    assert links("", "") == [[2], [2], [0, 1]]
    assert links("references nurses", "") == [[2], [2], [0, 1]]
    assert links("references nurses", "references nurses") == [[2], [], [0]]
