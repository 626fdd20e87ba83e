"""Handles halves of surrogate pairs, which JSON and Python can hold alone, but UTF-8 cannot encode."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["describe_halves", "escape_halves", "halves_in", "has_half", "replace_halves"]

_HALF = re.compile("[\ud800-\udfff]")
_MAX_SHOWN = 3


def has_half(text: str) -> bool:
    """Returns whether a text holds half of a surrogate pair."""
    if text.isascii():
        return False
    try:
        text.encode()  # faster than a regular expression
    except UnicodeEncodeError:
        return True
    return False


def halves_in(text: str) -> dict[str, None]:
    """Returns the different halves in a text that lack their other half, as escapes (``\\ud83d``), in order."""
    return dict.fromkeys(map(_escape, _HALF.finditer(_joined(text))))


def escape_halves(text: str) -> str:
    """Joins halves that make a pair, and writes the others as JSON's escapes, so that a JSON text keeps its meaning."""
    return _HALF.sub(_escape, _joined(text)) if has_half(text) else text


def replace_halves(text: str) -> str:
    """Joins halves that make a pair, and replaces every other half by U+FFFD."""
    return _HALF.sub("\ufffd", _joined(text)) if has_half(text) else text


def describe_halves(halves: Iterable[str]) -> str:
    """Returns the warning about halves that were replaced."""
    listed = list(halves)
    shown = ", ".join(listed[:_MAX_SHOWN]) + (", …" if len(listed) > _MAX_SHOWN else "")
    return f"half of a surrogate pair is not a character and is read as U+FFFD: {shown}"


def _escape(half: re.Match[str]) -> str:
    return f"\\u{ord(half.group()):04x}"


def _joined(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
