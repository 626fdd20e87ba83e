"""Writes a tool or a table as the document that the cross-encoder reads.

The document is plain text, the most telling parts first: namespace, name, description, then parameters or columns.
If it exceeds a budget in tokens, parts are left out in this order: nested parameters, details (types, defaults, enums,
comments), parameters or columns from the end, all the rest of them, the end of the description, the title, the
namespace. The models are trained on exactly this text: changing it changes scores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from shortlist.schemas.document import Column, Parameter, Table, Tool

__all__ = ["CountTokens", "column_document", "lexical_text", "split_name", "table_document", "tool_document"]

CountTokens = Callable[[str], int]

# Where an identifier is split: a|B and A|Bc. Digits stay with the letters before them (v2, s3).
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\s_\-./:$#@|\\]+")
_MAX_ENUM_VALUES = 12
_MAX_DEFAULT_CHARS = 40
_MAX_DETAIL_CHARS = 400
_MAX_CHARS_PER_TOKEN = 64
# Words in the names of partitions that say nothing about their rows.
_PART_WORDS = frozenset({"p", "prt", "part", "partition", "default", "chunk", "hyper", "shard"})
_MAX_PARTS = 24


def split_name(name: str) -> str:
    """Splits an identifier into lower-case words: ``getHTTPStatus_v2`` becomes ``get http status v2``."""
    words = _SEPARATORS.sub(" ", _CAMEL.sub(" ", name))
    return words.strip().lower() or name.strip().lower()


def tool_document(tool: Tool, *, count_tokens: CountTokens | None = None, budget_tokens: int | None = None) -> str:
    """Writes a tool as ``namespace: name. title. description`` and a line of parameters.

    With `count_tokens` and `budget_tokens`, returns the fullest document that fits. The name is always kept, even if
    it alone exceeds the budget.
    """
    heads = _tool_heads(tool)
    return _fit(heads, _one_line(tool.description), lambda: _tool_details(tool), count_tokens, budget_tokens)


def table_document(table: Table, *, count_tokens: CountTokens | None = None, budget_tokens: int | None = None) -> str:
    """Writes a table as ``namespace: name. comment``, a line of columns and a line of foreign keys.

    The comment of a family is followed by what distinguishes its members (``parts: europe, asia``), except dates and
    numbers. The budget works as in `tool_document`.
    """
    heads = _table_heads(table)
    return _fit(heads, _table_description(table), lambda: _table_details(table), count_tokens, budget_tokens)


def column_document(table: Table, column: Column) -> str:
    """Writes one column with the name and comment of its table."""
    head = _sentence(_table_heads(table)[0], _one_line(table.comment))
    return f"{head} column: {_column(column, True, True)}"


def lexical_text(item: Tool | Table) -> str:
    """Writes the text that BM25 searches: names, descriptions, and the names of parameters, columns and parts."""
    if isinstance(item, Tool):
        names = " ".join(parameter.name for parameter in item.parameters)
        return _joined(item.namespace, item.name, item.title, item.description, names)
    columns = " ".join(f"{column.name} {column.comment}" for column in item.columns)
    return _joined(item.namespace, item.name, item.comment, columns, " ".join(_part_names(item)))


def _tool_heads(tool: Tool) -> tuple[str, ...]:
    """Returns the head, the head without title, and the name alone, without namespace."""
    name = split_name(tool.name)
    title = _one_line(tool.title)
    titled = f"{name} ({title})" if title and split_name(title) != name else name
    return _in_namespace(tool.namespace, titled), _in_namespace(tool.namespace, name), name


def _table_heads(table: Table) -> tuple[str, ...]:
    kind = "" if table.kind == "table" else f"{table.kind} "
    name = kind + split_name(table.name.removesuffix("*") if table.members else table.name)
    return _in_namespace(table.namespace, name), name


def _table_description(table: Table) -> str:
    comment, parts = _one_line(table.comment), ", ".join(_part_names(table))
    parts = f"parts: {parts}" if parts else ""
    return _sentence(comment, parts) if comment else parts


def _part_names(table: Table) -> list[str]:
    """Returns the words of a family's members that its own name lacks, without numbers, up to a few."""
    known = {*split_name(table.name).split(), *_PART_WORDS}
    words = dict.fromkeys(word for member in table.members for word in split_name(member.name).split())
    return list(islice((word for word in words if word.isalpha() and word not in known), _MAX_PARTS))


def _in_namespace(namespace: str, name: str) -> str:
    words = split_name(namespace)
    return f"{words}: {name}" if words else name


def _tool_details(tool: Tool) -> Iterator[str]:
    """Yields the line of parameters, each time with less in it."""
    parameters = tool.parameters
    if not parameters:
        return
    deepest = max(p.depth for p in parameters)
    for depth in range(deepest, -1, -1):
        kept = [p for p in parameters if p.depth <= depth]
        yield _parameter_line(kept, detail=3)
    top = [p for p in parameters if p.depth == 0]
    for detail in (2, 1, 0):
        yield _parameter_line(top, detail=detail)
    yield from (_parameter_line(top[:count], detail=0) for count in _halvings(len(top)))


def _table_details(table: Table) -> Iterator[str]:
    columns = table.columns
    keys = _foreign_keys(table)
    if not columns:
        if keys:
            yield keys
        return
    for types, comments in ((True, True), (False, True)):
        yield _joined(_column_line(columns, types, comments), keys)
    yield _column_line(columns, False, True)
    yield _joined(_column_line(columns, False, False), keys)
    yield _column_line(columns, False, False)
    yield from (_column_line(columns[:count], False, False) for count in _halvings(len(columns)))


def _parameter_line(parameters: Sequence[Parameter], *, detail: int) -> str:
    return "parameters: " + "; ".join(_parameter(p, detail) for p in parameters)


def _parameter(parameter: Parameter, detail: int) -> str:
    """Writes one parameter: `detail` 3 is all, 2 leaves out type and default, 1 also the enum, 0 all but the name."""
    text = split_name(parameter.path.replace("[]", ""))
    if detail >= 3 and parameter.type and parameter.type != "string":
        text += f" ({parameter.type})"
    if detail >= 1 and parameter.description:
        text += f": {_clip(_one_line(parameter.description))}"
    if detail >= 2 and parameter.enum:
        text += f" [{_values(parameter.enum)}]"
    if detail >= 3 and parameter.default:
        text += f" = {parameter.default[:_MAX_DEFAULT_CHARS]}"
    return text


def _column_line(columns: Sequence[Column], types: bool, comments: bool) -> str:
    return "columns: " + "; ".join(_column(c, types, comments) for c in columns)


def _column(column: Column, types: bool, comments: bool) -> str:
    text = split_name(column.name)
    facts = [_short_type(column.type)] if types and column.type else []
    if types and column.is_primary_key:
        facts.append("primary key")
    if facts:
        text += f" ({', '.join(facts)})"
    if comments and column.comment:
        text += f": {_clip(_one_line(column.comment))}"
    if comments and column.enum:
        text += f" [{_values(column.enum)}]"
    return text


def _short_type(type_text: str) -> str:
    """Returns a type without length and precision, which say nothing about the purpose of a column."""
    return re.sub(r"\([^()]*\)", "", type_text).strip().lower()[:60]


def _foreign_keys(table: Table) -> str:
    if not table.foreign_keys:
        return ""
    targets = dict.fromkeys(split_name(key.target_table) for key in table.foreign_keys)
    return "references: " + ", ".join(targets)


def _values(values: Sequence[str]) -> str:
    shown = ", ".join(value[:_MAX_DEFAULT_CHARS] for value in values[:_MAX_ENUM_VALUES])
    return shown + (", …" if len(values) > _MAX_ENUM_VALUES else "")


def _halvings(count: int) -> Iterator[int]:
    while count > 1:
        count //= 2
        yield count


def _fit(
    heads: Sequence[str],
    description: str,
    details: Callable[[], Iterator[str]],
    count_tokens: CountTokens | None,
    budget_tokens: int | None,
) -> str:
    """Returns as much of head, description and details as fits the budget."""
    if count_tokens is None or budget_tokens is None:
        return _joined(_sentence(heads[0], description), next(details(), ""))
    # Tokenizing a description of megabytes would be slow, and it could not fit.
    description = description[: budget_tokens * _MAX_CHARS_PER_TOKEN]
    lead = _sentence(heads[0], description)
    if count_tokens(lead) > budget_tokens:
        head = next((head for head in heads if count_tokens(head) <= budget_tokens), heads[-1])
        return _shorten(head, description, count_tokens, budget_tokens)
    for detail in details():
        text = _joined(lead, detail)
        if count_tokens(text) <= budget_tokens:
            return text
    return lead


def _shorten(head: str, description: str, count_tokens: CountTokens, budget_tokens: int) -> str:
    """Cuts the description to fit, by bisection over characters: not every language separates words by spaces."""
    low, high = 0, len(description)
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(_sentence(head, description[:middle])) <= budget_tokens:
            low = middle
        else:
            high = middle - 1
    return _sentence(head, description[:low].rstrip())


def _sentence(head: str, description: str) -> str:
    return f"{head}. {description}" if description else head


def _joined(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _clip(text: str) -> str:
    return text if len(text) <= _MAX_DETAIL_CHARS else text[:_MAX_DETAIL_CHARS].rstrip() + "…"
