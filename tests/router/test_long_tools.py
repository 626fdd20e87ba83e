"""What tools say at length is found by the built-in model, and a warning says what was left out."""

from __future__ import annotations

from typing import Any

import pytest
from requests_made import named

from shortlist import Router

NEIGHBOURS = [
    {"name": "folder_list", "description": "List the documents in a folder"},
    {"name": "case_update", "description": "Change a case"},
    {"name": "case_open", "description": "Open a new case"},
    {"name": "case_search", "description": "Search cases"},
    {"name": "person_search", "description": "Search people"},
]
CURSOR = "Cursor for paging, used only by the history. Pass the end of the page before to read on. Omit it at first. "
ACTIONS = [
    f"{verb}_{noun}" for verb in ("create", "list", "get", "update") for noun in ("user", "team", "bill", "hook")
]


def object_tool(name: str, description: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": description, "parameters": {"type": "object", "properties": properties}}


CASE_READ = object_tool(
    "case_read",
    "Get information on a case.",
    {
        "what": {
            "type": "string",
            "enum": ["get", "get_attachments", "get_history", "get_followers"],
            "description": "What to read. 1. get - the case itself. 2. get_attachments - the files attached to it. "
            "3. get_history - who changed the case and when. 4. get_followers - the people who follow it.",
        },
        "cursor": {"type": "string", "description": CURSOR * 3},
        "number": {"type": "string", "description": "The number of the case"},
    },
)


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.load(device="cpu", dtype="float32")


def test_a_tool_slightly_above_the_budget_is_found_by_what_its_parameters_say(router: Router) -> None:
    selection = router.select_tools("which files are attached to case 52?", [CASE_READ, *NEIGHBOURS])

    (cut,) = selection.truncated
    assert named(selection)[0] == cut.name == "case_read"
    assert 0.9 * 160 <= cut.kept_tokens <= 160 < cut.total_tokens
    assert selection.warnings == (
        "1 of the 6 scored tools is longer than the budget of 160 tokens for each; left out, in full or in part: "
        "parameter details of case_read",
    )


@pytest.mark.parametrize("actions", [[*ACTIONS, "export_payroll"], ["export_payroll", *ACTIONS]], ids=["last", "first"])
def test_a_tool_is_found_by_any_value_of_an_enum(router: Router, actions: list[str]) -> None:
    admin = object_tool("admin", "Runs an administrative action", {"action": {"type": "string", "enum": actions}})

    selection = router.select_tools("export the payroll", [*NEIGHBOURS, admin])

    assert named(selection)[0] == "admin"
    assert selection.warnings == ()


def test_an_answer_stands_above_an_empty_document(router: Router) -> None:
    selection = router.rerank("fault F77", ["", "F77: the filter is blocked, clean it", "\ufeff"])

    assert [item.index for item in selection.items] == [1, 0, 2]
    assert [item.score for item in selection.items[1:]] == [0.0, 0.0]


def test_many_long_tools_are_counted_in_one_warning(router: Router) -> None:
    tools = [{**CASE_READ, "name": f"case_read_{number}"} for number in range(6)]

    (warning,) = router.select_tools("read a case", tools).warnings

    assert warning.startswith("6 of the 6 scored tools are longer than the budget of 160 tokens")
    assert warning.endswith("parameter details of case_read_0, case_read_1, case_read_2 and 3 more")


def test_a_tool_that_is_not_scored_is_not_warned_about(router: Router) -> None:
    selection = router.select_tools("search people", [CASE_READ, *NEIGHBOURS], max_candidates=1)

    assert named(selection) == ["person_search"]
    assert selection.warnings == ()
