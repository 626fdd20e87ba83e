"""Finds the keys by which tables join although no foreign key says so, as in half of all real schemas."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shortlist.router.first_stage.foreign_keys import nearest
from shortlist.schemas.document import Column, Table
from shortlist.schemas.serialise import split_name

__all__ = ["ImpliedKey", "declares_keys", "implied_keys"]

# A column that refers to another table is named after it, with one of these at its end or its beginning.
_ENDINGS = frozenset(
    ["id", "ids", "uuid", "guid", "key", "fk", "ref", "no", "num", "number", "nr", "code", "sk", "hk", "pk", "sid"]
)
_BEGINNINGS = frozenset(["id", "fk", "sk", "key"])
# Written together with the name: userid, orderkey.
_SUFFIXES = ("id", "key", "uuid", "guid")
_LEAST_STEM_CHARS = 3
# Columns of these names say nothing of what they refer to, even if they are keys of other tables.
_COMMON = frozenset(
    ["code", "date", "guid", "id", "key", "name", "no", "number", "row", "rowid", "seq", "sid", "time", "type", "uid",
     "uuid", "value", "version"]
)  # fmt: skip
# Prefixes that so many tables share are no part of their names.
_LEAST_SHARING, _SHARE_SHARING = 5, 0.4
_LAYERS = frozenset(["dim", "fact", "fct", "stg", "tbl", "tb"])
# A key column that more tables have as theirs refers to none of them.
_MOST_OWNERS = 3
# Of 46 real schemas, 25 have 0.67 foreign keys for each table or more, and the others 0.43 or fewer.
_DECLARED_PER_TABLE = 0.5

_Key = tuple[str | None, tuple[str, ...]]  # a namespace, or None for any; the words of a name
_Names = dict[_Key, list[int]]


@dataclass(frozen=True, slots=True)
class ImpliedKey:
    """A column whose name says that it refers to `target`, the index of another table, by its column."""

    column: str
    target: int
    target_column: str


def declares_keys(tables: Sequence[Table]) -> bool:
    """Returns whether a schema has so many foreign keys that it seems to declare all: names may then mislead."""
    return sum(len(table.foreign_keys) for table in tables) > _DECLARED_PER_TABLE * len(tables)


def implied_keys(tables: Sequence[Table]) -> list[list[ImpliedKey]]:
    """Returns for each table the keys that the names of its columns imply, except where a foreign key is declared.

    Names are a guess: see `declares_keys`.

    A column ``customer_id`` or ``idCustomer`` refers to the table ``customers`` if that has the same column, a primary
    key of one column, or a column ``id``. A column that has the name of the primary key of another table refers to it,
    unless the name is one that many tables have. Of several tables, the nearest in the script is meant.
    """
    by_name, owners = _by_name(tables), _owners(tables)
    return [list(_of_table(place, table, tables, by_name, owners)) for place, table in enumerate(tables)]


def _of_table(
    place: int,
    table: Table,
    tables: Sequence[Table],
    by_name: _Names,
    owners: dict[str, list[int]],
) -> Iterator[ImpliedKey]:
    declared = {name.lower() for key in table.foreign_keys for name in key.columns}
    for column in table.columns:
        if column.name.lower() in declared:
            continue
        found = _named_after(place, column, tables, by_name) or _owned(place, column, owners)
        if found is not None:
            yield found


def _named_after(place: int, column: Column, tables: Sequence[Table], by_name: _Names) -> ImpliedKey | None:
    stem = _stem(column.name)
    for start in range(len(stem)):
        for space in (tables[place].namespace, None):
            target = _nearest_other(place, by_name.get((space, stem[start:]), ()))
            if target is not None:
                key = _key_of(tables[target], column.name)
                return ImpliedKey(column.name, target, key) if key else None
    return None


def _owned(place: int, column: Column, owners: dict[str, list[int]]) -> ImpliedKey | None:
    own = owners.get(column.name.lower(), ())
    if not 0 < len(own) <= _MOST_OWNERS or place in own:
        return None
    target = nearest(place, own)
    return None if target is None else ImpliedKey(column.name, target, column.name)


def _nearest_other(place: int, candidates: Sequence[int]) -> int | None:
    at = bisect_left(candidates, place)
    after = at + (at < len(candidates) and candidates[at] == place)
    return nearest(place, [*candidates[max(0, at - 1) : at], *candidates[after : after + 1]])


def _key_of(table: Table, name: str) -> str | None:
    """Returns the column by which others refer to a table: of the same name, the primary key, or `id`."""
    names = {column.name.lower(): column.name for column in table.columns}
    primary = [column.name for column in table.columns if column.is_primary_key]
    return names.get(name.lower()) or (primary[0] if len(primary) == 1 else names.get("id"))


def _stem(name: str) -> tuple[str, ...]:
    """Returns the words of the table that a column may be named after; empty if it is not named like a key."""
    words = split_name(name).split()
    if len(words) > 1:
        if words[-1] in _ENDINGS:
            return tuple(words[:-1])
        return tuple(words[1:]) if words[0] in _BEGINNINGS else ()
    for suffix in _SUFFIXES:
        stem = name.lower().removesuffix(suffix)
        if stem != name.lower() and len(stem) >= _LEAST_STEM_CHARS:
            return (stem,)
    return ()


def _by_name(tables: Sequence[Table]) -> _Names:
    """Returns the places of tables by namespace (or None) and words, also without a prefix that many tables share."""
    words = [split_name(table.name).split() for table in tables]
    first = Counter(one[0] for one in words if len(one) > 1)
    least = max(_LEAST_SHARING, _SHARE_SHARING * len(tables))
    shared = {word for word, count in first.items() if count >= least} | _LAYERS
    found: defaultdict[_Key, list[int]] = defaultdict(list)
    for place, own in enumerate(words):
        names = _forms(own) | (_forms(own[1:]) if len(own) > 1 and own[0] in shared else set())
        for name in sorted(names):
            for space in {None, tables[place].namespace}:
                found[space, name].append(place)
    return found


def _owners(tables: Sequence[Table]) -> dict[str, list[int]]:
    """Returns the places of the tables whose primary key is one column with a telling name, by that name."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for place, table in enumerate(tables):
        primary = [column.name.lower() for column in table.columns if column.is_primary_key]
        if len(primary) == 1 and primary[0] not in _COMMON:
            found[primary[0]].append(place)
    return found


def _forms(words: Sequence[str]) -> set[tuple[str, ...]]:
    """Returns the names by which a column may call a table of these words: as it is, and in the singular."""
    if not words:
        return set()
    *first, last = words
    return {(*first, one) for one in (last, *_singulars(last))}


def _singulars(word: str) -> Iterator[str]:
    """Yields what may be the singular: movies is of movie, and cities of city."""
    if len(word) > _LEAST_STEM_CHARS and word.endswith("s") and not word.endswith("ss"):
        yield word[:-1]
        if word.endswith("es"):
            yield word[:-2]
        if word.endswith("ies"):
            yield word[:-3] + "y"
