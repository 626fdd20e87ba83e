"""Collects the definitions of each table from the statements of a script, until all statements are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shortlist.schemas.document import Column, ForeignKey, Table
from shortlist.schemas.sql.definitions.columns import Item
from shortlist.schemas.sql.definitions.constraints import Definition
from shortlist.schemas.sql.definitions.entries import read_entry
from shortlist.schemas.sql.script.comments import join_comments

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


# Of the tables in which SQLite keeps the index of a virtual table (FTS3 to FTS5, R*Tree, Geopoly).
_SHADOW_SUFFIXES = (
    "data",
    "idx",
    "content",
    "docsize",
    "config",
    "segments",
    "segdir",
    "stat",
    "node",
    "rowid",
    "parent",
)


# Drafts that renames may look through in one script; each looks through all of them.
_MAX_SEARCHED = 300_000


@dataclass(slots=True)
class TableDraft:
    """A table whose statements are still being read."""

    name: str
    namespace: str
    kind: str
    comment: str = ""
    columns: list[Column] = field(default_factory=list)
    primary_key: tuple[str, ...] = ()
    key_name: str = ""  # of the primary key's constraint
    partitions: tuple[str, ...] = ()  # columns that are not in the list, as Hive writes them
    num_unnamed: int = 0  # foreign keys whose constraint has no name
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    enums: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    described: dict[str, str] = field(default_factory=dict)  # what statements say of columns, and of the table under ""
    schema: str = ""  # that plain names meant where the table was created
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
        known = {column.name.lower() for column in self.columns}
        once = {column.name: column for column in found.columns}  # quoted names may differ in case alone
        self.columns += [column for column in once.values() if column.name.lower() not in known]
        if found.primary_key:
            self.primary_key, self.key_name = found.primary_key, found.key_name or f"{self.name}_pkey"
        self.partitions += found.partitions
        self._add_foreign_keys(found)
        self.enums.update({name.lower(): values for name, values in found.enums.items()})

    def _add_foreign_keys(self, found: Definition) -> None:
        known = list(self.foreign_keys)  # one statement may give a key two names
        for key in found.foreign_keys:
            if key not in known:
                self.foreign_keys.append(key if key.constraints else self._named(key))

    def _named(self, key: ForeignKey) -> ForeignKey:
        """Returns a key with the names that PostgreSQL and MySQL give one without a name."""
        self.num_unnamed += 1
        names = (f"{self.name}_{'_'.join(key.columns)}_fkey", f"{self.name}_ibfk_{self.num_unnamed}")
        return replace(key, constraints=names)

    def attach(self, text: str) -> None:
        """Appends a statement to the source of the table, once if it does several things to it."""
        if text not in self.sources[-1:]:
            self.sources.append(text)

    def drop_column(self, name: str) -> None:
        """Removes a column, and the keys that it is part of."""
        wanted = name.lower()
        self.described.pop(wanted, None)
        self.enums.pop(wanted, None)
        self.columns = [column for column in self.columns if column.name.lower() != wanted]
        self.primary_key = tuple(key for key in self.primary_key if key.lower() != wanted)
        self.foreign_keys = [key for key in self.foreign_keys if wanted not in map(str.lower, key.columns)]

    def drop_constraint(self, name: str) -> None:
        """Removes the keys of a constraint; one of a check or a unique index removes nothing."""
        wanted = name.lower()
        if self.key_name.lower() == wanted:
            self.drop_key()
        self.foreign_keys = [key for key in self.foreign_keys if wanted not in map(str.lower, key.constraints)]

    def rename_constraint(self, old: str, new: str) -> None:
        """Renames the constraint of a key."""
        self.key_name = new if self.key_name.lower() == old.lower() else self.key_name
        self.foreign_keys = [
            replace(key, constraints=(new,)) if old.lower() in map(str.lower, key.constraints) else key
            for key in self.foreign_keys
        ]

    def drop_key(self) -> None:
        """Removes the primary key."""
        self.primary_key, self.key_name = (), ""
        self.columns = [replace(column, is_primary_key=False) for column in self.columns]

    def rename_column(self, old: str, new: str) -> None:
        """Renames a column, also in the keys that it is part of."""
        self.columns = [
            replace(column, name=new) if column.name.lower() == old.lower() else column for column in self.columns
        ]
        self.primary_key = _renamed(self.primary_key, old, new)
        self.foreign_keys = [replace(key, columns=_renamed(key.columns, old, new)) for key in self.foreign_keys]
        if old.lower() in self.enums:
            self.enums[new.lower()] = self.enums.pop(old.lower())
        if text := self.described.pop(old.lower(), ""):
            self.described[new.lower()] = text

    def redefine(self, item: Item) -> None:
        """Gives a column the type, the allowed values and the comment of its new definition, as far as it has them."""
        found = read_entry(item)
        self.columns = [_redefined(column, item) if _is_named(column, item.name) else column for column in self.columns]
        self.primary_key = found.primary_key or self.primary_key
        self._add_foreign_keys(found)

    def replace_columns(self, items: Sequence[Item]) -> None:
        """Gives the table the listed columns in place of its own; those that partition it stay."""
        listed = {item.name.lower() for item in items}
        partitions = {name.lower() for name in self.partitions} - listed
        known = {column.name.lower(): column for column in self.columns}
        for name in known.keys() - listed - partitions:
            self.drop_column(name)
        kept = [column for column in self.columns if column.name.lower() in partitions]
        self.columns = [_redefined(known.get(item.name.lower(), Column(item.name)), item) for item in items] + kept

    def describe(self, column_name: str, text: str) -> bool:
        """Puts a comment in front of the comments of a column, or of the table if `column_name` is empty.

        It replaces the one that an earlier statement gave. Returns whether there is such a column.
        """
        key = column_name.lower()
        earlier = self.described.get(key, "")
        self.described[key] = text
        if not column_name:
            self.comment = join_comments([text, _without(self.comment, earlier)])
            return True
        places = [i for i, column in enumerate(self.columns) if column.name.lower() == key]
        for i in places:
            others = _without(self.columns[i].comment, earlier)
            self.columns[i] = replace(self.columns[i], comment=join_comments([text, others]))
        return bool(places)

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
        # What the table says of a column was said later than the column, or in the same statement.
        enum = self.enums.get(column.name.lower()) or column.enum or _values_of(column.type, types)
        is_key = is_key or column.is_primary_key
        if enum == column.enum and is_key == column.is_primary_key:
            return column  # a script may have thousands of partitions that share their parent's columns
        return replace(column, enum=enum, is_primary_key=is_key)


def _values_of(name: str, types: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Returns the values of a type, which may be called with its schema or without."""
    name = name.lower().removesuffix("[]")
    return types.get(name) or types.get(name.rpartition(".")[2], ())


def _without(comment: str, earlier: str) -> str:
    return comment.removeprefix(earlier).lstrip() if earlier else comment


def _is_named(column: Column, name: str) -> bool:
    return column.name.lower() == name.lower()


def _redefined(column: Column, item: Item) -> Column:
    is_listed = column.type.lower().startswith(("enum", "set"))  # the values are part of the old type
    enum = item.enum if item.type and is_listed else item.enum or column.enum
    return replace(column, type=item.type or column.type, enum=enum, comment=item.comment or column.comment)


def _renamed(names: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name.lower() == old.lower() else name for name in names)


class DraftBook:
    """The drafts of a script in order. A search by name finds the last draft of that name."""

    def __init__(self) -> None:
        self._drafts: list[TableDraft] = []
        self._by_name: dict[str, list[TableDraft]] = {}
        self._last: dict[str, TableDraft] = {}  # by full name
        self._num_replaced = 0
        self._num_searched = 0
        self.enums: dict[str, tuple[str, ...]] = {}
        self.types: dict[str, TableDraft] = {}  # composite types by their name in lower case
        self.virtual: set[str] = set()  # names of SQLite's virtual tables, in lower case

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

    def rename(self, draft: TableDraft, namespace: str, name: str) -> None:
        """Renames a table, also in the foreign keys of all others; it replaces a dropped table of its new name."""
        old = draft.full_name
        new = f"{namespace}.{name}" if namespace else name
        earlier = self.last(new, draft.database)
        if earlier and earlier is not draft and earlier.is_dropped and not earlier.is_replaced:
            earlier.is_replaced = True
            self._num_replaced += 1
        if self._last.get(old.lower()) is draft:
            del self._last[old.lower()]
        self._by_name[draft.name.lower()].remove(draft)
        draft.namespace, draft.name = namespace, name
        self._by_name.setdefault(name.lower(), []).append(draft)
        self._last[new.lower()] = draft
        self._retarget(old, new)

    def drop_constraint(self, draft: TableDraft, name: str) -> None:
        """Removes the keys of a constraint from a table and its partitions."""
        draft.drop_constraint(name)
        for other in self._searched():
            if any(origin.is_parent and origin.draft is draft for origin in other.origins):
                other.drop_constraint(name)

    def _retarget(self, old: str, new: str) -> None:
        for draft in self._searched():
            if any(_is_same_table(key.target_table, old) for key in draft.foreign_keys):
                draft.foreign_keys = [
                    replace(key, target_table=new) if _is_same_table(key.target_table, old) else key
                    for key in draft.foreign_keys
                ]

    def _searched(self) -> Sequence[TableDraft]:
        """Returns all drafts, so that their foreign keys can be changed; none after too many such searches."""
        self._num_searched += len(self._drafts)
        return self._drafts if self._num_searched < _MAX_SEARCHED else ()

    def rename_column(self, draft: TableDraft, old: str, new: str) -> None:
        """Renames a column of a table, also in the foreign keys that refer to it."""
        draft.rename_column(old, new)
        for other in self._searched():
            other.foreign_keys = [
                replace(key, target_columns=_renamed(key.target_columns, old, new))
                if key.target_columns and _is_same_table(key.target_table, draft.full_name)
                else key
                for key in other.foreign_keys
            ]

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
        """Returns the table of a name that a statement about `draft` mentions.

        The schema that plain names meant there comes first, then the namespace of `draft`.
        """
        for namespace in filter(None, (draft.schema, draft.namespace)):
            if beside := self.last(f"{namespace}.{name}", draft.database):
                return beside
        return self.find(name)

    def kept(self) -> list[TableDraft]:
        """Returns the drafts in script order, without those that were replaced, and without SQLite's shadow tables."""
        shadows = {f"{name}_{suffix}" for name in self.virtual for suffix in _SHADOW_SUFFIXES}
        return [draft for draft in self._drafts if not draft.is_replaced and draft.name.lower() not in shadows]

    def finish_keys(self) -> None:
        """Gives the plain target names of all foreign keys their schema, as far as it has such a table."""
        kept = self.kept()
        known = {draft.full_name.lower() for draft in kept}
        for draft in kept:
            draft.foreign_keys = [_in_schema(key, draft.schema, known) for key in draft.foreign_keys]


def _in_schema(key: ForeignKey, schema: str, known: set[str]) -> ForeignKey:
    """Returns a foreign key with the schema of its plain target name, if that schema has such a table."""
    target = f"{schema}.{key.target_table}"
    is_plain = schema and "." not in key.target_table
    return replace(key, target_table=target) if is_plain and target.lower() in known else key


def _is_same_table(written: str, full_name: str) -> bool:
    """Whether a name as written in a foreign key means a table; the namespace may be left out."""
    parts, own = written.lower().split("."), full_name.lower().split(".")
    return parts[-1] == own[-1] and _match(".".join(own[:-1]), parts[:-1])


def _match(namespace: str, parts: list[str]) -> bool:
    own = namespace.split(".") if namespace else []
    shared = min(len(own), len(parts))
    return shared == 0 or own[-shared:] == parts[-shared:]
