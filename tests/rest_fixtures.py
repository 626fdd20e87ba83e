"""Fixtures that ask a server over HTTP: one in a thread with a fake Router, on a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from server_fixtures import ServerProcess, ServerThread


@pytest.fixture
def rest_server(start_server: Callable[..., ServerThread]) -> ServerThread:
    return start_server(http_port=0)


@pytest.fixture
def web(rest_server: ServerThread) -> Iterator[httpx.Client]:
    with ask(rest_server) as client:
        yield client


def ask(server: ServerThread) -> httpx.Client:
    """Makes a client of a server that has a REST API; proxies of the environment do not reach it."""
    return httpx.Client(base_url=server.app.http_url, trust_env=False, timeout=60)


def url_of(served: ServerProcess) -> str:
    """Reads the second line of a server process."""
    assert served.process.stdout is not None
    return served.process.stdout.readline().strip().removeprefix("listening on ")


def field_of(answer: httpx.Response) -> str:
    """Names the field that an answer calls wrong."""
    return str(detail_of(answer, "BadRequest")["fieldViolations"][0].get("field", ""))


def reason_of(answer: httpx.Response) -> str:
    return str(detail_of(answer, "ErrorInfo")["reason"])


def detail_of(answer: httpx.Response, kind: str) -> dict[str, Any]:
    """Gives the `google.rpc` detail of that kind."""
    [found] = [detail for detail in answer.json()["error"]["details"] if detail["@type"].endswith(f"google.rpc.{kind}")]
    return dict(found)
