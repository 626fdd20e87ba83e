"""Collects the definitions of each table from the statements of a script, until all statements are read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from shortlist.schemas.document import Column, ForeignKey, Table
from shortlist.schemas.sql.columns import join_comments
from shortlist.schemas.sql.constraints import Definition
from shortlist.schemas.sql.statements import Statement

__all__ = ["DraftBook", "Origin", "TableDraft"]


@dataclass(slots=True)
class Origin:
    """A table or type from which a draft has columns; `kind` is as in `Derivation`, or ``query``.

    `draft` is None as long as the script has not created it. `taken` are the names of the columns that the draft got,
    in lower case, and `at` is the place among the draft's columns where they begin. `has_check` says that it holds
    only some rows of its parent.
    """

    kind: str
    name: str
    draft: TableDraft | None = None
    taken: frozenset[str] = frozenset()
    at: int = 0
    has_check: bool = False

    @property
    def is_parent(self) -> bool:
        """Whether the draft is a child that follows the changes of its parent."""
        return self.kind in ("partition", "inherits")


@dataclass(slots=True)
class TableDraft:
    """A table whose statements are still being read."""

    name: str
    namespace: str
    kind: str
    comment: str = ""
    columns: list[Column] = field(default_factory=list)
    primary_key: tuple[str, ...] = ()
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    enums: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    database: int = 0  # how often the script changes to another database or schema before it
    is_dropped: bool = False
    is_replaced: bool = False
    is_detached: bool = False  # it was a partition and is a table of its own now
    origins: list[Origin] = field(default_factory=list)

    @property
    def full_name(self) -> str:
        """The name with its namespace."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name

    def add(self, found: Definition) -> None:
        """Adds the definitions of a statement."""
        self.columns += found.columns
        self.primary_key = found.primary_key or self.primary_key
        self.foreign_keys += [key for key in found.foreign_keys if key not in self.foreign_keys]
        self.enums.update(found.enums)

    def attach(self, statement: Statement) -> None:
        """Appends a statement to the source of the table, once."""
        if not self.sources or self.sources[-1] is not statement.text:  # it may do two things to one table
            self.sources.append(statement.text)

    def describe(self, column_name: str, text: str) -> None:
        """Adds a comment in front of the comments of a column, or of the table if `column_name` is empty."""
        if not column_name:
            self.comment = join_comments([text, self.comment])
            return
        for i, column in enumerate(self.columns):
            if column.name.lower() == column_name.lower():
                self.columns[i] = replace(column, comment=join_comments([text, column.comment]))

    def table(self, index: int, types: dict[str, tuple[str, ...]]) -> Table:
        """Returns the finished table; `types` maps the names of enumerated types, in lower case, to their values."""
        keys = {name.lower() for name in self.primary_key}
        return Table(
            name=self.name,
            namespace=self.namespace,
            kind=self.kind,
            comment=self.comment,
            columns=tuple(self._column(column, keys, types) for column in self.columns),
            foreign_keys=tuple(self.foreign_keys),
            source="\n".join(self.sources),
            index=index,
        )

    def _column(self, column: Column, keys: set[str], types: dict[str, tuple[str, ...]]) -> Column:
        is_key = column.name.lower() in keys
        enum = column.enum or self.enums.get(column.name, ()) or types.get(column.type.removesuffix("[]"), ())
        is_key = is_key or column.is_primary_key
        if enum == column.enum and is_key == column.is_primary_key:
            return column  # a script may have thousands of partitions that share their parent's columns
        return replace(column, enum=enum, is_primary_key=is_key)


class DraftBook:
    """The drafts of a script in order. A search by name finds the last draft of that name."""

    def __init__(self) -> None:
        self._drafts: list[TableDraft] = []
        self._by_name: dict[str, list[TableDraft]] = {}
        self._last: dict[str, TableDraft] = {}  # by full name
        self._num_replaced = 0
        self.enums: dict[str, tuple[str, ...]] = {}
        self.types: dict[str, TableDraft] = {}  # composite types by their name in lower case

    def __len__(self) -> int:
        return len(self._drafts) - self._num_replaced

    def add(self, draft: TableDraft, *, replaces: bool = False) -> None:
        """Adds a draft; it replaces the last one of its full name and database if that is dropped or `replaces`."""
        earlier = self.last(draft.full_name, draft.database)
        if earlier and (replaces or earlier.is_dropped):
            earlier.is_replaced = True
            self._num_replaced += 1
        self._drafts.append(draft)
        self._by_name.setdefault(draft.name.lower(), []).append(draft)
        self._last[draft.full_name.lower()] = draft

    def drop(self, full_name: str, database: int) -> None:
        """Marks a table or view as dropped. It is kept unless it is created again: scripts often undo themselves."""
        if draft := self.last(full_name, database):
            draft.is_dropped = True

    def last(self, full_name: str, database: int) -> TableDraft | None:
        """Returns the last draft with exactly this full name, if it is in this database."""
        draft = self._last.get(full_name.lower())
        return draft if draft and draft.database == database else None

    def find(self, full_name: str) -> TableDraft | None:
        """Returns the last draft of that name; namespaces are compared from the end, as far as both are given."""
        if exact := self._last.get(full_name.lower()):
            return exact
        parts = full_name.lower().split(".")
        drafts = reversed(self._by_name.get(parts[-1], []))
        matching = (draft for draft in drafts if not draft.is_replaced and _match(draft.namespace.lower(), parts[:-1]))
        return next(matching, None)

    def find_near(self, name: str, draft: TableDraft) -> TableDraft | None:
        """Returns the table of a name that a statement about `draft` mentions; the namespace of `draft` comes first."""
        beside = self.last(f"{draft.namespace}.{name}", draft.database) if draft.namespace else None
        return beside or self.find(name)

    def kept(self) -> list[TableDraft]:
        """Returns the drafts in script order, without those that were replaced."""
        return [draft for draft in self._drafts if not draft.is_replaced]


def _match(namespace: str, parts: list[str]) -> bool:
    own = namespace.split(".") if namespace else []
    shared = min(len(own), len(parts))
    return shared == 0 or own[-shared:] == parts[-shared:]
