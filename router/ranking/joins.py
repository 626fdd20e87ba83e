"""Measures how much each key column is needed to join the tables that a question is about.

Questions rarely name join keys, so the need for a key is inferred from the other columns of the tables on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.router.first_stage.foreign_keys import find_targets
from shortlist.router.first_stage.implied_keys import declares_keys, implied_keys
from shortlist.schemas.document import Table

__all__ = ["join_keys", "join_needs"]


@dataclass(frozen=True, slots=True)
class _Join:
    """Two tables, by index, and the columns that join them, by their indices among the columns of all tables."""

    table: int
    target: int
    columns: tuple[int, ...]


def join_needs(tables: Sequence[Table], logits: Sequence[float]) -> list[float]:
    """Returns the need for each column of the tables, in order, as a join key; `logits` has one logit per column.

    A table is as relevant as the best logit of its columns that are not join keys. A join is as relevant as the less
    relevant of its two tables, or of two tables that join only through one of these two, whichever is more. A key's
    need is the relevance of its best join minus the mean of `logits`; it is 0 for columns in no such join.
    """
    needs = [0.0] * len(logits)
    joins = _declared_joins(tables)
    if not declares_keys(tables):
        joins += _implied_joins(tables)
    if not joins:
        return needs
    graph = _JoinGraph(joins, _table_relevance(tables, logits, {place for join in joins for place in join.columns}))
    mean = sum(logits) / len(logits)
    best = [-math.inf] * len(logits)
    for join in joins:
        relevance = graph.join_relevance(join.table, join.target)
        for place in join.columns:
            best[place] = max(best[place], relevance)
    return [relevance - mean if relevance > -math.inf else 0.0 for relevance in best]


def join_keys(tables: Sequence[Table]) -> set[int]:
    """Returns the columns by which the tables join one another, as indices among the columns of all tables."""
    return {place for join in (*_declared_joins(tables), *_implied_joins(tables)) for place in join.columns}


class _JoinGraph:
    """The tables that join with each table, the most relevant first."""

    def __init__(self, joins: Sequence[_Join], relevance: Sequence[float]) -> None:
        self._relevance = relevance
        self._links: dict[int, set[int]] = {}
        for join in joins:
            self._links.setdefault(join.table, set()).add(join.target)
            self._links.setdefault(join.target, set()).add(join.table)
        self._order = {place: sorted(linked, key=lambda one: -relevance[one]) for place, linked in self._links.items()}

    def join_relevance(self, one: int, other: int) -> float:
        """Returns the relevance of the join of two tables, for them and for paths of two joins that include it."""
        direct = min(self._relevance[one], self._relevance[other])
        return max(direct, self._relevance_through(one, other), self._relevance_through(other, one))

    def _relevance_through(self, start: int, middle: int) -> float:
        """Returns the relevance of joining `start` through `middle` with a table that it does not join directly."""
        near = self._links[start]
        behind = (self._relevance[place] for place in self._order[middle] if place != start and place not in near)
        return min(self._relevance[start], next(behind, -math.inf))


def _table_relevance(tables: Sequence[Table], logits: Sequence[float], in_joins: set[int]) -> list[float]:
    relevance, place = [-math.inf] * len(tables), 0
    for number, table in enumerate(tables):
        for _ in table.columns:
            if place not in in_joins:
                relevance[number] = max(relevance[number], logits[place])
            place += 1
    return relevance


def _declared_joins(tables: Sequence[Table]) -> list[_Join]:
    """Finds the foreign keys whose target is among the tables; without target columns they mean its primary key."""
    found = find_targets(
        [table.full_name for table in tables], [[key.target_table for key in table.foreign_keys] for table in tables]
    )
    places = _places(tables)
    joins = []
    for number, (table, targets) in enumerate(zip(tables, found, strict=True)):
        for key, target in zip(table.foreign_keys, targets, strict=True):
            if target is not None and target != number:
                names = [(number, name) for name in key.columns]
                names += [(target, name) for name in key.target_columns or _primary_key(tables[target])]
                columns = [places[at].get(name.lower()) for at, name in names]
                joins.append(_Join(number, target, tuple(place for place in columns if place is not None)))
    return joins


def _implied_joins(tables: Sequence[Table]) -> list[_Join]:
    places = _places(tables)
    return [
        _Join(number, key.target, (places[number][key.column.lower()], places[key.target][key.target_column.lower()]))
        for number, keys in enumerate(implied_keys(tables))
        for key in keys
    ]


def _places(tables: Sequence[Table]) -> list[dict[str, int]]:
    """Returns for each table the indices of its columns among the columns of all tables, by name in lower case."""
    places: list[dict[str, int]] = []
    count = 0
    for table in tables:
        places.append({column.name.lower(): count + at for at, column in enumerate(table.columns)})
        count += len(table.columns)
    return places


def _primary_key(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.is_primary_key]
