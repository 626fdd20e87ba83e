"""Measures the embedded model beside BM25 on every test set, and prints the table of docs/benchmarks.md.

    python benchmarks/test_sets.py --data DATA [--limit 100] [--out build/benchmarks]

Each finished set is kept under --out as JSON and not measured again; delete a file to measure it anew.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shortlist.router import Router
from shortlist.router.dataset import load_dataset
from shortlist.router.evaluation import evaluate


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a set, its scope, the measures to show, and a condition on its queries."""

    name: str
    measures: tuple[str, ...]
    scope: str = "corpus"
    where: str | None = None

    @property
    def key(self) -> str:
        """The file name of its result."""
        return f"{self.name.replace('/', '-')}-{self.scope}"


CASES = (
    Case("tools/stabletoolbench", ("recall@3", "hit@1")),
    Case("tools/toole", ("recall@3", "ndcg@10")),
    Case("tools/sealtools", ("recall@3", "recall@5")),
    Case("tools/bfcl_pool", ("recall@3", "recall@5"), where="sgd_like=false"),
    Case("tools/bfcl_given", ("hit@1", "ndcg@10"), where="sgd_like=false"),
    Case("tools/ha_intents", ("hit@1", "recall@3")),
    Case("tables/spider", ("recall@5", "complete@5")),
    Case("tables/spider_syn", ("recall@5", "complete@5")),
    Case("tables/spider_realistic", ("recall@5", "complete@5")),
    Case("tables/statbot_swiss", ("recall@5", "complete@3")),
)


def main() -> None:
    """Measures what is not measured yet and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--limit", type=int, default=100, help="queries a set; 0 for all")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    router = Router.load(options.model)
    for case in CASES:
        path = options.out / f"{case.key}.json"
        if not path.exists():
            path.write_text(json.dumps(measure(case, router, options), ensure_ascii=False), encoding="utf-8")
            print(f"{case.name}: done", flush=True)
    print("\n".join(table(options.out)))


def measure(case: Case, router: Router, options: argparse.Namespace) -> dict[str, Any]:
    """Ranks one set by BM25 and by the model, over the same queries."""
    data = load_dataset(options.data / case.name)
    limit = options.limit or None
    return {
        method: evaluate(data, chosen, scope=case.scope, where=case.where, limit=limit).as_json()
        for method, chosen in (("bm25", None), ("rerank", router))
    }


def table(folder: Path) -> Iterator[str]:
    """Writes a line per set and measure; ± is 1.96 standard errors of a share over as many queries."""
    yield "| set | documents | queries | measure | BM25 | Shortlist | ± |"
    yield "|---|---:|---:|---|---:|---:|---:|"
    for case in CASES:
        path = folder / f"{case.key}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        for name in case.measures:
            ours, theirs = found["rerank"], found["bm25"]
            value, count = ours["metrics"][name], ours["queries"]
            error = 1.96 * math.sqrt(max(value * (1 - value), 0) / count)
            yield (
                f"| {case.name.partition('/')[2]} | {ours['documents']:,} | {count} | {name} "
                f"| {theirs['metrics'][name]:.3f} | **{value:.3f}** | {error:.3f} |"
            )


if __name__ == "__main__":
    main()
