"""Evaluates the choice of columns: how many of those a query needs are among the best-scored share of its database."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from shortlist.evaluation.dataset import Dataset, DatasetQuery
from shortlist.evaluation.ranking import Evaluation
from shortlist.router.first_stage.candidates import Candidates, ranked
from shortlist.router.ranking.columns import ScoredColumn, items_of_columns, keep_columns
from shortlist.schemas.document import Table
from shortlist.schemas.errors import InvalidInput

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router

__all__ = ["KEEP_RATES", "evaluate_columns", "gold_columns", "tables_of_groups"]

KEEP_RATES = (0.2, 0.3, 0.4, 0.5, 0.6)


def evaluate_columns(
    data: Dataset,
    router: Router | None,
    *,
    method: str = "rerank",
    split: str = "test",
    limit: int | None = None,
    progress: Callable[[Iterable[DatasetQuery]], Iterable[DatasetQuery]] = iter,
) -> Evaluation:
    """Measures, at several keep-rates, the mean share of a query's gold columns that are kept.

    The pool is every column of the query's database (its group); a keep-rate is a share of that pool, rounded up.
    ``bm25`` ranks by the words of each column and its table's name. Queries whose columns are not known are left out.

    Raises:
        InvalidInput: the set has no queries with columns, or one of no database; or the method needs a model.
    """
    if method not in ("rerank", "bm25") or (method == "rerank" and router is None):
        raise InvalidInput(f"columns are ranked by rerank (with a model) or bm25, not {method}", field="method")
    databases = tables_of_groups(data)
    queries = [query for query in data.split(split) if gold_columns(query)]
    if not queries:
        raise InvalidInput(f"no query of {data.name} says which columns it needs", field="data")
    if strays := [query for query in queries if query.group not in databases]:
        raise InvalidInput(
            f"query {strays[0].id!r} has the group {strays[0].group!r}, of which corpus.jsonl has no table",
            field="data",
        )
    if limit and limit < len(queries):
        queries = random.Random(0).sample(queries, limit)
    began = time.perf_counter()
    kept: list[dict[str, float]] = []
    largest = 0
    for query in progress(queries):
        tables = databases[query.group]
        scored = router.score_columns(query.text, tables) if router and method == "rerank" else _by_words(query, tables)
        largest = max(largest, len(scored))
        kept.append({f"recall@{rate:.0%}": _recall(query, tables, scored, rate) for rate in KEEP_RATES})
    return Evaluation(
        dataset=data.name,
        kind="columns",
        scope="group",
        method=method,
        model=f"{router.info.name} {router.info.version}" if router and method == "rerank" else "",
        candidates=0,
        queries=len(queries),
        documents=largest,
        metrics={name: round(sum(one[name] for one in kept) / len(kept), 4) for name in kept[0]},
        by_lang={},
        seconds=round(time.perf_counter() - began, 3),
    )


def gold_columns(query: DatasetQuery) -> set[str]:
    """Returns the columns a query needs as ``table.column``, lower case, empty where they are not known."""
    return {str(one).partition(".")[2].lower() for one in query.fields.get("columns") or ()}


def tables_of_groups(data: Dataset) -> dict[str, list[Table]]:
    """Returns the tables of each database."""
    found: dict[str, list[Table]] = {}
    for document in data.documents:
        if isinstance(document.item, Table):
            found.setdefault(document.group, []).append(document.item)
    return found


def _by_words(query: DatasetQuery, tables: Sequence[Table]) -> list[ScoredColumn]:
    items = items_of_columns(tables)
    order = ranked(Candidates(items).first_stage(query.text, None).scores)
    rank_of = {place: rank for rank, place in enumerate(order)}
    places = [(place, at) for place, table in enumerate(tables) for at in range(len(table.columns))]
    return [
        ScoredColumn(place, at, items[index].name, -float(rank_of[index])) for index, (place, at) in enumerate(places)
    ]


def _recall(query: DatasetQuery, tables: Sequence[Table], scored: Sequence[ScoredColumn], rate: float) -> float:
    names = {
        f"{tables[one.table].name}.{tables[one.table].columns[one.column].name}".lower()
        for one in keep_columns(scored, rate)
    }
    gold = gold_columns(query)
    return len(gold & names) / len(gold)
