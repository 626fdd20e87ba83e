"""Measures the quality of the model, BM25, the encoder alone, the first stage and the untrained base on the test sets.

    python benchmarks/test_sets.py --data DATA [--limit 500 | --full] [--sets toole,spider] [--methods rerank,bm25]

The result of each set and method is saved as JSON under --out, and is reused while the set and the model stay the same.
Prints Markdown tables; the plots need the extra [plots].
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from base_embedder import make_base_folder
from cases import CASES, METHODS, Case, choose_cases, choose_methods
from measuring import count_queries, measure_case
from progress import Job, Progress
from report import abstention_lines, as_json, calibration_lines, card, language_tables, main_table
from store import Store
from subjects import Subjects
from summary import CaseSummary, Found, summarise

from shortlist.evaluation.calibration import calibrate
from shortlist.evaluation.dataset import Dataset, load_dataset
from shortlist.schemas.errors import InvalidInput, ShortlistError

LIMIT = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what has no saved result, and prints the tables; returns the exit status."""
    options = parse(arguments)
    try:
        run(options)
    except ShortlistError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; finished results are saved, run the same command again to continue", file=sys.stderr)
        return 130
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    names = ", ".join(case.short_name for case in CASES)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the folder with tools/, tables/ and docs/"
    )
    parser.add_argument("--sets", default="", help=f"only these, separated by commas: {names}")
    parser.add_argument("--methods", default="", help=f"only these: {', '.join(METHODS)}")
    parser.add_argument("--model", default="built-in", help="built-in (default), fast, or a folder")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--limit", type=_positive, default=LIMIT, help=f"queries per set (default: {LIMIT})")
    amount.add_argument("--full", action="store_true", help="all queries")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--card", type=Path, metavar="FILE", help="write a fragment of a model card")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw recall.png and calibration.png")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="the folder of saved results")
    parser.add_argument("--base", type=Path, default=Path("build/train/base"), help="the base, fetched if absent")
    parser.add_argument("--base-embedder", type=Path, default=Path("build/base-embedder"), help="its model folder")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Measures, summarises and writes the results."""
    cases, methods = choose_cases(options.sets), choose_methods(options.methods)
    if options.plots and not find_spec("matplotlib"):
        raise InvalidInput("matplotlib is not installed; install the extra [plots]", field="plots")
    subjects = Subjects(options.model, lambda: make_base_folder(options.base, options.base_embedder))
    if not options.methods:
        methods = possible(methods, subjects)
    store = Store(options.out, options.data, None if options.full else options.limit)
    results = measure_all(cases, methods, subjects, store)
    summaries = [summarise(case, found) for case, found in results.items()]
    write(options, results, summaries, methods, subjects)


def possible(methods: Sequence[str], subjects: Subjects) -> tuple[str, ...]:
    """Returns the default methods without those that need an encoder, if the model has none."""
    if subjects.has_encoder:
        return tuple(methods)
    print("the model has no encoder: skipping the methods encoder and fused", file=sys.stderr)
    return tuple(method for method in methods if method not in ("encoder", "fused"))


def measure_all(
    cases: Sequence[Case], methods: Sequence[str], subjects: Subjects, store: Store
) -> dict[Case, dict[str, Any]]:
    """Measures each case with each method, unless a valid result is saved."""
    counts = {case: count_queries(store.set_folder(case), case, store.limit) for case in cases}
    by_method = {method: subjects.of(method) for method in methods}
    jobs = [Job(case, method, counts[case]) for case in cases for method in methods]
    progress = Progress(jobs)
    kept = {job: found for job in jobs if (found := store.read(job.case, by_method[job.method])) is not None}
    for job, found in kept.items():
        progress.finish(job, found["seconds"])
    for job, data in _with_data([job for job in jobs if job not in kept], store):
        subject = by_method[job.method]
        found = measure_case(data, job.case, subject, store.limit, partial(progress.watch, job))
        store.write(job.case, subject, found)
        progress.finish(job, found["seconds"])
        kept[job] = found
    return {case: {job.method: kept[job] for job in jobs if job.case is case} for case in cases}


def write(
    options: argparse.Namespace,
    results: Mapping[Case, Found],
    summaries: Sequence[CaseSummary],
    methods: Sequence[str],
    subjects: Subjects,
) -> None:
    """Prints the tables or the JSON object, and writes the card and the plots."""
    gathered = {kind: calibrate(list(_reranked(results, kind))) for kind in ("tools", "tables", "documents")}
    calibrations = {kind: found for kind, found in gathered.items() if found is not None}
    models = {method: f"{(one := subjects.of(method)).name} {one.version}" for method in methods}
    if options.json:
        print(json.dumps(as_json(summaries, calibrations, models, None if options.full else options.limit)))
    else:
        lines = (
            main_table(summaries, methods),
            language_tables(summaries, methods),
            [""],
            calibration_lines(calibrations),
            abstention_lines(summaries),
        )
        print("\n".join(line for part in lines for line in part))
    if options.card:
        options.card.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join(card(summaries, methods, calibrations, models.get("rerank", "")))
        options.card.write_text(text + "\n", encoding="utf-8")
    if options.plots:
        from plots import draw_calibration, draw_recall  # matplotlib: only who wants plots needs it

        options.plots.mkdir(parents=True, exist_ok=True)
        draw_recall(summaries, methods, options.plots / "recall.png")
        if calibrations:
            draw_calibration(calibrations, options.plots / "calibration.png")


def _with_data(jobs: Sequence[Job], store: Store) -> Iterator[tuple[Job, Dataset]]:
    """Yields each job with its set, and holds one set in memory at a time."""
    data: Dataset | None = None
    name = ""
    for job in jobs:
        if data is None or job.case.name != name:
            data, name = load_dataset(store.set_folder(job.case)), job.case.name
        yield job, data


def _reranked(results: Mapping[Case, Found], kind: str) -> Iterator[Mapping[str, Any]]:
    for found in results.values():
        if "rerank" in found and found["rerank"]["kind"] == kind:
            yield from found["rerank"]["queries"]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1; use --full for all queries")
    return number


if __name__ == "__main__":
    sys.exit(main())
