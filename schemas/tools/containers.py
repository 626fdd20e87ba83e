"""Finds every tool in a caller's text, in whatever lists, results or requests the tools are wrapped."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from shortlist.schemas.tools.forms import ACCEPTED, FORMS, ToolForm
from shortlist.schemas.tools.jsontext import LOST, Node, decode_at, member_starts, skip_value, skip_whitespace

__all__ = ["MAX_BROKEN", "MAX_LEVELS", "Entry", "EntryReader"]

MAX_BROKEN = 100
"""Entries of one text that may fail to decode or hold no tool; the text after them is not read."""

MAX_LEVELS = 8
"""Containers that may be nested in one another."""

_SHARED_LIST_KEYS = ("tools", "functions")
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Entry:
    """One value that should be a tool. It may have an error instead.

    `form` is the form whose own list the entry was in, None for lists that all forms share. `is_empty` marks an empty
    list; it is not counted as an entry and takes no index.
    """

    node: Node
    form: ToolForm | None = None
    is_empty: bool = False


class EntryReader:
    """Reads texts that hold tools of the given forms; their keys tell containers from tools."""

    def __init__(self, forms: Sequence[ToolForm] = FORMS) -> None:
        self._lists: dict[str, ToolForm | None] = dict.fromkeys(_SHARED_LIST_KEYS)
        self._lists.update((key, form) for form in forms for key in form.list_keys)
        self._envelopes = frozenset(key for form in forms for key in form.envelope_keys)
        self._tool_keys = frozenset({"properties"}).union(*(form.parameters_keys for form in forms))

    def read(self, text: str) -> Iterator[Entry]:
        """Yields the entries of `text` in order: one tool, a container of tools, or several of either in a row.

        A value that does not decode is yielded with its error. Reading goes on behind it if its brackets close.
        """
        num_broken = 0
        for entry in self._read_text(text):
            num_broken += not (isinstance(entry.node.value, dict) and entry.node.value)
            if num_broken > MAX_BROKEN:
                reason = f"More than {MAX_BROKEN} entries are not tools; the rest of the text is not read"
                yield _broken(entry.node.start, reason)
                return
            yield entry

    def _read_text(self, text: str) -> Iterator[Entry]:
        at = skip_whitespace(text, len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0)
        if at == len(text):
            yield _broken(0, f"The text is blank; {ACCEPTED}")
        while at < len(text):
            # After plain words nothing says where the next value begins, so only a broken bracket is read past.
            is_bracketed = text[at] in "[{"
            end, is_sound = yield from self._read_value(text, at, level=0, form=None)
            if end == LOST or not (is_sound or is_bracketed):
                return
            at = skip_whitespace(text, end)

    def _read_value(
        self, text: str, start: int, *, level: int, form: ToolForm | None
    ) -> Generator[Entry, None, tuple[int, bool]]:
        """Yields the entries of one value; returns its end and whether it decodes."""
        if level > MAX_LEVELS:
            end = skip_value(text, start)
            yield _broken(start, f"Lists are nested more than {MAX_LEVELS} levels deep")
            return end, False
        if text.startswith("[", start):
            end = yield from self._read_list(text, start, level=level, form=form)
            return end, end != LOST
        node = decode_at(text, start)
        keys = self._container_keys(node.value)
        if keys:
            yield from self._read_members(text, start, keys, level=level)
        elif not node.error or not (yield from self._rescue_members(text, node, level=level)):
            yield Entry(node, form)
        return node.end, not node.error

    def _read_list(self, text: str, start: int, *, level: int, form: ToolForm | None) -> Generator[Entry, None, int]:
        at = skip_whitespace(text, start + 1)
        if text.startswith("]", at):
            yield Entry(Node(start, at + 1), is_empty=True)
            return at + 1
        while True:
            end, _ = yield from self._read_value(text, at, level=level + 1, form=form)
            if end == LOST:
                return LOST
            at = skip_whitespace(text, end)
            if text.startswith("]", at):
                return at + 1
            if not text.startswith(",", at):
                yield _broken(at, "Expecting ',' or ']' in a list")
                return LOST
            at = skip_whitespace(text, at + 1)

    def _read_members(self, text: str, start: int, keys: Sequence[str], *, level: int) -> Iterator[Entry]:
        starts = dict(member_starts(text, start))  # of a repeated key the last counts, as in Python's decoder
        for key in keys:
            yield from self._read_value(text, starts[key], level=level + 1, form=self._lists.get(key))

    def _rescue_members(self, text: str, node: Node, *, level: int) -> Generator[Entry, None, bool]:
        """Yields the entries of a container that does not decode as a whole; returns whether it was a container."""
        if not text.startswith("{", node.start):
            return False
        keys = [
            key
            for key, start in dict(member_starts(text, node.start)).items()
            if (key in self._lists and text.startswith("[", start))
            or (key in self._envelopes and text.startswith("{", start))
        ]
        if not keys:
            return False
        is_reported = False
        for entry in self._read_members(text, node.start, keys, level=level):
            is_reported |= bool(entry.node.error)
            yield entry
        if not is_reported:
            yield _broken(node.error_at, node.error)
        return True

    def _container_keys(self, value: object, levels_left: int = MAX_LEVELS + 1) -> list[str]:
        """Returns the keys whose values hold tools; none if `value` is not a container.

        Past the last level every object counts as a container, so that reading it reports that it is too deep.
        """
        if not isinstance(value, dict) or not self._tool_keys.isdisjoint(value):
            return []
        if levels_left == 0:
            return list(value)
        return [
            key
            for key, member in value.items()
            if (key in self._lists and isinstance(member, list))
            or (key in self._envelopes and self._container_keys(member, levels_left - 1))
        ]


def _broken(at: int, reason: str) -> Entry:
    return Entry(Node(at, LOST, error=reason, error_at=at))
