"""The contention benchmark measures beside programs that are really busy, and divides the right numbers."""

from __future__ import annotations

import importlib
import os
import time
from types import ModuleType

import pytest
from paths import ROOT


@pytest.fixture
def contention(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("contention")


def test_the_line_contention_is_p99_beside_two_programs_by_the_quiet_p50(contention: ModuleType) -> None:
    quiet = {"openmp": [900.0] * 5, "streams": [100.0, 200.0, 300.0]}
    beside = {"openmp": [9_000.0] * 5, "streams": [500.0] * 9}
    lines = list(contention.table({"ms": {"quiet": quiet, "two busy programs": beside}}))
    assert lines[2].startswith("| quiet | 900 · 900 | 200 · 298 | 3.0 |")
    assert lines[-1] == "CONTENTION 2.50"


def test_the_neighbours_compute_and_end(contention: ModuleType) -> None:
    def seconds_of_children() -> float:
        times = os.times()
        return times.children_user + times.children_system

    before = seconds_of_children()
    with contention.busy(2):
        time.sleep(1.0)
    assert seconds_of_children() - before > 0.1


def test_without_a_quota_nothing_is_limited(contention: ModuleType) -> None:
    with contention.quota(os.getpid(), is_wanted=False) as is_possible:
        assert is_possible
