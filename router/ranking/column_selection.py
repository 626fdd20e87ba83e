"""Names, of the tables that were selected, the columns that are worth their place in a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shortlist.router.ranking.columns import ScoredColumn, gather_columns, keep_columns
from shortlist.router.ranking.degraded import OUT_OF_TIME, raise_unless_degraded
from shortlist.router.run import Run
from shortlist.schemas.document import Table
from shortlist.schemas.results import SelectedColumn, Selection

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router

__all__ = ["name_columns"]

_NO_TIME = "the time did not suffice to score columns, so none are named"


def name_columns(router: Router, run: Run, selection: Selection, tables: Sequence[Table], share: float) -> Selection:
    """Names the best `share` of the columns of those `tables` that were selected together, and of each the best one.

    Where the time does not suffice and the caller takes a degraded answer, none are named, and a warning says so.

    Raises:
        RequestCancelled: the time does not suffice.
    """
    chosen = [tables[item.index] for item in selection.items]
    late = replace(selection, warnings=(*selection.warnings, _NO_TIME))
    if run.is_degraded:
        return late
    apart = replace(run, max_candidates=0, warnings=[], truncated=[], found=None)
    try:
        scored, scores = gather_columns(router, apart, chosen)
    except OUT_OF_TIME as error:
        raise_unless_degraded(run, error)
        return late
    before, named = selection.timings, _keep(scored, chosen, share)
    both = replace(scores, queue_ms=before.queue_ms + scores.queue_ms, infer_ms=before.infer_ms + scores.infer_ms)
    return replace(
        selection,
        items=tuple(replace(item, columns=columns) for item, columns in zip(selection.items, named, strict=True)),
        num_tokens=selection.num_tokens + scores.num_tokens,
        timings=run.clock.timings(both),
    )


def _keep(scored: Sequence[ScoredColumn], tables: Sequence[Table], share: float) -> list[tuple[SelectedColumn, ...]]:
    """Returns the kept columns of each table, in its order."""
    kept = {(one.table, one.column) for one in keep_columns(scored, share)}
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
