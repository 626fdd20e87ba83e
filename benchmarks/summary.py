"""Summarises results as means with intervals, and as the rows and goals of the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cases import MIN_LANGUAGE_QUERIES, Case, Shown

from shortlist.evaluation.abstention import measure_abstention
from shortlist.evaluation.intervals import mean_intervals

Found = Mapping[str, Mapping[str, Any]]  # method → what `measure_case` returned


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over queries with its 95 % interval; `lang` is empty for the mean over all languages."""

    value: float
    low: float
    high: float
    num_queries: int
    lang: str = ""


Means = Mapping[str, Mean]  # measure → its mean


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table; a method has no mean if it was not measured, or if no language has enough queries."""

    shown: Shown
    means: Mapping[str, Mean]

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None if there is no goal or its method was not measured."""
        mean = self.means.get(self.shown.method)
        if self.shown.goal is None or mean is None:
            return None
        return mean.value >= self.shown.goal - 1e-9  # rounding may put a mean just below its exact value


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """All means of one case: `overall` by method, `by_lang` and `by_style` by method and language or style.

    `abstention` compares the first scores of queries that something fits with those of the others, if there are any.
    """

    case: Case
    kind: str
    documents: int
    num_queries: int
    overall: Mapping[str, Means]
    by_lang: Mapping[str, Mapping[str, Means]]
    by_style: Mapping[str, Mapping[str, Means]] = field(default_factory=dict)
    abstention: Mapping[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> Iterator[Row]:
        """The rows of the main table."""
        for shown in self.case.shown:
            if shown.is_lowest_language:
                found = {method: _lowest(means, shown.measure) for method, means in self.by_lang.items()}
                yield Row(shown, {method: mean for method, mean in found.items() if mean is not None})
            elif shown.style:
                styled = {method: means.get(shown.style, {}) for method, means in self.by_style.items()}
                yield Row(shown, {method: one[shown.measure] for method, one in styled.items() if one})
            else:
                yield Row(shown, {method: means[shown.measure] for method, means in self.overall.items()})

    @property
    def languages(self) -> list[str]:
        """The languages of its queries."""
        return sorted({lang for means in self.by_lang.values() for lang in means})


def summarise(case: Case, found: Found) -> CaseSummary:
    """Summarises the results of a case, which at least one method has."""
    some = next(iter(found.values()))
    return CaseSummary(
        case=case,
        kind=some["kind"],
        documents=some["documents"],
        num_queries=len(some["queries"]),
        overall={method: _means(one["queries"]) for method, one in found.items()},
        by_lang={method: _means_by(one["queries"], "lang") for method, one in found.items()},
        by_style={method: _means_by(one["queries"], "style") for method, one in found.items()},
        abstention=_abstention(found.get("rerank", {})),
    )


def _abstention(found: Mapping[str, Any]) -> Mapping[str, float]:
    tops = [query["top_score"] for query in found.get("queries", ()) if "top_score" in query]
    return measure_abstention(tops, found["nothing_fits"]) if tops and found.get("nothing_fits") else {}


def _means(queries: Sequence[Mapping[str, Any]], lang: str = "") -> Means:
    if not queries:
        return {}
    names = list(queries[0]["measures"])
    values = np.array([[query["measures"][name] for name in names] for query in queries], np.float64)
    means = zip(names, *mean_intervals(values), strict=True)
    return {name: Mean(value, low, high, len(queries), lang) for name, value, low, high in means}


def _means_by(queries: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, Means]:
    """Returns the means by language or style."""
    return {
        value: _means([query for query in queries if query[key] == value], value if key == "lang" else "")
        for value in sorted({query[key] for query in queries})
    }


def _lowest(by_lang: Mapping[str, Means], measure: str) -> Mean | None:
    enough = [means[measure] for means in by_lang.values() if means[measure].num_queries >= MIN_LANGUAGE_QUERIES]
    return min(enough, key=lambda mean: mean.value, default=None)
