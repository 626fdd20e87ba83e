"""Gives tables and views the columns that they have from other tables or types of the script.

A column is taken over when the statement is read, so that later statements about the new table find it. Tables that the
script creates only later, and changes of a parent, are followed up at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from shortlist.schemas.document import Column
from shortlist.schemas.remarks import Remarks
from shortlist.schemas.sql.definitions.columns import Item
from shortlist.schemas.sql.definitions.nodes import try_parse
from shortlist.schemas.sql.drafts import DraftBook, Origin, TableDraft
from shortlist.schemas.sql.families.clauses import Derivation, Move, listed_likes
from shortlist.schemas.sql.families.stars import project
from shortlist.schemas.sql.preparing import Prepared

__all__ = ["Lineage"]

# Over the whole script; a limit on it bounds memory: a short statement can stand for thousands of columns.
_MAX_TAKEN = 2_000_000
# With the tables' keys, checks of values and references: a partition has all of its parent's.
_WITH_KEYS = ("partition", "inherits", "like", "clone")
_WITH_REFERENCES = ("partition", "clone")


@dataclass(frozen=True, slots=True)
class _Query:
    """A query that selects ``*`` from a table that is not known yet, and the columns that the statement lists.

    `adds` says that the selected columns follow the listed ones, as MySQL has it; else the list names them.
    """

    node: exp.Expr
    listed: list[Column]
    adds: bool = False


@dataclass(slots=True)
class Lineage:
    """Finds where the columns of one script's tables come from, and hands them on."""

    book: DraftBook
    dialect: str
    remarks: Remarks
    _num_taken: int = 0
    _late: dict[int, _Query] = field(default_factory=dict)  # by the id of their draft
    _names: dict[int, tuple[list[Column], frozenset[str]]] = field(default_factory=dict)  # by the id of a draft

    def add_type(self, prepared: Prepared) -> None:
        """Keeps a composite type; tables may be created with its columns."""
        items = [item for item in prepared.body.items if item.is_column and not _is_method(item)]
        columns = [Column(item.name, item.type, item.comment, enum=item.enum) for item in items]
        if columns:
            name = prepared.name.lower()
            for key in (name, name.rpartition(".")[2]):
                self.book.types[key] = TableDraft(prepared.name, "", "type", columns=columns)

    def restores(self, draft: TableDraft, derivation: Derivation | None, earlier: TableDraft | None) -> bool:
        """Whether a CREATE makes a known table again, from itself or from one that the script does not create.

        It says nothing new about the table then (``CREATE OR REPLACE TABLE orders CLONE orders AT (…)``).
        """
        if earlier is None or derivation is None or not derivation.is_copy:
            return False
        return self._find(derivation.names[0], draft) in (None, earlier)

    def derive(self, draft: TableDraft, prepared: Prepared, node: exp.Create) -> None:
        """Gives a new draft, which is not in the book yet, the columns that its CREATE takes from elsewhere."""
        adds = self.dialect == "mysql" and prepared.kind == "table" and prepared.body.close >= 0 and bool(draft.columns)
        query = node.expression
        if adds and not isinstance(query, exp.Query):
            query = self._query_behind(prepared)
        if isinstance(query, exp.Query):
            self._select(draft, _Query(query, draft.columns, adds))
        if found := prepared.derivation:
            for name in found.names:
                has_check = any(token.keyword == "CHECK" for item in prepared.body.items for token in item.tokens)
                self._add_origin(draft, Origin(found.kind, name, at=_num_taken(draft), has_check=has_check))
        for num_before, name in listed_likes(prepared.body.items):
            self._add_origin(draft, Origin("like", name, at=num_before + _num_taken(draft)))

    def _query_behind(self, prepared: Prepared) -> exp.Expr | None:
        """Returns the query behind a list of columns that sqlglot could not read together with it."""
        tail = prepared.tokens[prepared.body.close + 1 :]
        start = next((token.start for token in tail if token.keyword == "SELECT"), -1)
        if start < 0:
            return None
        node = try_parse(f"CREATE TABLE t AS {prepared.text[start:]}", self.dialect)
        if node is not None and isinstance(node.expression, exp.Query):
            return node.expression
        self.remarks.add("queries could not be parsed, so the columns that they add are missing", prepared.name)
        return None

    def move(self, move: Move, child: TableDraft, parent: TableDraft | None) -> None:
        """Makes a table a child of another one, which may not be known yet, or ends that."""
        if child is parent:
            return
        if move.is_end:
            child.origins = [one for one in child.origins if not one.is_parent or one.draft is not parent]
            child.is_detached = True
            return
        origin = Origin(move.kind, move.parent, parent)
        if parent and child.columns:
            origin.taken = self._names_of(parent)
            child.origins.append(origin)
        else:
            self._add_origin(child, origin)
        child.is_detached = False

    def finish(self) -> None:
        """Fills in what was not known earlier, parents before children, and remarks what is still not known."""
        drafts = [draft for draft in self.book.kept() if draft.origins]
        for draft in self._parents_first(drafts):
            self._complete(draft)
        for name, users in _missing(drafts).items():
            more = f" and {len(users) - 1:,} more" if len(users) > 1 else ""
            self.remarks.add(
                "the script does not create what other tables take their columns from, so these may lack columns",
                f"{name} (for {users[0]}{more})",
            )
        if self._num_taken > _MAX_TAKEN:
            self.remarks.add("tables take too many columns from other tables, so some lack columns", f"{_MAX_TAKEN:,}")

    def _select(self, draft: TableDraft, query: _Query) -> None:
        listed = [] if query.adds else query.listed
        found = project(query.node, listed, self.dialect, lambda name: self._columns_for(draft, name))
        known = {column.name.lower(): column.comment for column in draft.columns if column.comment}
        if query.adds:
            own = {column.name.lower() for column in query.listed}
            found.columns = query.listed + [column for column in found.columns if column.name.lower() not in own]
        draft.columns = [
            replace(column, comment=known[column.name.lower()]) if column.name.lower() in known else column
            for column in found.columns
        ]
        if found.unknown and not draft.origins:
            self._late[id(draft)] = query
            draft.origins = [Origin("query", name) for name in dict.fromkeys(found.unknown)]

    def _columns_for(self, draft: TableDraft, name: str) -> Sequence[Column] | None:
        source = self._find(name, draft)
        if source is None or source is draft:
            return None
        return source.columns if self._may_take(len(source.columns)) else ()

    def _may_take(self, num_columns: int) -> bool:
        self._num_taken += num_columns
        return self._num_taken <= _MAX_TAKEN

    def _find(self, name: str, draft: TableDraft, kind: str = "") -> TableDraft | None:
        """Returns the table of a name that the statement of a draft mentions; its own namespace comes first."""
        if kind == "type":
            types = self.book.types
            if found := types.get(name.lower()) or types.get(name.lower().rpartition(".")[2]):
                return found
        return self.book.find_near(name, draft)

    def _add_origin(self, draft: TableDraft, origin: Origin) -> None:
        origin.draft = origin.draft or self._find(origin.name, draft, origin.kind)
        draft.origins.append(origin)
        if origin.draft is draft:
            origin.draft = None
        elif origin.draft:
            self._take(draft, origin, origin.draft)

    def _take(self, draft: TableDraft, origin: Origin, source: TableDraft) -> None:
        if not self._may_take(len(source.columns)):
            return
        origin.taken = self._names_of(source)
        columns = _without_key(source.columns) if origin.kind == "select" else source.columns
        draft.columns = _combined(draft.columns, columns, origin.taken, origin.at)
        if origin.kind in _WITH_KEYS:
            draft.primary_key = draft.primary_key or source.primary_key
            draft.enums = {**source.enums, **draft.enums}
        if origin.kind in _WITH_REFERENCES:
            draft.foreign_keys += [key for key in source.foreign_keys if key not in draft.foreign_keys]

    def _names_of(self, draft: TableDraft) -> frozenset[str]:
        """Returns the names of a draft's columns in lower case; thousands of partitions share one set."""
        columns, names = self._names.get(id(draft), ([], frozenset()))
        if columns != draft.columns:
            names = frozenset(column.name.lower() for column in draft.columns)
            self._names[id(draft)] = (list(draft.columns), names)
        return names

    def _parents_first(self, drafts: Sequence[TableDraft]) -> Iterator[TableDraft]:
        """Yields each draft behind those that it has columns from; without recursion, as there may be a long line."""
        seen: set[int] = set()
        yielded: set[int] = set()
        for draft in drafts:
            stack = [draft]
            while stack:
                one = stack[-1]
                sources = [] if id(one) in seen else [other for other in self._sources(one) if id(other) not in seen]
                seen.add(id(one))  # before its sources: a circle of tables must end
                if sources:
                    stack += sources
                    continue
                stack.pop()
                if id(one) not in yielded:
                    yielded.add(id(one))
                    yield one

    def _sources(self, draft: TableDraft) -> Iterator[TableDraft]:
        for origin in draft.origins:
            if origin.draft is None or (origin.is_parent and origin.draft.is_replaced):
                found = self._find(origin.name, draft, origin.kind)
                origin.draft = found if found is not draft else None
            if origin.draft and origin.draft.origins:
                yield origin.draft

    def _complete(self, draft: TableDraft) -> None:
        for origin in draft.origins:
            if origin.draft is None or origin.kind == "query":
                continue
            if not origin.taken:
                self._take(draft, origin, origin.draft)
            elif origin.is_parent:
                self._follow(draft, origin, origin.draft)
        if (query := self._late.pop(id(draft), None)) and any(origin.draft for origin in draft.origins):
            self._select(draft, query)

    def _follow(self, draft: TableDraft, origin: Origin, parent: TableDraft) -> None:
        """Repeats on a child what has happened to its parent's columns since."""
        names = self._names_of(parent)
        if names is origin.taken or names == origin.taken:
            return
        gone = origin.taken - names
        draft.columns = [column for column in draft.columns if column.name.lower() not in gone]
        own = {column.name.lower() for column in draft.columns}
        new = [column for column in parent.columns if column.name.lower() not in own]
        if self._may_take(len(new)):
            draft.columns += new


def _is_method(item: Item) -> bool:
    """Whether an entry of one of Oracle's types declares a function (``MAP MEMBER FUNCTION …``)."""
    return any(token.keyword in ("FUNCTION", "PROCEDURE") for token in item.tokens[1:4])


def _num_taken(draft: TableDraft) -> int:
    return sum(len(origin.taken) for origin in draft.origins)


def _without_key(columns: Sequence[Column]) -> list[Column]:
    return [replace(column, is_primary_key=False) if column.is_primary_key else column for column in columns]


def _combined(own: list[Column], others: Sequence[Column], names: frozenset[str], at: int) -> list[Column]:
    """Puts the columns of another table at a place among a table's own; the own words about a column go first."""
    if not own:
        return list(others)
    before, rest = own[:at], {column.name.lower(): column for column in own[at:]}
    known = {column.name.lower() for column in before}
    taken = [_merged(column, rest.get(column.name.lower())) for column in others if column.name.lower() not in known]
    return [*before, *taken, *(column for name, column in rest.items() if name not in names)]


def _merged(column: Column, own: Column | None) -> Column:
    if own is None:
        return column
    return replace(
        own,
        type=own.type or column.type,
        comment=own.comment or column.comment,
        enum=own.enum or column.enum,
        is_primary_key=own.is_primary_key or column.is_primary_key,
    )


def _missing(drafts: Sequence[TableDraft]) -> dict[str, list[str]]:
    """Returns the names that the script does not create, each with the tables that take columns from it."""
    missing: dict[str, list[str]] = {}
    for draft in drafts:
        for origin in draft.origins:
            if origin.draft is None:
                missing.setdefault(origin.name, []).append(draft.full_name)
    return missing
