from __future__ import annotations

import pytest

from shortlist.router.ranking.joins import join_needs
from shortlist.schemas.document import Table
from shortlist.schemas.sql.parse import parse_tables

STUDENTS = "create table students (id int primary key, name text);"
COURSES = "create table courses (code int primary key, title text, room text);"
TAKES = (
    "create table takes (student int references students, course int references courses (code), "
    "primary key (student, course));"
)
TABLES = parse_tables(STUDENTS + COURSES + TAKES).tables
#        id   name  code  title room student course
LOGITS = [-3.0, 2.0, -3.0, 1.0, -1.0, -3.0, -3.0]
MEAN = -10 / 7


def test_a_key_is_needed_as_much_as_the_less_relevant_table_that_it_joins() -> None:
    needs = join_needs(TABLES, LOGITS)
    assert needs == pytest.approx([1 - MEAN, 0, 1 - MEAN, 0, 0, 1 - MEAN, 1 - MEAN])


def test_a_key_to_an_irrelevant_table_is_needed_less_than_the_mean() -> None:
    logits = [-3.0, 2.0, -3.0, -3.5, -4.0, -3.0, -3.0]
    assert join_needs(TABLES, logits)[0] == pytest.approx(-1.0)


def test_keys_do_not_make_their_own_table_relevant() -> None:
    keys = [9.0, 2.0, 9.0, 1.0, -1.0, 9.0, 9.0]
    assert join_needs(TABLES, keys)[0] == pytest.approx(1 - sum(keys) / 7)


def test_a_table_of_keys_alone_does_not_need_a_join() -> None:
    tables = parse_tables(STUDENTS + "create table takes (student int references students);").tables
    assert join_needs(tables, [1.0, 2.0, 3.0]) == [0.0, 0.0, 0.0]


def test_tables_that_join_directly_are_not_joined_through_a_third() -> None:
    tables = parse_tables(
        "create table a (id int primary key, x text);"
        "create table b (id int primary key, a int references a, y text);"
        "create table c (a int references a, b int references b, z text);"
    ).tables
    #          a.id  x    b.id  b.a   y    c.a   c.b   z
    logits = [0.0, 4.0, 0.0, 0.0, -4.0, 0.0, 0.0, 4.0]
    assert join_needs(tables, logits) == pytest.approx([3.5, 0, -4.5, -4.5, 0, 3.5, -4.5, 0])


def test_a_foreign_key_to_a_missing_table_or_its_own_table_is_not_a_join() -> None:
    tables = parse_tables("create table staff (id int primary key, boss int references staff, dept int references d);")
    assert join_needs(tables.tables, [1.0, 2.0, 3.0]) == [0.0, 0.0, 0.0]


def test_names_are_compared_without_case_and_missing_columns_are_ignored() -> None:
    tables = parse_tables(
        "create table A (Id int primary key, x text); create table b (a_id int, y text, "
        "foreign key (A_ID) references a (ID), foreign key (gone) references a (away));"
    ).tables
    assert join_needs(tables, [0.0, 4.0, 0.0, 4.0]) == pytest.approx([2.0, 0.0, 2.0, 0.0])


@pytest.mark.parametrize("tables", [(), (Table("empty"),), TABLES[:1]])
def test_without_joins_no_key_is_needed(tables: tuple[Table, ...]) -> None:
    assert join_needs(tables, [1.0] * sum(len(table.columns) for table in tables)) == [0.0] * (
        2 if tables == TABLES[:1] else 0
    )
