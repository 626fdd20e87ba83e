"""Defines a catalog: parsed tools, tables or documents, ready to be ranked for any number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain

from shortlist.schemas.arguments import Tools, texts_of, tool_texts
from shortlist.schemas.document import Column, Table, Tool, Unparsed
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind
from shortlist.schemas.serialise import (
    CountTokens,
    Fitted,
    column_document,
    fit_column,
    fit_table,
    fit_tool,
    lexical_details,
    lexical_text,
    table_document,
    tool_document,
)
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools

__all__ = [
    "Catalog",
    "CatalogText",
    "Item",
    "TableColumn",
    "find_pinned",
    "fit_document",
    "item_of_column",
    "item_of_document",
    "item_of_table",
    "item_of_tool",
    "write_document",
]

# The encoder reads only the beginning of a plain document.
_MAX_EMBEDDED_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class Catalog:
    """The items that queries are ranked against, and what could not be parsed; holds data only and can be pickled.

    `dialect` is the one that a script was parsed in, given or detected; it is empty for SQL that is the same in every
    dialect. A Router caches what it derives from a catalog (words, vectors, encoded documents) by `digest`.
    """

    kind: Kind
    items: tuple[Item, ...]
    unparsed: tuple[Unparsed, ...] = ()
    warnings: tuple[str, ...] = ()
    dialect: str = ""
    digest: bytes = b""

    @classmethod
    def of_tools(cls, tools: Tools, namespaces: Sequence[str] = ()) -> Catalog:
        """Reads tools from JSON texts or mappings; `namespaces` is empty or has one entry per text.

        Raises:
            InvalidInput: a value is not a tool, a mapping does not fit JSON, or the namespaces do not match.
        """
        return CatalogText.of_tools(tools, namespaces).read()

    @classmethod
    def of_tables(cls, ddl: str, dialect: str | None = None) -> Catalog:
        """Reads the tables and views of a DDL script; without a dialect, it is detected.

        Raises:
            UnknownDialect: the dialect is unknown.
            LimitExceeded: the script is too long or defines too many tables.
        """
        return CatalogText.of_tables(ddl, dialect).read()

    @classmethod
    def of_documents(cls, documents: Sequence[str]) -> Catalog:
        """Takes plain documents; nothing is cached for them between requests.

        Raises:
            InvalidInput: a document is not a text.
        """
        texts = texts_of("documents", documents)
        return cls("documents", tuple(item_of_document(text, index) for index, text in enumerate(texts)))

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables in order; empty for other kinds of catalog."""
        return tuple(item.subject for item in self.items if isinstance(item.subject, Table))

    @property
    def documents(self) -> tuple[str, ...]:
        """The plain documents in order; empty for other kinds of catalog."""
        return tuple(item.source for item in self.items) if self.kind == "documents" else ()


@dataclass(frozen=True, slots=True)
class CatalogText:
    """The texts of a catalog, as a caller sent them.

    `digest` is a 16-byte hash of the texts, their order, the kind and the dialect; the cache and the catalog share it.
    """

    kind: Kind
    texts: tuple[str, ...]
    namespaces: tuple[str, ...] = ()
    dialect: str = ""
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        parts = chain([self.kind, self.dialect, str(len(self.texts))], self.texts, self.namespaces)
        object.__setattr__(self, "digest", _digest(parts))

    @classmethod
    def of_tools(cls, tools: Tools, namespaces: Sequence[str] = ()) -> CatalogText:
        """Takes JSON texts or mappings, each one tool or a container of many; raises as `Catalog.of_tools`."""
        texts, owners = tuple(tool_texts(tools)), texts_of("namespaces", namespaces)
        if owners and len(owners) != len(texts):
            raise InvalidInput(
                f"has {len(owners)} entries for {len(texts)} tool texts; give one for each", field="namespaces"
            )
        return cls("tools", texts, owners)

    @classmethod
    def of_tables(cls, ddl: str, dialect: str | None = None) -> CatalogText:
        """Takes a DDL script; raises as `Catalog.of_tables`."""
        for name, text in (("ddl", ddl), ("dialect", dialect or "")):
            if not isinstance(text, str):
                raise InvalidInput(f"is {type(text).__name__}; give a text", field=name)
        return cls("tables", (ddl,), dialect=dialect or "")

    @property
    def num_chars(self) -> int:
        """The length of all texts together."""
        return sum(map(len, chain(self.texts, self.namespaces)))

    def read(self) -> Catalog:
        """Reads the texts; raises as `Catalog.of_tools` and `Catalog.of_tables`."""
        if self.kind == "tools":
            tools = parse_tools(self.texts, namespaces=self.namespaces)
            items = tuple(item_of_tool(tool) for tool in tools.tools)
            return Catalog("tools", items, tools.unparsed, tools.warnings, digest=self.digest)
        (ddl,) = self.texts
        tables = parse_tables(ddl, dialect=self.dialect or None)
        items = tuple(item_of_table(table) for table in tables.tables)
        return Catalog("tables", items, tables.unparsed, tables.warnings, tables.dialect, self.digest)


def _digest(texts: Iterable[str]) -> bytes:
    made = blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        made.update(len(encoded).to_bytes(8, "little"))
        made.update(encoded)
    return made.digest()


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column and the table it belongs to."""

    table: Table
    column: Column


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that may be selected.

    `index` is its position in the request, `words` the text for BM25 with less telling words in `details`, and
    `subject` what its document is written from (a plain document is itself). `references` are the tables that its
    foreign keys name, as written.
    """

    name: str
    index: int
    source: str
    namespace: str
    words: str
    subject: Tool | Table | TableColumn | str
    references: tuple[str, ...] = ()
    details: str = ""


def item_of_tool(tool: Tool) -> Item:
    """Makes the item of a tool."""
    words, details = lexical_text(tool), lexical_details(tool)
    return Item(tool.name, tool.index, tool.source, tool.namespace, words, tool, details=details)


def item_of_table(table: Table) -> Item:
    """Makes the item of a table."""
    references = tuple(key.target_table for key in table.foreign_keys)
    words, details = lexical_text(table), lexical_details(table)
    return Item(table.full_name, table.index, table.source, table.namespace, words, table, references, details)


def item_of_column(table: Table, column: Column, index: int) -> Item:
    """Makes the item of a column."""
    text = column_document(table, column)
    return Item(column.name, index, "", table.full_name, text, TableColumn(table, column))


def item_of_document(text: str, index: int) -> Item:
    """Makes the item of a plain document."""
    return Item("", index, text, "", text, text)


def write_document(item: Item) -> str:
    """Writes the whole document that the models read for an item; a plain one is cut to its first 4,000 characters."""
    match item.subject:
        case Tool():
            return tool_document(item.subject)
        case Table():
            return table_document(item.subject)
        case TableColumn(table, column):
            return column_document(table, column)
        case text:
            return text[:_MAX_EMBEDDED_CHARS]


def fit_document(item: Item, count_tokens: CountTokens, budget_tokens: int, whole_tokens: int | None = None) -> Fitted:
    """Writes the document of an item within a token budget; `whole_tokens` are those of the whole one, if known.

    A plain document ignores the budget.
    """
    match item.subject:
        case Tool():
            return fit_tool(item.subject, count_tokens, budget_tokens, whole_tokens)
        case Table():
            return fit_table(item.subject, count_tokens, budget_tokens, whole_tokens)
        case TableColumn(table, column):
            return fit_column(table, column, count_tokens, budget_tokens)
        case _:
            return Fitted(write_document(item))


def find_pinned(items: Sequence[Item], names: Sequence[str]) -> tuple[frozenset[int], list[str]]:
    """Returns the places of the items with these names, and a warning for each name that no item has.

    A name matches with its namespace and without.
    """
    wanted = set(names)
    pinned = frozenset(place for place, item in enumerate(items) if item.name in wanted or _bare(item) in wanted)
    found = {name for place in pinned for name in (items[place].name, _bare(items[place]))}
    unknown = [name for name in dict.fromkeys(names) if name not in found]
    return pinned, [f"always_include: no candidate is named {name!r}" for name in unknown]


def _bare(item: Item) -> str:
    return item.name.removeprefix(item.namespace + ".") if item.namespace else item.name
