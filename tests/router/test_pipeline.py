"""Checks which tools and tables a request returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from requests_made import DDL, QUERY, TEXTS, TOLERANCE, TOOLS, named, scores, tool

from shortlist import Router
from shortlist.schemas.errors import InvalidInput


@pytest.fixture(scope="module")
def router(tiny_model_dir: Path) -> Router:
    return Router.load(tiny_model_dir, device="cpu", dtype="float32")


def test_every_tool_is_ranked_by_score(router: Router) -> None:
    selection = router.select_tools(QUERY, TOOLS, top_n=0)

    found = [item.score for item in selection.items]
    assert sorted(named(selection)) == sorted(TEXTS)
    assert found == sorted(found, reverse=True)
    assert all(0 <= score <= 1 for score in found)
    assert [item.rank for item in selection.items] == [1, 2, 3, 4, 5]
    assert (selection.num_candidates, selection.num_scored, selection.num_dropped) == (5, 5, 0)


def test_five_are_returned_by_default(router: Router) -> None:
    tools = [tool(f"tool_{number}") for number in range(8)]

    assert len(router.select_tools(QUERY, tools).items) == 5


def test_top_n_beyond_the_list_returns_the_list(router: Router) -> None:
    assert len(router.select_tools(QUERY, TOOLS, top_n=1_000).items) == len(TOOLS)


def test_top_n_keeps_the_best(router: Router) -> None:
    everything = router.select_tools(QUERY, TOOLS, top_n=0)

    assert named(router.select_tools(QUERY, TOOLS, top_n=2)) == named(everything)[:2]


def test_no_tools_give_an_empty_selection(router: Router) -> None:
    selection = router.select_tools(QUERY, [])

    assert (selection.items, selection.num_candidates, selection.num_tokens) == ((), 0, 0)


def test_no_tables_give_an_empty_selection(router: Router) -> None:
    assert router.select_tables("which orders", "-- nothing").items == ()


def test_tools_with_the_same_name_are_distinguished_by_index(router: Router) -> None:
    tools = [tool("ping", "first"), tool("list_orders"), tool("ping", "second")]

    selection = router.select_tools(QUERY, tools)

    assert sorted((item.name, item.index) for item in selection.items) == [("list_orders", 1), ("ping", 0), ("ping", 2)]


def test_equal_tools_keep_the_order_of_the_request(router: Router) -> None:
    selection = router.select_tools(QUERY, [tool("ping")] * 4)

    assert [item.index for item in selection.items] == [0, 1, 2, 3]


def test_always_included_tools_are_added_to_top_n(router: Router) -> None:
    best, *_, worst = named(router.select_tools(QUERY, TOOLS, top_n=0))

    selection = router.select_tools(QUERY, TOOLS, top_n=1, always_include=[worst])

    assert [(item.name, item.always_included) for item in selection.items] == [(best, False), (worst, True)]
    assert selection.warnings == ()


def test_always_include_matches_every_duplicate(router: Router) -> None:
    tools = [tool("ping", "first"), *TOOLS, tool("ping", "last")]

    selection = router.select_tools(QUERY, tools, top_n=1, always_include=["ping"], max_candidates=1)

    assert sorted(item.index for item in selection.items if item.always_included) == [0, 5, 6]


def test_an_always_included_tool_survives_narrowing_and_min_score(router: Router) -> None:
    selection = router.select_tools(QUERY, TOOLS, min_score=1.0, always_include=["book_hotel"], max_candidates=1)

    assert [(item.name, item.always_included) for item in selection.items] == [("book_hotel", True)]
    assert (selection.num_scored, selection.num_dropped) == (2, 3)
    assert 0 < selection.items[0].score < 1


def test_an_unknown_always_included_name_is_a_warning(router: Router) -> None:
    selection = router.select_tools(QUERY, TOOLS, always_include=["pong", "ping", "pong"])

    assert selection.warnings == ("always_include: no candidate is named 'pong'",)
    assert [item.name for item in selection.items if item.always_included] == ["ping"]


def test_a_table_may_be_always_included_by_name_without_schema(router: Router) -> None:
    selection = router.select_tables("which city", DDL, top_n=1, always_include=["orders", "shop.customers"])

    assert sorted(item.name for item in selection.items if item.always_included) == ["shop.customers", "shop.orders"]
    assert selection.warnings == ()


def test_more_than_max_candidates_are_narrowed_by_their_words(router: Router) -> None:
    selection = router.select_tools("send the email", TOOLS, max_candidates=2, top_n=0)

    assert sorted(named(selection)) == ["attach_invoice", "send_email"]
    assert (selection.num_candidates, selection.num_scored, selection.num_dropped) == (5, 2, 3)


def test_fifty_candidates_are_scored_by_default(router: Router) -> None:
    tools = [tool(f"tool_{number}") for number in range(60)]

    selection = router.select_tools(QUERY, tools, top_n=0)

    assert (selection.num_scored, selection.num_dropped, len(selection.items)) == (50, 10, 50)


def test_without_a_limit_all_candidates_are_scored(router: Router) -> None:
    tools = [tool(f"tool_{number}") for number in range(60)]

    selection = router.select_tools(QUERY, tools, top_n=0, max_candidates=0)

    assert (selection.num_scored, selection.num_dropped, len(selection.items)) == (60, 0, 60)


def test_narrowing_changes_no_score(router: Router) -> None:
    whole = scores(router.select_tools("send the email", TOOLS, top_n=0))

    narrowed = scores(router.select_tools("send the email", TOOLS, top_n=0, max_candidates=2))

    assert narrowed == pytest.approx({index: whole[index] for index in narrowed}, abs=TOLERANCE)


def test_a_catalog_of_5_000_tools_is_narrowed(router: Router) -> None:
    tools = [tool(f"tool_{number}", f"does thing {number}") for number in range(4_999)]

    selection = router.select_tools("book a hotel", [*tools, TEXTS["book_hotel"]], always_include=["book_hotel"])

    assert (selection.num_candidates, selection.num_scored, selection.num_dropped) == (5_000, 50, 4_950)


def test_a_tool_of_a_megabyte_is_cut_to_its_budget(router: Router) -> None:
    selection = router.select_tools(QUERY, [tool("huge", "customer invoice " * 62_000), tool("ping")])

    (cut,) = selection.truncated
    assert (cut.name, cut.index) == ("huge", 0)
    assert 0 < cut.kept_tokens <= 64 < 100_000 < cut.total_tokens
    assert selection.num_tokens < 256


def test_min_score_drops_lower_scores(router: Router) -> None:
    everything = router.select_tools(QUERY, TOOLS, top_n=0)
    third = everything.items[2].score

    selection = router.select_tools(QUERY, TOOLS, top_n=0, min_score=third)

    assert named(selection) == named(everything)[:3]
    assert selection.num_scored == 5


def test_min_score_may_leave_nothing(router: Router) -> None:
    assert router.select_tools(QUERY, TOOLS, min_score=1.0).items == ()


def test_namespaces_are_returned_and_ranked(router: Router) -> None:
    plain = router.select_tools(QUERY, TOOLS[:2], top_n=0)

    selection = router.select_tools(QUERY, TOOLS[:2], top_n=0, namespaces=["customer mail", ""])

    assert {item.index: item.namespace for item in selection.items} == {0: "customer mail", 1: ""}
    assert scores(selection)[0] != scores(plain)[0]
    assert scores(selection)[1] == pytest.approx(scores(plain)[1], abs=TOLERANCE)


def test_more_namespaces_than_texts_are_an_error(router: Router) -> None:
    with pytest.raises(InvalidInput, match="namespaces"):
        router.select_tools(QUERY, TOOLS[:1], namespaces=["a", "b"])


@pytest.mark.parametrize(
    "tools",
    [
        [json.loads(text) for text in TOOLS],
        {"tools": [json.loads(text) for text in TOOLS]},
        json.dumps([json.loads(text) for text in TOOLS]),
        [TOOLS[0], {"tools": [json.loads(text) for text in TOOLS[1:]]}],
    ],
    ids=["mappings", "one_mapping", "one_text", "text_and_mapping"],
)
def test_tools_are_given_as_texts_or_mappings(router: Router, tools: Any) -> None:
    expected = router.select_tools(QUERY, TOOLS, top_n=0)

    selection = router.select_tools(QUERY, tools, top_n=0)

    assert named(selection) == named(expected)
    assert scores(selection) == pytest.approx(scores(expected), abs=TOLERANCE)


def test_a_tool_is_returned_as_it_was_written(router: Router) -> None:
    catalog = f"[ {TEXTS['list_orders']} ,\n\t{TEXTS['book_hotel']}]"

    selection = router.select_tools(QUERY, [catalog])

    assert {item.name: item.source for item in selection.items} == {
        "list_orders": TEXTS["list_orders"],
        "book_hotel": TEXTS["book_hotel"],
    }


def test_a_table_is_returned_with_its_statements_as_written(router: Router) -> None:
    selection = router.select_tables("which customers", DDL, dialect="postgres")

    customers = next(item for item in selection.items if item.name == "shop.customers")
    assert customers.source.splitlines() == DDL.splitlines()[1:3]
    assert (customers.index, customers.namespace) == (1, "shop")


def test_what_cannot_be_parsed_is_reported_and_the_rest_ranked(router: Router) -> None:
    selection = router.select_tools(QUERY, [TOOLS[0], '{"name": "broken"', TOOLS[4]])

    assert sorted(item.index for item in selection.items) == [0, 2]
    assert [(left_out.index, left_out.name) for left_out in selection.unparsed] == [(1, "broken")]
    assert selection.num_candidates == 2


def test_a_document_over_its_budget_is_reported(router: Router) -> None:
    tools = [tool("ping"), tool("attach_invoice", "attach the invoice of the customer " * 30)]

    selection = router.select_tools(QUERY, tools)

    (cut,) = selection.truncated
    assert (cut.index, cut.name) == (1, "attach_invoice")
    assert cut.kept_tokens <= 64 < cut.total_tokens


@pytest.mark.parametrize(
    ("script", "dialect", "expected"),
    [
        ("CREATE TABLE a (b INT)", None, ""),
        ("CREATE TABLE a (b INT)", "postgresql", "postgres"),
        ("CREATE TABLE `a` (b INT) ENGINE=InnoDB", None, "mysql"),
    ],
    ids=["alike in every dialect", "given", "detected"],
)
def test_the_answer_names_the_dialect_of_the_script(
    router: Router, script: str, dialect: str | None, expected: str
) -> None:
    assert router.select_tables("b", script, dialect=dialect).dialect == expected


def test_sources_may_be_left_out(router: Router) -> None:
    tools = router.select_tools(QUERY, TOOLS, return_sources=False)
    tables = router.select_tables(QUERY, DDL, return_sources=False)
    assert {item.source for item in (*tools.items, *tables.items)} == {""}
