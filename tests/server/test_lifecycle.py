from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from server_fixtures import SERVE_FAKE, ServerProcess, ServerThread, wait_until, wait_until_pairs_wait

from shortlist import AsyncClient, Client
from shortlist.schemas.errors import RequestCancelled, ServerUnavailable

StartServer = Callable[..., ServerThread]
StartProcess = Callable[..., ServerProcess]

SERVICE = "shortlist.v1.RouterService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health_of(address: str, service: str) -> int:
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return health_pb2_grpc.HealthStub(channel).Check(request, timeout=60).status


@pytest.mark.parametrize("service", ["", SERVICE], ids=["whole", "service"])
def test_health_is_not_serving_until_the_model_is_warm(start_server: StartServer, service: str) -> None:
    server = start_server(is_loaded=False)
    before = health_of(server.app.address, service)
    server.load()
    assert (before, health_of(server.app.address, service)) == (NOT_SERVING, SERVING)


def test_a_stop_answers_running_requests_and_rejects_new_ones(server: ServerThread) -> None:
    server.engine.gate.clear()
    with Client(server.app.address, timeout_seconds=60, retry=None) as client, ThreadPoolExecutor() as pool:
        in_flight = pool.submit(client.rerank, "word", ["word"])
        server.engine.wait_until_entered()
        stopped = server.begin_stop()
        wait_until(lambda: health_of(server.app.address, SERVICE) == NOT_SERVING)
        with pytest.raises(ServerUnavailable, match="stopping"):
            client.rerank("late", ["late"])
        server.engine.gate.set()
        assert (in_flight.result(60).items[0].score, stopped.result(60)) == (1.0, True)


def test_a_stop_cancels_requests_that_outlast_the_grace_period(start_server: StartServer) -> None:
    server = start_server(grace_seconds=0.1)
    server.engine.gate.clear()
    with Client(server.app.address, timeout_seconds=60, retry=None) as client, ThreadPoolExecutor() as pool:
        in_flight = pool.submit(client.rerank, "word", ["word"])
        server.engine.wait_until_entered()
        stopped = server.begin_stop()
        with pytest.raises(ServerUnavailable, match="stopped"):
            in_flight.result(60)
        server.engine.gate.set()
        assert stopped.result(60) is False


def test_an_open_health_watch_does_not_delay_a_stop(start_server: StartServer) -> None:
    server = start_server(grace_seconds=60)
    with grpc.insecure_channel(server.app.address) as channel:
        updates = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(updates).status == SERVING
        assert server.begin_stop().result(40) is True
        assert next(updates).status == NOT_SERVING


def test_reflection_lets_a_stock_client_call_the_service(server: ServerThread) -> None:
    with grpc.insecure_channel(server.app.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = set(database.get_services())
        method = DescriptorPool(database).FindServiceByName(SERVICE).methods_by_name["Rerank"]
        request = GetMessageClass(method.input_type)(query={"text": "paris"}, documents=["berlin", "paris"])
        call = channel.unary_unary(
            f"/{SERVICE}/Rerank",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        assert [item.index for item in call(request, timeout=60).items] == [1, 0]
    assert services == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


def test_a_cancelled_request_frees_the_queue(server: ServerThread) -> None:
    async def cancel_while_waiting() -> None:
        async with AsyncClient(server.app.address) as client:
            running = asyncio.create_task(client.rerank("running", ["a"]))
            await asyncio.to_thread(server.engine.wait_until_entered)
            waiting = asyncio.create_task(client.rerank("unwanted", ["a"] * 40))
            await asyncio.to_thread(wait_until_pairs_wait, server, 40)
            waiting.cancel()
            await asyncio.to_thread(wait_until_pairs_wait, server, 0)
            server.engine.gate.set()
            await running

    server.engine.gate.clear()
    asyncio.run(cancel_while_waiting())
    assert server.engine.queries == [{"running"}]


def test_a_deadline_frees_the_queue(server: ServerThread) -> None:
    server.engine.gate.clear()
    with Client(server.app.address, timeout_seconds=60) as client, ThreadPoolExecutor() as pool:
        running = pool.submit(client.rerank, "running", ["a"])
        server.engine.wait_until_entered()
        with pytest.raises(RequestCancelled):
            client.rerank("expired", ["a"] * 40, timeout_seconds=0.3)
        wait_until_pairs_wait(server, 0)
        server.engine.gate.set()
        running.result(60)
    assert server.engine.queries == [{"running"}]


def test_a_request_cancelled_before_it_has_a_thread_never_runs(start_server: StartServer) -> None:
    server = start_server(max_concurrent=1)
    server.engine.gate.clear()
    with Client(server.app.address, timeout_seconds=60) as client, ThreadPoolExecutor() as pool:
        running = pool.submit(client.rerank, "running", ["a"])
        server.engine.wait_until_entered()
        with pytest.raises(RequestCancelled):
            client.rerank("expired", ["a"], timeout_seconds=0.3)
        wait_until(lambda: server.app.admission.num_admitted == 1)
        server.engine.gate.set()
        running.result(60)
    assert server.engine.queries == [{"running"}]


def test_the_process_serves_after_its_first_line_and_stops_on_sigterm(start_process: StartProcess) -> None:
    served = start_process()
    with Client(served.address, timeout_seconds=60) as client:
        assert client.rerank("paris", ["berlin", "paris"]).items[0].index == 1
    served.process.send_signal(signal.SIGTERM)
    out, log = served.process.communicate(timeout=60)
    assert (served.process.returncode, out) == (0, "")
    assert "Traceback" not in log
    assert "paris" not in log


def test_the_first_line_names_the_chosen_port(start_process: StartProcess) -> None:
    served = start_process()
    assert served.first_line.startswith("listening on grpc://127.0.0.1:")
    assert health_of(served.address, "") == SERVING


@pytest.fixture
def stalled(start_process: StartProcess) -> Iterator[Callable[..., ServerProcess]]:
    """Starts a process whose engine is busy with a request for a minute."""
    with ThreadPoolExecutor() as pool:

        def start(*arguments: str) -> ServerProcess:
            served = start_process(*arguments)
            pool.submit(lambda: Client(served.address).rerank("x", ["stall"]))
            assert served.process.stdout is not None
            assert served.process.stdout.readline() == "stalling\n"
            return served

        yield start


def test_a_second_signal_stops_at_once(stalled: StartProcess) -> None:
    served = stalled("--grace-seconds", "60")
    served.process.send_signal(signal.SIGINT)
    wait_until(lambda: health_of(served.address, "") == NOT_SERVING)
    served.process.send_signal(signal.SIGINT)
    served.process.communicate(timeout=40)
    assert served.process.returncode == 1


def test_the_process_ends_with_the_grace_period_even_if_the_engine_does_not(stalled: StartProcess) -> None:
    served = stalled("--grace-seconds", "0.2")
    served.process.send_signal(signal.SIGTERM)
    _, log = served.process.communicate(timeout=40)
    assert (served.process.returncode, "cancelled 1 requests" in log) == (1, True)


def test_an_idle_server_stops_cleanly_without_a_grace_period(start_process: StartProcess) -> None:
    served = start_process("--grace-seconds", "0", "--http-port", "0")
    served.process.send_signal(signal.SIGTERM)
    _, log = served.process.communicate(timeout=40)
    assert (served.process.returncode, "cancelled" in log) == (0, False)


def test_a_server_keeps_serving_after_its_parent_has_gone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(SERVE_FAKE), "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert process.stderr is not None
    line = next(line for line in process.stderr if "listening on grpc://" in line)
    address = line.split("grpc://")[1].split()[0]
    with Client(address) as client:
        assert client.rerank("word", ["word"]).items[0].score == 1.0
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=40)
    assert process.returncode == 0


def test_a_signal_ends_a_server_that_is_still_loading() -> None:
    command = [sys.executable, str(SERVE_FAKE), "serve", "--port", "0", "--model", "slow"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=40)
    assert (process.returncode, out) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["--port", "{taken}"], "cannot listen on 127.0.0.1:{taken}: Address already in use", id="taken port"
        ),
        pytest.param(["--port", "0", "--model", "missing"], "no such model", id="no model"),
        pytest.param(
            ["--insecure", "--host", "no.such.host.invalid"],
            "cannot listen on no.such.host.invalid:50051",
            id="no host",
        ),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(arguments: list[str], message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        command = [sys.executable, str(SERVE_FAKE), "serve", "--log-level", "error"]
        command += [argument.format(taken=taken) for argument in arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith(f"shortlist: {message.format(taken=taken)}")


def test_the_real_model_is_served(start_process: StartProcess, tiny_model_dir: Path) -> None:
    command = (sys.executable, "-m", "shortlist.server.cli.main")
    served = start_process("--model", str(tiny_model_dir), "--device", "cpu", "--threads", "1", command=command)
    with Client(served.address, timeout_seconds=60) as client:
        tools = client.select_tools("refund", '[{"name": "ping"}, {"name": "create_refund"}]').items
        tables = client.select_tables("refund", "create table a (b int); create table c (d int);").items
        documents = client.rerank("refund", ["one", "two", "three"], top_n=2).items
    assert sorted(item.name for item in tools) == ["create_refund", "ping"]
    assert sorted(item.name for item in tables) == ["a", "c"]
    assert [item.rank for item in documents] == [1, 2]
