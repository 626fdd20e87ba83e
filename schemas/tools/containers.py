"""Walks a caller's text and yields every tool in it, whatever list, result or request the tools are wrapped in."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from shortlist.schemas.tools.forms import ACCEPTED
from shortlist.schemas.tools.jsontext import LOST, Node, decode_at, member_starts, skip_value, skip_whitespace

__all__ = ["MAX_BROKEN", "MAX_LEVELS", "Entry", "read_entries"]

MAX_BROKEN = 100
"""Places of one text that may fail to decode, or hold no object, before the rest of it is given up."""

MAX_LEVELS = 8
"""Containers that may stand in one another."""

_GEMINI_KEYS = frozenset({"functionDeclarations", "function_declarations"})
_LIST_KEYS = frozenset({"tools", "functions"}) | _GEMINI_KEYS
_ENVELOPE_KEYS = frozenset({"result"})
_SCHEMA_KEYS = frozenset(
    {"parameters", "input_schema", "inputSchema", "parametersJsonSchema", "parameters_json_schema", "properties"}
)
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of the flattened list; `is_empty` marks a container without any, which takes no place."""

    node: Node
    is_gemini: bool = False
    is_empty: bool = False


def read_entries(text: str) -> Iterator[Entry]:
    """Yields the entries of `text` in order: one tool, a container of tools, or several of either one after another.

    A place that does not decode is yielded with its error, and reading goes on behind it where its brackets close.
    """
    num_broken = 0
    for entry in _read_text(text):
        num_broken += not (isinstance(entry.node.value, dict) and entry.node.value)
        if num_broken > MAX_BROKEN:
            reason = f"More than {MAX_BROKEN} places hold no tool; what follows is not read"
            yield _broken(entry.node.start, reason)
            return
        yield entry


def _read_text(text: str) -> Iterator[Entry]:
    at = skip_whitespace(text, len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0)
    if at == len(text):
        yield _broken(0, f"The text is blank; {ACCEPTED}")
    while at < len(text):
        # Words between values cannot be told apart: only a bracket is worth reading on behind.
        is_bracketed = text[at] in "[{"
        end, is_sound = yield from _read_value(text, at, level=0, is_gemini=False)
        if end == LOST or not (is_sound or is_bracketed):
            return
        at = skip_whitespace(text, end)


def _read_value(text: str, start: int, *, level: int, is_gemini: bool) -> Generator[Entry, None, tuple[int, bool]]:
    """Yields the entries of one value; returns its end and whether it decodes."""
    if level > MAX_LEVELS:
        end = skip_value(text, start)
        yield _broken(start, f"Lists stand in one another more than {MAX_LEVELS} deep")
        return end, False
    if text.startswith("[", start):
        end = yield from _read_list(text, start, level=level, is_gemini=is_gemini)
        return end, end != LOST
    node = decode_at(text, start)
    keys = _container_keys(node.value)
    if keys:
        yield from _read_members(text, start, keys, level=level)
    elif not node.error or not (yield from _rescue_members(text, node, level=level)):
        yield Entry(node, is_gemini=is_gemini)
    return node.end, not node.error


def _read_list(text: str, start: int, *, level: int, is_gemini: bool) -> Generator[Entry, None, int]:
    at = skip_whitespace(text, start + 1)
    if text.startswith("]", at):
        yield Entry(Node(start, at + 1), is_empty=True)
        return at + 1
    while True:
        end, _ = yield from _read_value(text, at, level=level + 1, is_gemini=is_gemini)
        if end == LOST:
            return LOST
        at = skip_whitespace(text, end)
        if text.startswith("]", at):
            return at + 1
        if not text.startswith(",", at):
            yield _broken(at, "Expecting ',' or ']' in a list")
            return LOST
        at = skip_whitespace(text, at + 1)


def _read_members(text: str, start: int, keys: list[str], *, level: int) -> Iterator[Entry]:
    starts = dict(member_starts(text, start))  # of a key written twice the last counts, as everywhere in JSON
    for key in keys:
        yield from _read_value(text, starts[key], level=level + 1, is_gemini=key in _GEMINI_KEYS)


def _rescue_members(text: str, node: Node, *, level: int) -> Generator[Entry, None, bool]:
    """Yields what a container holds that does not decode as a whole; returns whether it was one."""
    if not text.startswith("{", node.start):
        return False
    keys = [
        key
        for key, start in dict(member_starts(text, node.start)).items()
        if (key in _LIST_KEYS and text.startswith("[", start))
        or (key in _ENVELOPE_KEYS and text.startswith("{", start))
    ]
    if not keys:
        return False
    is_told = False
    for entry in _read_members(text, node.start, keys, level=level):
        is_told |= bool(entry.node.error)
        yield entry
    if not is_told:
        yield _broken(node.error_at, node.error)
    return True


def _container_keys(value: object, levels_left: int = MAX_LEVELS + 1) -> list[str]:
    """Returns the members that hold tools; what lies deeper than is read counts, so that it is said to be too deep."""
    if not isinstance(value, dict) or not _SCHEMA_KEYS.isdisjoint(value):
        return []
    if levels_left == 0:
        return list(value)
    return [
        key
        for key, member in value.items()
        if (key in _LIST_KEYS and isinstance(member, list))
        or (key in _ENVELOPE_KEYS and _container_keys(member, levels_left - 1))
    ]


def _broken(at: int, reason: str) -> Entry:
    return Entry(Node(at, LOST, error=reason, error_at=at))
