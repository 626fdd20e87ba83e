"""Suggests a known name for a misspelled one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]

# Comparing takes time quadratic in the length, and no known name is this long.
_MAX_CHARS = 100


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean …?` with the most similar known name; empty if none is similar."""
    near = difflib.get_close_matches(name[:_MAX_CHARS], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
