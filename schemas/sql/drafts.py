"""Gathers what the statements of a script say of each table until all are read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from shortlist.schemas.document import Column, ForeignKey, Table
from shortlist.schemas.sql.columns import join_comments
from shortlist.schemas.sql.constraints import Definition
from shortlist.schemas.sql.statements import Statement

__all__ = ["DraftBook", "TableDraft"]


@dataclass(slots=True)
class TableDraft:
    """A table in the making."""

    name: str
    namespace: str
    kind: str
    comment: str = ""
    columns: list[Column] = field(default_factory=list)
    primary_key: tuple[str, ...] = ()
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    enums: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    era: int = 0  # which database the script had turned to
    is_dropped: bool = False
    is_replaced: bool = False

    @property
    def full_name(self) -> str:
        """The name behind its namespace."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name

    def add(self, found: Definition) -> None:
        """Takes over what a statement defines."""
        self.columns += found.columns
        self.primary_key = found.primary_key or self.primary_key
        self.foreign_keys += [key for key in found.foreign_keys if key not in self.foreign_keys]
        self.enums.update(found.enums)

    def attach(self, statement: Statement) -> None:
        """Adds a statement to the table's source."""
        self.sources.append(statement.text)

    def describe(self, column_name: str, text: str) -> None:
        """Sets the comment of a column, or of the table where no column is named, ahead of what stood beside it."""
        if not column_name:
            self.comment = join_comments([text, self.comment])
            return
        for i, column in enumerate(self.columns):
            if column.name.lower() == column_name.lower():
                self.columns[i] = replace(column, comment=join_comments([text, column.comment]))

    def table(self, index: int, types: dict[str, tuple[str, ...]]) -> Table:
        """Returns the finished table; `types` holds the values of the script's enumerated types by lower-case name."""
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
        return replace(column, enum=enum, is_primary_key=column.is_primary_key or is_key)


class DraftBook:
    """The drafts of a script in order, found again by name; of equals the last."""

    def __init__(self) -> None:
        self._drafts: list[TableDraft] = []
        self._by_name: dict[str, list[TableDraft]] = {}
        self._last: dict[str, TableDraft] = {}  # by full name
        self._num_replaced = 0
        self.enums: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._drafts) - self._num_replaced

    def open(self, draft: TableDraft, *, replaces: bool = False) -> None:
        """Adds a draft, in place of one of its full name and era that was dropped, or of any if told."""
        earlier = self.standing(draft.full_name, draft.era)
        if earlier and (replaces or earlier.is_dropped):
            earlier.is_replaced = True
            self._num_replaced += 1
        self._drafts.append(draft)
        self._by_name.setdefault(draft.name.lower(), []).append(draft)
        self._last[draft.full_name.lower()] = draft

    def drop(self, full_name: str, era: int) -> None:
        """Notes that a table or view was dropped: it stays, unless another of its name comes."""
        if draft := self.standing(full_name, era):
            draft.is_dropped = True

    def standing(self, full_name: str, era: int) -> TableDraft | None:
        """Returns the last draft of just that name, where it is of that era."""
        draft = self._last.get(full_name.lower())
        return draft if draft and draft.era == era else None

    def find(self, full_name: str) -> TableDraft | None:
        """Returns the last draft of that name whose namespace agrees as far as both are written."""
        if exact := self._last.get(full_name.lower()):
            return exact
        parts = full_name.lower().split(".")
        drafts = reversed(self._by_name.get(parts[-1], []))
        agreeing = (draft for draft in drafts if not draft.is_replaced and _agree(draft.namespace.lower(), parts[:-1]))
        return next(agreeing, None)

    def tables(self) -> tuple[Table, ...]:
        """Returns the finished tables in script order."""
        kept = (draft for draft in self._drafts if not draft.is_replaced)
        return tuple(draft.table(index, self.enums) for index, draft in enumerate(kept))


def _agree(namespace: str, parts: list[str]) -> bool:
    own = namespace.split(".") if namespace else []
    shared = min(len(own), len(parts))
    return shared == 0 or own[-shared:] == parts[-shared:]
