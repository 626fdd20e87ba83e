"""A tool that says that another one has taken its place is behind that one."""

from __future__ import annotations

from pathlib import Path

import pytest
from requests_made import named, tool

from shortlist import Router
from shortlist.router.catalogs.catalog import Item, item_of_document, item_of_tool
from shortlist.router.ranking.score import Scored
from shortlist.router.ranking.successors import find_successors, put_successors_first
from shortlist.schemas.document import Tool


def tools(**described: str) -> list[Item]:
    return [item_of_tool(Tool(name, text, index=index)) for index, (name, text) in enumerate(described.items())]


@pytest.mark.parametrize(
    "text",
    [
        "Deprecated: use make_label. Prints a label.",
        "[DEPRECATED] Prints a label. Replaced by make_label.",
        "Prints a label. This tool is obsolete; please use `make_label` instead.",
        "Prints a label. This operation has been superseded by make_label().",
    ],
)
def test_the_tool_that_the_description_names_is_the_successor(text: str) -> None:
    assert find_successors(tools(print_label=text, send_label="Sends it", make_label="Makes one")) == {0: 2}


@pytest.mark.parametrize(
    "text",
    [
        "Prints a label. Use it instead of the deprecated make_label.",
        "Lists tools that are deprecated, such as make_label.",
        "Prints a label. This tool replaces the deprecated make_label.",
        "Deprecated API scanner. Use with make_label.",
        "Use this tool to list deprecated packages, then use make_label.",
        "This is not deprecated. Use make_label for more.",
        "Deprecated.",
        "Deprecated: use make_label or send_label.",
    ],
)
def test_a_tool_without_a_known_successor_stays_as_it_is(text: str) -> None:
    assert find_successors(tools(print_label=text, send_label="Sends it", make_label="Makes one")) == {}


def test_without_a_name_the_highest_other_version_is_the_successor() -> None:
    items = tools(get_place="Deprecated.", get_place_v2="Deprecated.", get_place_v3="New", getPlaceV4="Another")
    assert find_successors(items) == {0: 2, 1: 2}
    assert find_successors(tools(list_users_legacy="Legacy. Lists users.", list_users="Lists users")) == {0: 1}


def test_an_older_version_is_no_successor() -> None:
    assert find_successors(tools(pay_v1="Pays", pay_v2="Deprecated: withdrawn.")) == {}
    assert find_successors(tools(pay="Deprecated.", pay_legacy="Pays", pay_old="Pays")) == {}


def test_of_two_replaced_tools_both_are_behind_their_successor() -> None:
    scored = [Scored(0, 0.9), Scored(1, 0.5), Scored(2, 0.8)]
    for successors in ({2: 1, 0: 1}, {0: 1, 2: 1}):
        assert [round(one.score, 3) for one in put_successors_first(scored, successors)] == [0.5, 0.9, 0.5]


def test_plain_documents_have_no_successors() -> None:
    assert find_successors([item_of_document("Deprecated: use make_label", 0), *tools(make_label="x")]) == {}


def test_the_higher_score_goes_to_the_successor() -> None:
    scored = [Scored(0, 0.9), Scored(2, 0.4, is_pinned=True), Scored(3, 0.5)]
    first = put_successors_first(scored, {0: 2})
    assert [one.score for one in first] == pytest.approx([0.4, 0.9, 0.5], abs=1e-5)
    assert first[0].score < 0.4
    assert first[1].is_pinned


def test_a_successor_that_is_ahead_or_was_not_scored_changes_nothing() -> None:
    scored = [Scored(0, 0.2), Scored(2, 0.4)]
    assert put_successors_first(scored, {0: 2}) == scored
    assert put_successors_first(scored, {0: 5}) == scored


def test_a_request_prefers_the_successor_unless_it_names_the_old_tool(tiny_model_dir: Path) -> None:
    router = Router.load(tiny_model_dir, device="cpu", dtype="float32")
    listed = [
        tool("print_label", description="Deprecated: use make_label. Prints a label on the printer."),
        tool("make_label", description="Makes one"),
    ]
    assert named(router.select_tools("print a label on the printer", listed)) == ["make_label", "print_label"]
    assert named(router.select_tools("run print_label", listed))[0] == "print_label"
