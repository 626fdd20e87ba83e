"""`training/run.sh` gives each script only options that the script has."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

TRAINING = ROOT / "training"
# Stands in for Python: logs its arguments and trains nothing.
FAKE = '#!/bin/sh\necho "$@" >> "$LOG"\n'


@pytest.fixture
def calls(tmp_path: Path) -> list[list[str]]:
    """Runs run.sh in an empty folder with a stand-in for Python; returns the command line of each step."""
    model = tmp_path / "router" / "models" / "shortlist-small"
    model.mkdir(parents=True)
    for name in ("layers.safetensors", "tokenizer.json", "shortlist.json"):
        (model / name).touch()
    python = tmp_path / "python"
    python.write_text(FAKE)
    python.chmod(0o755)
    environment = os.environ | {"PYTHON": str(python), "LOG": str(tmp_path / "log"), "SETS": "tools/toole"}
    subprocess.run([str(TRAINING / "run.sh"), "DATA"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    return [line.split() for line in (tmp_path / "log").read_text().splitlines()]


def help_of(script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the help text of a training script."""
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(Path(script).stem).main()
    return capsys.readouterr().out


def test_every_option_of_every_step_is_known_to_its_script(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(TRAINING))
    helps = {script: help_of(script, monkeypatch, capsys) for script in {script for script, *_ in calls}}

    unknown = {
        f"{script} {word}"
        for script, *arguments in calls
        for word in arguments
        if word.startswith("--") and f"{word} " not in helps[script] and f"{word}]" not in helps[script]
    }
    assert unknown == set()
    assert len(helps) == 11
