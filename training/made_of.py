"""Notes what a step's result is made of, so that none goes on from, or passes for, a result of other options."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence, Set
from pathlib import Path

import torch

__all__ = ["hold_to"]

_AT_ONCE = 1 << 20


def hold_to(note: Path, options: argparse.Namespace, *, free: Set[str], result: Sequence[Path]) -> None:
    """Ends the program if the note says that the result was begun with other options or other files; writes it if new.

    `free` are options that leave the result what it is. Of files and folders the content counts, not the path. Where
    any of `result` stands there without a note it is taken for one of these options, which is said.
    """
    now = {name: _told(value) for name, value in vars(options).items() if name not in free}
    if not note.exists():
        if found := next((path for path in result if path.exists()), None):
            print(f"{found} has no note of what it is made of: taken as made with these options", file=sys.stderr)
        part = note.with_name(f"{note.name}.part")
        part.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        part.rename(note)
        return
    before = json.loads(note.read_text(encoding="utf-8"))
    others = [f"--{name.replace('_', '-')} {before.get(name)}" for name in now if before.get(name) != now[name]]
    if others:
        raise SystemExit(
            f"{note.with_suffix('')} was begun with {', '.join(others)}: go on so, or remove it and {note.name}"
        )


def _told(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_told, value))
    return digest(value) if isinstance(value, Path) and value.exists() else str(value)


def digest(path: Path) -> str:
    """Returns 16 hexadecimal digits of what a file, a model folder, a run's averaged weights or a data folder holds."""
    found = hashlib.sha256()
    if (path / "checkpoint.pt").is_file():
        # What else a checkpoint holds changes whenever a run that is over is looked at again.
        for name, tensor in sorted(
            torch.load(path / "checkpoint.pt", weights_only=True, map_location="cpu")["averaged"].items()
        ):
            found.update(name.encode())
            found.update(tensor.contiguous().view(torch.uint8).numpy().data)
    elif path.is_file():
        _update(found, path)
    elif weights := sorted(path.glob("*.safetensors")):
        for file in weights:
            found.update(file.name.encode())
            _update(found, file)
    else:
        for file in sorted(path.rglob("*.jsonl")):
            found.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
    return found.hexdigest()[:16]


def _update(found: hashlib._Hash, path: Path) -> None:
    with path.open("rb") as file:
        while part := file.read(_AT_ONCE):
            found.update(part)
