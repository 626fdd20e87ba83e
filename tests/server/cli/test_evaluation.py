"""Checks that `shortlist eval` shows a progress bar on a terminal only."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from shortlist.server.cli.main import main


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tools = [{"id": name, "tool": {"name": name}} for name in ("refund", "ping")]
    queries = [{"id": n, "query": "refund", "lang": "en", "relevant": ["refund"], "split": "test"} for n in range(5)]
    for name, lines in (("corpus", tools), ("queries", queries)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_an_evaluation_shows_a_bar_on_a_terminal_and_clears_it(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert main(["eval", "--data", str(data), "--method", "bm25", "--json"]) == 0
    shown = terminal.getvalue()
    assert "/5" in shown
    assert shown.rpartition("\r")[2].strip() == ""
    assert json.loads(capsys.readouterr().out)["queries"] == 5


def test_an_evaluation_shows_no_bar_without_a_terminal(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--data", str(data), "--method", "bm25"]) == 0
    assert capfd.readouterr().err == ""
