"""Reads what a CREATE or an ALTER TABLE defines: by sqlglot, and from its tokens where sqlglot gives up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from shortlist.schemas.remarks import Remarks
from shortlist.schemas.sql.definitions.columns import Item
from shortlist.schemas.sql.definitions.constraints import Definition, read_definitions
from shortlist.schemas.sql.definitions.entries import needs_repair, read_entry
from shortlist.schemas.sql.definitions.nodes import StatementError, parse_statement, try_parse
from shortlist.schemas.sql.definitions.piecewise import PiecewiseReader, named_table
from shortlist.schemas.sql.definitions.projections import projected_columns
from shortlist.schemas.sql.preparing import Prepared
from shortlist.schemas.sql.script.lexing import Lexer

__all__ = ["NEXT_START", "DefinitionReader"]

NEXT_START = re.compile(
    r"^[ \t]*(?=(?:CREATE|ALTER\s+TABLE|COMMENT\s+ON|INSERT\s+INTO|DROP)\s)", re.MULTILINE | re.IGNORECASE
)
"""Where the next statement may begin inside one that cannot be read: an open quote or bracket includes too much."""
_KEY_WORDS = ("PRIMARY", "REFERENCES")


class DefinitionReader:
    """Reads the definitions in the statements of one script; what is read in part is noted in `remarks`."""

    def __init__(self, dialect: str, lexer: Lexer, remarks: Remarks) -> None:
        self._dialect, self._lexer, self._remarks = dialect, lexer, remarks
        self._piecewise = PiecewiseReader(lambda text: try_parse(text, dialect))

    def read(self, prepared: Prepared) -> tuple[exp.Create, Definition]:
        """Returns the node of a statement and what it defines.

        Raises:
            StatementError: the statement has no name, or neither a list of columns nor a query that can be read.
        """
        try:
            if any(map(needs_repair, prepared.body.items)):
                raise StatementError("a comma is missing, or a name is not quoted")
            node = parse_statement(prepared, self._dialect)
            found = self._define(node, prepared.body.items)
        except StatementError as error:
            if error.is_final or NEXT_START.search(prepared.text, 1):
                raise
            node, found = self._read_in_part(prepared, error)
        _add_keys(prepared, found)
        return node, found

    def _read_in_part(self, prepared: Prepared, error: StatementError) -> tuple[exp.Create, Definition]:
        if columns := projected_columns(prepared):
            self._remarks.add(
                "queries could not be parsed, so only the names of their columns were read", prepared.name
            )
            return named_table(prepared), Definition(columns=columns)
        partial = self._piecewise.read(prepared)
        if partial is None and prepared.derivation and not prepared.derivation.is_last:
            return named_table(prepared), Definition()  # its columns are those of another table
        if partial is None:
            raise error
        found = self._define(partial.head, partial.items)
        found.merge(partial.found)
        self._note(prepared, partial.odd)
        written = {item.tokens[0].start for item in prepared.body.items}
        for item in partial.items:
            if item.tokens[0].start not in written:
                self._remarks.add("commas are missing before these entries", f"{prepared.name}.{item.name}")
        return partial.head, found

    def _note(self, prepared: Prepared, odd: Sequence[Item]) -> None:
        for item in odd:
            if item.is_column:
                self._remarks.add("columns were read in part (name, type and keys)", f"{prepared.name}.{item.name}")
            else:
                text = prepared.text[item.tokens[0].start : item.tokens[-1].end]
                self._remarks.add("entries were read in part", f"{prepared.name}: {text:.60}")
        if not odd and prepared.body.close >= len(prepared.tokens):
            self._remarks.add("lists of columns do not close, and were read as far as they go", prepared.name)

    def _define(self, node: exp.Create, entries: Sequence[Item]) -> Definition:
        items: dict[str, Item] = {}
        for item in entries:
            items.setdefault(item.name, item)
        nodes = list(node.this.expressions) if isinstance(node.this, exp.Schema) else []
        partitions: list[str] = []
        properties = node.args.get("properties")
        for part in properties.expressions if properties else []:
            if isinstance(part, exp.PartitionedByProperty) and isinstance(part.this, exp.Schema):
                listed = [entry for entry in part.this.expressions if isinstance(entry, exp.ColumnDef)]
                partitions += [entry.name for entry in listed]
                nodes += listed
            elif isinstance(part, exp.PrimaryKey):
                nodes.append(part)
        found = read_definitions(nodes, items, self._dialect)
        found.partitions = tuple(partitions)
        return found


def _add_keys(prepared: Prepared, found: Definition) -> None:
    """Adds the names of the keys, and keys that sqlglot parses as something else or that are behind the list."""
    written = Definition()
    for item in prepared.body.items:
        if any(token.keyword in _KEY_WORDS for token in item.tokens):
            written.merge(read_entry(item))
    tail = list(prepared.tokens[prepared.body.close + 1 :]) if prepared.body.close >= 0 else []
    if tail and tail[0].keyword == "PRIMARY":
        written.merge(read_entry(Item(tail)))
    if not found.primary_key:
        found.primary_key = written.primary_key
    found.key_name = written.key_name
    names = {key: key.constraints for key in written.foreign_keys}
    found.foreign_keys = [replace(key, constraints=names.get(key, ())) for key in found.foreign_keys]
    if len(found.foreign_keys) < len(written.foreign_keys):
        known = {key.columns for key in found.foreign_keys}
        found.foreign_keys += [key for key in written.foreign_keys if key.columns not in known]
