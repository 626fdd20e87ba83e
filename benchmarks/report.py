"""Writes summaries as Markdown tables, as a fragment of a model card, and as a JSON object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cases import HEADINGS, MIN_LANGUAGE_QUERIES, Case, Shown
from summary import CaseSummary, Mean, Row

from shortlist.evaluation.calibration import Calibration
from shortlist.evaluation.intervals import RESAMPLES

ABSENT = "–"
Calibrations = Mapping[str, Calibration]
_GRID_COLUMNS = 3
_CARD_METHODS = ("rerank", "fused", "encoder", "bm25", "base")


def main_table(summaries: Sequence[CaseSummary], methods: Sequence[str]) -> Iterator[str]:
    """Writes one line per set and measure; the mean of the method with the goal has its interval."""
    headings = ["set", "documents", "queries", "measure", *(HEADINGS[one] for one in methods), "goal", "reached"]
    yield from _head(headings, left=("set", "measure", "goal", "reached"))
    for summary in summaries:
        for row in summary.rows:
            ours = row.shown.method
            cells = [_row_cell(row, one, with_interval=one == ours, is_ours=one == ours) for one in methods]
            yield _line([*_facts(summary), _label(row.shown), *cells, _goal(row.shown), _reached(row)])


def language_tables(summaries: Sequence[CaseSummary], methods: Sequence[str]) -> Iterator[str]:
    """Writes a table for each set that has several languages."""
    for summary in summaries:
        if len(summary.languages) < 2:
            continue
        measure = summary.case.shown[0].measure
        yield ""
        yield f"{summary.case.short_name} by language, {measure}:"
        yield ""
        yield from _head(["language", "queries", *(HEADINGS[method] for method in methods)], left=("language",))
        for lang in summary.languages:
            means = [summary.by_lang.get(method, {}).get(lang, {}).get(measure) for method in methods]
            queries = next(mean.num_queries for mean in means if mean)
            yield _line(
                [
                    lang,
                    str(queries),
                    *(
                        _cell(mean, with_interval=one == "rerank", is_ours=one == "rerank")
                        for one, mean in zip(methods, means, strict=True)
                    ),
                ]
            )


def calibration_lines(calibrations: Calibrations) -> Iterator[str]:
    """Writes the expected calibration error of each kind."""
    for kind, one in calibrations.items():
        yield (
            f"Calibration of the top document's score, {kind}: expected calibration error {one.ece:.3f} "
            f"({sum(one.counts):,} queries, {len(one.counts)} bins of equal count)."
        )


def abstention_lines(summaries: Sequence[CaseSummary]) -> Iterator[str]:
    """Writes how well the first score tells queries that nothing fits from the others."""
    for summary in summaries:
        if found := summary.abstention:
            yield (
                f"Nothing fits, {summary.case.short_name} ({found['queries']:.0f} queries): AUC {found['auc']:.3f}; "
                f"{found['under_threshold']:.0%} score less than {found['threshold']:.3f}, which 95 % of others reach."
            )


def card(
    summaries: Sequence[CaseSummary], methods: Sequence[str], calibrations: Calibrations, model: str
) -> Iterator[str]:
    """Writes the fragment of a model card, in which every number has its interval."""
    shown = [method for method in _CARD_METHODS if method in methods]
    yield f"Measured with {model}. In brackets: 95 % intervals by the bootstrap over queries ({RESAMPLES:,} resamples)."
    yield ""
    yield from _head(["set", "queries", "measure", *(HEADINGS[one] for one in shown)], left=("set", "measure"))
    for summary in summaries:
        for row in summary.rows:
            cells = [_row_cell(row, method, with_interval=True, is_ours=method == row.shown.method) for method in shown]
            yield _line([summary.case.short_name, f"{summary.num_queries:,}", _label(row.shown), *cells])
    for summary in summaries:
        yield from _language_grid(summary)
    if calibrations:
        yield ""
        yield from calibration_lines(calibrations)
    yield from abstention_lines(summaries)


def _language_grid(summary: CaseSummary) -> Iterator[str]:
    """Writes the results by language in a wide table, column by column, the languages with most queries first."""
    measure = summary.case.shown[0].measure
    means = [by_measure[measure] for by_measure in summary.by_lang.get("rerank", {}).values()]
    if len(means) < 2:
        return
    means.sort(key=lambda mean: (-mean.num_queries, mean.lang))
    cells = [[mean.lang, str(mean.num_queries), _cell(mean, with_interval=True, is_ours=False)] for mean in means]
    num_columns = min(_GRID_COLUMNS, len(cells))
    num_rows = -(-len(cells) // num_columns)
    cells += [[""] * 3] * (num_rows * num_columns - len(cells))
    yield ""
    yield f"{summary.case.short_name} by language:"
    yield ""
    yield from _head(["language", "queries", measure] * num_columns, left=("language", measure))
    for row in range(num_rows):
        yield _line([cell for column in range(num_columns) for cell in cells[column * num_rows + row]])


def as_json(
    summaries: Sequence[CaseSummary], calibrations: Calibrations, models: Mapping[str, str], limit: int | None
) -> dict[str, Any]:
    """Returns everything as one JSON object; `models` names the model of each method."""
    return {
        "models": dict(models),
        "limit": limit,
        "sets": {summary.case.name: _case_json(summary) for summary in summaries},
        "goals": [_goal_json(summary.case, row) for summary in summaries for row in summary.rows if row.shown.goal],
        "calibration": {kind: asdict(one) for kind, one in calibrations.items()},
    }


def _case_json(summary: CaseSummary) -> dict[str, Any]:
    return {
        "kind": summary.kind,
        "scope": summary.case.scope,
        "where": summary.case.where,
        "documents": summary.documents,
        "queries": summary.num_queries,
        "nothing_fits": dict(summary.abstention),
        "methods": {
            method: {
                "metrics": _means_json(means),
                "by_lang": {lang: _means_json(one) for lang, one in summary.by_lang[method].items()},
            }
            for method, means in summary.overall.items()
        },
    }


def _means_json(means: Mapping[str, Mean]) -> dict[str, Any]:
    return {name: _mean_json(mean) for name, mean in means.items()}


def _mean_json(mean: Mean) -> dict[str, Any]:
    interval = {"value": mean.value, "low": mean.low, "high": mean.high}
    return {name: round(value, 4) for name, value in interval.items()} | {"queries": mean.num_queries}


def _goal_json(case: Case, row: Row) -> dict[str, Any]:
    mean = row.means.get(row.shown.method)
    return {
        "set": case.name,
        "measure": row.shown.measure,
        "style": row.shown.style,
        "method": row.shown.method,
        "lang": mean.lang if mean and row.shown.is_lowest_language else None,
        "is_lowest_language": row.shown.is_lowest_language,
        "goal": row.shown.goal,
        "found": _mean_json(mean) if mean else None,
        "reached": row.reached,
    }


def _head(headings: Sequence[str], left: Sequence[str]) -> Iterator[str]:
    yield _line(headings)
    yield "|" + "|".join("---" if heading in left else "---:" for heading in headings) + "|"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _facts(summary: CaseSummary) -> list[str]:
    return [summary.case.short_name, f"{summary.documents:,}", f"{summary.num_queries:,}"]


def _label(shown: Shown) -> str:
    lowest = f", lowest language of {MIN_LANGUAGE_QUERIES} queries or more" if shown.is_lowest_language else ""
    return shown.measure + lowest + (f", {shown.style}" if shown.style else "")


def _row_cell(row: Row, method: str, *, with_interval: bool, is_ours: bool) -> str:
    mean = row.means.get(method)
    return _cell(mean, with_interval=with_interval, is_ours=is_ours) + (f" ({mean.lang})" if mean and mean.lang else "")


def _cell(mean: Mean | None, *, with_interval: bool, is_ours: bool) -> str:
    if mean is None:
        return ABSENT
    value = f"**{mean.value:.3f}**" if is_ours else f"{mean.value:.3f}"
    return f"{value} [{mean.low:.3f}, {mean.high:.3f}]" if with_interval else value


def _goal(shown: Shown) -> str:
    if shown.goal is None:
        return ""
    return f"{shown.goal:.3f}" + (f" ({HEADINGS[shown.method]})" if shown.method != "rerank" else "")


def _reached(row: Row) -> str:
    if row.shown.goal is None:
        return ""
    return {True: "yes", False: "no", None: "not measured"}[row.reached]
