"""Times a real server through gRPC: one client's latency and where it goes, many clients' rate, and latency under load.

    python benchmarks/serving.py [--tools CORPUS.jsonl] [--requests 60] [--clients 32] [--json]

`--tools` is a corpus of tools, one `{"tool": …}` a line; without it the example catalog is used. Each request brings
20 of them, drawn with seed 0. The engine's own rate is measured in this process before the server starts.
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

from shortlist.router import Router
from shortlist.server.client import Client

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "tools"
SERVER = (sys.executable, "-m", "shortlist.server.cli", "serve", "--port", "0")
ADDRESS_PREFIX = "listening on grpc://"
TOOLS_PER_REQUEST = 20
QUERIES = ("refund a card payment", "who is on call this weekend", "open a pull request", "translate this to French")
LOAD = 0.8
Tools = list[str]


def main() -> None:
    """Measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", type=Path, metavar="FILE")
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args()
    requests = draw_requests(read_tools(options.tools), options.requests)
    found = measure(requests, options.clients)
    print(json.dumps(found) if options.json else "\n".join(lines(found)))


def read_tools(path: Path | None) -> Tools:
    """Reads the tools of a corpus, or the example catalog."""
    if path is None:
        return [one.read_text(encoding="utf-8") for one in sorted(EXAMPLES.glob("*.json"))]
    with path.open(encoding="utf-8") as corpus:
        return [json.dumps(json.loads(line)["tool"]) for line in corpus]


def draw_requests(tools: Tools, number: int) -> list[tuple[str, Tools]]:
    """Draws a query and 20 tools for each request, always the same ones."""
    rng = random.Random(0)
    pool = [one for text in tools for one in _single_tools(text)]
    return [(rng.choice(QUERIES), rng.sample(pool, TOOLS_PER_REQUEST)) for _ in range(number)]


def _single_tools(text: str) -> list[str]:
    value = json.loads(text)
    return [json.dumps(one) for one in value] if isinstance(value, list) else [text]


def measure(requests: Sequence[tuple[str, Tools]], num_clients: int) -> dict[str, Any]:
    """Measures the engine alone, then the server: one client, many at once, and many at 80 % of that rate."""
    engine = engine_rate(requests)
    with running_server() as (address, start_seconds, process):
        ask_all(address, requests, 1)  # every document's vector is known from here on
        idle = resident_mib(process)
        alone = ask_all(address, requests, 1)
        together = ask_all(address, requests * 2, num_clients)
        loaded = ask_at(address, requests, LOAD * len(together.seconds) / together.wall, num_clients)
    overhead = [total - inside for total, inside in zip(alone.milliseconds, alone.infer_ms, strict=True)]
    return {
        "start_seconds": start_seconds,
        "resident_mib": idle,
        "one_client_ms": percentiles(alone.milliseconds),
        "outside_inference_ms": percentiles(overhead),
        "clients": num_clients,
        "server_pairs_per_second": TOOLS_PER_REQUEST * len(together.seconds) / together.wall,
        "engine_pairs_per_second": engine,
        "at_80_percent_ms": percentiles(loaded.milliseconds),
    }


class Answers:
    """What came of a run: seconds and inference of each request, and how long all took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.infer_ms: list[float] = []
        self.wall = 0.0

    @property
    def milliseconds(self) -> list[float]:
        """The requests' times."""
        return [1_000 * one for one in self.seconds]


def ask_all(address: str, requests: Sequence[tuple[str, Tools]], num_clients: int) -> Answers:
    """Sends the requests as fast as `num_clients` clients get their answers."""
    return _run(address, requests, num_clients, lambda number: 0.0)


def ask_at(address: str, requests: Sequence[tuple[str, Tools]], rate: float, num_clients: int) -> Answers:
    """Sends the requests at random times, `rate` a second; waiting for a free client counts as latency."""
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
                answers.infer_ms.append(response.report.timings.infer_ms)
        finally:
            clients.put(client)  # a failure ends the run instead of leaving the others to wait

    with ThreadPoolExecutor(num_clients) as pool:
        list(pool.map(ask, range(len(requests))))
    answers.wall = time.perf_counter() - began
    for _ in range(num_clients):
        clients.get().close()
    return answers


def engine_rate(requests: Sequence[tuple[str, Tools]]) -> float:
    """Measures the pairs a second of the engine without a server and without what surrounds inference."""
    router = Router.load()
    for query, tools in requests:
        router.select_tools(query, tools)
    infer_ms = sum(router.select_tools(query, tools).timings.infer_ms for query, tools in requests)
    return sum(len(tools) for _, tools in requests) / (infer_ms / 1_000)


@contextmanager
def running_server() -> Iterator[tuple[str, float, subprocess.Popen[str]]]:
    """Starts a server on a free port; yields its address, the seconds until it served, and its process."""
    began = time.perf_counter()
    process = subprocess.Popen(SERVER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(ADDRESS_PREFIX):
            raise SystemExit("the server did not start; `shortlist serve` says why")
        yield line.removeprefix(ADDRESS_PREFIX).strip(), time.perf_counter() - began, process
    finally:
        process.terminate()
        process.wait()


def resident_mib(process: subprocess.Popen[str]) -> float:
    """Reads the resident memory of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1_024


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Gives the median, the 90th and the 99th of a hundred."""
    return {f"p{share}": float(np.percentile(values, share)) for share in (50, 90, 99)}


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Writes the findings for people."""

    def show(name: str) -> str:
        return ", ".join(f"{key} {value:.1f}" for key, value in found[name].items())

    yield f"start to serving {found['start_seconds']:.2f} s, {found['resident_mib']:.0f} MiB resident"
    yield f"one client, {TOOLS_PER_REQUEST} tools: {show('one_client_ms')} ms"
    yield f"of it outside inference: {show('outside_inference_ms')} ms"
    share = found["server_pairs_per_second"] / found["engine_pairs_per_second"]
    yield f"{found['clients']} clients: {found['server_pairs_per_second']:.0f} pairs/s, {share:.2f} of the engine's own"
    yield f"at 80 % of that rate: {show('at_80_percent_ms')} ms"


if __name__ == "__main__":
    main()
