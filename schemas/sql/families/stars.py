"""Lists the columns that a query selects, with ``*`` expanded where the columns of its tables are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from shortlist.schemas.document import Column
from shortlist.schemas.sql.definitions.constraints import dotted

__all__ = ["Projection", "project"]

# Returns the columns of a table by its name as written; None if the table is not known.
Lookup = Callable[[str], Sequence[Column] | None]

_MAX_DEPTH = 50  # of queries in queries
_MAX_READ = 20_000  # columns that the stars of one statement stand for


@dataclass(slots=True)
class Projection:
    """The columns of a query; `unknown` are the tables whose columns a ``*`` needs and the script has not defined."""

    columns: list[Column] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def project(query: exp.Expr | None, listed: list[Column], dialect: str, lookup: Lookup) -> Projection:
    """Returns the columns of a view or of CREATE TABLE AS: those listed, or else those that the query selects.

    A column that the query casts gets the type of the cast; one that a ``*`` stands for is as in its table, without its
    key. If the query selects two columns of one name, the first is kept.
    """
    found = Projection()
    if not isinstance(query, exp.Query):
        return Projection(listed)
    columns = _Reader(dialect, lookup, found).columns(query)
    if listed:
        types = [column.type for column in columns] if len(columns) == len(listed) else [""] * len(listed)
        pairs = zip(listed, types, strict=True)
        found.columns = [replace(column, type=column.type or kind) for column, kind in pairs]
    else:
        found.columns = [column for column in columns if column.name not in ("", "*")]
    return found


class _Reader:
    """Reads the columns of one statement's queries; each common table expression once."""

    def __init__(self, dialect: str, lookup: Lookup, found: Projection) -> None:
        self._dialect = dialect
        self._lookup = lookup
        self._found = found
        self._depth = 0
        self._num_read = 0
        self._shared: dict[str, exp.Expr] = {}  # common table expressions by name
        self._read: dict[str, list[Column]] = {}

    def columns(self, query: exp.Expr) -> list[Column]:
        """Returns the columns of a query, of the first one if it is a union; unnamed ones have an empty name."""
        self._depth += 1
        select = self._first_select(query)
        columns = list(self._of_select(select)) if select is not None and self._depth <= _MAX_DEPTH else []
        self._depth -= 1
        return columns

    def _first_select(self, query: exp.Expr) -> exp.Select | None:
        while not isinstance(query, exp.Select):
            self._share(query)
            if not isinstance(query, exp.SetOperation | exp.Subquery | exp.Paren):
                return None
            query = query.this
        self._share(query)
        return query

    def _share(self, query: exp.Expr) -> None:
        expressions = query.args.get("with_") or query.args.get("with")
        for one in expressions.expressions if expressions else []:
            self._shared[one.alias.lower()] = one

    def _of_select(self, select: exp.Select) -> Iterator[Column]:
        seen: set[str] = set()
        sources: list[tuple[str, exp.Expr]] | None = None
        for projection in select.selects:
            star = _star(projection)
            if star is None:
                yield self._of_expression(projection)
                continue
            sources = list(_sources(select)) if sources is None else sources
            seen = seen or {one.alias_or_name.lower() for one in select.selects if _star(one) is None}
            for column in self._of_star(projection, star, sources):
                if column.name.lower() not in seen:
                    seen.add(column.name.lower())
                    yield column

    def _of_expression(self, projection: exp.Expr) -> Column:
        cast = projection.unalias()
        kind = cast.to.sql(dialect=self._dialect or None).lower() if isinstance(cast, exp.Cast) else ""
        return Column(projection.alias_or_name, kind)

    def _of_star(
        self, projection: exp.Expr, star: exp.Star, sources: Sequence[tuple[str, exp.Expr]]
    ) -> Iterator[Column]:
        owner = projection.table.lower() if isinstance(projection, exp.Column) else ""
        left_out = {name.lower() for name in _names(star.args.get("except_") or star.args.get("except"))}
        renamed = {one.this.name.lower(): one.alias for one in _nodes(star.args.get("rename")) if one.this is not None}
        for name, source in sources:
            if owner and name.lower() != owner:
                continue
            for column in self._of_source(source):
                self._num_read += 1
                if self._num_read > _MAX_READ:
                    return
                if column.name.lower() not in left_out:
                    yield _selected(column, renamed.get(column.name.lower(), column.name))

    def _of_source(self, source: exp.Expr) -> list[Column]:
        while isinstance(source, exp.Final):  # ClickHouse's FROM items FINAL
            source = source.this
        if source.args.get("pivots"):
            return []
        if not isinstance(source, exp.Table):
            return _renamed(self.columns(source.this), source) if isinstance(source, exp.Subquery) else []
        namespace, name = dotted(source)
        if not namespace and name.lower() in self._shared:
            return _renamed(self._of_shared(name.lower()), source)
        full_name = f"{namespace}.{name}" if namespace else name
        columns = self._lookup(full_name) if name and isinstance(source.this, exp.Identifier) else ()
        if columns is None:
            self._found.unknown.append(full_name)
        return _renamed(list(columns or ()), source)

    def _of_shared(self, name: str) -> list[Column]:
        if name not in self._read:
            self._read[name] = []  # for one that selects from itself
            expression = self._shared[name]
            self._read[name] = _renamed(self.columns(expression.this), expression)
        return self._read[name]


def _selected(column: Column, name: str) -> Column:
    is_same = name == column.name and not column.is_primary_key
    return column if is_same else replace(column, name=name, is_primary_key=False)


def _renamed(columns: list[Column], query: exp.Expr) -> list[Column]:
    """Returns the columns of a subquery with the names that its alias lists, as in ``(SELECT 1) t (id)``."""
    alias = query.args.get("alias")
    names = [column.name for column in alias.args.get("columns") or []] if isinstance(alias, exp.TableAlias) else []
    if len(names) != len(columns):
        return [column for column in columns if column.name not in ("", "*")]
    return [replace(column, name=name) for column, name in zip(columns, names, strict=True)]


def _star(projection: exp.Expr) -> exp.Star | None:
    found = projection.this if isinstance(projection, exp.Column) else projection
    return found if isinstance(found, exp.Star) else None


def _sources(select: exp.Select) -> Iterator[tuple[str, exp.Expr]]:
    """Yields the tables and subqueries of FROM and JOIN, in order, with the names that the query calls them."""
    start = select.args.get("from_") or select.args.get("from")
    waiting = [start.this] if start else []
    joins = [join for join in select.args.get("joins") or [] if _has_columns(join)]
    waiting += [join.this for join in joins]
    while waiting:
        source = waiting.pop(0)
        if isinstance(source, exp.Subquery | exp.Paren) and isinstance(source.this, exp.Table) and not source.alias:
            waiting.insert(0, source.this)
            continue
        yield source.alias_or_name, source
        waiting[:0] = [join.this for join in source.args.get("joins") or [] if _has_columns(join)]


def _has_columns(join: exp.Join) -> bool:
    return join.kind.upper() not in ("SEMI", "ANTI")


def _nodes(value: object) -> list[exp.Expr]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, exp.Expr)]


def _names(value: object) -> Iterable[str]:
    return (one.alias_or_name for one in _nodes(value))
