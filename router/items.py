"""Defines an item: one tool, table, column or plain document that may be selected. It holds data only."""

from __future__ import annotations

from dataclasses import dataclass

from shortlist.schemas.document import Column, Table, Tool
from shortlist.schemas.serialise import CountTokens, column_document, lexical_text, table_document, tool_document

__all__ = [
    "Item",
    "TableColumn",
    "item_of_column",
    "item_of_document",
    "item_of_table",
    "item_of_tool",
    "write_document",
]

# The encoder reads only the beginning of a plain document.
_MAX_EMBEDDED_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column and the table it belongs to."""

    table: Table
    column: Column


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that may be selected.

    `index` is its position in the request, `words` the text for BM25, and `subject` what its document is written from
    (a plain document is itself). `references` are the tables that its foreign keys name, as written.
    """

    name: str
    index: int
    source: str
    namespace: str
    words: str
    subject: Tool | Table | TableColumn | str
    references: tuple[str, ...] = ()


def item_of_tool(tool: Tool) -> Item:
    """Makes the item of a tool."""
    return Item(tool.name, tool.index, tool.source, tool.namespace, lexical_text(tool), tool)


def item_of_table(table: Table) -> Item:
    """Makes the item of a table."""
    references = tuple(key.target_table for key in table.foreign_keys)
    return Item(table.full_name, table.index, table.source, table.namespace, lexical_text(table), table, references)


def item_of_column(table: Table, column: Column, index: int) -> Item:
    """Makes the item of a column."""
    text = column_document(table, column)
    return Item(column.name, index, "", table.full_name, text, TableColumn(table, column))


def item_of_document(text: str, index: int) -> Item:
    """Makes the item of a plain document."""
    return Item("", index, text, "", text, text)


def write_document(item: Item, count_tokens: CountTokens | None = None, budget_tokens: int | None = None) -> str:
    """Writes the document that the models read for an item, within the token budget if one is given.

    Columns' documents are short and ignore the budget; a plain document is cut to its first 4,000 characters.
    """
    match item.subject:
        case Tool():
            return tool_document(item.subject, count_tokens=count_tokens, budget_tokens=budget_tokens)
        case Table():
            return table_document(item.subject, count_tokens=count_tokens, budget_tokens=budget_tokens)
        case TableColumn(table, column):
            return column_document(table, column)
        case text:
            return text[:_MAX_EMBEDDED_CHARS]
