"""Times the stages of a request on the example catalog and the example schema, in this process.

python benchmarks/stages.py [--repeat 5] [--model built-in]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from shortlist import Router
from shortlist.schemas.results import Selection

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
STAGES = ("parse_ms", "retrieve_ms", "tokenize_ms", "infer_ms", "total_ms")


def main() -> None:
    """Loads the model, runs the requests, and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--attention", default="auto")
    options = parser.parse_args()
    began = time.perf_counter()
    router = Router.load(options.model, attention=options.attention, cache_dir="off")
    print(f"load {time.perf_counter() - began:.2f} s, {router.info.device} {router.info.dtype} {router.info.attention}")
    tools = [path.read_text(encoding="utf-8") for path in sorted((EXAMPLES / "tools").glob("*.json"))]
    ddl = (EXAMPLES / "schema.sql").read_text(encoding="utf-8")
    print(f"{'':<34}" + "".join(f"{stage.removesuffix('_ms'):>11}" for stage in STAGES) + "   (median ms)")
    show("tools, 50 candidates", options.repeat, lambda: router.select_tools("refund a card payment", tools))
    show("tools, all candidates", options.repeat, lambda: router.select_tools("refund a card", tools, max_candidates=0))
    show("tables, 50 candidates", options.repeat, lambda: router.select_tables("unpaid invoices by city", ddl))


def show(label: str, repeat: int, ask: Callable[[], Selection]) -> None:
    """Prints the median of each stage over `repeat` requests, after one to warm up."""
    first = ask()
    timings = [ask().timings for _ in range(repeat)]
    medians = [statistics.median(getattr(one, stage) for one in timings) for stage in STAGES]
    print(f"{label:<34}" + "".join(f"{value:>11.1f}" for value in medians) + f"   {first.num_tokens:,} tokens")


if __name__ == "__main__":
    main()
