"""An idle server holds no more memory than it needs."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shortlist.server.cli import serve
from shortlist.server.cli.serve import return_free_memory

SERVE = [sys.executable, "-m", "shortlist.server.cli.main", "serve", "--port", "0"]
MAX_IDLE_MIB = 900

on_linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")


@pytest.fixture
def idle_server() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on grpc://")
        yield process
        process.terminate()


def resident_mib(process: subprocess.Popen[str]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@on_linux
def test_an_idle_server_with_the_built_in_model_stays_small(idle_server: subprocess.Popen[str]) -> None:
    assert 200 < resident_mib(idle_server) <= MAX_IDLE_MIB


def test_a_server_gives_free_memory_back_regularly(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        keeping = asyncio.create_task(serve.trim_memory(every_seconds=0.001))
        while len(given_back) < 3:
            await asyncio.sleep(0.001)
        keeping.cancel()

    given_back: list[bool] = []
    monkeypatch.setattr(serve, "return_free_memory", lambda: given_back.append(True))
    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_c_library_without_trimming_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())

    assert return_free_memory() is False
