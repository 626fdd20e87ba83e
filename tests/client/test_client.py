from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from types import MappingProxyType
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from server_fakes import tool
from server_fixtures import ServerThread

from shortlist.client.channel import Connection
from shortlist.client.client import AsyncClient, Calls, Client
from shortlist.schemas.errors import InvalidInput, RequestCancelled, ServerUnavailable, ShortlistError

StartServer = Callable[..., ServerThread]


class Recorder(Calls[Any, Any]):
    """Gives back the request it would send."""

    def _call(self, method: str, request: Message, read: Callable[[Any], Any], timeout_seconds: float | None) -> Any:
        return request


@pytest.fixture
def silent_address() -> Any:
    """An address that nobody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


@pytest.mark.parametrize("module", ["torch", "sqlglot", "jsonschema", "numpy", "shortlist.router"])
def test_importing_the_client_leaves_out(module: str) -> None:
    code = f"import sys, shortlist.client.client; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_not_said_is_not_sent() -> None:
    request = Recorder().rerank("q", ["d"])
    assert {field.name for field, _ in request.ListFields()} == {"query", "documents"}


def test_an_explicit_zero_is_sent() -> None:
    assert Recorder().select_tools("q", [], top_n=0).HasField("top_n")


@pytest.mark.parametrize(
    "tools",
    [
        pytest.param('{"name": "ä"}', id="text"),
        pytest.param({"name": "ä"}, id="object"),
        pytest.param(['{"name": "ä"}'], id="list of texts"),
        pytest.param([{"name": "ä"}], id="list of objects"),
        pytest.param([MappingProxyType({"name": "ä"})], id="list of other mappings"),
    ],
)
def test_tools_may_be_text_or_objects_one_or_many(tools: Any) -> None:
    request = Recorder().select_tools("q", tools, namespaces=["space"])
    assert [(text.json, text.namespace) for text in request.tools] == [('{"name": "ä"}', "space")]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        pytest.param({"top_n": 2**40}, "top_n", id="number too large"),
        pytest.param({"always_include": ["\ud800"]}, "always_include[0]", id="lone surrogate"),
        pytest.param({"always_include": "ping"}, "always_include", id="one text for a list"),
        pytest.param({"namespaces": ["a", "b"]}, "namespaces", id="namespaces do not fit"),
        pytest.param({"query": "\ud800"}, "query", id="lone surrogate in the query"),
        pytest.param({"namespaces": ["\ud800"]}, "namespaces[0]", id="lone surrogate in a namespace"),
        pytest.param({"tools": ["{}", {"name": {1, 2}}]}, "tools[1]", id="a tool that JSON cannot say"),
    ],
)
def test_what_cannot_be_sent_is_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Recorder().select_tools(**{"query": "q", "tools": [tool("ping")], **options})
    assert caught.value.field == field


def test_a_server_out_of_reach_is_unavailable(silent_address: str) -> None:
    with Client(silent_address, retry=None) as client, pytest.raises(ServerUnavailable, match=silent_address):
        client.rerank("q", ["d"])


def test_another_kind_of_server_is_told_so() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with Client(address) as client, pytest.raises(ShortlistError, match="not a Shortlist server"):
        client.get_info()
    server.stop(None).wait()


def test_a_timeout_of_the_client_holds_for_each_call(server: ServerThread) -> None:
    server.engine.gate.clear()
    with Client(server.app.address, timeout_seconds=0.2) as client, pytest.raises(RequestCancelled):
        client.rerank("q", ["d"])


def test_waiting_until_ready_outlasts_the_loading(start_server: StartServer) -> None:
    server = start_server(is_loaded=False)
    with Client(server.app.address) as client:
        threading.Timer(0.3, server.load).start()
        assert client.wait_until_ready(60).model.name == "fake"


def test_waiting_until_ready_gives_up_in_time(silent_address: str) -> None:
    with Client(silent_address) as client, pytest.raises(ServerUnavailable, match="did not become ready"):
        client.wait_until_ready(0.3)


def test_the_async_client_answers_many_calls_at_once(server: ServerThread) -> None:
    async def ask() -> list[int]:
        async with AsyncClient(server.app.address) as client:
            await client.wait_until_ready(60)
            responses = await asyncio.gather(
                client.select_tools("ping", [tool("ping")]),
                client.select_tables("a", "create table a (b int)"),
                client.rerank("word", ["word", "other"]),
            )
        return [len(response.items) for response in responses]

    assert asyncio.run(ask()) == [1, 1, 2]


def test_the_async_client_raises_the_same_errors(server: ServerThread) -> None:
    async def ask() -> None:
        async with AsyncClient(server.app.address) as client:
            await client.rerank(" ", ["word"])

    with pytest.raises(InvalidInput) as caught:
        asyncio.run(ask())
    assert (caught.value.field, str(caught.value).count("query")) == ("query", 1)


def test_the_async_client_gives_up_waiting_in_time(silent_address: str) -> None:
    async def wait() -> None:
        async with AsyncClient(silent_address) as client:
            await client.wait_until_ready(0.3)

    with pytest.raises(ServerUnavailable, match="did not become ready"):
        asyncio.run(wait())


def test_a_channel_of_the_callers_own_is_used(server: ServerThread) -> None:
    channel = grpc.insecure_channel(server.app.address)
    with Client("never.used.invalid:1", channel=channel) as client:
        assert client.get_info().model.name == "fake"


def test_an_address_of_many_servers_is_spread_over_all_of_them(server: ServerThread) -> None:
    address = f"dns:///{server.app.address}"
    assert dict(Connection(address).options())["grpc.lb_policy_name"] == "round_robin"
    assert "grpc.lb_policy_name" not in dict(Connection(server.app.address).options())
    with Client(address) as client:
        assert client.get_info().model.name
