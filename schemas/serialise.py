"""Writes a tool or a table as the document that the cross-encoder reads.

The document is plain text, the most telling parts first: namespace, name, description, then parameters or columns.
The models are trained on exactly this text: changing it changes scores. If it exceeds a budget in tokens,
`schemas/fitting.py` shortens it by the plans in this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from shortlist.schemas.document import Column, Parameter, Table, Tool
from shortlist.schemas.fitting import CountTokens, Detail, Draft, Entry, Fitted, Step, fit, write_whole

__all__ = [
    "CountTokens",
    "Fitted",
    "column_document",
    "fit_column",
    "fit_table",
    "fit_tool",
    "lexical_details",
    "lexical_text",
    "split_name",
    "table_document",
    "tool_document",
]

# Where an identifier is split: a|B and A|Bc. Digits stay with the letters before them (v2, s3).
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\s_\-./:$#@|\\]+")
# Parameters that many tools have and that say nothing about what one is for.
_PAGING = frozenset(
    {"after", "before", "cursor", "limit", "max results", "next token", "offset", "page", "page number", "page size"}
    | {"page token", "per page", "starting after"}
)
# The last words of the columns that say best what a row of a table is.
_TELLING = frozenset({"name", "title", "label", "type", "kind", "status", "state", "category", "code", "description"})
# How much of the room a description gets before the names of parameters do, and how many bytes what is said about each
# of them gets before the rest of the description does.
_DESCRIPTION_SHARE = 0.8
_NAME_SHARE = 0.25  # of the room, for a namespace or a title at first
_SHORT_BYTES = 60
# How much of the room the description gets before the values of required and enumerated parameters do, and these at
# most.
_FIRST_SHARE, _VALUES_SHARE = 0.5, 0.3
_PAGING_RANK = 2
_KEY, _TELLING_COLUMN, _PLAIN_COLUMN = range(3)
# Words in the names of partitions that say nothing about their rows.
_PART_WORDS = frozenset({"p", "prt", "part", "partition", "default", "chunk", "hyper", "shard"})
_MAX_PARTS = 24


def split_name(name: str) -> str:
    """Splits an identifier into lower-case words: ``getHTTPStatus_v2`` becomes ``get http status v2``."""
    words = _SEPARATORS.sub(" ", _CAMEL.sub(" ", name))
    return words.strip().lower() or name.strip().lower()


def tool_document(tool: Tool, *, count_tokens: CountTokens | None = None, budget_tokens: int | None = None) -> str:
    """Writes a tool as ``namespace: name (title). description`` and a line of parameters.

    The description of its namespace follows its own.

    With `count_tokens` and `budget_tokens`, returns the fullest document that fits, as `fit_tool`.
    """
    if count_tokens is None or budget_tokens is None:
        return write_whole(_draft_tool(tool))
    return fit_tool(tool, count_tokens, budget_tokens).text


def table_document(table: Table, *, count_tokens: CountTokens | None = None, budget_tokens: int | None = None) -> str:
    """Writes a table as ``namespace: name. comment``, a line of columns and a line of foreign keys.

    The comment of a family is followed by what distinguishes its members (``parts: europe, asia``), except dates and
    numbers. The budget works as in `tool_document`.
    """
    if count_tokens is None or budget_tokens is None:
        return write_whole(_draft_table(table))
    return fit_table(table, count_tokens, budget_tokens).text


def fit_tool(tool: Tool, count_tokens: CountTokens, budget_tokens: int, whole_tokens: int | None = None) -> Fitted:
    """Writes a tool within a budget. The name is always kept, even if it alone exceeds the budget.

    Room goes to the beginning of the description, the names of parameters, required and enumerated ones first and
    those for paging last, the beginnings of what is said about them, and then to the rest of everything.
    `whole_tokens` is the number of tokens of the whole document, if it is known.
    """
    return fit(_draft_tool(tool), count_tokens, budget_tokens, whole_tokens)


def fit_table(table: Table, count_tokens: CountTokens, budget_tokens: int, whole_tokens: int | None = None) -> Fitted:
    """Writes a table within a budget; as `fit_tool`, with keys, commented and telling columns (``name``) first."""
    return fit(_draft_table(table), count_tokens, budget_tokens, whole_tokens)


def column_document(table: Table, column: Column) -> str:
    """Writes one column with the name and comment of its table."""
    return write_whole(_draft_column(table, column))


def fit_column(table: Table, column: Column, count_tokens: CountTokens, budget_tokens: int) -> Fitted:
    """Writes one column within a budget; the comment of its table is shortened first."""
    return fit(_draft_column(table, column), count_tokens, budget_tokens)


def lexical_text(item: Tool | Table) -> str:
    """Writes the text that BM25 searches: names, descriptions, and the names of parameters, columns and parts."""
    if isinstance(item, Tool):
        names = " ".join(parameter.name for parameter in item.parameters)
        return _joined(item.namespace, item.namespace_description, item.name, item.title, item.description, names)
    columns = " ".join(f"{column.name} {column.comment}" for column in item.columns)
    return _joined(item.namespace, item.name, item.comment, columns, " ".join(_part_names(item)))


def lexical_details(item: Tool | Table) -> str:
    """Writes the text that BM25 searches too, with less weight: what is said about parameters, and all values."""
    if isinstance(item, Tool):
        return _joined(*(_joined(one.description, *one.enum) for one in item.parameters))
    return _joined(*(_joined(*column.enum) for column in item.columns))


def _draft_tool(tool: Tool) -> Draft:
    name, title = split_name(tool.name), _one_line(tool.title)
    namespace = _namespace(tool.namespace)
    titles = [Detail("title", title, " (", ")")] if title and split_name(title) != name else []
    described = _described(f"{tool.description} {tool.namespace_description}", "words of the description")
    entries = [_parameter_entry(parameter) for parameter in tool.parameters]
    pairs = sorted(zip(tool.parameters, entries, strict=True), key=lambda pair: _parameter_rank(pair[0]))
    top = [entry for parameter, entry in pairs if parameter.depth == 0]
    first = [entry for parameter, entry in pairs if parameter.depth == 0 and _parameter_rank(parameter) == 0]
    telling = [
        entry for parameter, entry in pairs if parameter.depth == 0 and _parameter_rank(parameter) < _PAGING_RANK
    ]
    nested = [entry for parameter, entry in pairs if parameter.depth > 0]
    first_nested = [entry for parameter, entry in pairs if parameter.depth > 0 and _parameter_rank(parameter) == 0]
    plan = (
        Step(details=namespace, share=_NAME_SHARE),
        Step(details=titles, share=_NAME_SHARE),
        Step(details=described, share=_FIRST_SHARE),
        Step(entries=first),
        Step(details=_values(first), share=_VALUES_SHARE),
        Step(details=described, share=_DESCRIPTION_SHARE),
        Step(details=_said(first), most_bytes=_SHORT_BYTES // 2),
        Step(entries=[entry for entry in top if entry not in first]),
        Step(entries=first_nested),
        Step(details=_values(first_nested), share=_NAME_SHARE),
        Step(details=_said(telling), most_bytes=_SHORT_BYTES),
        Step(details=described),
        Step(details=_said(top), most_bytes=_SHORT_BYTES),
        Step(entries=nested),
        Step(details=_said(top)),
        Step(details=_said(nested)),
        Step(details=[*titles, *namespace]),
        Step(details=_facts([*top, *nested])),
    )
    return Draft(name, plan, namespace, [*titles, *described], "parameters: ", entries)


def _draft_table(table: Table) -> Draft:
    namespace, described = _namespace(table.namespace), _described(_table_description(table), "words of the comment")
    entries = [_column_entry(column) for column in table.columns]
    linked = {name.lower() for key in table.foreign_keys for name in key.columns}
    pairs = sorted(
        zip((_column_rank(column, linked) for column in table.columns), entries, strict=True), key=lambda pair: pair[0]
    )
    first = [entry for rank, entry in pairs if rank <= _TELLING_COLUMN]
    others = [entry for rank, entry in pairs if rank > _TELLING_COLUMN]
    targets = tuple(dict.fromkeys(split_name(key.target_table) for key in table.foreign_keys))
    references = [Detail("references", ", ".join(targets), "references: ", values=targets)] if targets else []
    plan = (
        Step(details=namespace, share=_NAME_SHARE),
        Step(details=described, share=_DESCRIPTION_SHARE),
        Step(entries=first),
        Step(details=references, share=_NAME_SHARE),
        Step(details=_said(first), most_bytes=_SHORT_BYTES),
        Step(entries=others),
        Step(details=described),
        Step(details=references),
        Step(details=_said(first)),
        Step(details=namespace),
        Step(details=_facts([*first, *others])),
    )
    return Draft(_kind_and_name(table), plan, namespace, described, "columns: ", entries, references)


def _draft_column(table: Table, column: Column) -> Draft:
    namespace, described = _namespace(table.namespace), _described(table.comment, "words of the comment")
    entry = _column_entry(column)
    name = Detail("columns", entry.name, " column: ", is_whole=True)
    plan = (
        Step(details=[name]),
        Step(details=namespace, share=_NAME_SHARE),
        Step(details=_said([entry]), share=0.5),
        Step(details=described),
        Step(details=_said([entry])),
        Step(details=namespace),
        Step(details=_facts([entry])),
    )
    return Draft(_kind_and_name(table), plan, namespace, [*described, name, *entry.details])


def _namespace(namespace: str) -> list[Detail]:
    return [Detail("namespace", words, after=": ", is_whole=True)] if (words := split_name(namespace)) else []


def _kind_and_name(table: Table) -> str:
    kind = "" if table.kind == "table" else f"{table.kind} "
    return kind + split_name(table.name.removesuffix("*") if table.members else table.name)


def _table_description(table: Table) -> str:
    comment, parts = _one_line(table.comment), ", ".join(_part_names(table))
    return ". ".join(filter(None, [comment, f"parts: {parts}" if parts else ""]))


def _part_names(table: Table) -> list[str]:
    """Returns the words of a family's members that its own name lacks, without numbers, up to a few."""
    known = {*split_name(table.name).split(), *_PART_WORDS}
    words = dict.fromkeys(word for member in table.members for word in split_name(member.name).split())
    return list(islice((word for word in words if word.isalpha() and word not in known), _MAX_PARTS))


def _described(text: str, kind: str) -> list[Detail]:
    return [Detail(kind, line, ". ", mark="")] if (line := _one_line(text)) else []


def _parameter_entry(parameter: Parameter) -> Entry:
    kind, details = "parameter details", []
    if parameter.type and parameter.type != "string":
        details.append(Detail(kind, parameter.type, " (", ")", is_whole=True))
    if parameter.description and (line := _one_line(parameter.description)):
        details.append(Detail(kind, line, ": "))
    if parameter.enum:
        details.append(Detail(kind, ", ".join(parameter.enum), " [", "]", parameter.enum))
    if parameter.default:
        details.append(Detail(kind, parameter.default, " = "))
    return Entry("parameters", split_name(parameter.path.replace("[]", "")), tuple(details))


def _column_entry(column: Column) -> Entry:
    kind, details = "column details", []
    facts = [_short_type(column.type)] if column.type else []
    if column.is_primary_key:
        facts.append("primary key")
    if facts:
        details.append(Detail(kind, ", ".join(facts), " (", ")", is_whole=True))
    if column.comment and (line := _one_line(column.comment)):
        details.append(Detail(kind, line, ": "))
    if column.enum:
        details.append(Detail(kind, ", ".join(column.enum), " [", "]", column.enum))
    return Entry("columns", split_name(column.name), tuple(details))


def _said(entries: Iterable[Entry]) -> list[Detail]:
    """Returns the descriptions and values of the entries."""
    return [detail for entry in entries for detail in entry.details if detail.before in (": ", " [")]


def _values(entries: Iterable[Entry]) -> list[Detail]:
    """Returns the allowed values of the entries."""
    return [detail for entry in entries for detail in entry.details if detail.values]


def _facts(entries: Iterable[Entry]) -> list[Detail]:
    """Returns the types and defaults of the entries."""
    return [detail for entry in entries for detail in entry.details if detail.before in (" (", " = ")]


def _parameter_rank(parameter: Parameter) -> int:
    if split_name(parameter.name) in _PAGING:
        return _PAGING_RANK
    return 0 if parameter.required or parameter.enum else 1


def _column_rank(column: Column, linked: set[str]) -> int:
    if column.is_primary_key or column.name.lower() in linked:
        return _KEY
    telling = column.comment or column.enum or split_name(column.name).rpartition(" ")[2] in _TELLING
    return _TELLING_COLUMN if telling else _PLAIN_COLUMN


def _short_type(type_text: str) -> str:
    """Returns a type without length and precision, which say nothing about the purpose of a column."""
    return re.sub(r"\([^()]*\)", "", type_text).strip().lower()[:60]


def _joined(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _one_line(text: str) -> str:
    return " ".join(text.split())
