"""Keeps the finished sets of a long step beside its result, so that after a break only the others are done."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from made_of import hold_to

__all__ = ["Parts"]

# Options that leave each set's part what it is.
FREE = frozenset({"out", "features"})


class Parts:
    """Lines (and what else is to be kept) per set, in a folder that lasts until the whole result is written.

    Beside the result stays a note of what it is made of: with other options the program ends, with the same ones and
    the whole result there (`is_done`) nothing is left to do.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        out: Path = options.out
        self._out, self._folder = out, out.with_name(f"{out.name}.parts")
        out.parent.mkdir(parents=True, exist_ok=True)
        hold_to(out.with_name(f"{out.name}.made_of"), options, free=FREE, result=(out, self._folder))
        self.is_done = out.exists()
        if self.is_done:
            print(f"{out} is there already", flush=True)
        else:
            self._folder.mkdir(exist_ok=True)

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

    def save_kept(self, names: Iterable[str], path: Path) -> None:
        """Writes what was kept of each set, where anything was, by the set's name; whole or not at all."""
        found = {name: torch.load(self._kept(name), weights_only=True) for name in names}
        part = path.with_name(f"{path.name}.part")
        torch.save({name: kept for name, kept in found.items() if kept is not None}, part)
        part.rename(path)

    def join(self, names: Iterable[str]) -> None:
        """Writes the lines of these sets as the result, and removes the folder."""
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
