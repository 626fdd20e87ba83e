"""Keeps the finished sets of a long step beside its result, so that after a break only the others are done."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

__all__ = ["Parts"]

# Options that leave each set's part what it is.
FREE = {"out", "only", "evidence"}


class Parts:
    """Lines (and what else is to be kept) per set, in a folder that lasts until the whole result is written."""

    def __init__(self, options: argparse.Namespace) -> None:
        out: Path = options.out
        self._out, self._folder = out, out.with_name(f"{out.name}.parts")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._hold_to(options)

    def has(self, name: str) -> bool:
        """Whether a set is finished."""
        return self._lines(name).exists()

    def put(self, name: str, lines: Iterable[str], kept: Any = None) -> None:
        """Keeps a set's lines, each with its end, and a tensor or what holds such; all of it or nothing."""
        torch.save(kept, self._kept(name))
        unfinished = self._lines(name).with_suffix(".unfinished")
        with unfinished.open("w", encoding="utf-8") as out:
            out.writelines(lines)
        unfinished.rename(self._lines(name))

    def kept(self, names: Iterable[str]) -> dict[str, Any]:
        """Returns what was kept of each set, where anything was."""
        found = {name: torch.load(self._kept(name), weights_only=True) for name in names}
        return {name: kept for name, kept in found.items() if kept is not None}

    def join(self, names: Iterable[str]) -> None:
        """Writes the lines of these sets as the result, and removes the folder."""
        unfinished = self._folder / "whole"
        with unfinished.open("w", encoding="utf-8") as out:
            for name in names:
                with self._lines(name).open(encoding="utf-8") as lines:
                    shutil.copyfileobj(lines, out)
        unfinished.rename(self._out)
        shutil.rmtree(self._folder)

    def _hold_to(self, options: argparse.Namespace) -> None:
        """Ends the program if the folder's sets were made with other options: the result would be neither's."""
        now = {name: str(value) for name, value in vars(options).items() if name not in FREE}
        path = self._folder / "options.json"
        if not path.exists():
            path.write_text(json.dumps(now), encoding="utf-8")
        before = json.loads(path.read_text(encoding="utf-8"))
        others = [f"--{name.replace('_', '-')} {before.get(name)}" for name in now if before.get(name) != now[name]]
        if others:
            raise SystemExit(f"{self._folder} was begun with {', '.join(others)}: go on so, or remove the folder")

    def _lines(self, name: str) -> Path:
        return self._folder / f"{name.replace('/', '--')}.jsonl"

    def _kept(self, name: str) -> Path:
        return self._lines(name).with_suffix(".pt")
