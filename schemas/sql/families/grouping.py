"""Groups the partitions and shards of a table into one family, so that they do not crowd out other tables.

A partition (PARTITION OF, ATTACH PARTITION) belongs to its topmost parent. So does a child by INHERITS without columns
of its own, if its name or a CHECK shows that it holds a part of the rows: another child is a kind of its own
(``invoice_note`` of ``note``) and stays a table. Three or more tables of one
schema whose names differ only in a date or a number at the end (``events_20240101``, ``payment_p2022_05``, ``log_15``),
with the same column names and no references among themselves, are shards. If there is a table without the ending and
with the same columns, it is their parent; else the family is named after what they share (``events_*``). Tables that
are copies by other means (LIKE, CLONE, AS SELECT), archives and backups are tables of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from shortlist.schemas.document import Column, ForeignKey, Table
from shortlist.schemas.serialise import split_name
from shortlist.schemas.sql.drafts import DraftBook, TableDraft

__all__ = ["group_families", "split_shard_name"]

_MIN_SHARDS = 3
_MAX_NAME_CHARS = 256
_MAX_STARTS = 8  # of a date or number in a name, from its end

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
_YEAR = r"[py]?(?:19|20)\d\d"
_SUFFIX = re.compile(
    # 2024_01_31, p20240131_000000, y2024m01, 2024_q1
    rf"p?_?{_YEAR}(?:[_.-]?[mqwh]?\d{{1,2}}(?:[_.-]?d?\d{{1,2}}(?:[_.-]?h?\d{{1,2}}(?:\d{{2}}){{0,2}})?)?)?"
    rf"|{_YEAR}[_.-]?{_MONTH}|{_MONTH}[_.-]?{_YEAR}|{_MONTH}|q[1-4]"
    r"|(?:p|part|partition|shard|chunk|bucket|slice|1_prt)?[_.-]?\d{1,10}"
    r"|1_prt_\w{1,40}"  # Greenplum's partitions
    r"|default|p_?default"
)
# A table that holds what another one no longer does.
_TWIN = re.compile(r"(?:archived?|history|hist|old|backup|bak|audit|deleted|trash|copy|staging|stage|tmp|temp)s?")
# Behind these words, and behind another number (``iso_3166_1``), a number says what a table is about.
_NUMBERED = re.compile(
    r"(?:(?:^|[\W\d_])(?:v|ver|version|l|lvl|level|tier|step|stage|phase|type|class|grade)|\d)[_\-.]?$"
)


def group_families(book: DraftBook) -> tuple[Table, ...]:
    """Returns the finished tables in script order, each family as one table with its members."""
    drafts = book.kept()
    tables = [draft.table(index, book.enums) for index, draft in enumerate(drafts)]
    parents = _find_parents(drafts)
    names = _add_shards(drafts, parents)
    if not parents and not names:
        return tuple(tables)
    heads = [_topmost(place, parents) for place in range(len(tables))]
    targets = _new_targets(drafts, heads, names)
    tables = [_redirected(table, draft, targets, book) for table, draft in zip(tables, drafts, strict=True)]
    members: dict[int, list[Table]] = {}
    for place, table in enumerate(tables):
        if place != heads[place] or place in names:
            members.setdefault(heads[place], []).append(table)
    grouped = [_family(tables[place], members.get(place, ()), names.get(place)) for place in sorted(set(heads))]
    return tuple(grouped)


def split_shard_name(name: str) -> tuple[str, str]:
    """Splits the name of a shard into what it shares with others, with the separator, and the date or number.

    The second is empty if the name ends in neither.
    """
    if len(name) > _MAX_NAME_CHARS:
        return name, ""
    for start in _suffix_starts(name):
        base, suffix = name[:start], name[start:]
        if _SUFFIX.fullmatch(suffix.lower()) and re.search(r"[^\W\d_]", base):
            is_number = len(suffix) < 4 and suffix.isdecimal()
            return (name, "") if is_number and _NUMBERED.search(base.lower()) else (base, suffix)
    return name, ""


def _suffix_starts(name: str) -> list[int]:
    """Returns the places where a date or number may start, the first one first: behind a separator, or at a digit."""
    return [match.end() for match in re.finditer(r"[_\-.]+|[^\W\d_](?=\d)", name)][-_MAX_STARTS:]


def _find_parents(drafts: Sequence[TableDraft]) -> dict[int, int]:
    """Returns the place of the parent of each partition and of each child without columns of its own."""
    places = {id(draft): place for place, draft in enumerate(drafts)}
    names = _ColumnNames(drafts)
    parents: dict[int, int] = {}
    for place, draft in enumerate(drafts):
        for origin in draft.origins:
            parent = places.get(id(origin.draft)) if origin.is_parent else None
            if parent is None or (origin.kind == "inherits" and not names.of(place) <= names.of(parent)):
                continue
            if origin.kind == "partition" or _is_part(draft, drafts[parent], has_check=origin.has_check):
                parents[place] = parent
                break
    return parents


def _is_part(child: TableDraft, parent: TableDraft, *, has_check: bool) -> bool:
    """Whether a child by INHERITS holds a part of its parent's rows, as before PostgreSQL 10, and is no other kind."""
    name = child.name.lower()
    if _is_twin(child.name, parent.name):
        return False
    if name.startswith(parent.name.lower()) or re.search(r"\d", name):
        return True
    return has_check and _joins(child) <= _joins(parent)


def _is_twin(child_name: str, parent_name: str) -> bool:
    """Whether a name says that a table holds what its parent no longer does, as ``orders_archive`` does."""
    child, parent = ({*split_name(name).split()} for name in (child_name, parent_name))
    return any(_TWIN.fullmatch(word) for word in child - parent)


def _joins(draft: TableDraft) -> set[tuple[tuple[str, ...], str]]:
    """Returns the columns of each foreign key, and the bare name of the table that they refer to."""
    return {
        (tuple(map(str.lower, key.columns)), key.target_table.lower().rpartition(".")[2]) for key in draft.foreign_keys
    }


class _ColumnNames:
    """The names of the columns of each draft, in lower case, computed once."""

    def __init__(self, drafts: Sequence[TableDraft]) -> None:
        self._drafts = drafts
        self._names: dict[int, frozenset[str]] = {}

    def of(self, place: int) -> frozenset[str]:
        """Returns the names of the columns of the draft at `place`."""
        if place not in self._names:
            self._names[place] = frozenset(column.name.lower() for column in self._drafts[place].columns)
        return self._names[place]


def _topmost(place: int, parents: dict[int, int]) -> int:
    """Returns the place of the topmost parent, and shortens the way for the next search; a circle has none."""
    seen: list[int] = []
    while place in parents:
        seen.append(place)
        place = parents.pop(place)
    for one in seen:
        if one != place:
            parents[one] = place
    return place


def _add_shards(drafts: Sequence[TableDraft], parents: dict[int, int]) -> dict[int, str]:
    """Adds the parents of shards; returns the names of the families without a parent, by their first member."""
    groups: dict[tuple[object, ...], list[int]] = {}
    names = _ColumnNames(drafts)
    for place, draft in enumerate(drafts):
        base, suffix = split_shard_name(draft.name)
        if not suffix or place in parents or draft.is_detached:
            continue
        missing = next((one.name.lower() for one in draft.origins if one.is_parent and one.draft is None), "")
        if names.of(place) or missing:
            groups.setdefault((*_home(draft, base), missing, names.of(place)), []).append(place)
    plain = {_home(draft, draft.name): place for place, draft in enumerate(drafts)}
    found: dict[int, str] = {}
    for key, places in groups.items():
        if len(places) < _MIN_SHARDS or _refer_to_each_other([drafts[place] for place in places]):
            continue
        base = split_shard_name(drafts[places[0]].name)[0]
        parent = plain.get(_home(drafts[places[0]], base.rstrip("_-.")))
        if parent is not None and parent not in places and names.of(parent) == key[-1]:
            parents.update(dict.fromkeys(places, parent))
        else:
            found[places[0]] = f"{base}*"
            parents.update(dict.fromkeys(places[1:], places[0]))
    return found


def _home(draft: TableDraft, name: str) -> tuple[object, ...]:
    return draft.database, draft.namespace.lower(), draft.kind, name.lower()


def _refer_to_each_other(drafts: Sequence[TableDraft]) -> bool:
    """Whether one table references another of them, as levels of a hierarchy do (``area_1``, ``area_2``)."""
    names = {draft.name.lower() for draft in drafts}
    return any(
        target in names and target != draft.name.lower()
        for draft in drafts
        for target in (key.target_table.rpartition(".")[2].lower() for key in draft.foreign_keys)
    )


def _new_targets(drafts: Sequence[TableDraft], heads: Sequence[int], names: dict[int, str]) -> dict[int, str]:
    """Returns the full name of the family of each member, by the id of its draft."""
    targets: dict[int, str] = {}
    for place, (draft, head) in enumerate(zip(drafts, heads, strict=True)):
        if head in names:
            namespace = drafts[head].namespace
            targets[id(draft)] = f"{namespace}.{names[head]}" if namespace else names[head]
        elif head != place:
            targets[id(draft)] = drafts[head].full_name
    return targets


def _redirected(table: Table, draft: TableDraft, targets: dict[int, str], book: DraftBook) -> Table:
    """Lets the foreign keys that point to a member point to its family."""
    if not table.foreign_keys:
        return table
    found = [targets.get(id(book.find_near(key.target_table, draft))) for key in table.foreign_keys]
    keys = zip(table.foreign_keys, found, strict=True)
    return replace(table, foreign_keys=_once(replace(key, target_table=new) if new else key for key, new in keys))


def _once(keys: Iterable[ForeignKey]) -> tuple[ForeignKey, ...]:
    return tuple(dict.fromkeys(keys))


def _family(head: Table, members: Sequence[Table], name: str | None) -> Table:
    """Returns a family as one table, under a name of its own if one is given."""
    if not members:
        return head
    keys = _once(key for table in (head, *members) for key in table.foreign_keys)
    columns = _with_primary_key(head, members)
    shared = [
        replace(one, foreign_keys=keys, columns=columns if one.columns in ((), head.columns) else one.columns)
        for one in members
    ]
    family = replace(head, columns=columns, foreign_keys=keys, members=tuple(shared))
    if name is None:
        return family
    comments = {table.comment for table in members}
    return replace(family, name=name, comment=head.comment if len(comments) == 1 else "")


def _with_primary_key(head: Table, members: Sequence[Table]) -> tuple[Column, ...]:
    """Returns the columns of the first table; without a primary key, they get the one of the first member with one."""
    keys = ({column.name.lower() for column in one.columns if column.is_primary_key} for one in (head, *members))
    key = next(filter(None, keys), set())
    return tuple(
        replace(column, is_primary_key=True) if column.name.lower() in key and not column.is_primary_key else column
        for column in head.columns
    )
