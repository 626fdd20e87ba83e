"""Two models are compared on the queries that both ranked; an unrounded model stays within its rounding steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from own_folders import write_whole
from paths import ROOT
from safetensors.torch import load_file

from shortlist.router.checkpoints.native import read_folder

sys.path += [str(ROOT / "benchmarks"), str(ROOT / "training")]

import paired
from unround import write_unrounded

TOOLE = {"q1": (1.0, 1.0), "q2": (0.5, 1.0), "q3": (0.0, 0.0)}


def keep(folder: Path, key: str, measures: dict[str, tuple[float, float]], *names: str) -> Path:
    """Writes results in the store's format."""
    queries = [{"id": one, "measures": dict(zip(names, found, strict=True))} for one, found in measures.items()]
    folder.mkdir(exist_ok=True)
    (folder / f"{key}-corpus-rerank.json").write_text(json.dumps({"queries": queries}), encoding="utf-8")
    return folder


@pytest.fixture
def full(tmp_path: Path) -> Path:
    return keep(tmp_path / "full", "tools-toole", TOOLE, "ndcg@10", "recall@3")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> SimpleNamespace:
    status = paired.main([str(one) for one in arguments])
    printed = capsys.readouterr()
    return SimpleNamespace(status=status, out=printed.out, err=printed.err)


def test_only_queries_that_both_models_ranked_are_compared(
    full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = {"q3": (0.4, 1.0), "q2": (0.25, 1.0), "unknown": (1.0, 1.0)}
    other = keep(tmp_path / "sample", "tools-toole", sample, "ndcg@10", "recall@3")
    found: dict[str, Any] = json.loads(run(capsys, full, other, "--json").out)
    gain, recall = found["pairs"]
    assert (gain["set"], gain["measure"], gain["num_queries"]) == ("toole", "ndcg@10", 2)
    assert (gain["first"], gain["second"]) == (0.25, pytest.approx(0.325))
    assert (gain["num_better"], gain["num_worse"]) == (1, 1)
    assert gain["low"] <= gain["difference"] <= gain["high"]
    assert (recall["first"], recall["second"], recall["num_worse"]) == (0.5, 1.0, 0)
    assert found["overall"]["ratio"] == pytest.approx(1.3)


def test_the_table_names_the_set_with_the_lowest_ratio(
    full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(full, "tables-spider", {"s": (1.0,)}, "complete@5")
    other = keep(tmp_path / "other", "tools-toole", TOOLE, "ndcg@10", "recall@3")
    keep(other, "tables-spider", {"s": (0.5,)}, "complete@5")
    text = run(capsys, full, other).out
    assert "| toole | 3 | ndcg@10 | 0.500 | 0.500 | +0.000 [+0.000, +0.000] | 0 | 0 |" in text
    assert "Mean over 2 sets (first measure of each): 0.7500 and 0.5000, -0.2500" in text
    assert "0.500 on the worst set (spider)" in text


def test_folders_with_nothing_in_common_are_an_error(
    full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, full, tmp_path / "nowhere")
    assert found.status == 2
    assert "have no set with common queries" in found.err


def test_a_damaged_result_is_an_error(full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = keep(tmp_path / "other", "tools-toole", TOOLE, "ndcg@10", "recall@3")
    (other / "tools-toole-corpus-rerank.json").write_text('{"queries": [', encoding="utf-8")
    found = run(capsys, full, other)
    assert found.status == 2
    assert "damaged or from another version" in found.err


def test_an_unrounded_model_rounds_to_the_same_codes(tmp_path: Path) -> None:
    model = write_whole(tmp_path / "own").folder
    write_unrounded(model, tmp_path / "float", seed=1)
    stored, moved = load_file(model / "layers.safetensors"), load_file(tmp_path / "float/layers.safetensors")
    matrices = [name for name, tensor in stored.items() if tensor.dtype == torch.int8]
    assert matrices
    for name in matrices:
        steps = moved[name] / stored[f"{name}.scale"][:, None]
        assert (steps - stored[name]).abs().max() <= 0.5 + 1e-4
        assert (steps - stored[name]).abs().mean() > 0.2
    assert moved.keys() == {name for name in stored if not name.endswith(".scale")}


def test_an_unrounded_model_has_another_name(tmp_path: Path) -> None:
    model = write_whole(tmp_path / "own").folder
    write_unrounded(model, tmp_path / "float", seed=2)
    first, second = read_folder(model), read_folder(tmp_path / "float")
    assert second.name == f"{first.name}-unrounded-2"


def test_a_model_is_not_written_over_itself(tmp_path: Path) -> None:
    model = write_whole(tmp_path / "own").folder
    before = (model / "layers.safetensors").read_bytes()
    command = [sys.executable, ROOT / "training/unround.py", "--model", model, "--out", model / "../own"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--out is the model itself" in done.stderr
    assert (model / "layers.safetensors").read_bytes() == before
