"""The overload and soak benchmarks count latency from the time a request was due, and the outcome of each request."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from paths import ROOT
from server_fixtures import ServerThread

from shortlist import AsyncClient

BENCHMARKS = ROOT / "benchmarks"
REQUESTS = [("word", ['{"name": "word"}'])]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("load")


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("soak")


def run(server: ServerThread, work: Callable[[AsyncClient], Any]) -> Any:
    async def connected() -> Any:
        async with AsyncClient(server.app.address, retry=None, timeout_seconds=30) as client:
            return await work(client)

    return asyncio.run(connected())


def test_latency_counts_from_the_time_a_request_was_due(load: ModuleType, server: ServerThread) -> None:
    async def held_back(client: AsyncClient) -> Any:
        server.engine.gate.clear()
        asyncio.get_running_loop().call_later(0.5, server.engine.gate.set)
        return await load.open_loop(client, REQUESTS, 20, 0.5)

    outcome = run(server, held_back)
    # The first request waited longest. A closed loop would have sent only one request and seen only one delay.
    assert (len(outcome.latencies), max(outcome.latencies) > 300) == (10, True)
    assert outcome.goodput == pytest.approx(10 / outcome.seconds)


def test_rejected_requests_are_counted_by_error_and_not_in_the_latencies(
    load: ModuleType, start_server: Callable[..., ServerThread]
) -> None:
    server = start_server(max_concurrent=1, max_waiting=0)

    async def held_back(client: AsyncClient) -> Any:
        server.engine.gate.clear()
        asyncio.get_running_loop().call_later(0.5, server.engine.gate.set)
        return await load.open_loop(client, REQUESTS, 20, 0.5)

    outcome = run(server, held_back)
    assert set(outcome.refused) == {"ServerBusy"}
    assert len(outcome.latencies) + sum(outcome.refused.values()) == 10


def test_recovery_lasts_until_a_request_is_fast_again(load: ModuleType, server: ServerThread) -> None:
    async def held_back(client: AsyncClient) -> Any:
        server.engine.gate.clear()
        asyncio.get_running_loop().call_later(0.4, server.engine.gate.set)
        return await load.recover(client, REQUESTS, 200.0)

    assert 0.4 <= run(server, held_back) < 5


def test_a_sample_has_memory_files_and_threads_of_a_process(soak: ModuleType) -> None:
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = soak.sample(process.pid)
        process.kill()
    assert (1 < found["mib"] < 200, found["files"] >= 3, found["threads"]) == (True, True, 1)


def test_the_soak_prints_its_counts_and_the_growth_of_each_sample(soak: ModuleType) -> None:
    samples = [{"seconds": 5.0 * place, "mib": 100.0 + place, "files": 9.0, "threads": 3.0} for place in range(9)]
    counts = Counter({"tables: answered": 7, "garbage: HTTPError": 2})
    told = list(soak.lines({"seconds": 60.0, "counts": counts, "samples": samples}))
    assert told[0] == "9 requests in 1 minutes"
    assert "mib: 101, 104, 107 (means of the first, second and last third)" in told
