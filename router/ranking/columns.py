"""Scores the columns of tables for a question, and names those to put into a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.router.catalogs.catalog import Item, item_of_column
from shortlist.router.ranking.joins import join_keys, join_needs
from shortlist.router.ranking.score import ColumnFeatures, ColumnWeights, Features
from shortlist.schemas.document import Table
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.results import SelectedColumn

__all__ = [
    "ScoredColumn",
    "column_features",
    "items_of_columns",
    "keep_columns",
    "name_columns",
    "score_columns",
]


@dataclass(frozen=True, slots=True)
class ScoredColumn:
    """A column with its score (0..1); `table` and `column` are indices, of the table and within it."""

    table: int
    column: int
    name: str
    score: float


def items_of_columns(tables: Sequence[Table]) -> list[Item]:
    """Makes an item of every column of the tables, in order."""
    columns = [(table, column) for table in tables for column in table.columns]
    return [item_of_column(table, column, index) for index, (table, column) in enumerate(columns)]


def column_features(tables: Sequence[Table], features: Sequence[Features]) -> list[ColumnFeatures]:
    """Adds to the features of every column how much joins need it."""
    needs = join_needs(tables, [one.logit for one in features])
    return [ColumnFeatures(one.logit, one.lexical_match, need) for one, need in zip(features, needs, strict=True)]


def score_columns(
    tables: Sequence[Table], features: Sequence[ColumnFeatures], weights: ColumnWeights
) -> list[ScoredColumn]:
    """Scores every column of the tables, in order."""
    places = [(place, at, column) for place, table in enumerate(tables) for at, column in enumerate(table.columns)]
    return [
        ScoredColumn(place, at, f"{tables[place].full_name}.{column.name}", weights.score(one))
        for (place, at, column), one in zip(places, features, strict=True)
    ]


def keep_columns(scored: Sequence[ScoredColumn], keep_rate: float) -> list[ScoredColumn]:
    """Returns the best `keep_rate` (0..1) of the columns, rounded up, best first, ties in order.

    Raises:
        InvalidInput: the rate is out of range.
    """
    if not 0 < keep_rate <= 1:
        raise InvalidInput(f"is {keep_rate}; give a share above 0 and up to 1", field="keep_rate")
    order = sorted(scored, key=lambda one: (-one.score, one.table, one.column))
    return order[: math.ceil(keep_rate * len(scored))]


def name_columns(
    scored: Sequence[ScoredColumn], tables: Sequence[Table], keep_rate: float
) -> list[tuple[SelectedColumn, ...]]:
    """Returns each table's kept columns, in its order.

    They are the keys by which the tables join, the best `keep_rate` of the other columns, and each table's best:
    without a key, the tables are of no use together, and without others there is nothing to answer with.
    """
    keys = join_keys(tables)
    others = [one for place, one in enumerate(scored) if place not in keys]
    kept = {(scored[place].table, scored[place].column) for place in keys}
    kept.update((one.table, one.column) for one in keep_columns(others, keep_rate))
    best: dict[int, ScoredColumn] = {}
    for one in scored:
        if one.table not in best or one.score > best[one.table].score:
            best[one.table] = one
    kept.update((one.table, one.column) for one in best.values())
    named: list[list[SelectedColumn]] = [[] for _ in tables]
    for one in scored:
        if (one.table, one.column) in kept:
            named[one.table].append(SelectedColumn(tables[one.table].columns[one.column].name, one.score))
    return [tuple(columns) for columns in named]
