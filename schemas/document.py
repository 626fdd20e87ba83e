"""Defines the plain values that parsing yields and serialising reads: tools, tables and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Column", "ForeignKey", "Parameter", "ParsedTables", "ParsedTools", "Table", "Tool", "Unparsed"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a tool, nested ones flattened in reading order.

    `path` is dotted, array levels marked ``[]`` (``items[].price``); `depth` is 0 at the top level. `type` is a short
    phrase (``string``, ``array of integer``, ``object``, ``string or null``), empty if unknown.
    `enum` holds the allowed values as text; `default` is None where there is none.
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
    """One callable tool; `source` is its exact slice of the caller's text, `index` its place once flattened, from 0."""

    name: str
    description: str = ""
    title: str = ""
    namespace: str = ""
    parameters: tuple[Parameter, ...] = ()
    source: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; `type` as the dialect writes it, lower case."""

    name: str
    type: str = ""
    comment: str = ""
    is_primary_key: bool = False
    enum: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference from `columns` to `target_columns` of `target_table`; the latter may be empty (its primary key)."""

    columns: tuple[str, ...]
    target_table: str
    target_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One table or view.

    `namespace` is its catalog and schema, dotted, as written; `kind` is ``table``, ``view`` or ``materialized view``.
    `source` is the exact text of its CREATE and of the statements attached to it, in script order, joined by newlines.
    """

    name: str
    namespace: str = ""
    kind: str = "table"
    comment: str = ""
    columns: tuple[Column, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    source: str = ""
    index: int = 0

    @property
    def full_name(self) -> str:
        """The name with its namespace, as one would write it in a query."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Unparsed:
    """Something left out, and why.

    `index` is its place in the request from 0: of the statement, or among all tools of all texts, those left out
    included. `line` and `column` count from 1 in the text number `text_index`, 0 where they are not known. `name` is
    empty where none could be read.
    """

    index: int
    name: str
    reason: str
    line: int = 0
    column: int = 0
    text_index: int = 0


@dataclass(frozen=True, slots=True)
class ParsedTools:
    """The tools of a request in order, what was left out, and what was odd but usable."""

    tools: tuple[Tool, ...]
    unparsed: tuple[Unparsed, ...] = ()
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ParsedTables:
    """The tables of a script in order, the statements left out, and what was odd but usable."""

    tables: tuple[Table, ...]
    unparsed: tuple[Unparsed, ...] = ()
    warnings: tuple[str, ...] = ()
    dialect: str = ""
