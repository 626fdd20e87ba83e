"""Reads a column list entry by entry if sqlglot cannot read it whole, so that one odd entry costs itself alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlglot import exp

from shortlist.schemas.sql.definitions.columns import Item
from shortlist.schemas.sql.definitions.constraints import Definition
from shortlist.schemas.sql.definitions.entries import read_entry, repaired_items
from shortlist.schemas.sql.preparing import Prepared, clean_entries, head_texts

__all__ = ["PartialList", "PiecewiseReader", "named_table"]

# Parses a text; returns None if sqlglot cannot read it.
Parse = Callable[[str], exp.Create | None]
# An entry with two texts: as written, and without the words that change neither columns nor keys.
Entry = tuple[Item, tuple[str, str]]

_MAX_ATTEMPTS = 60_000


@dataclass(slots=True)
class PartialList:
    """What is known of a list that sqlglot cannot read whole.

    `head` holds the name and options of the table, and the entries that sqlglot can read; `found` holds what the tokens
    of the others say. `odd` are those others.
    """

    head: exp.Create
    items: list[Item]
    found: Definition = field(default_factory=Definition)
    odd: list[Item] = field(default_factory=list)

    def add_odd(self, item: Item) -> None:
        """Adds what the tokens of an entry say."""
        self.found.merge(read_entry(item))
        self.odd.append(item)


class PiecewiseReader:
    """Reads the column lists of one script that cannot be read whole."""

    def __init__(self, parse: Parse) -> None:
        self._parse = parse
        self._num_attempts = 0  # over the whole script; a limit on it bounds the time

    def read(self, prepared: Prepared) -> PartialList | None:
        """Reads a list whose entries are parsed separately; None if there is no name, or no column in a list.

        An entry that cannot be parsed is read from its tokens: its name, its type as written, and its keys.
        """
        items = repaired_items(prepared.body.items, prepared.text)
        if not any(item.is_column for item in items) and prepared.kind != "alter":
            return None
        head = next((node for text in head_texts(prepared) if (node := self._parse(text))), None)
        if head is None or not isinstance(head.this, exp.Schema):
            if not prepared.name_tokens:
                return None
            head = named_table(prepared)
        partial = PartialList(head, items)
        entries = list(zip(items, clean_entries(prepared, items), strict=True))
        for item in items:
            if _is_renamed(item, prepared.text):
                partial.add_odd(item)
        as_written = [entry for entry in entries if not _is_renamed(entry[0], prepared.text)]
        head.this.set("expressions", self._read_entries(as_written, partial) if as_written else [])
        return partial

    def _read_entries(self, entries: list[Entry], partial: PartialList) -> list[exp.Expr]:
        """Parses all entries at once, or else by halves, so that few attempts find the entry that cannot be parsed."""
        if self._num_attempts < _MAX_ATTEMPTS:
            for text in dict.fromkeys(", ".join(texts[level] for _, texts in entries) for level in (0, 1)):
                if (nodes := self._parse_list(text)) is not None:
                    return nodes
            if len(entries) > 1:
                half = len(entries) // 2
                return self._read_entries(entries[:half], partial) + self._read_entries(entries[half:], partial)
        for item, _ in entries:
            partial.add_odd(item)
        return []

    def _parse_list(self, text: str) -> list[exp.Expr] | None:
        if not text.strip(" ,"):
            return []
        self._num_attempts += 1
        node = self._parse(f"CREATE TABLE t ({text})")
        return list(node.this.expressions) if node is not None and isinstance(node.this, exp.Schema) else None


def _is_renamed(item: Item, text: str) -> bool:
    """Whether the name of an entry was put together from several words, so that its text would be misread."""
    return text[item.tokens[0].start : item.tokens[0].end] != item.tokens[0].text


def named_table(prepared: Prepared) -> exp.Create:
    """Returns a CREATE node with the name of a statement and no columns."""
    return exp.Create(this=exp.Schema(this=_table(prepared), expressions=[]), kind="TABLE")


def _table(prepared: Prepared) -> exp.Table:
    parts = [exp.to_identifier(part, quoted=True) for part in prepared.name.split(".")]
    table = exp.Table(this=parts[-1])
    for key, part in zip(("db", "catalog"), reversed(parts[:-1]), strict=False):
        table.set(key, part)
    return table
