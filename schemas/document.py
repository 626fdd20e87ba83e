"""Defines the values that parsing returns and serialising reads: tools, tables, and what could not be parsed."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Column", "ForeignKey", "Parameter", "ParsedTables", "ParsedTools", "Table", "Tool", "Unparsed"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a tool. Nested parameters are flattened: each follows the parameter that contains it.

    `path` is dotted, with ``[]`` for the elements of an array (``items[].price``); `depth` is 0 at the top level.
    `type` is a short phrase (``string``, ``array of integer``, ``string or null``), empty if unknown.
    `enum` holds the allowed values as text; `default` is None if there is no default.
    """

    name: str
    path: str
    type: str = ""
    description: str = ""
    enum: tuple[str, ...] = ()
    default: str | None = None
    required: bool = False
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool; `source` is its exact slice of the caller's text, `index` its position among all entries, from 0.

    `namespace_description` is what the object that holds the tool (a server, an agent, a namespace) says of itself.
    """

    name: str
    description: str = ""
    title: str = ""
    namespace: str = ""
    parameters: tuple[Parameter, ...] = ()
    source: str = ""
    index: int = 0
    namespace_description: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; `type` is as written in the script, in lower case."""

    name: str
    type: str = ""
    comment: str = ""
    is_primary_key: bool = False
    enum: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference from `columns` to `target_columns` of `target_table`; no target columns mean its primary key.

    `constraints` are the names by which a migration may drop the key; they are ignored when keys are compared.
    """

    columns: tuple[str, ...]
    target_table: str
    target_columns: tuple[str, ...] = ()
    constraints: tuple[str, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Table:
    """One table or view.

    `namespace` is its catalog and schema as written, joined by dots. `kind` is ``table``, ``view`` or
    ``materialized view``. `source` is the exact text of its CREATE statement and of the other statements about it
    (ALTER TABLE, CREATE INDEX, COMMENT ON), in script order, joined by newlines. `index` is its position among all
    tables and views of the script, from 0.

    A table may represent a family: itself and its partitions, or date-sharded tables such as ``events_20240101``, which
    are then one table ``events_*``. `members` are the others of the family, in script order; the other fields are the
    parent's, or without a parent the first member's. `foreign_keys` are those of the whole family.
    """

    name: str
    namespace: str = ""
    kind: str = "table"
    comment: str = ""
    columns: tuple[Column, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    source: str = ""
    index: int = 0
    members: tuple[Table, ...] = ()

    @property
    def full_name(self) -> str:
        """The name with its namespace, as a query writes it."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A tool or a statement that could not be parsed, and the reason.

    `index` is the position, from 0, of the statement in the script, or of the tool among the entries of all texts,
    parsed or not. `line` and `column` count from 1 within text number `text_index`; 0 means unknown. `name` is empty
    if none could be read.
    """

    index: int
    name: str
    reason: str
    line: int = 0
    column: int = 0
    text_index: int = 0


@dataclass(frozen=True, slots=True)
class ParsedTools:
    """The tools of a request in order, the entries that could not be parsed, and warnings about those that could."""

    tools: tuple[Tool, ...]
    unparsed: tuple[Unparsed, ...] = ()
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ParsedTables:
    """The tables of a script in order, the statements that could not be parsed, and warnings about the others.

    A family of partitions or shards is one table.
    `dialect` is the dialect that the script was read in; empty means SQL common to all dialects.
    """

    tables: tuple[Table, ...]
    unparsed: tuple[Unparsed, ...] = ()
    warnings: tuple[str, ...] = ()
    dialect: str = ""
