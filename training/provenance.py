"""Records the options and input files of a step's result, so that the step never continues with different ones."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence, Set
from pathlib import Path

import torch

__all__ = ["check_provenance"]

_AT_ONCE = 1 << 20


def check_provenance(note: Path, options: argparse.Namespace, *, free: Set[str], result: Sequence[Path]) -> None:
    """Compares the options with the note beside a result; writes the note if there is none.

    Options in `free` do not affect the result and are not compared. Files and folders are compared by content, not by
    path. If a file of `result` exists without a note, a warning says that it is assumed to be made with these options.

    Raises:
        SystemExit: the result was begun with other options or other files.
    """
    now = {name: _described(value) for name, value in vars(options).items() if name not in free}
    if not note.exists():
        if found := next((path for path in result if path.exists()), None):
            print(f"{found} has no note of its options; assuming that they are the present ones", file=sys.stderr)
        part = note.with_name(f"{note.name}.part")
        part.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        part.rename(note)
        return
    before = json.loads(note.read_text(encoding="utf-8"))
    others = [f"--{name.replace('_', '-')} {before.get(name)}" for name in now if before.get(name) != now[name]]
    if others:
        raise SystemExit(
            f"{note.with_suffix('')} was begun with {', '.join(others)}; use these, or remove it and {note.name}"
        )


def _described(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_described, value))
    return digest(value) if isinstance(value, Path) and value.exists() else str(value)


def digest(path: Path) -> str:
    """Returns 16 hexadecimal digits of the content of a file, model folder, a run's averaged weights or a data set."""
    found = hashlib.sha256()
    if (path / "checkpoint.pt").is_file():
        # The rest of a checkpoint changes even when a finished run is only loaded again.
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
