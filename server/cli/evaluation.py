"""The `eval` command: measures ranking on a set of queries with known answers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shortlist.server.cli.model import add_model_options, load_router, slow_notice
from shortlist.server.cli.numbers import count, positive

if TYPE_CHECKING:
    from shortlist.evaluation.ranking import Evaluation

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `shortlist eval`."""
    parser = subparsers.add_parser(
        "eval",
        help="measure ranking on a set of queries with known answers",
        description="Measures ranking on a folder with corpus.jsonl and queries.jsonl, by the stages of a request.",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the set")
    parser.add_argument(
        "--kind",
        default="documents",
        choices=("documents", "columns"),
        help="rank the set's tools, tables or texts, or the columns of each query's database (default: documents)",
    )
    parser.add_argument("--split", default="test", help="which queries (default: test)")
    parser.add_argument(
        "--scope",
        default="corpus",
        choices=("group", "all", "corpus"),
        help="what a query without its own candidates is ranked against: its group's documents, those of all groups "
        "that the split's queries use, or the whole corpus (default: corpus)",
    )
    parser.add_argument(
        "--method",
        default="rerank",
        choices=("rerank", "bm25", "encoder", "fused"),
        help="all stages of a request, only words, only the encoder, or words and encoder fused (default: rerank)",
    )
    parser.add_argument(
        "--candidates", type=count, default=50, metavar="N", help="kept by the first stage, 0 for all (default: 50)"
    )
    parser.add_argument("--where", metavar="FIELD=VALUE", help="only queries with this value in their line")
    parser.add_argument("--limit", type=positive, metavar="N", help="a random but fixed sample of N queries")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    add_model_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates and prints."""
    if args.kind == "columns":
        _check_for_columns(args)
    from tqdm import tqdm

    from shortlist.evaluation.columns import evaluate_columns
    from shortlist.evaluation.dataset import load_dataset  # imports sqlglot and numpy, which other commands do not need
    from shortlist.evaluation.ranking import evaluate

    with slow_notice("reading the set and the model …"):
        data = load_dataset(args.data)
        router = load_router(args) if args.method != "bm25" else None
    progress = partial(tqdm, unit="query", leave=False, disable=None)  # None: silent where stderr is not a terminal
    if args.kind == "columns":
        found = evaluate_columns(
            data, router, method=args.method, split=args.split, limit=args.limit, progress=progress
        )
    else:
        found = evaluate(
            data,
            router,
            method=args.method,
            split=args.split,
            scope=args.scope,
            candidates=args.candidates,
            where=args.where,
            limit=args.limit,
            progress=progress,
        )
    if args.json:
        print(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        print("\n".join(_lines(found)))
    return 0


def _check_for_columns(args: argparse.Namespace) -> None:
    options = ("where", "scope", "candidates")
    given = [f"--{name}" for name in options if getattr(args, name) != args.parser.get_default(name)]
    if given:
        args.parser.error(f"--kind columns ranks all columns of each query's database; leave out {', '.join(given)}")


def _lines(found: Evaluation) -> Iterator[str]:
    """Yields the measures of all queries, then of each language if there are several."""
    what = f"{found.method}, {found.model}" if found.model else found.method
    yield f"{found.dataset} ({found.kind}), scope {found.scope}: {what}"
    rate = found.queries / found.seconds if found.seconds else 0.0
    yield f"{found.queries} queries against {found.documents} documents, {found.candidates or 'all'} candidates"
    yield ""
    yield _row("", tuple(found.metrics))
    yield _row("all", _values(found.metrics))
    if found.intervals:
        yield _row("from", tuple(f"{low:.3f}" for low, _ in found.intervals.values()))
        yield _row("to", tuple(f"{high:.3f}" for _, high in found.intervals.values()))
    for groups in (found.by_style, found.by_group, found.by_lang):
        if len(groups) > 1:
            yield ""
            for name, measures in groups.items():
                label = f"{name} ({measures['queries']:.0f})"
                yield _row(label, _values({one: measures[one] for one in found.metrics}))
    yield from _about_scores(found)
    yield ""
    yield f"{found.seconds:.1f} s, {rate:.2f} queries per second"


def _about_scores(found: Evaluation) -> Iterator[str]:
    """Yields what the score of the first document says about its being right, and about whether anything fits."""
    if found.calibration_error is not None:
        yield ""
        yield f"calibration error of the first score: {found.calibration_error:.3f}"
    if none := found.nothing_fits:
        yield (
            f"nothing fits ({none['queries']:.0f} queries): AUC {none['auc']:.3f}; 95 % of the other queries reach "
            f"{none['threshold']:.3f}, and a share of {none['under_threshold']:.3f} of these does not"
        )


def _values(measures: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{value:.3f}" for value in measures.values())


def _row(label: str, cells: Sequence[str]) -> str:
    width = 24
    return f"{label[: width - 1]:<{width}}" + "".join(f"{cell:>13}" for cell in cells)
