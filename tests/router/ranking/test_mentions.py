"""A tool or table that a query calls by its exact name is found, and words of everyday language are no names."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from requests_made import named, tool

from shortlist import Router
from shortlist.router.catalogs.catalog import Item, item_of_table, item_of_tool
from shortlist.router.ranking.mentions import Names, names_in
from shortlist.schemas.document import Table, Tool


@pytest.fixture(scope="module")
def router(tiny_model_dir: Path) -> Router:
    return Router.load(tiny_model_dir, device="cpu", dtype="float32")


def tools(*names: str, namespace: str = "") -> list[Item]:
    return [item_of_tool(Tool(name, namespace=namespace, index=index)) for index, name in enumerate(names)]


@pytest.mark.parametrize(
    "query",
    [
        "call make_label now",
        "Call Make_Label, please",
        "run make_label()",
        "use `make_label`",
        "使用make_label打印",
        "post.make_label does it",
        "is make_label: the right one?",
    ],
)
def test_an_exact_name_is_a_mention(query: str) -> None:
    assert Names(tools("make_label", "make_label_v2", "label_make", "remake_label")).mentioned(names_in(query)) == {0}


@pytest.mark.parametrize("query", ["search the web", "a search", "Weather in GitHub"])
def test_words_of_everyday_language_are_no_names(query: str) -> None:
    assert Names(tools("search", "weather", "github", "gitHub")).mentioned(names_in(query)) == set()


@pytest.mark.parametrize("query", ["`search` for it", "please run search() on it"])
def test_marked_words_are_names(query: str) -> None:
    assert Names(tools("search", "weather")).mentioned(names_in(query)) == {0}


@pytest.mark.parametrize("query", ["copy it to s3", "use the v2", "all of 2024", "page 7"])
def test_versions_and_short_parts_are_no_names(query: str) -> None:
    assert Names(tools("aws.s3", "users.v2", "stats/2024", "7")).mentioned(names_in(query)) == set()


def test_camel_case_is_a_name_as_it_is_written() -> None:
    names = Names(tools("getWeather", "getweather"))
    assert names.mentioned(names_in("use getWeather")) == {0}
    assert names.mentioned(names_in("use getweather")) == set()


@pytest.mark.parametrize("query", ["use create_issue", "use github__create_issue", "github.create_issue, please"])
@pytest.mark.parametrize("name", ["github__create_issue", "mcp__github__create_issue", "github.create_issue"])
def test_the_server_may_be_named_or_not(name: str, query: str) -> None:
    assert Names(tools(name)).mentioned(names_in(query)) == {0}


def test_the_server_that_is_named_counts() -> None:
    both = [*tools("create_issue", namespace="github"), *tools("create_issue", namespace="gitlab")]
    assert Names(both).mentioned(names_in("github.create_issue")) == {0}
    assert Names(both).mentioned(names_in("gitlab__create_issue")) == {1}
    assert Names(both).mentioned(names_in("create_issue")) == {0, 1}


def test_the_namespace_before_a_name_may_be_left_out() -> None:
    assert Names(tools("github_create_issue", namespace="github")).mentioned(names_in("use create_issue")) == {0}


def test_a_table_is_named_with_its_schema_or_without() -> None:
    names = Names([item_of_table(Table("WardHistory", namespace="hr")), item_of_table(Table("Ward", namespace="hr"))])
    assert names.mentioned(names_in("rows of hr.WardHistory")) == {0}
    assert names.mentioned(names_in("rows of WardHistory and hr.Ward")) == {0, 1}
    assert names.mentioned(names_in("Which ward is it?")) == set()


def test_a_query_of_plain_words_calls_nothing() -> None:
    assert names_in("which nurses moved to another ward last year?") == []


def test_a_namespace_stands_before_a_name_once() -> None:
    names = Names(tools("create_issue", namespace="github"))
    assert names.mentioned(names_in("github.github.create_issue.x")) == {0}
    assert names.mentioned(names_in("github__github_x")) == set()
    assert len(names._places) < 20


def test_documents_have_no_names() -> None:
    assert Names(tools("")).mentioned(names_in("a_b ``")) == set()


def test_a_long_query_costs_little() -> None:
    names = Names(tools("a_b"))
    began = time.perf_counter()
    names.mentioned(names_in("a.b-" * 20_000))
    assert time.perf_counter() - began < 2


def test_a_named_tool_is_selected_among_many_that_share_more_words(router: Router) -> None:
    crowd = [tool(f"label_{number}", "call make label now") for number in range(60)]
    selection = router.select_tools("call make_label now", [*crowd, tool("make_label", "legacy")], max_candidates=5)
    assert named(selection)[0] == "make_label"


def test_a_tool_that_is_named_beats_its_successor_that_quotes_it(router: Router) -> None:
    tools = [
        tool("make_label_v2", "Replaces make_label. Call make_label_v2 to make a label"),
        tool("make_label", "Legacy"),
        tool("label_make", "Makes a label"),
    ]
    assert named(router.select_tools("call make_label now", tools))[0] == "make_label"
