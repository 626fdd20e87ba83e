"""The length of a training run is its number of tokens, and an interruption does not change its result."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from paths import ROOT

sys.path.append(str(ROOT / "training"))

from precision import MasterOptimizer
from schedule import Progress, schedule


def make_optimizer(model: torch.nn.Module) -> MasterOptimizer:
    return MasterOptimizer(model, lr=0.01, dtype=torch.float32)


def make_model() -> torch.nn.Sequential:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def run(out: Path, tokens: float, *, until_step: int | None = None) -> dict[str, torch.Tensor]:
    """Trains a toy model like the training scripts: data by the step's number, learning rate by the share of tokens."""
    model = make_model()
    optimizer = make_optimizer(model)
    progress = Progress(out, tokens, optimizer)
    while not progress.is_over and progress.step != until_step:
        batch = torch.randn(16, 4, generator=torch.Generator().manual_seed(progress.step))
        loss = (model(batch) - batch.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step(schedule(progress.share))
        progress.advance(loss, 1, len(batch))
    progress.save()
    return optimizer.averaged()


def test_a_run_ends_after_its_tokens_however_long_that_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr("schedule.time.monotonic", lambda: float(next(hours)))
    progress = Progress(tmp_path, 1000, make_optimizer(make_model()))
    progress.advance(torch.tensor(1.0), 8, 600)
    assert not progress.is_over
    assert progress.share == pytest.approx(0.6)
    progress.advance(torch.tensor(1.0), 8, 400)
    assert progress.is_over
    assert progress.share == 1


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    expected = run(whole, 640)
    run(broken, 640, until_step=17)
    resumed = run(broken, 640)
    assert expected.keys() == resumed.keys()
    assert any(not torch.equal(expected[name], value) for name, value in make_model().state_dict().items())
    for name, value in expected.items():
        assert torch.equal(value, resumed[name]), name


def test_a_finished_run_reads_no_more_tokens(tmp_path: Path) -> None:
    expected = run(tmp_path, 160)
    again = run(tmp_path, 160)
    assert all(torch.equal(value, again[name]) for name, value in expected.items())


def test_the_learning_rate_rises_and_then_falls_to_almost_zero() -> None:
    shares = [schedule(share) for share in (0.0, 0.025, 0.05, 0.5, 0.99, 1.0)]
    assert shares == pytest.approx([0.02, 0.5, 1.0, 0.526, 0.0105, 0.01], abs=1e-3)
