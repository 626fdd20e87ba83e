"""The forms in which a document may be written, for comparison: prose, whole and in part, JSON, DDL and others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from shortlist.schemas.document import Table, Tool
from shortlist.schemas.serialise import CountTokens, split_name, table_document, tool_document

__all__ = ["FORMS", "Form"]

# Writes an item within a token budget if the form supports one; the text of other forms is cut later.
Write = Callable[[CountTokens | None, int | None], str]
Form = Callable[[Tool | Table], Write]


def tool_prose(change: Callable[[Tool], Tool]) -> Form:
    """Makes the form that ships, applied to a changed tool."""
    return lambda item: (
        lambda count, budget: tool_document(change(_tool(item)), count_tokens=count, budget_tokens=budget)
    )


def table_prose(change: Callable[[Table], Table]) -> Form:
    """Makes the form that ships, applied to a changed table."""
    return lambda item: (
        lambda count, budget: table_document(change(_table(item)), count_tokens=count, budget_tokens=budget)
    )


def tool_text(text: Callable[[Tool], str]) -> Form:
    """Makes a form of a tool that is cut wherever the budget ends."""
    return lambda item: lambda _count, _budget: text(_tool(item))


def table_text(text: Callable[[Table], str]) -> Form:
    """Makes a form of a table that is cut wherever the budget ends."""
    return lambda item: lambda _count, _budget: text(_table(item))


def _tool(item: Tool | Table) -> Tool:
    assert isinstance(item, Tool)
    return item


def _table(item: Tool | Table) -> Table:
    assert isinstance(item, Table)
    return item


def tool_json(tool: Tool) -> str:
    """Writes the JSON Schema of a tool as an API receives it."""
    properties = {p.path: {"type": p.type, "description": p.description} for p in tool.parameters}
    return json.dumps(
        {"name": tool.name, "description": tool.description, "parameters": {"properties": properties}},
        ensure_ascii=False,
    )


def tool_signature(tool: Tool) -> str:
    """Writes a Python signature with the description as a comment."""
    arguments = ", ".join(f"{p.path}: {p.type or 'any'}" for p in tool.parameters if p.depth == 0)
    return f"{tool.name}({arguments})  # {tool.description}"


def table_ddl(table: Table) -> str:
    """Writes a CREATE TABLE statement without comments."""
    lines = [f"{column.name} {column.type}" for column in table.columns]
    lines += [f"foreign key ({', '.join(k.columns)}) references {k.target_table}" for k in table.foreign_keys]
    return f"CREATE TABLE {table.full_name} ({', '.join(lines)})"


def table_json(table: Table) -> str:
    """Writes a table as the API of a data catalog returns it."""
    columns = [{"name": c.name, "type": c.type, "comment": c.comment} for c in table.columns]
    return json.dumps({"table": table.full_name, "comment": table.comment, "columns": columns}, ensure_ascii=False)


def table_compact(table: Table) -> str:
    """Writes the compact form that many text-to-SQL prompts use."""
    return f"{table.full_name}({', '.join(column.name for column in table.columns)})"


def unsplit(name: str) -> str:
    """Joins the parts of a name, so that the writer does not split it."""
    return split_name(name).replace(" ", "")


# By kind; the first form of each kind is the one that ships.
FORMS: Mapping[str, Mapping[str, Form]] = {
    "tools": {
        "prose (ours)": tool_prose(lambda t: t),
        "prose, no types": tool_prose(
            lambda t: replace(t, parameters=tuple(replace(p, type="") for p in t.parameters))
        ),
        "prose, no enums or defaults": tool_prose(
            lambda t: replace(t, parameters=tuple(replace(p, enum=(), default=None) for p in t.parameters))
        ),
        "prose, no parameter descriptions": tool_prose(
            lambda t: replace(t, parameters=tuple(replace(p, description="") for p in t.parameters))
        ),
        "prose, no parameters": tool_prose(lambda t: replace(t, parameters=())),
        "prose, no description": tool_prose(lambda t: replace(t, description="")),
        "prose, names not split": tool_prose(lambda t: replace(t, name=unsplit(t.name))),
        "prose, no namespace": tool_prose(lambda t: replace(t, namespace="")),
        "signature": tool_text(tool_signature),
        "JSON": tool_text(tool_json),
    },
    "tables": {
        "prose (ours)": table_prose(lambda t: t),
        "prose, no types": table_prose(lambda t: replace(t, columns=tuple(replace(c, type="") for c in t.columns))),
        "prose, no comments": table_prose(
            lambda t: replace(t, comment="", columns=tuple(replace(c, comment="", enum=()) for c in t.columns))
        ),
        "prose, no foreign keys": table_prose(lambda t: replace(t, foreign_keys=())),
        "prose, no columns": table_prose(lambda t: replace(t, columns=())),
        "prose, names not split": table_prose(
            lambda t: replace(
                t, name=unsplit(t.name), columns=tuple(replace(c, name=unsplit(c.name)) for c in t.columns)
            )
        ),
        "compact": table_text(table_compact),
        "DDL": table_text(table_ddl),
        "JSON": table_text(table_json),
    },
}
