"""Tells how much a key column is needed to join the tables that a question asks for.

A question names what it wants to read or to compare, seldom the keys that bring it together: these are known by the
columns that it does name, of the tables on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.router.first_stage.foreign_keys import find_targets
from shortlist.schemas.document import Table

__all__ = ["join_needs"]


@dataclass(frozen=True, slots=True)
class _Join:
    """Two tables, by place, and the columns that join them, by their places among the columns of all tables."""

    table: int
    target: int
    columns: tuple[int, ...]


def join_needs(tables: Sequence[Table], logits: Sequence[float]) -> list[float]:
    """Returns for each column of the tables, in order, how much the join that it takes part in is asked for.

    A table is asked for as much as the best logit of its columns that are in no join; a join as much as the lesser of
    its two tables, or of two tables that join through one of these and not with each other. What is returned is how
    far that lies above the mean of `logits` (one per column), and 0 for a column in no such join.
    """
    needs = [0.0] * len(logits)
    joins = _find_joins(tables)
    if not joins:
        return needs
    paths = _Paths(joins, _asked(tables, logits, {place for join in joins for place in join.columns}))
    mean = sum(logits) / len(logits)
    best = [-math.inf] * len(logits)
    for join in joins:
        asked = paths.best_through(join.table, join.target)
        for place in join.columns:
            best[place] = max(best[place], asked)
    return [asked - mean if asked > -math.inf else 0.0 for asked in best]


class _Paths:
    """The tables that join with each one, those asked for most first."""

    def __init__(self, joins: Sequence[_Join], asked: Sequence[float]) -> None:
        self._asked = asked
        self._links: dict[int, set[int]] = {}
        for join in joins:
            self._links.setdefault(join.table, set()).add(join.target)
            self._links.setdefault(join.target, set()).add(join.table)
        self._order = {place: sorted(linked, key=lambda one: -asked[one]) for place, linked in self._links.items()}

    def best_through(self, one: int, other: int) -> float:
        """Returns the most that two tables are both asked for whose shortest path takes the join of these two."""
        direct = min(self._asked[one], self._asked[other])
        return max(direct, self._beyond(one, other), self._beyond(other, one))

    def _beyond(self, start: int, middle: int) -> float:
        """Returns the same for `start` and the best of the tables behind `middle`."""
        near = self._links[start]
        behind = (self._asked[place] for place in self._order[middle] if place != start and place not in near)
        return min(self._asked[start], next(behind, -math.inf))


def _asked(tables: Sequence[Table], logits: Sequence[float], in_joins: set[int]) -> list[float]:
    asked, place = [-math.inf] * len(tables), 0
    for number, table in enumerate(tables):
        for _ in table.columns:
            if place not in in_joins:
                asked[number] = max(asked[number], logits[place])
            place += 1
    return asked


def _find_joins(tables: Sequence[Table]) -> list[_Join]:
    """Finds the foreign keys whose table is there; one that names no target's columns means its primary key."""
    found = find_targets(
        [table.full_name for table in tables], [[key.target_table for key in table.foreign_keys] for table in tables]
    )
    places: list[dict[str, int]] = []
    count = 0
    for table in tables:
        places.append({column.name.lower(): count + at for at, column in enumerate(table.columns)})
        count += len(table.columns)
    joins = []
    for number, (table, targets) in enumerate(zip(tables, found, strict=True)):
        for key, target in zip(table.foreign_keys, targets, strict=True):
            if target is not None and target != number:
                names = [(number, name) for name in key.columns]
                names += [(target, name) for name in key.target_columns or _primary_key(tables[target])]
                columns = [places[at].get(name.lower()) for at, name in names]
                joins.append(_Join(number, target, tuple(place for place in columns if place is not None)))
    return joins


def _primary_key(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.is_primary_key]
