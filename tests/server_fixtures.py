"""Fixtures that run a server: in a thread with a fake Router, or as a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from server_fakes import FakeEngine, FakePair, Router

from shortlist import Client
from shortlist.server.app import Application
from shortlist.server.dispatcher import Call, Observer
from shortlist.server.services import Service
from shortlist.server.settings import Settings

SERVE_FAKE = Path(__file__).with_name("serve_fake.py")


@dataclass
class ServerThread:
    """One Application on an event loop of its own thread; `calls` are those that ended."""

    settings: Settings
    engine: FakeEngine = field(default_factory=FakeEngine)
    services: Sequence[Service] | None = None
    observers: Sequence[Observer] = ()
    calls: list[Call] = field(default_factory=list)  # those that have ended

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.app = self.call(self._make()).result(60)
        self._stopped: Future[bool] | None = None

    def call(self, coroutine: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def load(self) -> None:
        self.call(self.app.load(lambda: Router(self.engine))).result(60)
        self.engine.entered.acquire()
        self.engine.batches.clear()  # the warm-up

    def begin_stop(self) -> Future[bool]:
        if self._stopped is None:
            self._stopped = self.call(self.app.stop())
        return self._stopped

    def close(self) -> None:
        self.engine.gate.set()
        self.begin_stop().result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _make(self) -> Application:
        observers = (self.calls.append, *self.observers)
        app = Application(self.settings, services=self.services, observers=observers)
        await app.start()
        return app


@pytest.fixture
def start_server() -> Iterator[Callable[..., ServerThread]]:
    """Starts servers with the options given, `is_loaded=False` before their model is; stops them in the end.

    A gate that holds the engine back makes it look slow, so that a queue is never too long unless a test says so.
    """
    servers: list[ServerThread] = []

    def start(
        *,
        is_loaded: bool = True,
        services: Sequence[Service] | None = None,
        observers: Sequence[Observer] = (),
        **options: Any,
    ) -> ServerThread:
        settings = Settings(**{"port": 0, "max_queue_seconds": 1000, **options})
        server = ServerThread(settings, services=services, observers=observers)
        servers.append(server)
        if is_loaded:
            server.load()
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def server(start_server: Callable[..., ServerThread]) -> ServerThread:
    return start_server()


@pytest.fixture
def client(server: ServerThread) -> Iterator[Client]:
    with Client(server.app.address, timeout_seconds=60) as client:
        yield client


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def wait_until_pairs_wait(server: ServerThread, num_pairs: int) -> None:
    """Waits until this many pairs of one word each are queued."""
    scorer: Any = server.app.admission.backlog
    wait_until(lambda: scorer.num_waiting_tokens == num_pairs * len(FakePair("one", "word")))


@dataclass
class ServerProcess:
    """A `shortlist serve` process that has printed its first line."""

    process: subprocess.Popen[str]
    first_line: str

    @property
    def address(self) -> str:
        return self.first_line.strip().removeprefix("listening on grpc://")


@pytest.fixture
def start_process() -> Iterator[Callable[..., ServerProcess]]:
    """Starts `shortlist serve --port 0 …` and waits for its first line; `command` is what runs it."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str, command: tuple[str, ...] = (sys.executable, str(SERVE_FAKE))) -> ServerProcess:
        process = subprocess.Popen(
            [*command, "serve", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        running.append(process)
        assert process.stdout is not None
        return ServerProcess(process, process.stdout.readline())

    yield start
    for process in running:
        process.kill()
        process.communicate()
