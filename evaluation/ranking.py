"""Evaluates rankings on a set of queries, with the same stages as a request."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from shortlist.evaluation.abstention import measure_abstention
from shortlist.evaluation.calibration import calibrate
from shortlist.evaluation.dataset import Dataset, DatasetQuery
from shortlist.evaluation.intervals import mean_intervals
from shortlist.evaluation.metrics import MEASURES, mean_measures, measure
from shortlist.router.catalogs.catalog import Item, item_of_document, item_of_table, item_of_tool
from shortlist.router.first_stage.candidates import Candidates, Encoded, ranked
from shortlist.schemas.conversation import Query, query_text, read_query
from shortlist.schemas.document import Table, Tool
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router

__all__ = ["METHODS", "SCOPES", "Evaluation", "dataset_item", "evaluate"]

METHODS = ("rerank", "bm25", "encoder", "fused")
SCOPES = ("group", "all", "corpus")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of one evaluation; `documents` is the size of the largest pool.

    `by_lang`, `by_style` and `by_group` have, for each language, style and group, the measures and the number of
    `queries`. `intervals` are the lower and upper ends of each measure's 95 % interval. `nothing_fits` is what
    `measure_abstention` says, empty if the set has no such queries or the method gives no score. `calibration_error` is
    the expected calibration error of the first document's score, None without a score.
    """

    dataset: str
    kind: str
    scope: str
    method: str
    model: str
    candidates: int
    queries: int
    documents: int
    metrics: dict[str, float]
    by_lang: dict[str, dict[str, float]]
    seconds: float
    intervals: dict[str, list[float]] = field(default_factory=dict)
    by_style: dict[str, dict[str, float]] = field(default_factory=dict)
    by_group: dict[str, dict[str, float]] = field(default_factory=dict)
    nothing_fits: dict[str, float] = field(default_factory=dict)
    calibration_error: float | None = None

    def as_json(self) -> dict[str, object]:
        """Returns the fields as a JSON object."""
        return asdict(self)


def evaluate(
    data: Dataset,
    router: Router | None,
    *,
    method: str = "rerank",
    split: str = "test",
    scope: str = "corpus",
    candidates: int = 50,
    where: str | None = None,
    limit: int | None = None,
    progress: Callable[[Iterable[DatasetQuery]], Iterable[DatasetQuery]] = iter,
) -> Evaluation:
    """Ranks each query's pool by one of `METHODS` and measures the rankings; only ``bm25`` needs no router.

    ``rerank`` does what a request does: the first stage keeps `candidates` (0 = all) of each pool for the
    cross-encoder, and the rest follow in first-stage order. ``encoder`` and ``fused`` are the first stage alone,
    without and with words. `limit` takes a random sample, always the same one. `where` is FIELD=VALUE and keeps the
    queries whose line has that value.

    Raises:
        InvalidInput: the split, the scope or the field or value of `where` does not exist, or the model does not
            support the method.
    """
    _check_method(method, router)
    queries = choose_queries(data, split, where, limit)
    nothing_fits = unanswerable(data, split, where, limit) if method == "rerank" else []
    pools = Pools(data, data.split(split), scope)
    began = time.perf_counter()
    found = [
        _measure(data, pools.of(query), query, router, method, candidates)
        for query in progress([*queries, *nothing_fits])
    ]
    answered, others = found[: len(queries)], found[len(queries) :]
    means, lows, highs = mean_intervals(np.array([[*one.measures.values()] for one in answered]))
    tops = [one.top_score for one in answered if one.top_score is not None]
    rivals = [one.top_score for one in others if one.top_score is not None]
    return Evaluation(
        dataset=data.name,
        kind=data.kind,
        scope=scope,
        method=method,
        model=f"{router.info.name} {router.info.version}" if router and method != "bm25" else "",
        candidates=candidates,
        queries=len(queries),
        documents=pools.largest,
        metrics=dict(zip(MEASURES, (round(mean, 4) for mean in means), strict=True)),
        by_lang=_by([one.query.lang for one in answered], answered),
        seconds=round(time.perf_counter() - began, 3),
        intervals={
            name: [round(low, 4), round(high, 4)] for name, low, high in zip(MEASURES, lows, highs, strict=True)
        },
        by_style=_by([one.query.style for one in answered], answered),
        by_group=_by([one.query.group for one in answered], answered) if scope == "group" else {},
        nothing_fits=measure_abstention(tops, rivals) if tops and rivals else {},
        calibration_error=_calibration_error(answered),
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    """One ranked query; `measures` is empty if nothing fits it, `top_score` is None without a cross-encoder."""

    query: DatasetQuery
    measures: dict[str, float]
    top_score: float | None


def _measure(
    data: Dataset, items: Candidates, query: DatasetQuery, router: Router | None, method: str, candidates: int
) -> _Measured:
    found = rank(items, query.query, router, method, candidates, data.kind)
    ids = [data.documents[items.items[place].index].id for place in found.places]
    measures = measure(ids, query.relevant, query.acceptable) if query.relevant else {}
    return _Measured(query, measures, found.top_score)


def _calibration_error(answered: Sequence[_Measured]) -> float | None:
    found = calibrate(
        [
            {"top_score": one.top_score, "is_right": bool(one.measures["hit@1"])}
            for one in answered
            if one.top_score is not None
        ]
    )
    return round(found.ece, 4) if found else None


def choose_queries(data: Dataset, split: str, where: str | None, limit: int | None) -> list[DatasetQuery]:
    """Returns the queries of a split that have relevant documents and match `where`, at most `limit` of them."""
    queries = [query for query in data.split(split) if query.relevant]
    if not queries:
        raise InvalidInput(f"no query in the split {split!r} of {data.name} has relevant documents", field="split")
    return _sample(_where(data, queries, where), limit)


def unanswerable(data: Dataset, split: str, where: str | None, limit: int | None) -> list[DatasetQuery]:
    """Returns the queries of a split that nothing fits, unless `where` selects some others; at most `limit` of them."""
    none = [query for query in data.split(split) if not query.relevant and not query.acceptable]
    return [] if where else _sample(none, limit)


def _where(data: Dataset, queries: list[DatasetQuery], where: str | None) -> list[DatasetQuery]:
    if where is not None:
        name, equals, value = where.partition("=")
        if not equals or not any(name in query.fields for query in queries):
            raise InvalidInput(f"no query of {data.name} has a field {name!r}; write FIELD=VALUE", field="where")
        queries = [query for query in queries if str(query.fields.get(name)).lower() == value.lower()]
        if not queries:
            raise InvalidInput(f"no query of {data.name} has {where}", field="where")
    return queries


def _sample(queries: list[DatasetQuery], limit: int | None) -> list[DatasetQuery]:
    return random.Random(0).sample(queries, limit) if limit and limit < len(queries) else queries


@dataclass(frozen=True, slots=True)
class Ranking:
    """All places of a pool, best first; `top_score` is the first one's score (0..1), None without a cross-encoder."""

    places: list[int]
    top_score: float | None = None


def rank(items: Candidates, asked: Query, router: Router | None, method: str, candidates: int, kind: Kind) -> Ranking:
    """Ranks a pool by one of `METHODS`; `kind` chooses the score's weights.

    Raises:
        InvalidInput: the model does not support the method.
    """
    _check_method(method, router)
    query = router.query_text(asked) if router else query_text(read_query(asked))
    if router is None or method == "bm25":
        return Ranking(ranked(items.first_stage(query, None).scores))
    # All documents are embedded here: a request has a limit, but a server that has run for a while has cached them all.
    found = items.first_stage(query, router.embedder)
    if method == "encoder" and found.cosines is not None:
        return Ranking(ranked(found.cosines))
    order = ranked(found.scores)
    if method != "rerank":
        return Ranking(order)
    scored, _ = router.score_items(query, items, kind, max_candidates=candidates, found=found)
    best = sorted(scored, key=lambda one: (-one.score, one.place))
    kept = {one.place for one in best}
    return Ranking(
        [one.place for one in best] + [place for place in order if place not in kept], best[0].score if best else None
    )


def _check_method(method: str, router: Router | None) -> None:
    if method not in METHODS:
        raise InvalidInput(f"unknown method {method!r}; use one of {', '.join(METHODS)}", field="method")
    if method != "bm25" and router is None:
        raise InvalidInput(f"{method} needs a model", field="method")
    if method in ("encoder", "fused") and router is not None and router.embedder is None:
        raise InvalidInput(f"{router.info.name} has no encoder; use rerank or bm25", field="method")


class Pools:
    """Finds the items that a query is ranked against; pools share encoded documents."""

    def __init__(self, data: Dataset, queries: Sequence[DatasetQuery], scope: str) -> None:
        if scope not in SCOPES:
            raise InvalidInput(f"unknown scope {scope!r}; use one of {', '.join(SCOPES)}", field="scope")
        if scope != "corpus" and not any(query.group for query in queries):
            raise InvalidInput(f"the queries of {data.name} have no group; use the scope corpus", field="scope")
        self._items = [dataset_item(document.item, index) for index, document in enumerate(data.documents)]
        self._place = {document.id: index for index, document in enumerate(data.documents)}
        self._groups = [document.group for document in data.documents]
        self._scope = scope
        self._used_groups = {query.group for query in queries}
        self._encoded: dict[tuple[int, int], Encoded] = {}
        self._sets: dict[str, Candidates] = {}
        self.largest = 0

    def of(self, query: DatasetQuery) -> Candidates:
        """Returns the query's own candidates if it has any, else the pool of the scope."""
        if query.candidates:
            return self._make(self._items[self._place[one]] for one in query.candidates if one in self._place)
        key = query.group if self._scope == "group" else ""
        if key not in self._sets:
            self._sets[key] = self._make(self._of_scope(query.group))
        return self._sets[key]

    def _of_scope(self, group: str) -> Iterator[Item]:
        for item, own in zip(self._items, self._groups, strict=True):
            if self._scope == "corpus" or own == group or (self._scope == "all" and own in self._used_groups):
                yield item

    def _make(self, items: Iterable[Item]) -> Candidates:
        made = Candidates(list(items), self._encoded)
        self.largest = max(self.largest, len(made.items))
        return made


def dataset_item(item: Tool | Table | str, index: int) -> Item:
    """Wraps a document of a set as an item; `index` is its position in the set."""
    if isinstance(item, str):
        return item_of_document(item, index)
    made = item_of_tool(item) if isinstance(item, Tool) else item_of_table(item)
    return replace(made, index=index)


def _by(keys: Sequence[str], measured: Sequence[_Measured]) -> dict[str, dict[str, float]]:
    """Returns the means of the queries of each key; nothing if no query has one."""
    found: dict[str, list[dict[str, float]]] = {key: [] for key in sorted({*keys})}
    for key, one in zip(keys, measured, strict=True):
        found[key].append(one.measures)
    return {key: {"queries": len(own)} | mean_measures(own) for key, own in found.items()} if any(keys) else {}
