"""`make bench` runs each of its parts once, and continues where it was stopped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from paths import ROOT

PARTS = ["throughput.py"] * 3 + ["serving.py", "curves.py", "long_document.py", "stages.py", "speed_plots.py"]
# Replaces Python: logs the name of the script, and fails for the script named in the file `failing`.
FAKE = """#!/bin/sh
name=$(basename "$1")
echo "$name" >> "$LOG"
[ "$name" != "$(cat "$FAILING" 2>/dev/null)" ] || exit 3
echo "found by $*"
"""


@pytest.fixture
def fake_python(tmp_path: Path) -> Path:
    path = tmp_path / "python"
    path.write_text(FAKE)
    path.chmod(0o755)
    return path


def run(fake_python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder = fake_python.parent
    paths = {"PYTHON": fake_python, "LOG": folder / "log", "FAILING": folder / "failing", "PLOTS": ""}
    command = [str(ROOT / "benchmarks" / "run.sh"), str(folder / "found"), *arguments]
    environment = os.environ | {name: str(path) for name, path in paths.items()}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def ran(fake_python: Path) -> list[str]:
    log = fake_python.parent / "log"
    names = log.read_text().split()
    log.unlink()
    return names


def test_all_parts_run_in_order_and_again_on_the_next_call(fake_python: Path) -> None:
    for _ in range(2):
        assert run(fake_python, "").returncode == 0
        assert ran(fake_python) == PARTS


def test_the_next_call_continues_with_the_failed_part_and_prints_all_results(fake_python: Path) -> None:
    (fake_python.parent / "failing").write_text("curves.py")
    assert run(fake_python).returncode == 3
    assert ran(fake_python) == PARTS[:5]

    (fake_python.parent / "failing").unlink()
    again = run(fake_python)

    assert (again.returncode, ran(fake_python)) == (0, PARTS[4:])
    assert again.stderr.count("to measure it again") == 4
    assert again.stdout.count("found by") == len(PARTS)


def test_a_path_of_tools_with_spaces_stays_one_argument(fake_python: Path) -> None:
    found = run(fake_python, "a corpus.jsonl").stdout
    assert found.count("--tools a corpus.jsonl") == 2
