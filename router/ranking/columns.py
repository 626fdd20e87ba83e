"""Scores the columns of tables for a question, so that a prompt need not hold them all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shortlist.router.first_stage.candidates import Item, ItemSet
from shortlist.router.ranking.joins import join_needs
from shortlist.router.ranking.score import ColumnFeatures, Rules
from shortlist.router.ranking.windows import DocumentScores
from shortlist.router.run import Clock, Run
from shortlist.schemas.document import Column, Table
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.serialise import column_document

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router

__all__ = [
    "ScoredColumn",
    "column_features",
    "column_items",
    "gather_columns",
    "keep_columns",
    "score_columns",
]


@dataclass(frozen=True, slots=True)
class ScoredColumn:
    """A column, by its place among the tables and within its table, with its score (0..1)."""

    table: int
    column: int
    name: str
    score: float


def score_columns(router: Router, question: str, tables: Sequence[Table]) -> list[ScoredColumn]:
    """Scores every column of the tables, in order."""
    return gather_columns(router, _alone(question), tables)[0]


def gather_columns(router: Router, run: Run, tables: Sequence[Table]) -> tuple[list[ScoredColumn], DocumentScores]:
    """Scores every column of the tables, in order, as a part of a request; all go through the cross-encoder.

    Raises:
        RequestCancelled: the request's time is up.
    """
    features, scores = _gather_features(router, run, tables)
    places = [(place, at, column) for place, table in enumerate(tables) for at, column in enumerate(table.columns)]
    scored = [
        ScoredColumn(place, at, f"{tables[place].full_name}.{column.name}", router.column_weights.score(one))
        for (place, at, column), one in zip(places, features, strict=True)
    ]
    return scored, scores


def keep_columns(scored: Sequence[ScoredColumn], keep_rate: float) -> list[ScoredColumn]:
    """Returns the best `keep_rate` (0..1) of the columns, rounded up, best first, ties in order.

    Raises:
        InvalidInput: the rate is out of range.
    """
    if not 0 < keep_rate <= 1:
        raise InvalidInput(f"is {keep_rate}; give a share above 0 and up to 1", field="keep_rate")
    order = sorted(scored, key=lambda one: (-one.score, one.table, one.column))
    return order[: math.ceil(keep_rate * len(scored))]


def column_features(router: Router, question: str, tables: Sequence[Table]) -> list[ColumnFeatures]:
    """Gathers what is known of every column of the tables, in order."""
    return _gather_features(router, _alone(question), tables)[0]


def _gather_features(router: Router, run: Run, tables: Sequence[Table]) -> tuple[list[ColumnFeatures], DocumentScores]:
    items = ItemSet(column_items(tables))
    with run.clock.stage("retrieve"):
        by_words = items.first_stage(run.query, None)
    _, found, scores = router.gather_features(run, items, frozenset(), by_words)
    needs = join_needs(tables, [one.logit for one in found])
    features = [ColumnFeatures(one.logit, one.lexical_match, need) for one, need in zip(found, needs, strict=True)]
    return features, scores


def _alone(question: str) -> Run:
    return Run(question, Rules(), 0, Clock())


def column_items(tables: Sequence[Table]) -> list[Item]:
    """Wraps every column of the tables, in order."""
    columns = [(table, column) for table in tables for column in table.columns]
    return [_item(table, column, index) for index, (table, column) in enumerate(columns)]


def _item(table: Table, column: Column, index: int) -> Item:
    text = column_document(table, column)
    return Item(column.name, index, "", table.full_name, text, lambda *_: text)
