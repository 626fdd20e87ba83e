"""Compares two models on the queries that both have ranked, from the results that `test_sets.py` saved.

    python benchmarks/paired.py build/benchmarks/full/shortlist-small-0.5.0 build/benchmarks/150/shortlist-fast-0.5.0

Queries are paired by their id, so the two samples may differ. Prints a Markdown table, or one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cases import CASES, Case

from shortlist.evaluation.intervals import mean_intervals

METHOD = "rerank"
Measures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two means of one measure over the same queries; `low` and `high` are the 95 % interval of their difference."""

    set: str
    measure: str
    num_queries: int
    first: float
    second: float
    low: float
    high: float
    num_better: int
    num_worse: int

    @property
    def difference(self) -> float:
        """The second mean minus the first."""
        return self.second - self.first


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares the models and prints the result; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, help="a folder with the results of one model, saved by test_sets.py")
    parser.add_argument("second", type=Path, help="the folder of the other model")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args(arguments)
    try:
        pairs = [pair for case in CASES for pair in compare(case, options.first, options.second)]
    except (ValueError, KeyError) as error:
        print(f"error: a result is damaged or from another version; measure it again: {error!r}", file=sys.stderr)
        return 2
    if not pairs:
        print(f"error: {options.first} and {options.second} have no set with common queries", file=sys.stderr)
        return 2
    print(json.dumps(as_json(pairs)) if options.json else "\n".join(table(pairs)))
    return 0


def compare(case: Case, first: Path, second: Path) -> Iterator[Pair]:
    """Compares the shown measures of one case; yields nothing if the models have no query of it in common."""
    ours, theirs = read(first, case), read(second, case)
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return
    names = [one.measure for one in case.shown if one.method == METHOD and not one.is_lowest_language]
    values = np.array([[side[key][name] for name in names] for side in (ours, theirs) for key in common], np.float64)
    one, other = values.reshape(2, len(common), len(names))
    _, lows, highs = mean_intervals(other - one)
    for column, name in enumerate(names):
        gaps = (other - one)[:, column]
        means = (float(one[:, column].mean()), float(other[:, column].mean()))
        counts = (int((gaps > 0).sum()), int((gaps < 0).sum()))
        yield Pair(case.short_name, name, len(common), *means, lows[column], highs[column], *counts)


def read(folder: Path, case: Case) -> dict[str, Measures]:
    """Returns the measures of each query by its id; empty if the set was not measured."""
    path = folder / f"{case.key}-{METHOD}.json"
    if not path.is_file():
        return {}
    return {query["id"]: query["measures"] for query in json.loads(path.read_text(encoding="utf-8"))["queries"]}


def table(pairs: Sequence[Pair]) -> Iterator[str]:
    """Writes one line per set and measure, then the means over all sets."""
    yield "| set | queries | measure | first | second | difference | better | worse |"
    yield "|---|---:|---|---:|---:|---|---:|---:|"
    for one in pairs:
        means = f"{one.first:.3f} | {one.second:.3f} | {one.difference:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"
        yield f"| {one.set} | {one.num_queries:,} | {one.measure} | {means} | {one.num_better} | {one.num_worse} |"
    yield ""
    totals = overall(pairs)
    yield (
        f"Mean over {totals['sets']} sets (first measure of each): {totals['first']:.4f} and {totals['second']:.4f}, "
        f"{totals['difference']:+.4f}. The second is {totals['ratio']:.3f} of the first on average, "
        f"{totals['least_ratio']:.3f} on the worst set ({totals['least_set']})."
    )


def overall(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Returns the means of each set's first measure over sets, and the mean and least ratio of second to first."""
    by_set = {pair.set: pair for pair in reversed(pairs)}  # keeps the first pair of each set
    ratios = {name: pair.second / pair.first for name, pair in by_set.items() if pair.first}
    least = min(ratios, key=ratios.__getitem__, default="")
    means = [float(np.mean([getattr(pair, side) for pair in by_set.values()])) for side in ("first", "second")]
    return {
        "sets": len(by_set),
        "first": means[0],
        "second": means[1],
        "difference": means[1] - means[0],
        "ratio": float(np.mean(list(ratios.values()))) if ratios else 0.0,
        "least_ratio": ratios.get(least, 0.0),
        "least_set": least,
    }


def as_json(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Returns the pairs and their means as one JSON object."""
    return {"pairs": [asdict(pair) | {"difference": pair.difference} for pair in pairs], "overall": overall(pairs)}


if __name__ == "__main__":
    sys.exit(main())
