"""The speed benchmarks save and draw their results, and always time the same requests and lengths."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from paths import ROOT

from shortlist.router.checkpoints.loading import load_model
from shortlist.schemas.tools.parse import parse_tools

BENCHMARKS = ROOT / "benchmarks"
FOUND = {
    "throughput-built-in": {"pairs_per_second": {"shortlist": 90.0, "a peer": 12.0}, "threads": 2, "documents": 64},
    "curves": {
        "documents": [{"at": at, "pairs_per_second": 90.0, "tokens_per_second": 9_000.0} for at in (1, 8, 64)],
        "lengths": [{"at": at, "pairs_per_second": 90.0, "tokens_per_second": 9_000.0} for at in (30, 300)],
        "catalogs": [
            {"at": at, "first_ms": 5.0 * at, "again_ms": 200.0, "tokens_of_all": 99 * at, "tokens_of_selected": 500.0}
            for at in (10, 100)
        ],
    },
    "serving": {
        "engine_pairs_per_second": 130.0,
        "by_clients": [{"at": at, "pairs_per_second": 100.0, "p50": 200.0, "p99": 400.0} for at in (1, 2)],
        "by_load": [{"at": at, "p50": 200.0, "p90": 300.0, "p99": 400.0} for at in (0.2, 0.8)],
    },
    "long_document": {
        "points": [{"tokens": at, "seconds": at / 9_000, "peak_above_idle_mib": 200.0} for at in (8_192, 16_384)]
    },
}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_results_are_saved_as_json_and_as_a_table(
    module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = argparse.Namespace(json=False, save=tmp_path / "found")

    module("saving").save({"a": 1}, "few", lambda found: [f"| a | {found['a']} |"], options)

    assert json.loads((tmp_path / "found/few.json").read_text()) == {"a": 1}
    assert (tmp_path / "found/few.md").read_text() == "| a | 1 |\n"
    assert capsys.readouterr().out == "| a | 1 |\n"


def test_with_json_nothing_else_is_printed(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    module("saving").save({"a": 1}, "few", lambda found: ["x"], argparse.Namespace(json=True, save=None))

    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_lengths_double_up_to_the_longest(module: Any) -> None:
    doubling = module("long_document").doubling

    assert doubling(65_536) == [8_192, 16_384, 32_768, 65_536]
    assert doubling(50_000) == [12_500, 25_000, 50_000]
    assert doubling(100) == [100]


def test_the_drawn_requests_are_always_the_same(module: Any) -> None:
    serving = module("serving")
    tools = serving.read_tools(None)

    requests = serving.draw_requests(tools, 3)

    assert requests == serving.draw_requests(tools, 3)
    assert [len(brought) for _, brought in requests] == [20, 20, 20]
    assert all(len(parse_tools([one]).tools) == 1 for _, brought in requests for one in brought)


def test_a_made_text_has_about_the_requested_tokens(module: Any) -> None:
    tokenizer = load_model("built-in").tokenizer

    assert tokenizer.count(module("workload").make_text(tokenizer, 3_000)) == pytest.approx(3_000, rel=0.01)


def test_each_long_document_is_timed_on_a_new_server(module: Any) -> None:
    point = module("long_document").send(2_000)

    assert point["seconds"] > 0
    assert point["pair_tokens"] > 2_000
    assert point["peak_above_idle_mib"] >= 0


def test_every_saved_result_is_drawn(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="the plots need the extra [plots]")
    for name, found in FOUND.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    monkeypatch.setattr("sys.argv", ["speed_plots.py", str(tmp_path), "--out", str(tmp_path / "drawn")])

    module("speed_plots").main()

    drawn = list((tmp_path / "drawn").iterdir())
    assert {one.name for one in drawn} == {f"speed-{name}.png" for name in FOUND}
    assert all(one.read_bytes().startswith(b"\x89PNG") for one in drawn)
