from __future__ import annotations

import time

import pytest

from shortlist.router.catalogs.catalog import item_of_table
from shortlist.router.first_stage.candidates import Candidates
from shortlist.router.first_stage.foreign_keys import find_links
from shortlist.schemas.sql.parse import parse_tables


def test_a_link_holds_in_both_directions() -> None:
    assert find_links(["orders", "customers", "parcels"], [["customers"], [], ["orders"]]) == [{1, 2}, {0}, {0}]


def test_a_table_is_not_linked_to_itself() -> None:
    assert find_links(["employees"], [["employees"]]) == [frozenset()]


def test_an_unknown_target_links_nothing() -> None:
    assert find_links(["orders"], [["customers"]]) == [frozenset()]


@pytest.mark.parametrize("written", ["Customers", '"customers"', "`customers`", "[customers]", "shop.customers"])
def test_a_target_is_found_however_it_is_written(written: str) -> None:
    assert find_links(["shop.orders", "shop.customers"], [[written], []]) == [{1}, {0}]


def test_an_exact_name_is_preferred_to_the_same_name_elsewhere() -> None:
    assert find_links(["a.users", "b.orders", "b.users"], [[], ["a.users"], []]) == [{1}, {0}, frozenset()]


def test_a_namespace_that_differs_is_another_table() -> None:
    names = ["public.users", "public.profiles", "auth.sessions"]
    assert find_links(names, [[], ["auth.users"], []]) == [frozenset()] * 3


@pytest.mark.parametrize("name", ["users", "auth.users", "shop.auth.users"])
@pytest.mark.parametrize("target", ["users", "auth.users", "shop.auth.users"])
def test_a_shorter_namespace_still_matches(name: str, target: str) -> None:
    assert find_links([name, "other.profiles"], [[], [target]]) == [{1}, {0}]


def test_a_target_without_a_namespace_is_looked_up_beside_the_table_first() -> None:
    names = ["b.users", "a.orders", "a.logs", "a.parcels", "a.users"]
    assert find_links(names, [[], ["users"], [], [], []]) == [frozenset(), {4}, frozenset(), frozenset(), {1}]


def test_many_tenants_with_the_same_tables_are_linked_in_time_that_grows_with_their_number() -> None:
    names = [f"tenant{tenant}.t{table}" for tenant in range(400) for table in range(50)]
    targets = [[f"t{table - 1}", "nowhere.t1", "t49"] for _ in range(400) for table in range(50)]
    began = time.process_time()
    links = find_links(names, targets)
    assert time.process_time() - began < 5
    assert links[49 + 50] == set(range(50, 99))


def test_among_equal_names_the_nearest_in_the_script_is_taken() -> None:
    names = ["users", "orders", "samples", "orders_log", "users"]
    assert find_links(names, [[], ["users"], [], ["users"], []]) == [{1}, {0}, frozenset(), {4}, {3}]


def test_tables_of_a_script_are_linked_by_their_foreign_keys() -> None:
    parsed = parse_tables(
        "create table customers (id int primary key);"
        "create table orders (id int, customer_id int references customers (id));"
        "create table samples (id int);"
    )
    items = Candidates([item_of_table(table) for table in parsed.tables])
    assert [items.links(place) for place in range(3)] == [{1}, {0}, frozenset()]
