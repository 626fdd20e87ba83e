"""The benchmark of the time to choose times warm queries, and counts what was chosen as a judge would."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from paths import ROOT

from shortlist import Catalog

TOOLS = [
    {"name": "send_email", "description": "Send an email"},
    {"name": "get_weather", "description": "Weather of a city"},
    {"name": "list_mails", "description": "List the mails of an inbox"},
]


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("choose")


def way(choose: ModuleType, name: str, order: Sequence[int]) -> Any:
    def make(catalog: Catalog) -> Callable[[str], Sequence[int]]:
        return lambda query: order

    return importlib.import_module("choosers").Named(name, (), make)


def test_only_warm_queries_are_timed(choose: ModuleType) -> None:
    catalog = Catalog.of_tools([json.dumps(tool) for tool in TOOLS])
    ways = [way(choose, "one", [0]), way(choose, "other", [1])]
    times = choose.timed(ways, catalog, ["a", "b"], 3)
    assert {name: len(found) for name, found in times.items()} == {"one": 6, "other": 6}


def test_acceptable_items_count_for_the_first_place_and_needed_ones_among_five(choose: ModuleType) -> None:
    catalog = Catalog.of_tools([json.dumps(tool) for tool in TOOLS])
    asked = [choose.Asked("q", catalog, frozenset({0, 1}), frozenset({2}))]
    assert choose.quality(way(choose, "w", [2, 0]), asked) == {"hit@1": 1.0, "recall@5": 0.5, "complete@5": 0.0}
    assert choose.quality(way(choose, "w", [1, 0]), asked) == {"hit@1": 1.0, "recall@5": 1.0, "complete@5": 1.0}


def test_judged_queries_keep_their_candidates(choose: ModuleType, tmp_path: Path) -> None:
    lines = [{"id": f"t{place}", "tool": tool, "group": "mail"} for place, tool in enumerate(TOOLS)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    query = {
        "id": "q", "query": "mail Ada", "lang": "en", "group": "", "split": "dev", "src": "style",
        "relevant": ["t0"], "acceptable": ["t2"], "candidates": ["t2", "t0"],
    }  # fmt: skip
    (tmp_path / "queries.jsonl").write_text(json.dumps(query) + "\n")
    (one,) = choose.judged(tmp_path, "tools", "corpus", 5)
    names = [item.name for item in one.catalog.items]
    assert (names, one.needed, one.acceptable) == (["list_mails", "send_email"], {1}, {0})


def test_the_quick_line_has_the_number_of_tools_and_the_median(choose: ModuleType) -> None:
    found = {"ms": {"175 tools": {"Shortlist": [10.0, 30.0, 20.0]}}}
    assert list(choose.quick_lines(found)) == ["CHOOSE 175 20.0"]
