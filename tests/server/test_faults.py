"""Strangers, broken clients and damaged models must not affect other callers of a real server process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from checkpoints import write_xlm_roberta
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rest_fixtures import url_of
from server_fixtures import SERVE_FAKE, ServerProcess, wait_until

from shortlist import Client
from shortlist.schemas.errors import LimitExceeded, ServerUnavailable, ShortlistError
from shortlist.v1 import router_pb2 as pb

StartProcess = Callable[..., ServerProcess]
SERVING = health_pb2.HealthCheckResponse.SERVING
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def connect(served: ServerProcess) -> socket.socket:
    host, port = served.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=20)


def assert_serves(served: ServerProcess) -> None:
    with Client(served.address, timeout_seconds=60) as client:
        assert client.rerank("paris", ["berlin", "paris"]).items[0].index == 1


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x00\xff" * 5000, id="garbage"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", id="HTTP/1"),
        pytest.param(PREFACE + b"\xff" * 3000, id="HTTP/2 and garbage"),
        pytest.param(PREFACE + SETTINGS + b"\x00\x40\x00\x01\x04\x00\x00\x00\x01" + b"\x80" * 16384, id="headers"),
    ],
)
def test_garbage_on_the_port_ends_only_that_connection(start_process: StartProcess, sent: bytes) -> None:
    served = start_process()
    with connect(served) as stranger:
        stranger.sendall(sent)
        stranger.settimeout(20)
        try:
            while stranger.recv(65536):
                pass
        except ConnectionResetError:
            pass
    assert_serves(served)


def test_a_client_that_vanishes_leaves_no_connection_behind(start_process: StartProcess) -> None:
    served = start_process()
    code = (
        "import sys\nfrom shortlist.client.client import Client\n"
        "client = Client(sys.argv[1])\nprint('calling', flush=True)\nclient.rerank('x', ['stall'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, served.address], stdout=subprocess.PIPE, text=True)
    assert served.process.stdout is not None
    assert served.process.stdout.readline() == "stalling\n"
    process.kill()
    process.communicate()
    served.process.send_signal(signal.SIGTERM)
    _, log = served.process.communicate(timeout=40)
    assert ("code=CANCELLED" in log, served.process.returncode) == (True, 0)


def test_a_client_that_never_reads_its_answer_delays_neither_others_nor_a_stop(start_process: StartProcess) -> None:
    served = start_process("--http-port", "0")
    url = url_of(served)
    request = pb.RerankRequest(query=pb.Query(text="word"), documents=["word"] * 10).SerializeToString()
    headers = b"".join(
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/shortlist.v1.RouterService/Rerank"),
            (b":authority", b"here"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        )
    )
    no_window = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x04\x00\x00\x00\x00"
    message = b"\x00" + len(request).to_bytes(4, "big") + request
    with connect(served) as slow:
        # What a client that reads nothing comes to: it grants the server no byte of the answer.
        slow.sendall(PREFACE + no_window + frame(1, 4, headers) + frame(0, 1, message))
        answered = 'shortlist_requests_total{code="OK",method="Rerank",transport="grpc"} 1.0'
        wait_until(lambda: answered in httpx.get(f"{url}/metrics", trust_env=False).text)
        assert_serves(served)
        served.process.send_signal(signal.SIGTERM)
        served.process.communicate(timeout=40)
    assert served.process.returncode == 0


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    """Writes a frame of HTTP/2 on stream 1 (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + b"\x00\x00\x00\x01" + payload


def test_a_message_of_100_mb_is_rejected_and_the_next_one_answered(start_process: StartProcess) -> None:
    served = start_process()
    with Client(served.address, timeout_seconds=60) as client:
        with pytest.raises(LimitExceeded, match="--max-message-mb"):
            client.rerank("x", ["x" * 1_000_000] * 100)
        assert client.rerank("paris", ["berlin", "paris"]).items[0].index == 1


def test_after_kill_9_a_server_on_the_same_port_takes_over(start_process: StartProcess) -> None:
    served = start_process()
    port = served.address.rsplit(":", 1)[1]
    with Client(served.address, timeout_seconds=60) as client:
        assert client.rerank("paris", ["berlin", "paris"]).items[0].index == 1
        served.process.kill()
        served.process.wait(20)
        with pytest.raises(ServerUnavailable):
            client.get_info(timeout_seconds=0.5)
        again = subprocess.Popen(
            [sys.executable, str(SERVE_FAKE), "serve", "--port", port], stdout=subprocess.PIPE, text=True
        )
        try:
            assert client.wait_until_ready(40).model_name == "fake"
            assert client.rerank("paris", ["berlin", "paris"]).items[0].index == 1
        finally:
            again.kill()
            again.communicate()


def test_on_sigterm_only_accepted_requests_are_answered(start_process: StartProcess) -> None:
    served = start_process("--max-queue-seconds", "100")
    with Client(served.address, timeout_seconds=60, retry=None) as client, ThreadPoolExecutor(16) as pool:

        def ask(number: int) -> str:
            try:
                client.rerank("word", [f"word {number}"] * 200)
            except ServerUnavailable:
                return "refused"
            except ShortlistError as error:
                return f"lost: {error}"
            return "answered"

        first = [pool.submit(ask, number) for number in range(40)]
        wait_until(lambda: sum(future.done() for future in first) > 5)
        served.process.send_signal(signal.SIGTERM)
        later = [pool.submit(ask, number) for number in range(40)]
        outcomes = [future.result(60) for future in first + later]
    _, log = served.process.communicate(timeout=40)
    assert set(outcomes) <= {"answered", "refused"}
    assert (outcomes.count("answered") > 5, served.process.returncode, "cancelled" in log) == (True, 0, False)


def test_a_batch_beyond_the_memory_is_split_and_the_call_answered(start_process: StartProcess) -> None:
    served = start_process("--log-level", "warning")
    with Client(served.address, timeout_seconds=60) as client:
        items = client.rerank("paris", ["berlin", "memory of paris", "x", "y"]).items
    served.process.terminate()
    _, log = served.process.communicate(timeout=40)
    assert ([item.index for item in items][:1], log.count("splitting it")) == ([1], 2)


def test_the_engines_thread_restarts_and_health_reports_when_it_has_given_up(start_process: StartProcess) -> None:
    served = start_process()
    with Client(served.address, timeout_seconds=60, retry=None) as client:
        for _ in range(5):
            with pytest.raises(ShortlistError, match="its log explains why"):
                client.rerank("x", ["crash"])
            wait_until(lambda: is_serving(served))
            assert client.rerank("paris", ["berlin", "paris"]).items[0].index == 1
        with pytest.raises(ShortlistError):
            client.rerank("x", ["crash"])
        wait_until(lambda: not is_serving(served))
        with pytest.raises(ServerUnavailable, match="engine has failed"):
            client.rerank("paris", ["berlin", "paris"])
    served.process.terminate()
    _, log = served.process.communicate(timeout=40)
    assert "failed too often" in log


def is_serving(served: ServerProcess) -> bool:
    with grpc.insecure_channel(served.address) as channel:
        request = health_pb2.HealthCheckRequest()
        return health_pb2_grpc.HealthStub(channel).Check(request, timeout=20).status == SERVING


def test_no_call_fails_while_the_servers_behind_one_client_are_replaced_in_turn(start_process: StartProcess) -> None:
    old = [start_process("--log-level", "warning") for _ in range(2)]
    new = [start_process("--log-level", "warning") for _ in range(2)]
    # A static list of addresses: what a name that resolves to several comes to.
    address = "ipv4:" + ",".join(served.address for served in (*old, *new))
    answered: list[int] = []
    is_over = False

    def ask_on() -> None:
        while not is_over:
            answered.append(len(client.rerank("paris", ["berlin", "paris"]).items))

    with Client(address, timeout_seconds=60) as client, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask_on) for _ in range(4)]
        try:
            for served in old:
                before = len(answered)
                wait_until(lambda before=before: len(answered) > before + 20)  # type: ignore[misc]
                served.process.terminate()
                assert served.process.wait(40) == 0
            before = len(answered)
            wait_until(lambda: len(answered) > before + 20)
        finally:
            is_over = True
        for future in asking:
            future.result(60)
    assert set(answered) == {2}


def damage_end(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def damage_shape(folder: Path) -> None:
    change(folder, lambda tensor: tensor[:5].contiguous())


def damage_number(folder: Path) -> None:
    change(folder, lambda tensor: tensor * float("nan"))


def change(folder: Path, edit: Callable[..., object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("intermediate.dense.weight"))
    save_file({**tensors, name: edit(tensors[name])}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(damage_end, "model.safetensors cannot be read as safetensors", id="truncated"),
        pytest.param(
            lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 1000),
            "model.safetensors cannot be read as safetensors",
            id="corrupt",
        ),
        pytest.param(damage_shape, "does not fit its config.json", id="wrong shape"),
        pytest.param(damage_number, "are not all finite numbers", id="no numbers"),
        pytest.param(
            lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors", id="no weights"
        ),
        pytest.param(lambda folder: (folder / "tokenizer.json").unlink(), "holds no tokenizer.json", id="no tokenizer"),
        pytest.param(
            lambda folder: (folder / "config.json").write_text('{"a": '), "cannot be read as JSON", id="no JSON"
        ),
    ],
)
def test_a_damaged_model_stops_the_start_in_one_line(tmp_path: Path, damage: Callable[[Path], None], told: str) -> None:
    folder = write_xlm_roberta(tmp_path / "model").folder
    damage(folder)
    command = [sys.executable, "-m", "shortlist.server.cli.main", "serve", "--port", "0", "--log-level", "error"]
    done = subprocess.run(
        [*command, "--model", str(folder)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    shutil.rmtree(folder)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert told in done.stderr
