"""Checks that a real server withstands hostile callers."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from server_fixtures import ServerProcess, ServerThread

from shortlist import Client
from shortlist.server.app import _channel_options
from shortlist.server.dispatcher import new_request_id
from shortlist.server.settings import Settings
from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

StartProcess = Callable[..., ServerProcess]
REQUEST = pb.RerankRequest(query=pb.Query(text="paris"), documents=["paris", "berlin"])


def call(address: str, request: pb.RerankRequest = REQUEST, **options: Any) -> pb.RerankResponse:
    with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
        response: pb.RerankResponse = pb_grpc.RouterServiceStub(channel).Rerank(request, timeout=60, **options)
        return response


def peak_mib(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_compressed_message_beyond_the_limit_is_rejected_and_never_decompressed_fully(
    start_process: StartProcess,
) -> None:
    server = start_process("--max-message-mb", "1")
    call(server.address)
    before = peak_mib(server.process.pid)
    bomb = pb.RerankRequest(query=pb.Query(text="paris"), documents=["a" * 100_000_000])
    with pytest.raises(grpc.RpcError) as refused:
        call(server.address, bomb, compression=grpc.Compression.Gzip)
    # If gRPC cannot limit decompression, compression is disabled.
    assert refused.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED)
    assert peak_mib(server.process.pid) - before < 50
    assert len(call(server.address).items) == 2


@pytest.mark.parametrize(("version", "is_off"), [("1.66.0", True), ("1.83.9", True), ("1.84.0", False), ("2.0", False)])
def test_compression_is_disabled_if_grpc_decompresses_before_checking_the_size(version: str, is_off: bool) -> None:
    options = dict(_channel_options(Settings(), version))
    assert (options.get("grpc.compression_enabled_algorithms_bitset") == 1) is is_off


def test_a_compressed_request_within_the_limit_is_answered(server: ServerThread) -> None:
    is_off = "grpc.compression_enabled_algorithms_bitset" in dict(_channel_options(Settings()))
    if is_off:
        pytest.skip("this release of gRPC cannot bound what it unpacks")
    assert len(call(server.app.address, compression=grpc.Compression.Gzip).items) == 2


def test_oversized_headers_are_rejected_and_other_callers_served(server: ServerThread) -> None:
    with pytest.raises(grpc.RpcError):
        call(server.app.address, metadata=[("x-request-id", "a" * 100_000)])
    assert len(call(server.app.address).items) == 2


def test_silent_connections_delay_no_other_caller(server: ServerThread) -> None:
    with ExitStack() as silent:
        for _ in range(100):
            silent.enter_context(socket.create_connection(("127.0.0.1", server.app.port)))
        assert len(call(server.app.address).items) == 2


def test_an_unfinished_call_delays_no_other_caller(server: ServerThread) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
    with socket.create_connection(("127.0.0.1", server.app.port)) as slow:
        slow.sendall(preface + bytes.fromhex("0000ff0104"))  # half the head of a frame
        assert len(call(server.app.address).items) == 2


def test_bytes_that_are_not_a_request_are_rejected_and_other_callers_served(server: ServerThread) -> None:
    with grpc.insecure_channel(server.app.address) as channel:
        raw = channel.unary_unary("/shortlist.v1.RouterService/Rerank", lambda data: data, lambda data: data)
        with pytest.raises(grpc.RpcError):
            raw(b"\xff" * 1000, timeout=60)
    assert len(call(server.app.address).items) == 2


@pytest.mark.parametrize("given", ["a\nb", "a b", "\x1b[31m", "a" * 129, "é", "", "a\x00", "a\n"], ids=repr)
def test_an_id_that_could_forge_a_log_line_is_replaced(given: str) -> None:
    assert re.fullmatch("[0-9a-f]{32}", new_request_id(given))


def test_the_content_of_a_request_is_never_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    evil = "x\n2026-01-01 INFO forged: all is well"
    with caplog.at_level(logging.INFO):
        client.select_tools(evil, ['{"name":"forged\\nline"}', "{" + evil], namespaces=[evil, evil])
    logged = [vars(record) for record in caplog.records]
    assert "forged" not in str(logged) + caplog.text
    assert [fields["code"] for fields in logged if fields.get("method") == "SelectTools"] == ["OK"]
