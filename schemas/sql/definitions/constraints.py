"""Reads the columns, keys and indexes that a CREATE or ALTER statement defines from its sqlglot nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from shortlist.schemas.document import Column, ForeignKey
from shortlist.schemas.sql.definitions.columns import Item

__all__ = ["Definition", "dotted", "names_in", "read_definitions"]

_CLUSTERED = (exp.ClusteredColumnConstraint, exp.NonClusteredColumnConstraint)


@dataclass(slots=True)
class Definition:
    """The definitions in one statement about a table, in the order written."""

    columns: list[Column] = field(default_factory=list)
    primary_key: tuple[str, ...] = ()
    key_name: str = ""  # of the primary key's constraint
    partitions: tuple[str, ...] = ()  # columns that Hive lists behind PARTITIONED BY
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    has_index: bool = False  # a statement that adds only an index still belongs to its table's source
    enums: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def merge(self, other: Definition) -> None:
        """Adds what another part of the same statement defines."""
        self.columns += other.columns
        self.primary_key = other.primary_key or self.primary_key
        self.key_name = other.key_name or self.key_name
        self.foreign_keys += other.foreign_keys
        self.has_index = self.has_index or other.has_index
        self.enums.update(other.enums)

    @property
    def is_empty(self) -> bool:
        """Whether the statement defines nothing."""
        return not (self.columns or self.primary_key or self.foreign_keys or self.has_index or self.enums)


def read_definitions(nodes: Iterable[exp.Expr], items: Mapping[str, Item], dialect: str) -> Definition:
    """Returns the definitions in the entries of a column list or in the actions of an ALTER TABLE.

    `items` maps the names of the list's columns to their tokens, which hold types and comments as written. A column
    that sqlglot did not read is taken from there.
    """
    found = Definition()
    for node in nodes:
        if isinstance(node, exp.ColumnDef):
            _read_column(node, items.get(node.name), dialect, found)
        elif not isinstance(node, exp.Identifier | exp.Column):  # a column without a type; it is in `items`
            _read_constraint(node, found)
    known = {column.name: column for column in found.columns}
    bare = {name: _bare_column(item) for name, item in items.items() if name not in known and item.is_column}
    if bare:
        ordered = [name for name in items if name in known or name in bare]
        rest = [column for column in found.columns if column.name not in items]
        found.columns = [known.get(name) or bare[name] for name in ordered] + rest
    return found


def _bare_column(item: Item) -> Column:
    return Column(item.name, item.type, item.comment, enum=item.enum)


def dotted(table: exp.Expr | None) -> tuple[str, str]:
    """Returns the namespace and the name of a table, unquoted."""
    if isinstance(table, exp.Schema):
        table = table.this
    if not isinstance(table, exp.Table):
        return "", table.name if table is not None else ""
    parts = [part.name for part in table.parts if part.name]
    return ".".join(parts[:-1]), parts[-1] if parts else ""


def names_in(nodes: Iterable[exp.Expr | str]) -> tuple[str, ...]:
    """Returns the column names in key parts such as ``a DESC``, ``lower(b)`` or ``c(10)``."""
    return tuple(name for node in nodes for name in _names_of(node))


def _names_of(node: exp.Expr | str) -> list[str]:
    if isinstance(node, str):
        return [node]
    if isinstance(node, exp.Ordered):
        return _names_of(node.this)
    if isinstance(node, exp.ColumnPrefix | exp.ColumnDef):
        return [node.this.name]
    if isinstance(node, exp.Anonymous) and all(isinstance(part, exp.Literal) for part in node.expressions):
        return [node.name]  # MySQL's name(10), which looks like a function
    if isinstance(node, exp.Column | exp.Identifier | exp.Var):
        return [node.name]
    return list(dict.fromkeys(column.name for column in node.find_all(exp.Column)))


def _read_column(node: exp.ColumnDef, item: Item | None, dialect: str, found: Definition) -> None:
    kind = node.args.get("kind")
    type_text = item.type if item else kind.sql(dialect=dialect or None).lower() if kind else ""
    column = Column(node.name, type_text, enum=item.enum if item else ())
    for constraint in node.args.get("constraints") or []:
        column = _with_constraint(column, constraint.args.get("kind") or constraint, found)
    if item:
        column = replace(column, comment=item.comment)
    found.columns.append(column)


def _with_constraint(column: Column, kind: exp.Expr, found: Definition) -> Column:
    if isinstance(kind, exp.PrimaryKeyColumnConstraint):
        found.primary_key = (*found.primary_key, column.name)
        return replace(column, is_primary_key=True)
    if isinstance(kind, exp.CommentColumnConstraint):
        return replace(column, comment=kind.name)
    if isinstance(kind, exp.CheckColumnConstraint):
        return replace(column, enum=column.enum or _allowed_values(kind.this)[1])
    if isinstance(kind, exp.Reference):
        _add_reference((column.name,), kind, found)
    if isinstance(kind, exp.ForeignKey) and isinstance(reference := kind.args.get("reference"), exp.Reference):
        _add_reference((column.name,), reference, found)  # T-SQL allows FOREIGN KEY REFERENCES after a column
    return column


def _read_constraint(node: exp.Expr, found: Definition) -> None:
    if isinstance(node, exp.AddConstraint | exp.Constraint):
        if any(isinstance(part, _CLUSTERED) for part in node.expressions):
            _read_clustered(node.expressions, found)
            return
        for part in node.expressions:
            _read_constraint(part, found)
    elif isinstance(node, exp.PrimaryKey):
        found.primary_key = names_in(node.expressions)
    elif isinstance(node, exp.ForeignKey):
        reference = node.args.get("reference")
        if isinstance(reference, exp.Reference):
            _add_reference(names_in(node.expressions), reference, found)
    elif isinstance(node, exp.UniqueColumnConstraint):
        listed = node.this.expressions if isinstance(node.this, exp.Expr) else []
        found.has_index = found.has_index or bool(names_in(listed))
    elif isinstance(node, exp.IndexColumnConstraint):
        found.has_index = found.has_index or bool(names_in(node.expressions))
    elif isinstance(node, exp.CheckColumnConstraint):
        name, values = _allowed_values(node.this)
        if values:
            found.enums[name] = values


def _read_clustered(parts: Iterable[exp.Expr], found: Definition) -> None:
    names: tuple[str, ...] = ()
    is_primary = False
    for part in parts:
        is_primary = is_primary or isinstance(part, exp.PrimaryKeyColumnConstraint | exp.PrimaryKey)
        if isinstance(part, _CLUSTERED):
            names = names_in(part.this if isinstance(part.this, list) else [part.this])
    if is_primary:
        found.primary_key = names
    else:
        found.has_index = found.has_index or bool(names)


def _add_reference(columns: tuple[str, ...], reference: exp.Reference, found: Definition) -> None:
    target = reference.this
    namespace, name = dotted(target)
    targets = names_in(target.expressions) if isinstance(target, exp.Schema) else ()
    full_name = f"{namespace}.{name}" if namespace else name
    found.foreign_keys.append(ForeignKey(columns, full_name, targets))


def _allowed_values(condition: exp.Expr | None) -> tuple[str, tuple[str, ...]]:
    """Returns the column and values of ``status IN ('a', 'b')``; pg_dump writes ``status = ANY (ARRAY['a', 'b'])``."""
    while isinstance(condition, exp.Paren):
        condition = condition.this
    if isinstance(condition, exp.In):
        values = condition.expressions
    elif isinstance(condition, exp.EQ) and isinstance(condition.expression, exp.Any):
        array = condition.expression.find(exp.Array)
        values = array.expressions if array else []
    else:
        return "", ()
    literals = [value.find(exp.Literal) for value in values]
    column = condition.this.find(exp.Column) if condition.this else None
    if column is None or not all(literal and literal.is_string for literal in literals):
        return "", ()
    return column.name, tuple(literal.name for literal in literals if literal)
