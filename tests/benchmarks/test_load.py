"""How the benchmarks of overload count: from when a request was due, and what became of each."""

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


def test_an_answer_that_is_late_counts_from_when_its_request_was_due(load: ModuleType, server: ServerThread) -> None:
    async def held_back(client: AsyncClient) -> Any:
        server.engine.gate.clear()
        asyncio.get_running_loop().call_later(0.5, server.engine.gate.set)
        return await load.open_loop(client, REQUESTS, 20, 0.5)

    outcome = run(server, held_back)
    # Those due first waited longest; a closed loop would have sent one, and seen one delay.
    assert (len(outcome.latencies), max(outcome.latencies) > 300) == (10, True)
    assert outcome.goodput == pytest.approx(10 / outcome.seconds)


def test_what_is_refused_is_counted_by_kind_and_is_no_latency(
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


def test_recovery_is_when_a_request_is_quick_again(load: ModuleType, server: ServerThread) -> None:
    async def held_back(client: AsyncClient) -> Any:
        server.engine.gate.clear()
        asyncio.get_running_loop().call_later(0.4, server.engine.gate.set)
        return await load.recover(client, REQUESTS, 200.0)

    assert 0.4 <= run(server, held_back) < 5


def test_a_process_is_sampled(soak: ModuleType) -> None:
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = soak.sample(process.pid)
        process.kill()
    assert (1 < found["mib"] < 200, found["files"] >= 3, found["threads"]) == (True, True, 1)


def test_the_soak_tells_what_it_sent_and_whether_anything_grew(soak: ModuleType) -> None:
    samples = [{"seconds": 5.0 * place, "mib": 100.0 + place, "files": 9.0, "threads": 3.0} for place in range(9)]
    counts = Counter({"tables: answered": 7, "garbage: HTTPError": 2})
    told = list(soak.lines({"seconds": 60.0, "counts": counts, "samples": samples}))
    assert told[0] == "9 requests in 1 minutes"
    assert "mib: 101, 104, 107 (means of the first, second and last third)" in told
