"""Overloads a real server and measures goodput, the latency of answered requests, memory and recovery time.

    python benchmarks/load.py [--seconds 60] [--factor 3] [--tools CORPUS.jsonl] [--save FOLDER]

The load is an open loop: requests are sent at random times, whether or not earlier ones were answered. Latency counts
from the time at which a request was due, so it includes the delays of a server that falls behind. The client does not
retry.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from saving import add_saving, save
from serving import Tools, draw_requests, percentiles, read_tools, resident_mib, running_server

from shortlist import AsyncClient
from shortlist.schemas.errors import ServerBusy, ShortlistError

CLOSED_CLIENTS = 8
CAPACITY_SECONDS = 30.0  # each, before and after the loads
DEADLINE_SECONDS = 30.0
# The server has recovered when a request takes at most this many times the median of an idle server.
NORMAL = 1.5
PROBE_SECONDS = 0.1
Requests = Sequence[tuple[str, Tools]]


@dataclass
class Outcome:
    """The results of one phase; `latencies` are those of the answered requests, in milliseconds."""

    seconds: float
    drain_seconds: float = 0.0  # from the time the last request was due until every request had an answer
    latencies: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def put(self, latency_ms: float, error: Exception | None) -> None:
        """Counts one request."""
        if error is None:
            self.latencies.append(latency_ms)
        else:
            self.refused[type(error).__name__] += 1

    @property
    def goodput(self) -> float:
        """The number of answered requests per second."""
        return len(self.latencies) / self.seconds

    def found(self) -> dict[str, Any]:
        """Returns the results as JSON values."""
        shares = percentiles(self.latencies) if self.latencies else {}
        return {"goodput": self.goodput, "answered": len(self.latencies), "refused": dict(self.refused), **shares}


def main() -> None:
    """Measures the server under load and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the load at 80 %% and of the overload")
    parser.add_argument("--factor", type=float, default=3.0, help="the overload, as a multiple of the capacity")
    parser.add_argument("--tools", type=Path, metavar="FILE", help="a corpus of tools (default: the example catalog)")
    parser.add_argument("--requests", type=int, default=60, help="the number of different requests, sent in a cycle")
    add_saving(parser)
    options = parser.parse_args()
    requests = draw_requests(read_tools(options.tools), options.requests)
    with running_server() as (address, _, process):
        found = asyncio.run(measure(address, process, requests, options.seconds, options.factor))
    save(found, "load", lines, options)


async def measure(
    address: str, process: subprocess.Popen[str], requests: Requests, seconds: float, factor: float
) -> dict[str, Any]:
    """Measures capacity, the load at 80 % of it, the overload, the recovery, and capacity again."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(AsyncClient(address, timeout_seconds=DEADLINE_SECONDS, retry=None))
        for number in range(len(requests)):  # fill the server's caches
            await _ask(client, requests, number)
        idle_ms = float(np.median([await _ask(client, requests, number) for number in range(20)]))
        beside_ms = await beside_huge(client, requests)
        capacity = (await closed_loop(client, requests, CAPACITY_SECONDS)).goodput
        calm = await open_loop(client, requests, 0.8 * capacity, seconds)
        await asyncio.sleep(2)
        before = resident_mib(process)
        over = await open_loop(client, requests, factor * capacity, seconds)
        recovery = over.drain_seconds + await recover(client, requests, NORMAL * idle_ms)
        after = resident_mib(process)
        # The machine may have become faster or slower, so goodput is compared with the mean of both capacities.
        capacities = [capacity, (await closed_loop(client, requests, CAPACITY_SECONDS)).goodput]
    return {
        "seconds": seconds,
        "factor": factor,
        "idle_ms": idle_ms,
        "beside_huge_ms": beside_ms,
        "capacities": capacities,
        "calm": calm.found(),
        "overload": over.found(),
        "goodput_share": over.goodput / float(np.mean(capacities)),
        "p99_factor": percentiles(over.latencies)["p99"] / percentiles(calm.latencies)["p99"],
        "recovery_seconds": recovery,
        "memory_mib": [before, after],
    }


async def beside_huge(client: AsyncClient, requests: Requests) -> float:
    """Returns the median latency (ms) of one client's requests while the server works on one of 2,000 documents."""
    documents = [f"number {number}: {json.dumps(requests[number % len(requests)][1])[:600]}" for number in range(2_000)]
    huge = asyncio.create_task(client.rerank("a refund", documents, max_candidates=0, timeout_seconds=300))
    await asyncio.sleep(2)
    taken = []
    for number in range(10):
        taken.append(await _ask(client, requests, number))
        if huge.done():
            raise SystemExit("the huge request ended before the small ones were measured; make it larger")
    huge.cancel()
    return float(np.median(taken))


async def closed_loop(client: AsyncClient, requests: Requests, seconds: float) -> Outcome:
    """Measures capacity: a few clients each send one request after another."""
    began = time.perf_counter()
    outcome = Outcome(seconds)

    async def work(first: int) -> None:
        number = first
        while time.perf_counter() - began < seconds:
            try:
                outcome.put(await _ask(client, requests, number), None)
                number += CLOSED_CLIENTS
            except ServerBusy:
                await asyncio.sleep(PROBE_SECONDS)

    await asyncio.gather(*map(work, range(CLOSED_CLIENTS)))
    outcome.seconds = time.perf_counter() - began
    return outcome


async def open_loop(client: AsyncClient, requests: Requests, rate: float, seconds: float) -> Outcome:
    """Sends `rate` requests per second at random times; the phase lasts until the last request has its answer."""
    due = np.cumsum(np.random.default_rng(0).exponential(1 / rate, int(rate * seconds)))
    began = time.perf_counter()
    outcome = Outcome(seconds)

    async def send(number: int) -> None:
        await asyncio.sleep(max(0.0, began + due[number] - time.perf_counter()))
        try:
            await _ask(client, requests, number)
        except ShortlistError as error:
            outcome.put(0.0, error)
        else:
            outcome.put((time.perf_counter() - began - due[number]) * 1_000, None)

    await asyncio.gather(*map(send, range(len(due))))
    outcome.drain_seconds = time.perf_counter() - began - float(due[-1])
    outcome.seconds = float(due[-1]) + outcome.drain_seconds
    return outcome


async def recover(client: AsyncClient, requests: Requests, normal_ms: float) -> float:
    """Returns the seconds until a single request takes at most `normal_ms`."""
    began = time.perf_counter()
    number = 0
    while True:
        try:
            if await _ask(client, requests, number) <= normal_ms:
                return time.perf_counter() - began
        except ShortlistError:
            pass
        number += 1
        await asyncio.sleep(PROBE_SECONDS)


async def _ask(client: AsyncClient, requests: Requests, number: int) -> float:
    query, tools = requests[number % len(requests)]
    sent = time.perf_counter()
    await client.select_tools(query, tools, top_n=5)
    return (time.perf_counter() - sent) * 1_000


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Writes the results as text."""
    before, after = found["capacities"]
    yield f"idle: {found['idle_ms']:.0f} ms; capacity: {before:.2f} requests/s before the loads, {after:.2f} after"
    yield f"BESIDE {found['beside_huge_ms'] / found['idle_ms']:.2f} times the idle latency, beside 2,000 documents"
    for name, title in (("calm", "at 80 %"), ("overload", f"at {found['factor']:g} times the capacity")):
        one = found[name]
        shares = ", ".join(f"{key} {one[key]:.0f}" for key in ("p50", "p90", "p99"))
        refused = ", ".join(f"{count} {kind}" for kind, count in one["refused"].items()) or "none"
        yield f"{title}, {found['seconds']:g} s: {one['goodput']:.2f}/s answered, {shares} ms; rejected: {refused}"
    yield f"GOODPUT {found['goodput_share']:.2f} of the capacity"
    yield f"P99 {found['p99_factor']:.2f} times the p99 at 80 %"
    yield f"RECOVERY {found['recovery_seconds']:.2f} s"
    yield "MEMORY {:.0f} -> {:.0f} MiB".format(*found["memory_mib"])


if __name__ == "__main__":
    main()
