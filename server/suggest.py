"""Names what somebody may have meant who wrote a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]

# Comparing takes time that grows with the square of the length, and no name of ours is this long.
_MAX_CHARS = 100


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean …?` with the known name that is most alike; empty where none is."""
    near = difflib.get_close_matches(name[:_MAX_CHARS], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
