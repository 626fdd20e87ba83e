"""Saves the finished sets of a long step, so that after an interruption only the other sets are processed."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from provenance import check_provenance

__all__ = ["Parts"]

# Options that do not affect a set's part.
FREE = frozenset({"out", "features"})


class Parts:
    """The lines of each set, with optional tensors, in a folder that is removed once the whole result is written.

    A note of the options stays beside the result. With other options the program ends; `is_done` says that the whole
    result exists already.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        out: Path = options.out
        self._out, self._folder = out, out.with_name(f"{out.name}.parts")
        out.parent.mkdir(parents=True, exist_ok=True)
        check_provenance(out.with_name(f"{out.name}.provenance"), options, free=FREE, result=(out, self._folder))
        self.is_done = out.exists()
        if self.is_done:
            print(f"{out} exists already", flush=True)
        else:
            self._folder.mkdir(exist_ok=True)

    def has(self, name: str) -> bool:
        """Whether a set is finished."""
        return self._lines(name).exists()

    def put(self, name: str, lines: Iterable[str], kept: Any = None) -> None:
        """Saves a set's lines (with line ends), and tensors if given; an interrupted write leaves no partial file."""
        torch.save(kept, self._kept(name))
        unfinished = self._lines(name).with_suffix(".unfinished")
        with unfinished.open("w", encoding="utf-8") as out:
            out.writelines(lines)
        unfinished.rename(self._lines(name))

    def save_kept(self, names: Iterable[str], path: Path) -> None:
        """Writes the tensors of the sets that have some, by name; an interrupted write leaves no partial file."""
        found = {name: torch.load(self._kept(name), weights_only=True) for name in names}
        part = path.with_name(f"{path.name}.part")
        torch.save({name: kept for name, kept in found.items() if kept is not None}, part)
        part.rename(path)

    def join(self, names: Iterable[str]) -> None:
        """Writes the lines of the sets to the result, and removes the folder."""
        unfinished = self._folder / "whole"
        with unfinished.open("w", encoding="utf-8") as out:
            for name in names:
                with self._lines(name).open(encoding="utf-8") as lines:
                    shutil.copyfileobj(lines, out)
        unfinished.rename(self._out)
        shutil.rmtree(self._folder)

    def _lines(self, name: str) -> Path:
        return self._folder / f"{name.replace('/', '--')}.jsonl"

    def _kept(self, name: str) -> Path:
        return self._lines(name).with_suffix(".pt")
