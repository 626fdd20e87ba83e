"""Measures the time and the peak memory that a real server needs for one document, by the document's length.

    python benchmarks/long_document.py [--longest 524288] [--json] [--save FOLDER]

Each length gets a new server, because a process may keep memory that it has used.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from saving import add_saving, save
from serving import resident_mib, running_server
from workload import make_text

from shortlist import Client
from shortlist.router.checkpoints.loading import load_model

SHORTEST, LONGEST = 8_192, 524_288
QUERY = "refund a card payment"


def main() -> None:
    """Measures each length and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--longest", type=int, default=LONGEST, help="the greatest length in tokens; lengths double")
    add_saving(parser)
    options = parser.parse_args()
    notice = partial(print, file=sys.stderr, flush=True) if sys.stderr.isatty() else lambda text: None
    points = []
    for tokens in doubling(options.longest):
        notice(f"{tokens:,} tokens")
        points.append(send(tokens))
    save({"points": points}, "long_document", table, options)


def doubling(longest: int) -> list[int]:
    """Returns lengths that double up to `longest`, shortest first; the first is below twice `SHORTEST`."""
    lengths = [longest]
    while lengths[-1] >= 2 * SHORTEST:
        lengths.append(lengths[-1] // 2)
    return lengths[::-1]


def send(tokens: int) -> dict[str, float]:
    """Times a document of `tokens` tokens, and measures the server's peak memory above its idle memory."""
    text = make_text(load_model("built-in").tokenizer, tokens)
    with running_server() as (address, _, process), Client(address) as client:
        client.rerank(QUERY, ["a short one"])
        idle = resident_mib(process)
        reset_peak(process)
        began = time.perf_counter()
        response = client.rerank(QUERY, [text], timeout_seconds=600)
        seconds = time.perf_counter() - began
        return {
            "tokens": tokens,
            "seconds": seconds,
            "pair_tokens": response.report.num_tokens,
            "idle_mib": idle,
            "peak_above_idle_mib": resident_mib(process, "VmHWM") - idle,
        }


def reset_peak(process: subprocess.Popen[str]) -> None:
    """Resets the kernel's record of the process's peak memory."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def table(found: dict[str, Any]) -> Sequence[str]:
    """Writes the points as Markdown."""
    rows = ["| tokens of the document | seconds | tokens/s | peak MiB above idle |", "|---:|---:|---:|---:|"]
    return rows + [
        f"| {p['tokens']:,} | {p['seconds']:.2f} | {p['tokens'] / p['seconds']:,.0f} "
        f"| {p['peak_above_idle_mib']:,.0f} |"
        for p in found["points"]
    ]


if __name__ == "__main__":
    main()
