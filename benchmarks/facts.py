"""Holds what a script defines, and compares what Shortlist reads with what an engine or another parser reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from shortlist.schemas.document import Table

KINDS = ("tables", "columns", "primary keys", "foreign keys", "table comments", "column comments")
Key = tuple[tuple[str, ...], str, tuple[str, ...]]  # columns, target table without schema, target columns


@dataclass(slots=True)
class TableFacts:
    """A table or view, with its names in lower case.

    A view may have columns whose names follow from other tables (``SELECT *``) or from an expression: then `is_open`
    is true and columns beyond those listed are right too. `is_optional` is a table that was dropped, or whose statement
    the engine refused: it may be read or not.
    """

    name: str
    namespace: str = ""
    is_view: bool = False
    columns: list[str] = field(default_factory=list)
    primary_key: tuple[str, ...] = ()
    foreign_keys: list[Key] = field(default_factory=list)
    comment: str = ""
    column_comments: dict[str, str] = field(default_factory=dict)
    is_open: bool = False
    is_optional: bool = False
    is_family: bool = False  # and so has the keys of its members

    @property
    def full_name(self) -> str:
        """The name with its schema."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that only one side read; `kind` is one of KINDS."""

    kind: str
    is_lost: bool  # or else it is invented: only Shortlist reads it
    table: str
    what: str = ""

    @property
    def heading(self) -> str:
        """What is the same for all differences of a table and kind."""
        verb = "lost" if self.is_lost else "invented"
        return f"{verb} {self.kind} of {self.table}" if self.what else f"{verb} {self.kind}"


def facts_of_all(tables: Iterable[Table]) -> Iterator[TableFacts]:
    """Yields what Shortlist read of each table; a family gives its parent, if it has one, and its members."""
    for table in tables:
        parent_names = [] if table.members and table.name.endswith("*") else [table]
        for one in (*parent_names, *table.members):
            facts = _facts_of(one)
            facts.is_family = bool(table.members)
            yield facts


def _facts_of(table: Table) -> TableFacts:
    return TableFacts(
        table.name.lower(),
        table.namespace.lower(),
        table.kind != "table",
        [column.name.lower() for column in table.columns],
        tuple(column.name.lower() for column in table.columns if column.is_primary_key),
        [foreign_key(key.columns, key.target_table, key.target_columns) for key in table.foreign_keys],
        table.comment,
        {column.name.lower(): column.comment for column in table.columns if column.comment},
    )


def foreign_key(columns: Iterable[str], target: str, target_columns: Iterable[str]) -> Key:
    """Returns a foreign key in the form in which it is compared."""
    return tuple(name.lower() for name in columns), target.lower().split(".")[-1], tuple(map(str.lower, target_columns))


def count(tables: Iterable[TableFacts]) -> dict[str, int]:
    """Counts all kinds of facts: the columns of tables but not of views, and each primary key once."""
    kept = [table for table in tables if not table.is_optional]
    numbers = (
        len(kept),
        sum(len(table.columns) for table in kept if not table.is_view),
        sum(bool(table.primary_key) for table in kept),
        sum(len(table.foreign_keys) for table in kept),
        sum(bool(table.comment) for table in kept),
        sum(len(table.column_comments) for table in kept),
    )
    return dict(zip(KINDS, numbers, strict=True))


def compare(expected: Iterable[TableFacts], found: Iterable[TableFacts]) -> Iterator[Difference]:
    """Yields all differences; tables are matched by name, and by schema as far as both sides name one."""
    left = list(found)
    for table in sorted(expected, key=lambda one: one.is_optional):
        other = _take(table, left)
        if other is not None:
            yield from _compare_table(table, other)
        elif not table.is_optional:
            yield Difference("tables", True, table.full_name)
    yield from (Difference("tables", False, table.full_name) for table in left)


def _take(table: TableFacts, left: list[TableFacts]) -> TableFacts | None:
    same_name = [other for other in left if other.name == table.name]
    fitting = [other for other in same_name if other.full_name == table.full_name]
    fitting = fitting or [other for other in same_name if not other.namespace or not table.namespace]
    fitting = fitting or [other for other in same_name if f".{other.namespace}".endswith(f".{table.namespace}")]
    if not fitting:
        return None
    best = max(fitting, key=lambda other: len({*other.columns} & {*table.columns}))
    left.remove(best)
    return best


def _compare_table(table: TableFacts, other: TableFacts) -> Iterator[Difference]:
    if table.is_optional:
        return
    name = table.full_name
    yield from _compare_lists("columns", name, table.columns, other.columns, is_open=table.is_open)
    if sorted(table.primary_key) != sorted(other.primary_key):
        is_lost = len(other.primary_key) <= len(table.primary_key)
        if is_lost or not other.is_family:
            yield Difference("primary keys", is_lost, name, _versus(table.primary_key, other.primary_key))
    keys, other_keys = _shown_keys(table, other), _shown_keys(other, table)
    yield from _compare_lists("foreign keys", name, keys, other_keys, is_open=other.is_family)
    if not _contains(other.comment, table.comment):
        yield Difference("table comments", True, name, repr(table.comment[:60]))
    for column, text in table.column_comments.items():
        if column in other.columns and not _contains(other.column_comments.get(column, ""), text):
            yield Difference("column comments", True, name, f"{column} {text[:60]!r}")


def _shown_keys(table: TableFacts, other: TableFacts) -> list[str]:
    """Shows each key once, and without target columns if the other side leaves them out (``REFERENCES t``)."""
    bare = {key[:2] for key in other.foreign_keys if not key[2]}
    shown = (key if key[:2] not in bare else (*key[:2], ()) for key in table.foreign_keys)
    texts = (f"({', '.join(columns)}) -> {target}({', '.join(targets)})" for columns, target, targets in shown)
    return list(dict.fromkeys(texts))


def _versus(expected: Iterable[str], found: Iterable[str]) -> str:
    return f"({', '.join(expected)}) is read as ({', '.join(found)})"


def _compare_lists(
    kind: str, name: str, expected: list[str], found: list[str], *, is_open: bool = False
) -> Iterator[Difference]:
    yield from (Difference(kind, True, name, one) for one in expected if one not in found)
    if not is_open:
        yield from (Difference(kind, False, name, one) for one in found if one not in expected)
        yield from (
            Difference(kind, False, name, f"{one} (twice)") for one in dict.fromkeys(found) if found.count(one) > 1
        )


def _contains(text: str, part: str) -> bool:
    """Whether a comment holds another; Shortlist joins comments of several places and folds blanks."""
    return " ".join(part.split()) in " ".join(text.split())
