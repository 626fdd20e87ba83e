"""Measures how Shortlist's speed depends on the number of documents, on their length, and on the size of the catalog.

    python benchmarks/curves.py [--tools CORPUS.jsonl] [--rounds 3] [--json] [--save FOLDER]

It runs in this process, without a server. `--tools` is a corpus of tools, one `{"tool": …}` per line; without it the
example catalog is used. The points of a curve are measured in rounds, one after another, so that a slow moment of the
machine does not distort a single point.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rounds import run_rounds, spread
from saving import add_saving, save
from serving import QUERIES, Tools, read_tools, single_tools
from workload import Workload, make_workload

from shortlist import Router
from shortlist.router.checkpoints.loading import load_model
from shortlist.router.first_stage.candidates import MAX_NEW_VECTORS

DOCUMENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MEDIANS = (30, 60, 110, 200, 350)
CATALOG_SIZES = (10, 30, 100, 300, 1_000, 3_000)
NUM_SELECTED = 5


def main() -> None:
    """Measures the curves and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3)
    add_saving(parser)
    options = parser.parse_args()
    notice = partial(print, file=sys.stderr, flush=True) if sys.stderr.isatty() else lambda text: None
    catalog = [one for text in read_tools(options.tools) for one in single_tools(text)]
    save(measure(catalog, options.rounds, notice), "curves", table, options)


def measure(catalog: Tools, num_rounds: int, notice: Callable[[str], None]) -> dict[str, Any]:
    """Measures every curve."""
    router = Router.load(cache_dir="off")
    tokenizer = load_model("built-in").tokenizer
    longest = router.info.max_pair_tokens - 40
    by_number = {size: make_workload(tokenizer, size, max_tokens=longest) for size in DOCUMENTS}
    by_length = {median: make_workload(tokenizer, 48, median=median, max_tokens=longest) for median in MEDIANS}
    return {
        "model": f"{router.info.name} {router.info.version}",
        "documents": time_workloads(router, by_number, num_rounds, notice),
        "lengths": time_workloads(router, by_length, num_rounds, notice),
        "catalogs": [time_catalog(catalog, size) for size in CATALOG_SIZES if size <= len(catalog)],
    }


def time_workloads(
    router: Router, workloads: dict[int, Workload], num_rounds: int, notice: Callable[[str], None]
) -> list[dict[str, float]]:
    """Times each workload from texts to scores; returns one point per workload."""
    rank = router.as_reference().compute_score
    seconds = run_rounds(
        {str(at): partial(rank, one.pairs) for at, one in workloads.items()}, num_rounds, notice=notice
    )
    return [
        {
            "at": at,
            "pairs_per_second": len(one.documents) / spread(seconds[str(at)]).median,
            "tokens_per_second": sum(one.pair_tokens) / spread(seconds[str(at)]).median,
        }
        for at, one in workloads.items()
    ]


def time_catalog(catalog: Tools, size: int) -> dict[str, float]:
    """Times the first and the later requests on a catalog; counts the prompt tokens of all and of selected tools."""
    tools = random.Random(size).sample(catalog, size)
    fresh = Router.load(cache_dir="off")  # its caches are empty
    first = fresh.select_tools(QUERIES[0], tools, top_n=NUM_SELECTED)
    for _ in range(size // MAX_NEW_VECTORS):  # each request embeds at most MAX_NEW_VECTORS tools; embed them all
        fresh.select_tools(QUERIES[0], tools, top_n=NUM_SELECTED)
    again = [fresh.select_tools(query, tools, top_n=NUM_SELECTED) for query in QUERIES]
    count = load_model("built-in").tokenizer.count
    return {
        "at": size,
        "first_ms": first.timings.total_ms,
        "again_ms": spread([one.timings.total_ms for one in again]).median,
        "tokens_of_all": sum(map(count, tools)),
        "tokens_of_selected": spread([sum(count(item.source) for item in one.items) for one in again]).median,
    }


def table(found: dict[str, Any]) -> Sequence[str]:
    """Writes the curves as Markdown."""
    rows = ["| documents | pairs/s | tokens/s |", "|---:|---:|---:|"]
    rows += [f"| {p['at']} | {p['pairs_per_second']:.1f} | {p['tokens_per_second']:,.0f} |" for p in found["documents"]]
    rows += ["", "| median tokens of a document | pairs/s | tokens/s |", "|---:|---:|---:|"]
    rows += [f"| {p['at']} | {p['pairs_per_second']:.1f} | {p['tokens_per_second']:,.0f} |" for p in found["lengths"]]
    rows += ["", "| tools | first request, ms | later requests, ms | tokens of all | of the five selected |"]
    rows += ["|---:|---:|---:|---:|---:|"]
    rows += [
        f"| {p['at']:,} | {p['first_ms']:,.0f} | {p['again_ms']:,.0f} | {p['tokens_of_all']:,} "
        f"| {p['tokens_of_selected']:,.0f} |"
        for p in found["catalogs"]
    ]
    return rows


if __name__ == "__main__":
    main()
