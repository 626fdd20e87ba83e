"""Measures a real server over gRPC: the latency of one client by stage, the rate of many clients, latency under load.

    python benchmarks/serving.py [--tools CORPUS.jsonl] [--requests 60] [--clients 32] [--curves] [--save FOLDER]

`--tools` is a corpus of tools, one `{"tool": …}` per line; without it the example catalog is used. Each request has 20
tools, drawn with seed 0. The rate of the engine alone is measured in this process before the server starts.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from saving import add_saving, save

from shortlist import Client, Router
from shortlist.schemas.tools.parse import parse_tools

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "tools"
SERVER = (sys.executable, "-m", "shortlist.server.cli.main", "serve", "--port", "0")
ADDRESS_PREFIX = "listening on grpc://"
TOOLS_PER_REQUEST = 20
QUERIES = ("refund a card payment", "who is on call this weekend", "open a pull request", "translate this to French")
STAGES = ("queue", "parse", "retrieve", "tokenize", "infer")
LOAD = 0.8
LOADS = (0.2, 0.4, 0.6, 0.8, 0.9)
CLIENT_NUMBERS = (1, 2, 4, 8, 16, 32)
Tools = list[str]


def main() -> None:
    """Measures the server and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", type=Path, metavar="FILE", help="a corpus of tools (default: the example catalog)")
    parser.add_argument("--requests", type=int, default=60, help="the number of different requests")
    parser.add_argument("--clients", type=int, default=32, help="the number of concurrent clients")
    parser.add_argument("--curves", action="store_true", help="also measure by number of clients and by load")
    add_saving(parser)
    options = parser.parse_args()
    requests = draw_requests(read_tools(options.tools), options.requests)
    save(measure(requests, options.clients, has_curves=options.curves), "serving", lines, options)


def read_tools(path: Path | None) -> Tools:
    """Reads the tools of a corpus; without one, the example catalog."""
    if path is None:
        return [one.read_text(encoding="utf-8") for one in sorted(EXAMPLES.glob("*.json"))]
    with path.open(encoding="utf-8") as corpus:
        return [json.dumps(json.loads(line)["tool"]) for line in corpus]


def draw_requests(tools: Tools, number: int) -> list[tuple[str, Tools]]:
    """Draws a query and 20 tools for each request; the draw is always the same."""
    rng = random.Random(0)
    pool = [one for text in tools for one in single_tools(text)]
    return [(rng.choice(QUERIES), rng.sample(pool, TOOLS_PER_REQUEST)) for _ in range(number)]


def single_tools(text: str) -> list[str]:
    """Splits a container of tools into one text per tool."""
    return [tool.source for tool in parse_tools([text]).tools]


def measure(requests: Sequence[tuple[str, Tools]], num_clients: int, *, has_curves: bool = False) -> dict[str, Any]:
    """Measures the engine alone, then the server with one client, with many, and with many at 80 % of their rate."""
    engine = engine_rate(requests)
    with running_server() as (address, start_seconds, process):
        idle = resident_mib(process)
        new = ask_all(address, requests, 1)  # this fills the server's caches of catalogs and vectors
        alone = ask_all(address, requests, 1)
        together = ask_all(address, requests * 2, num_clients)
        most = len(together.seconds) / together.wall  # requests per second
        loaded = ask_at(address, requests, LOAD * most, num_clients)
        curves = take_curves(address, requests, most, num_clients) if has_curves else {}
        used = resident_mib(process)
    return {
        "start_seconds": start_seconds,
        "idle_mib": idle,
        "used_mib": used,
        "new_catalog_ms": percentiles(new.milliseconds),
        "one_client_ms": percentiles(alone.milliseconds),
        "stages_ms": alone.stages(),
        "clients": num_clients,
        "server_pairs_per_second": TOOLS_PER_REQUEST * most,
        "engine_pairs_per_second": engine,
        "at_80_percent_ms": percentiles(loaded.milliseconds),
        **curves,
    }


def take_curves(
    address: str, requests: Sequence[tuple[str, Tools]], most: float, num_clients: int
) -> dict[str, list[dict[str, float]]]:
    """Measures the rate by number of clients, and latency by load, as shares of `most` requests per second."""
    clients = []
    for number in CLIENT_NUMBERS:
        found = ask_all(address, requests, number)
        rate = TOOLS_PER_REQUEST * len(found.seconds) / found.wall
        clients.append({"at": number, "pairs_per_second": rate, **percentiles(found.milliseconds)})
    loads = []
    for share in LOADS:
        found = ask_at(address, requests, share * most, num_clients)
        loads.append({"at": share, **percentiles(found.milliseconds)})
    return {"by_clients": clients, "by_load": loads}


class Answers:
    """The results of a run: the seconds and the server's timings of each request, and the seconds of the whole run."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.timings: list[Any] = []
        self.wall = 0.0

    @property
    def milliseconds(self) -> list[float]:
        """The time of each request."""
        return [1_000 * one for one in self.seconds]

    def stages(self) -> dict[str, float]:
        """Returns the median of each stage in ms; `grpc` is the time that the server does not measure."""
        stages = {name: [getattr(one, f"{name}_ms") for one in self.timings] for name in STAGES}
        whole = zip(self.milliseconds, self.timings, strict=True)
        stages["grpc"] = [total - one.total_ms for total, one in whole]
        return {name: float(np.median(values)) for name, values in stages.items()}


def ask_all(address: str, requests: Sequence[tuple[str, Tools]], num_clients: int) -> Answers:
    """Sends the requests with `num_clients` clients, each as soon as its last answer has arrived."""
    return _run(address, requests, num_clients, lambda number: 0.0)


def ask_at(address: str, requests: Sequence[tuple[str, Tools]], rate: float, num_clients: int) -> Answers:
    """Sends `rate` requests per second at random times; the wait for a free client counts as latency."""
    gaps = np.random.default_rng(0).exponential(1 / rate, len(requests))
    due = np.cumsum(gaps)
    return _run(address, requests, num_clients, lambda number: float(due[number]))


def _run(address: str, requests: Sequence[tuple[str, Tools]], num_clients: int, due: Callable[[int], float]) -> Answers:
    answers, lock = Answers(), threading.Lock()
    clients: queue.Queue[Client] = queue.Queue()
    for _ in range(num_clients):
        clients.put(Client(address))
    began = time.perf_counter()

    def ask(number: int) -> None:
        client = clients.get()
        try:
            time.sleep(max(0.0, began + due(number) - time.perf_counter()))
            sent = began + due(number) if due(number) else time.perf_counter()
            query, tools = requests[number]
            response = client.select_tools(query, tools, top_n=5)
            with lock:
                answers.seconds.append(time.perf_counter() - sent)
                answers.timings.append(response.timings)
        finally:
            clients.put(client)  # after a failure too, or the other threads would wait for a client forever

    with ThreadPoolExecutor(num_clients) as pool:
        list(pool.map(ask, range(len(requests))))
    answers.wall = time.perf_counter() - began
    for _ in range(num_clients):
        clients.get().close()
    return answers


def engine_rate(requests: Sequence[tuple[str, Tools]]) -> float:
    """Measures the pairs per second of inference alone, without a server and the other stages."""
    router = Router.load(cache_dir="off")
    for query, tools in requests:
        router.select_tools(query, tools)
    infer_ms = sum(router.select_tools(query, tools).timings.infer_ms for query, tools in requests)
    return sum(len(tools) for _, tools in requests) / (infer_ms / 1_000)


@contextmanager
def running_server() -> Iterator[tuple[str, float, subprocess.Popen[str]]]:
    """Starts a server on a free port; yields its address, the seconds it took to start, and its process."""
    began = time.perf_counter()
    with subprocess.Popen(SERVER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith(ADDRESS_PREFIX):
                raise SystemExit("the server did not start; run `shortlist serve` to see why")
            yield line.removeprefix(ADDRESS_PREFIX).strip(), time.perf_counter() - began, process
        finally:
            process.terminate()


def resident_mib(process: subprocess.Popen[str], field: str = "VmRSS") -> float:
    """Reads the resident memory of a process in MiB, or its peak with the field `VmHWM`."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1_024


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Returns the 50th, 90th and 99th percentiles."""
    return {f"p{share}": float(np.percentile(values, share)) for share in (50, 90, 99)}


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Writes the results as text."""

    def show(name: str) -> str:
        return ", ".join(f"{key} {value:.1f}" for key, value in found[name].items())

    yield f"time to start: {found['start_seconds']:.2f} s"
    yield f"resident memory: idle {found['idle_mib']:.0f} MiB, at the end {found['used_mib']:.0f} MiB"
    yield f"one client, {TOOLS_PER_REQUEST} tools per request, catalogs new to the server: {show('new_catalog_ms')} ms"
    yield f"one client, the same requests again: {show('one_client_ms')} ms"
    yield f"medians of its stages: {show('stages_ms')} ms"
    share = found["server_pairs_per_second"] / found["engine_pairs_per_second"]
    yield f"{found['clients']} clients: {found['server_pairs_per_second']:.0f} pairs/s, {share:.2f} of the engine alone"
    yield f"at 80 % of that rate: {show('at_80_percent_ms')} ms"
    if "by_clients" in found:
        yield from ("", "| clients | pairs/s | p50 ms | p99 ms |", "|---:|---:|---:|---:|")
        for p in found["by_clients"]:
            yield f"| {p['at']} | {p['pairs_per_second']:.0f} | {p['p50']:.0f} | {p['p99']:.0f} |"
        yield from ("", "| load | p50 ms | p90 ms | p99 ms |", "|---:|---:|---:|---:|")
        for p in found["by_load"]:
            yield f"| {p['at']:.0%} | {p['p50']:.0f} | {p['p90']:.0f} | {p['p99']:.0f} |"


if __name__ == "__main__":
    main()
