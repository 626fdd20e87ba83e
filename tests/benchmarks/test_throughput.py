"""The comparison with peers: what it times, in which order, and what it prints, with a tiny model and a fake peer."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from checkpoints import random_model, write_xlm_roberta
from paths import ROOT

from shortlist.router.checkpoints.loading import load_model

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_every_other_round_runs_in_reverse_order(module: Any) -> None:
    ran: list[str] = []

    seconds = module("rounds").run_rounds({name: lambda name=name: ran.append(name) for name in "abc"}, 2)

    assert "".join(ran) == "abc" + "abc" + "cba"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2, "c": 2}


def test_a_round_measures_how_long_each_subject_took(module: Any) -> None:
    subjects = {"quick": lambda: None, "slow": lambda: time.sleep(0.05)}

    seconds = module("rounds").run_rounds(subjects, 2)

    assert min(seconds["slow"]) >= 0.05
    assert max(seconds["quick"]) < 0.05


def test_rounds_end_before_the_deadline_but_one_always_runs(module: Any) -> None:
    subjects = {"one": lambda: time.sleep(0.02), "other": lambda: time.sleep(0.02)}

    some = module("rounds").run_rounds(subjects, 100, until=time.perf_counter() + 0.3)
    late = module("rounds").run_rounds(subjects, 100, until=time.perf_counter())

    assert 1 <= len(some["one"]) == len(some["other"]) <= 6
    assert {name: len(values) for name, values in late.items()} == {"one": 1, "other": 1}


def test_ratios_are_computed_within_each_round(module: Any) -> None:
    found = module("rounds").compare({"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 4.0, 16.0]}, "ours")

    assert found == {"theirs": module("rounds").Spread(2.0, 3.0, 4.0)}
    assert str(found["theirs"]) == "3.00 [2.00, 4.00]"


def test_documents_have_the_requested_lengths(module: Any) -> None:
    made = module("workload").make_workload(load_model("built-in").tokenizer, 200)

    lengths = sorted(tokens - 20 for tokens in made.pair_tokens)
    assert lengths[0] >= 22
    assert lengths[-1] <= 602
    assert 95 <= lengths[100] <= 125
    assert made == module("workload").make_workload(load_model("built-in").tokenizer, 200)


def test_operations_are_two_for_each_weight_and_token_and_attention_over_pairs(module: Any) -> None:
    config = random_model().config  # 2 layers, hidden 32, inner 48

    assert module("workload").multiplications(config, [10]) == 2 * (10 * 2 * (4 * 32 * 32 + 2 * 32 * 48) + 4 * 100 * 32)
    assert module("workload").multiplications(config, [10, 10]) == 2 * module("workload").multiplications(config, [10])


@pytest.fixture
def bench(
    module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the comparison of a tiny model with a peer that takes 20 ms and scores documents by length."""
    throughput, peers = module("throughput"), module("peers")
    tiny = load_model(write_xlm_roberta(tmp_path / "tiny").folder)

    def make(exports: Any) -> Callable[[str, Sequence[str], int], list[float]]:
        assert (exports.folder("hf") / "model.safetensors").is_file()
        return lambda query, documents, size: time.sleep(0.02) or [float(len(one)) for one in documents]

    monkeypatch.setattr(throughput, "load_model", lambda name: tiny)
    monkeypatch.setattr(
        throughput,
        "PEERS",
        (peers.Peer("by length", (), make, (1, 2)), peers.Peer("absent", ("no_such_package",), make)),
    )

    def run(*arguments: str) -> str:
        code = throughput.main(["--out", str(tmp_path / "out"), "--rounds", "2", "--documents", "5", *arguments])
        assert code == 0
        return capsys.readouterr().out

    return run


def test_the_table_has_a_row_per_installed_peer(bench: Callable[..., str]) -> None:
    printed = bench()

    assert "5 documents" in printed
    assert "| by length |" in printed
    assert "absent" not in printed


def test_the_comparison_as_json_has_ratios_the_peak_and_agreement(bench: Callable[..., str]) -> None:
    found = json.loads(bench("--json"))

    ratio = found["ratios"]["by length"]
    assert 0 < ratio["least"] <= ratio["median"] <= ratio["greatest"]
    assert found["agreement"]["shortlist fp32"] == pytest.approx(1)
    assert -1 <= found["agreement"]["by length"] < 1
    assert found["batch_sizes"] == {"by length": 1} or found["batch_sizes"] == {"by length": 2}
    assert found["peak_share"]["median"] > 0


def test_quick_prints_ratio_and_peak_lines(bench: Callable[..., str]) -> None:
    lines = bench("--quick").splitlines()

    assert [line.split()[:2] for line in lines[:-1]] == [["RATIO", "shortlist-fp32"], ["RATIO", "by-length"]]
    assert lines[-1].startswith("PEAK_SHARE ")
