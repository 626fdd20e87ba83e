"""Measures a warm request while other programs use the CPUs: one engine on OpenMP's threads, and streams.

    python benchmarks/contention.py [--rounds 3] [--requests 12] [--json] [--save FOLDER]

Both kinds run in processes of their own and answer in turns, so that what else happens on the machine meets both. The
conditions are a quiet machine, one and two busy programs, and a quota of half a CPU (where control groups allow it: as
root, mostly). Prints p50 and p99 in milliseconds, and the line CONTENTION: the p99 of streams beside two busy programs,
divided by their quiet p50.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from saving import add_saving, save

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "tools"
QUERIES = (
    "refund a card payment", "email the report to Ada", "which meetings do I have tomorrow", "rotate the API key",
    "book a room for six people", "what does the parcel cost", "close the ticket and thank the customer",
)  # fmt: skip
KINDS = {"openmp": "one engine, OpenMP", "streams": "streams"}
CONDITIONS = {"quiet": 0, "one busy program": 1, "two busy programs": 2, "half a CPU": 0}
QUOTA_US, PERIOD_US = 50_000, 100_000
BUSY = "while True: sum(range(10_000))"


def main() -> None:
    """Measures all conditions, and prints and saves the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each condition is measured")
    parser.add_argument("--requests", type=int, default=12, help="requests of each kind in each round")
    add_saving(parser)
    parser.add_argument("--answer", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer(options.answer)
        return
    found = {"cpus": len(os.sched_getaffinity(0)), "ms": measure(options.rounds, options.requests)}
    save(found, "contention", table, options)


def measure(rounds: int, requests: int) -> dict[str, dict[str, list[float]]]:
    """Returns the milliseconds of the requests by condition and kind."""
    found: dict[str, dict[str, list[float]]] = {name: {kind: [] for kind in KINDS} for name in CONDITIONS}
    workers = {kind: start(kind) for kind in KINDS}
    try:
        for number in range(rounds):
            for name, num_busy in CONDITIONS.items():
                if name == "half a CPU" and not found[name]["streams"] and number:
                    continue  # no control group could be made
                print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
                with busy(num_busy):
                    for kind, worker in workers.items():
                        with quota(worker.pid, is_wanted=name == "half a CPU") as is_possible:
                            found[name][kind] += ask(worker, requests) if is_possible else []
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()
    return {name: times for name, times in found.items() if times["streams"]}


def start(kind: str) -> subprocess.Popen[str]:
    """Starts a process that answers requests, and waits until it is warm."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    if kind == "streams":
        environment["OMP_WAIT_POLICY"] = "PASSIVE"  # as the commands set it
    command = [sys.executable, __file__, "--answer", kind]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    ask(worker, len(QUERIES))
    return worker


def ask(worker: subprocess.Popen[str], requests: int) -> list[float]:
    """Lets a process answer requests, and returns their milliseconds."""
    _write(worker.stdin, requests)
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise SystemExit("a process that answers has ended; its error is above")
    times: list[float] = json.loads(line)
    return times


def answer(kind: str) -> None:
    """Reads numbers of requests from stdin, and writes the milliseconds of as many."""
    from shortlist import Router
    from shortlist.router.engine.streams import DirectScorer

    router = Router.load(cache_dir="off")
    if kind == "openmp":
        engine = router.engines[0]
        engine.num_threads = len(os.sched_getaffinity(0))
        engine.max_batch_tokens *= engine.num_threads
        router = router.with_scorer(DirectScorer([engine]))
    tools = [path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*.json"))]
    number = 0
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            began = time.perf_counter()
            router.select_tools(QUERIES[number % len(QUERIES)], tools)
            times.append((time.perf_counter() - began) * 1_000)
            number += 1
        print(json.dumps(times), flush=True)


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Runs programs that use a core each."""
    programs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


@contextmanager
def quota(process_id: int, *, is_wanted: bool) -> Iterator[bool]:
    """Limits a process to half a CPU, if wanted; gives False where no control group can be made."""
    if not is_wanted:
        yield True
        return
    version1 = Path("/sys/fs/cgroup/cpu")
    root = version1 if version1.is_dir() else Path("/sys/fs/cgroup")
    group = root / "shortlist-contention"
    try:
        group.mkdir(exist_ok=True)
        if root is version1:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
        else:
            (group / "cpu.max").write_text(f"{QUOTA_US} {PERIOD_US}")
        (group / "cgroup.procs").write_text(str(process_id))
    except OSError as error:
        print(f"no quota can be set here ({error}); that condition is left out", file=sys.stderr)
        with suppress(OSError):
            group.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        (root / "cgroup.procs").write_text(str(process_id))
        group.rmdir()


def table(found: dict[str, Any]) -> Iterator[str]:
    """Writes the percentiles as a table, and the line CONTENTION."""
    yield "| condition | " + " | ".join(f"{name}, p50 · p99 (ms)" for name in KINDS.values()) + " | p99, ratio |"
    yield "|---|" + "---:|" * (len(KINDS) + 1)
    measured: dict[str, dict[str, list[float]]] = found["ms"]
    for name, times in measured.items():
        cells = [f"{percentile(times[kind], 50):,.0f} · {percentile(times[kind], 99):,.0f}" for kind in KINDS]
        ratio = percentile(times["openmp"], 99) / percentile(times["streams"], 99)
        yield f"| {name} | {' | '.join(cells)} | {ratio:.1f} |"
    yield ""
    ratio = percentile(measured["two busy programs"]["streams"], 99) / percentile(measured["quiet"]["streams"], 50)
    yield f"CONTENTION {ratio:.2f}"


def percentile(times: Sequence[float], share: float) -> float:
    """Returns a percentile; of few values, the 99th is about the highest."""
    return float(np.percentile(times, share))


def _write(stream: IO[str] | None, number: int) -> None:
    assert stream is not None
    stream.write(f"{number}\n")
    stream.flush()


if __name__ == "__main__":
    main()
