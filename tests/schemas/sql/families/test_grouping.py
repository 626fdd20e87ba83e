"""Partitions and dated tables are one table with members; twins for archives and other tables stay apart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shortlist.schemas.document import ForeignKey, ParsedTables, Table
from shortlist.schemas.serialise import table_document
from shortlist.schemas.sql.families.grouping import split_shard_name
from shortlist.schemas.sql.parse import parse_tables

ORDERS = "CREATE TABLE shop.orders (id int, buyer int, at date) PARTITION BY RANGE (at);\n"
BUYERS = "CREATE TABLE shop.buyers (id int PRIMARY KEY, name text);\n"


def alike(names: Sequence[str], columns: str = "id int, at date") -> str:
    return "".join(f"CREATE TABLE {name} ({columns});\n" for name in names)


def members_of(parsed: ParsedTables) -> dict[str, list[str]]:
    return {table.full_name: [member.full_name for member in table.members] for table in parsed.tables}


def family_in(script: str, dialect: str | None = "postgres") -> Table:
    (found,) = [table for table in parse_tables(script, dialect=dialect).tables if table.members]
    return found


@pytest.mark.parametrize(
    "child",
    [
        pytest.param("CREATE TABLE shop.o1 PARTITION OF shop.orders FOR VALUES FROM (1) TO (2);", id="partition of"),
        pytest.param("CREATE TABLE IF NOT EXISTS shop.o1 PARTITION OF ONLY orders DEFAULT;", id="default partition"),
        pytest.param(
            "CREATE TABLE shop.o1 PARTITION OF shop.orders (id WITH OPTIONS NOT NULL, CONSTRAINT c CHECK (id > 1)) "
            "FOR VALUES IN (1) PARTITION BY LIST (id);",
            id="partition with a list",
        ),
        pytest.param(
            "CREATE FOREIGN TABLE shop.o1 PARTITION OF shop.orders FOR VALUES IN (1) SERVER s OPTIONS (t 'x');",
            id="foreign partition",
        ),
        pytest.param("CREATE TABLE shop.o1 (CONSTRAINT c CHECK (id > 0)) INHERITS (shop.orders);", id="inherits"),
        pytest.param("CREATE TABLE shop.o1 () INHERITS (shop.orders);", id="inherits, without a list"),
        pytest.param(
            "CREATE TABLE shop.o1 (id int, buyer int, at date);"
            "ALTER TABLE ONLY shop.orders ATTACH PARTITION shop.o1 FOR VALUES FROM (1) TO (2);",
            id="attached",
        ),
        pytest.param(
            "CREATE TABLE shop.o1 (id int, buyer int, at date); ALTER TABLE shop.o1 INHERIT shop.orders;",
            id="made a child later",
        ),
    ],
)
def test_a_partition_is_a_member_of_its_parent(child: str) -> None:
    parsed = parse_tables(ORDERS + child + BUYERS, dialect="postgres")

    assert members_of(parsed) == {"shop.orders": ["shop.o1"], "shop.buyers": []}
    assert (parsed.unparsed, [table.index for table in parsed.tables]) == ((), [0, 2])
    assert [column.name for column in parsed.tables[0].members[0].columns] == ["id", "buyer", "at"]


def test_the_source_of_a_family_is_its_parents_and_a_member_keeps_its_own() -> None:
    attach = "ALTER TABLE shop.orders ATTACH PARTITION shop.o1 DEFAULT;"
    family = family_in(f"{ORDERS}{alike(['shop.o1'])}{attach}\nCREATE INDEX i ON shop.o1 (id);")

    assert family.source == ORDERS.strip()
    assert family.members[0].source == f"{alike(['shop.o1'])}{attach}\nCREATE INDEX i ON shop.o1 (id);"


def test_partitions_of_partitions_belong_to_the_topmost_parent() -> None:
    script = ORDERS + "".join(
        f"CREATE TABLE shop.o{number + 1} PARTITION OF shop.{parent} FOR VALUES IN ({number}) PARTITION BY LIST (id);"
        for number, parent in enumerate(["orders", "o1", "o2"])
    )

    assert members_of(parse_tables(script)) == {"shop.orders": ["shop.o1", "shop.o2", "shop.o3"]}


def test_a_partition_in_another_schema_is_a_member() -> None:
    script = (
        "CREATE TABLE public.readings (at timestamptz, value float8);"
        "CREATE TABLE _internal._chunk_1_2 (CONSTRAINT c CHECK (at > '2024-01-01')) INHERITS (public.readings);"
        "CREATE TABLE public._chunk_1_2 (id int);"
    )
    assert members_of(parse_tables(script)) == {"public.readings": ["_internal._chunk_1_2"], "public._chunk_1_2": []}


def test_a_partition_may_stand_before_its_parent() -> None:
    script = "CREATE TABLE shop.o1 PARTITION OF shop.orders DEFAULT;" + ORDERS

    assert members_of(parse_tables(script)) == {"shop.orders": ["shop.o1"]}


def test_a_detached_partition_is_a_table_again() -> None:
    names = ["shop.orders_1", "shop.orders_2", "shop.orders_3"]
    attach = "".join(f"ALTER TABLE shop.orders ATTACH PARTITION {name} FOR VALUES IN (1);\n" for name in names)
    detach = "ALTER TABLE shop.orders DETACH PARTITION shop.orders_2 CONCURRENTLY;"
    script = ORDERS + alike(names, "id int, buyer int, at date") + attach + detach

    assert members_of(parse_tables(script)) == {
        "shop.orders": ["shop.orders_1", "shop.orders_3"],
        "shop.orders_2": [],
    }


def test_a_word_of_the_parents_own_name_makes_no_archive() -> None:
    script = "CREATE TABLE history (id int); CREATE TABLE history_2020 () INHERITS (history);"
    assert members_of(parse_tables(script)) == {"history": ["history_2020"]}


def test_a_child_with_columns_of_its_own_is_a_table_with_its_parents_columns_too() -> None:
    script = (
        "CREATE TABLE vehicles (id int, wheels int);"
        "CREATE TABLE trucks (load int) INHERITS (vehicles);"
        "CREATE TABLE trucks_2 () INHERITS (trucks);"
        "CREATE TABLE trucks_archive () INHERITS (trucks);"
    )
    parsed = parse_tables(script)

    assert members_of(parsed) == {"vehicles": [], "trucks": ["trucks_2"], "trucks_archive": []}
    assert [column.name for column in parsed.tables[1].columns] == ["id", "wheels", "load"]


@pytest.mark.parametrize(
    ("child", "is_member"),
    [
        ("CREATE TABLE notes_2024 () INHERITS (notes);", True),
        ("CREATE TABLE internal.chunk_7 () INHERITS (notes);", True),
        ("CREATE TABLE europe (CHECK (id < 100)) INHERITS (notes);", True),
        ("CREATE TABLE invoice_note (PRIMARY KEY (id)) INHERITS (notes);", False),
        (
            "CREATE TABLE invoice_note (CHECK (kind = 3), FOREIGN KEY (id) REFERENCES invoices) INHERITS (notes);",
            False,
        ),
    ],
)
def test_a_child_is_a_member_if_its_name_or_a_check_says_that_it_holds_some_rows(child: str, is_member: bool) -> None:
    parsed = parse_tables(f"CREATE TABLE notes (id int, kind int REFERENCES invoices);{child}", dialect="postgres")

    assert (len(parsed.tables), len(parsed.tables[0].members)) == ((1, 1) if is_member else (2, 0))
    assert [column.name for column in parsed.tables[-1].columns] == ["id", "kind"]


def test_a_partition_of_an_unknown_table_stays_a_table_with_a_warning() -> None:
    parsed = parse_tables("CREATE TABLE a1 PARTITION OF log.gone DEFAULT; CREATE TABLE b (id int);", dialect="postgres")

    assert members_of(parsed) == {"a1": [], "b": []}
    assert parsed.warnings == (
        "the script does not create what other tables take their columns from, so these may lack columns: "
        "'log.gone (for a1)'",
    )


def test_an_attached_table_that_is_not_created_is_a_warning() -> None:
    parsed = parse_tables(ORDERS + "ALTER TABLE shop.orders ATTACH PARTITION shop.gone DEFAULT;", dialect="postgres")

    assert "'shop.gone'" in parsed.warnings[0]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER INDEX shop.i ATTACH PARTITION shop.o1;",
        "ALTER TABLE shop.orders ATTACH PARTITION '2024-01';",
        "ALTER TABLE shop.orders ATTACH PARTITION o1 FROM other;",
        "ALTER TABLE shop.orders DETACH PARTITION unknown;",
        "ALTER TABLE shop.o1 NO INHERIT shop.orders;",
        "ALTER TABLE shop.o1 ADD COLUMN inherit int;",
    ],
)
def test_other_statements_about_partitions_attach_nothing(statement: str) -> None:
    parsed = parse_tables(ORDERS + alike(["shop.o1"]) + statement, dialect="postgres")

    assert members_of(parsed) == {"shop.orders": [], "shop.o1": []}
    assert parsed.warnings == ()


SHARDS = [
    ("events_20240101", "events_", "20240101"),
    ("events20240101", "events", "20240101"),
    ("payment_p2022_05", "payment_", "p2022_05"),
    ("facts_2024_01_31", "facts_", "2024_01_31"),
    ("facts_202401", "facts_", "202401"),
    ("facts_y2024m01", "facts_", "y2024m01"),
    ("facts_2024_q1", "facts_", "2024_q1"),
    ("facts_y2024", "facts_", "y2024"),
    ("facts_p20240101_000000", "facts_", "p20240101_000000"),
    ("facts-2024.01.15", "facts-", "2024.01.15"),
    ("users_15", "users_", "15"),
    ("users_p0", "users_", "p0"),
    ("users_part_01", "users_", "part_01"),
    ("users_default", "users_", "default"),
    ("sales_1_prt_2", "sales_", "1_prt_2"),
]
NO_SHARDS = [
    "q1_sales",
    "orders_archive",
    "orders_history",
    "events_v2",
    "category_level_3",
    "iso_3166_1",
    "20240101",
    "2024_2025",
    "audit_x",
    "x_",
    "a" * 300 + "_1",
]


@pytest.mark.parametrize(("name", "base", "suffix"), SHARDS, ids=[name for name, *_ in SHARDS])
def test_a_date_or_number_at_the_end_is_split_off(name: str, base: str, suffix: str) -> None:
    assert split_shard_name(name) == (base, suffix)


@pytest.mark.parametrize("name", NO_SHARDS, ids=[name[:20] for name in NO_SHARDS])
def test_other_names_are_whole(name: str) -> None:
    assert split_shard_name(name) == (name, "")


def test_three_dated_tables_are_a_family_named_after_what_they_share() -> None:
    days = ["web.events_20240101", "web.events_20240102", "web.EVENTS_20240103"]
    parsed = parse_tables(alike(["web.first"]) + alike(days) + alike(["web.last"], "id int"))

    assert members_of(parsed) == {"web.first": [], "web.events_*": days, "web.last": []}
    assert [table.index for table in parsed.tables] == [0, 1, 4]
    assert parsed.tables[1].source == alike(days[:1]).strip()
    assert table_document(parsed.tables[1]).startswith("web: events\n")


def test_a_table_without_the_date_and_with_the_same_columns_is_the_parent() -> None:
    script = alike(["log_0", "log_1", "log_2", "log", "log_archive"])

    assert members_of(parse_tables(script)) == {"log": ["log_0", "log_1", "log_2"], "log_archive": []}


APART = [
    pytest.param(alike(["users_2023", "users_2024", "users"]), 3, id="two"),
    pytest.param(alike(["t1"], "a int") + alike(["t2"], "b int") + alike(["t3"], "c int"), 3, id="other columns"),
    pytest.param(alike(["a.e_1", "a.e_2", "b.e_3", "b.e_4"]), 4, id="two in each of two schemas"),
    pytest.param(alike(["orders", "orders_old", "orders_history", "orders_backup"]), 4, id="twins"),
    pytest.param(alike(["events_v1", "events_v2", "events_v3"]), 3, id="versions"),
    pytest.param(
        "CREATE TABLE area_1 (id int, up int); CREATE TABLE area_2 (id int, up int REFERENCES area_1);"
        "CREATE TABLE area_3 (id int, up int REFERENCES area_2);",
        3,
        id="a hierarchy",
    ),
    pytest.param("".join(f"CREATE TABLE x_{one} LIKE gone;" for one in (1, 2, 3)), 3, id="columns not known"),
    pytest.param(
        "CREATE TABLE t (id int); CREATE TABLE t_a (LIKE t); CREATE TABLE t_b AS SELECT * FROM t;"
        "CREATE VIEW t_c AS SELECT * FROM t;",
        4,
        id="copies",
    ),
]


@pytest.mark.parametrize(("script", "number"), APART)
def test_tables_that_are_no_shards_stay_apart(script: str, number: int) -> None:
    parsed = parse_tables(script)

    assert len(parsed.tables) == number
    assert not any(table.members for table in parsed.tables)
    assert [table.index for table in parsed.tables] == list(range(number))


def test_foreign_keys_from_and_to_members_are_the_familys() -> None:
    parts = ["shop.orders_1", "shop.orders_2"]
    script = BUYERS + ORDERS
    for part in parts:
        script += (
            f"CREATE TABLE {part} PARTITION OF shop.orders FOR VALUES IN (1);"
            f"ALTER TABLE {part} ADD CONSTRAINT p PRIMARY KEY (id);"
            f"ALTER TABLE {part} ADD CONSTRAINT f FOREIGN KEY (buyer) REFERENCES shop.buyers(id);"
        )
    script += "CREATE TABLE shop.refunds (a int REFERENCES orders_1(id), b int REFERENCES shop.orders_2(id));"
    _, orders, refunds = parse_tables(script, dialect="postgres").tables

    assert orders.foreign_keys == (ForeignKey(("buyer",), "shop.buyers", ("id",)),)
    assert [column.name for column in orders.columns if column.is_primary_key] == ["id"]
    assert [key.target_table for key in refunds.foreign_keys] == ["shop.orders", "shop.orders"]


def test_a_foreign_key_to_a_dated_table_points_to_its_family() -> None:
    script = alike(["d.e_2021", "d.e_2022", "d.e_2023"]) + "CREATE TABLE d.x (e int REFERENCES d.e_2022(id));"

    assert parse_tables(script).tables[1].foreign_keys[0].target_table == "d.e_*"


def test_databases_one_after_the_other_have_families_of_their_own() -> None:
    script = (
        "\\connect one\nCREATE TABLE p (id int);\nCREATE TABLE p_1 PARTITION OF p DEFAULT;\n"
        "\\connect two\nCREATE TABLE p (name text);\nCREATE TABLE p_1 PARTITION OF p DEFAULT;\n"
    )
    first, second = parse_tables(script, dialect="postgres").tables

    assert [table.members[0].columns[0].name for table in (first, second)] == ["id", "name"]


def test_parents_in_a_circle_stay_tables() -> None:
    script = "CREATE TABLE a (x int) INHERITS (b); CREATE TABLE b (y int) INHERITS (a);"

    assert {table.full_name for table in parse_tables(script).tables} <= {"a", "b"}


def test_thousands_of_partitions_take_a_time_that_is_linear() -> None:
    columns = ", ".join(f"c{number} int" for number in range(100))
    parts = "".join(f"CREATE TABLE big_{number} PARTITION OF big DEFAULT;\n" for number in range(3_000))
    family = family_in(f"CREATE TABLE big ({columns});\n{parts}")

    assert len(family.members) == 3_000
    assert all(member.columns is family.members[0].columns for member in family.members)
