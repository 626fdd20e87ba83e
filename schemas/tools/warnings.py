"""Collects the warnings about the tools of one request; one that repeats over many tools is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shortlist.schemas.remarks import Remarks
from shortlist.schemas.tools.forms import clean_text, shorten

__all__ = ["ToolWarnings"]

_MAX_CHARS = 500
_MAX_REPEATED = 3


@dataclass(frozen=True, slots=True)
class _Warning:
    """A warning in full, and its text without the tool that it is about; no text if it is about no single tool."""

    full: str
    text: str = ""
    name: str = ""


class ToolWarnings:
    """The warnings about the tools of one request, in the order in which they occur."""

    def __init__(self) -> None:
        self._found: list[_Warning] = []
        self._remarks = Remarks()

    def __len__(self) -> int:
        return len(self._found)

    def add(self, warning: str) -> None:
        """Adds a warning that is about no single tool."""
        self._found.append(_Warning(warning))

    def add_of_tool(self, name: str, text: str, place: str = "") -> None:
        """Adds a warning about a tool; `place` is where the tool is, if its name may not say so."""
        text = clean_text(text)
        self._found.append(_Warning(f"{place}tool {shorten(name)!r}: {text}", text, name))

    def add_of_kind(self, kind: str, name: str) -> None:
        """Adds a name to a kind of warning, which is written once for all names."""
        self._remarks.add(kind, name)

    def texts(self) -> tuple[str, ...]:
        """Returns the warnings; one about more than three tools is one text that names the first of them."""
        return (*(shorten(text, _MAX_CHARS) for text in self._written()), *self._remarks.texts())

    def _written(self) -> Iterator[str]:
        tools_of: dict[str, list[str]] = {}
        for warning in self._found:
            tools_of.setdefault(warning.text, []).append(warning.name)
        for warning in self._found:
            names = tools_of.get(warning.text, [])
            if not warning.text or 0 < len(names) <= _MAX_REPEATED:
                yield warning.full
            elif names:
                yield from _counted(warning.text, tools_of.pop(warning.text))


def _counted(text: str, names: Sequence[str]) -> tuple[str, ...]:
    remarks = Remarks()
    for name in names:
        remarks.add(f"{len(names):,} tools: {text}", name)
    return remarks.texts()
