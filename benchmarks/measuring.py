"""Measures one method on one test set, query by query, with the code that serves requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cases import CANDIDATES, DEPTHS, Case
from subjects import Subject

from shortlist.evaluation.dataset import Dataset, DatasetQuery, load_queries
from shortlist.evaluation.metrics import measure
from shortlist.evaluation.ranking import Pools, choose_queries, rank, unanswerable
from shortlist.router.first_stage.candidates import Candidates
from shortlist.schemas.errors import InvalidInput

Progress = Callable[[Iterable[DatasetQuery]], Iterable[DatasetQuery]]


def count_queries(folder: Path, case: Case, limit: int | None) -> int:
    """Counts the queries of a case without reading its documents.

    Raises:
        InvalidInput: there is none, or a file is missing or damaged.
    """
    data = Dataset(case.short_name, "", (), load_queries(folder))
    count = len(choose_queries(data, case.split, case.where, limit))
    if not count:
        raise InvalidInput("has no query to measure by", field=case.name)
    return count


def measure_case(
    data: Dataset, case: Case, subject: Subject, limit: int | None, progress: Progress = iter
) -> dict[str, Any]:
    """Ranks the documents for each query of a case, and measures the rankings.

    Returns the number of documents of the largest pool, the seconds taken, and the id, language, style and measures of
    each query. If the cross-encoder ranks, a query also has `top_score`, the score of its top document, and `is_right`,
    whether that document is relevant or acceptable; and `nothing_fits` are the top scores of the queries that nothing
    in their pool fits.
    """
    queries = choose_queries(data, case.split, case.where, limit)
    pools = Pools(data, data.split(case.split), case.scope)
    began = time.perf_counter()
    measured = [_measure_query(data, pools.of(query), query, subject) for query in progress(queries)]
    nothing_fits: list[float] = []
    if subject.method == "rerank":
        none = unanswerable(data, case.split, case.where, limit)
        nothing_fits = [
            score for query in none if (score := _top_score(data, pools.of(query), query, subject)) is not None
        ]
    return {
        "kind": data.kind,
        "documents": pools.largest,
        "seconds": round(time.perf_counter() - began, 3),
        "queries": measured,
        "nothing_fits": nothing_fits,
    }


def _top_score(data: Dataset, items: Candidates, query: DatasetQuery, subject: Subject) -> float | None:
    return rank(items, query.query, subject.router, subject.method, CANDIDATES, data.kind).top_score


def _measure_query(data: Dataset, items: Candidates, query: DatasetQuery, subject: Subject) -> dict[str, Any]:
    found = rank(items, query.query, subject.router, subject.method, CANDIDATES, data.kind)
    ids = [data.documents[items.items[place].index].id for place in found.places]
    top: dict[str, Any] = {}
    if found.top_score is not None:
        top = {"top_score": found.top_score, "is_right": ids[0] in query.relevant | query.acceptable}
    recalls = {f"recall@{depth}": len(query.relevant & set(ids[:depth])) / len(query.relevant) for depth in DEPTHS}
    measures = {
        name: round(value, 6) for name, value in (measure(ids, query.relevant, query.acceptable) | recalls).items()
    }
    return {"id": query.id, "lang": query.lang, "style": query.style, "measures": measures} | top
