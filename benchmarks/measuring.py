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
from shortlist.evaluation.ranking import Pools, choose_queries, rank
from shortlist.router.first_stage.candidates import Candidates
from shortlist.schemas.errors import InvalidInput

SPLIT = "test"
Progress = Callable[[Iterable[DatasetQuery]], Iterable[DatasetQuery]]


def count_queries(folder: Path, case: Case, limit: int | None) -> int:
    """Counts the queries of a case without reading its documents.

    Raises:
        InvalidInput: there is none, or a file is missing or damaged.
    """
    data = Dataset(case.short_name, "", (), load_queries(folder))
    count = len(choose_queries(data, SPLIT, case.where, limit))
    if not count:
        raise InvalidInput("has no query to measure by", field=case.name)
    return count


def measure_case(
    data: Dataset, case: Case, subject: Subject, limit: int | None, progress: Progress = iter
) -> dict[str, Any]:
    """Ranks the documents for each query of a case, and measures the rankings.

    Returns the number of documents of the largest pool, the seconds taken, and the id, language and measures of each
    query. If the cross-encoder ranks, a query also has `top_score`, the score of its top document, and `is_right`,
    whether that document is relevant.
    """
    queries = choose_queries(data, SPLIT, case.where, limit)
    pools = Pools(data, data.split(SPLIT), case.scope)
    began = time.perf_counter()
    measured = [_measure_query(data, pools.of(query), query, subject) for query in progress(queries)]
    return {
        "kind": data.kind,
        "documents": pools.largest,
        "seconds": round(time.perf_counter() - began, 3),
        "queries": measured,
    }


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
    return {"id": query.id, "lang": query.lang, "measures": measures} | top
