"""Collects the warnings about one script or one tool. Warnings of one kind are counted, not repeated."""

from __future__ import annotations

__all__ = ["Remarks"]

_MAX_SHOWN = 10
_MAX_NAME_CHARS = 80


class Remarks:
    """The warnings by kind, in the order in which each kind occurs first."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}

    def add(self, kind: str, name: str) -> None:
        """Adds a name to a kind of warning, such as ``COMMENT ON names tables that the script does not create``."""
        self._names.setdefault(kind, {})[name[:_MAX_NAME_CHARS]] = None

    def __bool__(self) -> bool:
        return bool(self._names)

    def texts(self) -> tuple[str, ...]:
        """Returns one text for each kind: the kind, the first names, and how many more there are."""
        return tuple(f"{kind}: {_listed(list(names))}" for kind, names in self._names.items())


def _listed(names: list[str]) -> str:
    more = len(names) - _MAX_SHOWN
    # One name more takes no more room than the words "and 1 more".
    shown = names if more <= 1 else names[:_MAX_SHOWN]
    text = ", ".join(repr(name) for name in shown)
    return text if len(shown) == len(names) else f"{text} and {more:,} more"
