"""Sends mixed traffic to a real server for a long time, and watches its memory, open files and threads for leaks.

    python benchmarks/soak.py [--minutes 30] [--cache-mb 16] [--tools CORPUS.jsonl] [--save FOLDER] [--plot FILE.png]

The traffic has known and new catalogs, DDL, short and long documents, over gRPC and HTTP. One request in ten fails on
purpose: fields out of range, random bytes, too short deadlines, cancelled calls. The server's caches are small, so they
are full after a few minutes; memory that keeps growing after that is a leak.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from saving import add_saving, save
from serving import ADDRESS_PREFIX, SERVER, Tools, draw_requests, read_tools

from shortlist import AsyncClient
from shortlist.schemas.errors import ShortlistError

SAMPLE_SECONDS = 5.0
NUM_WORKERS = 3
HTTP_PREFIX = "listening on http://"
DDL = Path(__file__).resolve().parent.parent / "examples" / "schema.sql"


class Traffic:
    """Draws and sends random requests; `counts` holds the number of outcomes of each kind of request."""

    def __init__(self, client: AsyncClient, http_address: str, tools: Tools, seed: int) -> None:
        self._client, self._http = client, f"http://{http_address}"
        self._requests = draw_requests(tools, 40)
        self._tools = [tool for _, some in self._requests for tool in some]
        self._ddl = DDL.read_text(encoding="utf-8")
        self._rng = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._kinds: list[tuple[int, str, Callable[[], Awaitable[Any]]]] = [
            (30, "known catalog", self._known),
            (15, "new catalog", self._new),
            (15, "tables", self._tables),
            (15, "documents", self._documents),
            (5, "long document", self._long),
            (10, "over HTTP", self._over_http),
            (3, "wrong field", self._wrong),
            (2, "garbage", self._garbage),
            (3, "short deadline", self._late),
            (2, "left", self._left),
        ]

    async def send(self) -> None:
        """Sends one request and counts it."""
        (_, name, send), *_ = self._rng.choices(self._kinds, [weight for weight, _, _ in self._kinds])
        try:
            outcome = await send() or "answered"
        except (ShortlistError, urllib.error.HTTPError) as error:
            outcome = type(error).__name__
        self.counts[f"{name}: {outcome}"] += 1

    async def _known(self) -> None:
        query, tools = self._rng.choice(self._requests)
        await self._client.select_tools(query, tools)

    async def _new(self) -> None:
        marked = [
            tool.replace('"description": "', f'"description": "{self._rng.random()} ', 1) for tool in self._some()
        ]
        await self._client.select_tools("refund a payment", marked)

    async def _tables(self) -> None:
        marked = self._ddl if self._rng.random() < 0.5 else f"{self._ddl}\ncreate table t{self._rng.random()} (a int);"
        await self._client.select_tables("orders by customer and month", marked)

    async def _documents(self) -> None:
        await self._client.rerank("refund a payment", [tool[:400] for tool in self._some()])

    async def _long(self) -> None:
        await self._client.rerank("refund", ["the order was refunded " * 800])

    async def _over_http(self) -> None:
        body = json.dumps({"query": "refund", "documents": [tool[:200] for tool in self._some()]}).encode()
        await asyncio.to_thread(_post, f"{self._http}/v1/rerank", body)

    async def _wrong(self) -> None:
        await self._client.rerank("refund", ["x"], min_score=2.0)

    async def _garbage(self) -> None:
        await asyncio.to_thread(_post, f"{self._http}/v1/rerank", self._rng.randbytes(2_000))

    async def _late(self) -> None:
        await self._client.select_tools("refund", self._some(), timeout_seconds=0.05)

    async def _left(self) -> str:
        task = asyncio.ensure_future(self._client.select_tools("refund", self._some()))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait((task,))
        return "left"

    def _some(self) -> Tools:
        return self._rng.sample(self._tools, 15)


def main() -> None:
    """Runs the soak test and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--cache-mb", type=float, default=16.0, help="the server's setting (default: 16)")
    parser.add_argument("--tools", type=Path, metavar="FILE", help="a corpus of tools (default: the example catalog)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the samples as a PNG file")
    add_saving(parser)
    options = parser.parse_args()
    command = (*SERVER, "--http-port", "0", "--log-level", "warning", "--cache-mb", str(options.cache_mb))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True) as process:
        try:
            assert process.stdout is not None
            grpc_address = process.stdout.readline().removeprefix(ADDRESS_PREFIX).strip()
            http_address = process.stdout.readline().removeprefix(HTTP_PREFIX).strip()
            found = asyncio.run(
                soak(process, grpc_address, http_address, read_tools(options.tools), options.minutes * 60)
            )
        finally:
            process.terminate()
    if options.plot:
        draw(found, options.plot)
    save(found, "soak", lines, options)


async def soak(
    process: subprocess.Popen[str], grpc_address: str, http_address: str, tools: Tools, seconds: float
) -> dict[str, Any]:
    """Sends traffic from a few concurrent callers, and samples the server's process."""
    began = time.monotonic()
    samples: list[dict[str, float]] = []
    async with AsyncClient(grpc_address, timeout_seconds=60) as client:
        traffics = [Traffic(client, http_address, tools, seed) for seed in range(NUM_WORKERS)]

        async def work(traffic: Traffic) -> None:
            while time.monotonic() - began < seconds:
                await traffic.send()

        async def watch() -> None:
            while time.monotonic() - began < seconds:
                samples.append({"seconds": time.monotonic() - began, **sample(process.pid)})
                _show(samples[-1], seconds)
                await asyncio.sleep(SAMPLE_SECONDS)

        async with asyncio.TaskGroup() as group:  # if one task fails, the others are cancelled
            for task in (watch(), *map(work, traffics)):
                group.create_task(task)
    counts = sum((traffic.counts for traffic in traffics), Counter())
    return {"seconds": seconds, "counts": dict(sorted(counts.items())), "samples": samples}


def sample(pid: int) -> dict[str, float]:
    """Reads the resident memory (MiB), the open files and the threads of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return {"mib": int(fields["VmRSS"].split()[0]) / 1_024, "files": files, "threads": int(fields["Threads"])}


def _post(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def _show(one: dict[str, float], seconds: float) -> None:
    if sys.stderr.isatty():
        text = f"{one['seconds']:5.0f} of {seconds:.0f} s: {one['mib']:.0f} MiB, {one['files']:.0f} files"
        print(text, end="\r", file=sys.stderr, flush=True)


def draw(found: dict[str, Any], path: Path) -> None:
    """Draws memory, open files and threads over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    minutes = [one["seconds"] / 60 for one in found["samples"]]
    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(8, 6))
    for axis, (name, title) in zip(
        axes, (("mib", "resident MiB"), ("files", "open files"), ("threads", "threads")), strict=True
    ):
        axis.plot(minutes, [one[name] for one in found["samples"]])
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.suptitle("A server under mixed traffic")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Writes the results as text."""
    samples = found["samples"]
    total = sum(found["counts"].values())
    yield f"{total} requests in {found['seconds'] / 60:.0f} minutes"
    yield from (f"  {count:6d} {name}" for name, count in found["counts"].items())
    thirds = np.array_split(np.arange(len(samples)), 3)
    for name in ("mib", "files", "threads"):
        means = [float(np.mean([samples[place][name] for place in third])) for third in thirds]
        yield f"{name}: " + ", ".join(f"{mean:.0f}" for mean in means) + " (means of the first, second and last third)"


if __name__ == "__main__":
    main()
