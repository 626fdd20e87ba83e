"""A family of partitions is one candidate; its members are listed, and returned when asked for by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from requests_made import named

from shortlist import Router
from shortlist.schemas.results import Selected, Selection

PARTS = [f"shop.sales_p{year}_{month:02}" for year in range(2016, 2026) for month in range(1, 13)]
COLUMNS = "sale_id int, clerk_id int, amount numeric, sold_at date"
DDL = (
    "CREATE TABLE shop.clerks (clerk_id int PRIMARY KEY, family_name text);\n"
    f"CREATE TABLE shop.sales ({COLUMNS}) PARTITION BY RANGE (sold_at);\n"
    "ALTER TABLE shop.sales ADD FOREIGN KEY (clerk_id) REFERENCES shop.clerks;\n"
    + "".join(
        f"CREATE TABLE {part} ({COLUMNS});\n"
        f"ALTER TABLE ONLY shop.sales ATTACH PARTITION {part} FOR VALUES FROM ({number}) TO ({number + 1});\n"
        for number, part in enumerate(PARTS)
    )
    + "CREATE TABLE shop.rooms (room_id int, floor int);\n"
)
QUERY = "total amount of sales"


@pytest.fixture(scope="module")
def router(tiny_model_dir: Path) -> Router:
    return Router.load(tiny_model_dir, device="cpu", dtype="float32")


def item_named(selection: Selection, name: str) -> Selected:
    return next(item for item in selection.items if item.name == name)


def test_partitions_are_one_candidate_that_lists_them(router: Router) -> None:
    selection = router.select_tables(QUERY, DDL, top_n=0)

    assert sorted(named(selection)) == ["shop.clerks", "shop.rooms", "shop.sales"]
    assert (selection.num_candidates, selection.num_scored, selection.num_dropped) == (3, 3, 0)
    assert item_named(selection, "shop.sales").members == tuple(PARTS)
    assert item_named(selection, "shop.clerks").members == ()


def test_an_index_counts_all_tables_of_the_script(router: Router) -> None:
    selection = router.select_tables(QUERY, DDL, top_n=0)

    assert {item.name: item.index for item in selection.items} == {
        "shop.clerks": 0,
        "shop.sales": 1,
        "shop.rooms": 122,
    }


def test_partitions_do_not_crowd_other_tables_out_of_the_candidates(router: Router) -> None:
    others = "".join(f"CREATE TABLE shop.other_{chr(97 + number)} (sales_note text);\n" for number in range(20))
    selection = router.select_tables(QUERY, others + DDL, top_n=0)

    assert "shop.clerks" in named(selection)
    assert (len(selection.items), selection.num_dropped) == (23, 0)


@pytest.mark.parametrize("name", [PARTS[7], PARTS[7].removeprefix("shop.")])
def test_a_partition_that_is_named_is_an_item_of_its_own(router: Router, name: str) -> None:
    selection = router.select_tables(QUERY, DDL, top_n=0, always_include=[name])
    part, family = item_named(selection, PARTS[7]), item_named(selection, "shop.sales")

    assert (part.index, part.always_included, part.members) == (9, True, ())
    assert part.source.startswith(f"CREATE TABLE {PARTS[7]}")
    assert (part.score, part.rank) == (family.score, family.rank + 1)
    assert (family.always_included, len(family.members)) == (False, 120)
    assert not any("always_include" in warning for warning in selection.warnings)


def test_a_partition_that_is_named_is_returned_without_its_family(router: Router) -> None:
    selection = router.select_tables(
        "room", DDL, top_n=1, min_score=1.0, max_candidates=1, always_include=[PARTS[0], "shop.nothing"]
    )

    assert [(item.name, item.rank) for item in selection.items] == [(PARTS[0], 1)]
    assert selection.warnings[0] == "always_include: no candidate is named 'shop.nothing'"


def test_a_partition_that_is_named_keeps_its_own_columns(router: Router) -> None:
    selection = router.select_tables(QUERY, DDL, top_n=0, always_include=[PARTS[0]], keep_columns=1.0)

    assert [column.name for column in item_named(selection, PARTS[0]).columns] == [
        "sale_id",
        "clerk_id",
        "amount",
        "sold_at",
    ]
    assert len(item_named(selection, "shop.rooms").columns) == 2


def test_dated_tables_are_one_candidate_with_the_name_that_they_share(router: Router) -> None:
    script = "".join(f"CREATE TABLE web.visits_202401{day:02} (id int);\n" for day in range(1, 31))
    (family,) = router.select_tables("visits", script).items

    assert (family.name, family.namespace, family.index, len(family.members)) == ("web.visits_*", "web", 0, 30)
    assert family.source == "CREATE TABLE web.visits_20240101 (id int);"


def test_a_family_of_dated_tables_is_found_by_its_name(router: Router) -> None:
    script = "".join(f"CREATE TABLE visits_{year} (id int);\n" for year in (2022, 2023, 2024))
    (family,) = router.select_tables("x", script, top_n=0, always_include=["visits_*"]).items

    assert (family.name, family.always_included) == ("visits_*", True)
