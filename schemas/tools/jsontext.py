"""Decodes JSON text value by value, and remembers the exact slice of text of each value."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = [
    "LOST",
    "MAX_INTEGER_DIGITS",
    "MAX_NESTING",
    "LineIndex",
    "Node",
    "decode_at",
    "member_starts",
    "nests_deeper",
    "prune",
    "skip_value",
    "skip_whitespace",
]

LOST = -1
"""The end of a value whose brackets or quotes do not close."""

MAX_NESTING = 200
"""Levels that are kept of a value that is nested too deeply for the decoder; deeper values become null."""

MAX_INTEGER_DIGITS = 1000
"""Longer integers are not read: Python limits their digits, because converting them is slow."""

# Possessive quantifiers: an unclosed string is read once, not once for each quote in it.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_WHITESPACE = re.compile(r"[ \t\n\r]*")


class _OddValue(Exception):
    """Ends the decoding of a value that programs read differently."""


def _plain_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _OddValue
    return made


def _plain_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _OddValue
    return number


def _plain_integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise _OddValue
    return int(digits)


def _any_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


_PLAIN_DECODER = json.JSONDecoder(
    object_pairs_hook=_plain_object,
    parse_float=_plain_number,
    parse_constant=_plain_number,
    parse_int=_plain_integer,
)
_DECODER = json.JSONDecoder(parse_int=_any_integer)


@dataclass(frozen=True, slots=True)
class Node:
    """One JSON value, written as ``text[start:end]``.

    If it does not decode, `error` says why, `error_at` is the offset of the error, and `end` is the likely end or LOST.
    `is_plain` says that it has no key twice in one object, and no number that is not finite or has too many digits.
    Of a value that is nested too deeply for the decoder, `value` has only the first MAX_NESTING levels, and `pruned` is
    their text.
    """

    start: int
    end: int
    value: object = None
    error: str = ""
    error_at: int = 0
    is_plain: bool = False
    pruned: str = ""


class LineIndex:
    """Converts offsets of one text to lines and columns, both from 1."""

    def __init__(self, text: str) -> None:
        self._breaks = [match.start() for match in re.finditer("\n", text)]

    def locate(self, offset: int) -> tuple[int, int]:
        """Returns the line and column of `offset`."""
        line = bisect_left(self._breaks, offset)
        return line + 1, offset - (self._breaks[line - 1] if line else -1)


def skip_whitespace(text: str, start: int) -> int:
    """Returns the first offset from `start` on that is not JSON whitespace; the text's length if there is none."""
    match = _WHITESPACE.match(text, start)
    return match.end() if match else start


def decode_at(text: str, start: int) -> Node:
    """Decodes the value that begins at `start`; an invalid one gives a node with an error, not an exception."""
    try:
        value, end, is_plain = _decode(text, start)
    except json.JSONDecodeError as error:
        return Node(start, skip_value(text, start), error=error.msg, error_at=error.pos)
    except RecursionError:
        return _decode_pruned(text, start)
    return Node(start, end, value, is_plain=is_plain)


def skip_value(text: str, start: int) -> int:
    """Finds the end of the value at `start` by its brackets and quotes alone; LOST if they do not close.

    Works on values that do not decode, and does not recurse, so that any depth is safe.
    """
    depth = 0
    for match in _TOKEN.finditer(text, start):
        token = match.group()[0]
        if token in "[{":
            depth += 1
        elif token in "]}":
            depth -= 1
        if depth < 0 or (depth == 0 and token == ","):
            return match.start()
        if depth == 0 and token in "]}":
            return match.end()
    return LOST


def member_starts(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Yields the key and the offset of the value of each member of the object at `start`, up to the first error."""
    at = skip_whitespace(text, start + 1)
    while text.startswith('"', at):
        key = decode_at(text, at)
        at = skip_whitespace(text, key.end)
        if key.error or not text.startswith(":", at):
            return
        at = skip_whitespace(text, at + 1)
        yield str(key.value), at
        value = decode_at(text, at)
        at = skip_whitespace(text, value.end)
        if value.error or not text.startswith(",", at):
            return
        at = skip_whitespace(text, at + 1)


def nests_deeper(text: str, start: int, end: int, max_levels: int) -> bool:
    """Returns whether the objects and lists of the value ``text[start:end]`` nest more than `max_levels` deep."""
    if text.count("[", start, end) + text.count("{", start, end) <= max_levels:
        return False
    depth = 0
    for match in _BRACKET.finditer(text, start, end):
        token = match.group()[0]
        depth += (token in "[{") - (token in "]}")
        if depth > max_levels:
            return True
    return False


def prune(text: str, start: int, max_levels: int) -> tuple[str, int]:
    """Writes the object or list at `start` with null for what lies below its first `max_levels` levels.

    Returns that text and the end of the value; LOST if its brackets or quotes do not close.
    """
    kept, depth, copied = [], 0, start
    for match in _BRACKET.finditer(text, start):
        token = match.group()[0]
        if token in "[{":
            depth += 1
            if depth == max_levels + 1:
                kept.append(text[copied : match.start()])
        elif token in "]}":
            depth -= 1
            if depth == max_levels:
                kept.append("null")
                copied = match.end()
            elif depth == 0:
                return "".join([*kept, text[copied : match.end()]]), match.end()
    return "", LOST


def _decode(text: str, start: int) -> tuple[Any, int, bool]:
    try:
        return *_PLAIN_DECODER.raw_decode(text, start), True
    except _OddValue:
        return *_DECODER.raw_decode(text, start), False


def _decode_pruned(text: str, start: int) -> Node:
    pruned, end = prune(text, start, MAX_NESTING)
    if end == LOST:
        return Node(start, LOST, error="Nested too deeply, and not closed", error_at=start)
    try:
        return Node(start, end, _DECODER.decode(pruned), pruned=pruned)
    except (json.JSONDecodeError, RecursionError):
        return Node(start, end, error="Nested too deeply to be read", error_at=start)
