"""Stores results, one JSON file per set and method, and decides which stored results are still valid."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cases import CANDIDATES, Case
from passage_pools import PARALLEL, read_pools, write_set
from subjects import Subject

_FORMAT = 3
# Threads and batching change a float32 score by less than this; training changes it by far more.
_PROBE_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Store:
    """The results under `folder` for the sets in `data`, with at most `limit` queries per set (None: all)."""

    folder: Path
    data: Path
    limit: int | None

    def set_folder(self, case: Case) -> Path:
        """Returns the folder of a case's set; pools of passages are written here first, as a set of their own."""
        if case.passages_of is None:
            return self.data / case.name
        folder = self.folder / "sets" / case.short_name
        if not folder.exists():
            names = [name for name in read_pools() if (name == PARALLEL) == (case.passages_of == PARALLEL)]
            write_set(folder, self.data, names)
        return folder

    def path(self, case: Case, subject: Subject) -> Path:
        """Returns the file of one result."""
        model = re.sub(r"[^\w.-]+", "_", f"{subject.name}-{subject.version}")
        return self.folder / str(self.limit or "full") / model / f"{case.key}-{subject.method}.json"

    def read(self, case: Case, subject: Subject) -> dict[str, Any] | None:
        """Returns the stored result if it was measured on the same set with the same model; otherwise None."""
        path = self.path(case, subject)
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        made_of = found.pop("made_of", {})
        probe = made_of.pop("probe", [])
        return found if made_of == self._made_of(case, subject) and _is_close(probe, subject.probe) else None

    def write(self, case: Case, subject: Subject, found: dict[str, Any]) -> None:
        """Stores a result; an interrupted write leaves no partial file behind."""
        path = self.path(case, subject)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        made_of = self._made_of(case, subject) | {"probe": subject.probe}
        part.write_text(json.dumps({"made_of": made_of, **found}, ensure_ascii=False), encoding="utf-8")
        part.replace(path)

    def _made_of(self, case: Case, subject: Subject) -> dict[str, Any]:
        files = (self.set_folder(case) / name for name in ("corpus.jsonl", "queries.jsonl", "queries_none.jsonl"))
        return {
            "format": _FORMAT,
            "set": case.name,
            "set_digests": [_digest(file, file.stat().st_mtime_ns) for file in files if file.exists()],
            "scope": case.scope,
            "where": case.where,
            "split": case.split,
            "limit": self.limit,
            "candidates": CANDIDATES,
            "method": subject.method,
            "model": f"{subject.name} {subject.version}",
        }


@cache
def _digest(path: Path, changed_ns: int) -> str:
    """Returns a file's digest; the file is read again only if its modification time `changed_ns` differs."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _is_close(probe: list[float], expected: tuple[float, ...]) -> bool:
    return len(probe) == len(expected) and all(
        math.isclose(one, other, abs_tol=_PROBE_TOLERANCE) for one, other in zip(probe, expected, strict=True)
    )
