"""Defines a catalog: parsed tools, tables or documents, ready to be ranked for any number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain

from shortlist.schemas.arguments import Tools, check_text, checked_texts, plain_script, plain_texts, tool_texts
from shortlist.schemas.document import Column, Table, Tool, Unparsed
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind
from shortlist.schemas.results import describe_nothing
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
from shortlist.schemas.tools.parse import parse_tools

__all__ = [
    "Catalog",
    "CatalogText",
    "Item",
    "Pinned",
    "TableColumn",
    "find_pinned",
    "fit_document",
    "item_of_column",
    "item_of_document",
    "item_of_table",
    "item_of_tool",
    "members_of",
    "write_document",
]


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
        texts, warnings = plain_texts("documents", documents)
        items = tuple(item_of_document(text, index) for index, text in enumerate(texts))
        return cls("documents", items, warnings=(*warnings, *_nothing_warning("documents", items, ())))

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables in order, a family as one; empty for other kinds of catalog."""
        return tuple(item.subject for item in self.items if isinstance(item.subject, Table))

    @property
    def documents(self) -> tuple[str, ...]:
        """The plain documents in order; empty for other kinds of catalog."""
        return tuple(item.source for item in self.items) if self.kind == "documents" else ()


@dataclass(frozen=True, slots=True)
class CatalogText:
    """The texts of a catalog, as a caller sent them.

    `warnings` say how the texts differ from what was sent. `digest` is a 16-byte hash of all fields; the cache and the
    catalog share it.
    """

    kind: Kind
    texts: tuple[str, ...]
    namespaces: tuple[str, ...] = ()
    dialect: str = ""
    warnings: tuple[str, ...] = ()
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        parts = chain([self.kind, self.dialect, str(len(self.texts))], self.texts, self.namespaces, self.warnings)
        object.__setattr__(self, "digest", _digest(parts))

    @classmethod
    def of_tools(cls, tools: Tools, namespaces: Sequence[str] = ()) -> CatalogText:
        """Takes JSON texts or mappings, each one tool or a container of many; raises as `Catalog.of_tools`."""
        texts, owners = tuple(tool_texts(tools)), checked_texts("namespaces", namespaces)
        if owners and len(owners) != len(texts):
            raise InvalidInput(
                f"has {len(owners)} entries for {len(texts)} tool texts; give one for each", field="namespaces"
            )
        return cls("tools", texts, owners)

    @classmethod
    def of_tables(cls, ddl: str, dialect: str | None = None) -> CatalogText:
        """Takes a DDL script; raises as `Catalog.of_tables`."""
        text, warnings = plain_script(ddl)
        return cls("tables", (text,), dialect=check_text("dialect", dialect or ""), warnings=warnings)

    @property
    def num_chars(self) -> int:
        """The length of all texts together."""
        return sum(map(len, chain(self.texts, self.namespaces)))

    def read(self) -> Catalog:
        """Reads the texts; raises as `Catalog.of_tools` and `Catalog.of_tables`."""
        if self.kind == "tools":
            tools = parse_tools(self.texts, namespaces=self.namespaces)
            items = tuple(item_of_tool(tool) for tool in tools.tools)
            warnings = (*tools.warnings, *_nothing_warning("tools", items, tools.unparsed))
            return Catalog("tools", items, tools.unparsed, warnings, digest=self.digest)
        from shortlist.schemas.sql.parse import parse_tables  # imports sqlglot, which only tables need

        (ddl,) = self.texts
        tables = parse_tables(ddl, dialect=self.dialect or None)
        items = tuple(item_of_table(table) for table in tables.tables)
        warnings = (*self.warnings, *tables.warnings, *_nothing_warning("tables", items, tables.unparsed))
        return Catalog("tables", items, tables.unparsed, warnings, tables.dialect, self.digest)


def _nothing_warning(kind: Kind, items: Sequence[Item], unparsed: Sequence[Unparsed]) -> list[str]:
    return [] if items else [describe_nothing(kind, len(unparsed))]


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
    """Writes the whole document that the models read for an item; a plain one is itself."""
    match item.subject:
        case Tool():
            return tool_document(item.subject)
        case Table():
            return table_document(item.subject)
        case TableColumn(table, column):
            return column_document(table, column)
        case text:
            return text


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


@dataclass(frozen=True, slots=True)
class Pinned:
    """The items that a caller names: the places of whole items, and members of families with their families' places.

    `warnings` has one for each name that neither an item nor a member has.
    """

    places: frozenset[int]
    members: tuple[tuple[int, Item], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def scored(self) -> frozenset[int]:
        """The places of the items that need a score: a member has the score of its family."""
        return self.places.union(place for place, _ in self.members)


def find_pinned(items: Sequence[Item], names: Sequence[str]) -> Pinned:
    """Returns the items and the members of families with these names; a name matches with its namespace and without."""
    if not names:
        return Pinned(frozenset())
    wanted = set(names)
    places = frozenset(place for place, item in enumerate(items) if item.name in wanted or _bare(item) in wanted)
    tables = [(place, table) for place, item in enumerate(items) for table in _members(item)]
    members = [(place, table) for place, table in tables if table.name in wanted or table.full_name in wanted]
    found = {name for place in places for name in (items[place].name, _bare(items[place]))}
    found.update(name for _, table in members for name in (table.name, table.full_name))
    unknown = [name for name in dict.fromkeys(names) if name not in found]
    return Pinned(
        places,
        tuple((place, item_of_table(table)) for place, table in members),
        tuple(f"always_include: no candidate is named {name!r}" for name in unknown),
    )


def members_of(item: Item) -> tuple[str, ...]:
    """Returns the full names of the tables that an item represents, if it is a family."""
    return tuple(table.full_name for table in _members(item))


def _members(item: Item) -> tuple[Table, ...]:
    return item.subject.members if isinstance(item.subject, Table) else ()


def _bare(item: Item) -> str:
    return item.name.removeprefix(item.namespace + ".") if item.namespace else item.name
