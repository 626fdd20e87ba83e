"""Defines a catalog: parsed tools, tables or documents, ready to be ranked for any number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

from shortlist.router.items import Item, item_of_document, item_of_table, item_of_tool
from shortlist.schemas.document import Table, Unparsed
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind, texts_of
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools
from shortlist.schemas.tools.texts import Tools, tool_texts

__all__ = ["Catalog", "CatalogText"]


@dataclass(frozen=True, slots=True)
class CatalogText:
    """The texts of a catalog, as a caller sent them."""

    kind: Kind
    texts: tuple[str, ...]
    namespaces: tuple[str, ...] = ()
    dialect: str = ""

    @classmethod
    def of_tools(cls, tools: Tools, namespaces: Sequence[str] = ()) -> CatalogText:
        """Takes JSON texts or mappings, each one tool or a container of many; raises as `Catalog.of_tools`."""
        texts, owners = tuple(tool_texts(tools)), texts_of("namespaces", namespaces)
        if owners and len(owners) != len(texts):
            raise InvalidInput(f"are {len(owners)} for {len(texts)} tool texts; give one each", field="namespaces")
        return cls("tools", texts, owners)

    @classmethod
    def of_tables(cls, ddl: str, dialect: str | None = None) -> CatalogText:
        """Takes a DDL script; raises as `Catalog.of_tables`."""
        for field, text in (("ddl", ddl), ("dialect", dialect or "")):
            if not isinstance(text, str):
                raise InvalidInput(f"is {type(text).__name__}; give a text", field=field)
        return cls("tables", (ddl,), dialect=dialect or "")

    @property
    def num_chars(self) -> int:
        """The length of all texts together."""
        return sum(map(len, chain(self.texts, self.namespaces)))

    def digest(self) -> bytes:
        """Returns a 16-byte hash of the texts, their order, the kind and the dialect."""
        return _digest(chain([self.kind, self.dialect, str(len(self.texts))], self.texts, self.namespaces))

    def read(self) -> Catalog:
        """Reads the texts; raises as `Catalog.of_tools` and `Catalog.of_tables`."""
        if self.kind == "tools":
            tools = parse_tools(self.texts, namespaces=self.namespaces)
            items = tuple(item_of_tool(tool) for tool in tools.tools)
            return Catalog("tools", items, tools.unparsed, tools.warnings, digest=self.digest())
        (ddl,) = self.texts
        tables = parse_tables(ddl, dialect=self.dialect or None)
        items = tuple(item_of_table(table) for table in tables.tables)
        return Catalog("tables", items, tables.unparsed, tables.warnings, tables.dialect, self.digest())


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


def _digest(texts: Iterable[str]) -> bytes:
    made = blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        made.update(len(encoded).to_bytes(8, "little"))
        made.update(encoded)
    return made.digest()
