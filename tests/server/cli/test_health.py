from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from certificates import Authority
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from server_fixtures import ServerThread

from shortlist.server.cli.main import main

StartServer = Callable[..., ServerThread]


@pytest.fixture
def silent_address() -> Iterator[str]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A health service with TLS, certified for `shortlist.test`; its address and its authority's certificate."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", host="shortlist.test")
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    server = grpc.server(ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"127.0.0.1:{port}", authority.path
    server.stop(None).wait()


def test_a_server_that_serves_is_healthy(server: ServerThread, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--address", server.app.address]) == 0
    assert capsys.readouterr().out == f"{server.app.address}: SERVING\n"


def test_a_server_without_its_model_is_not_healthy(
    start_server: StartServer, capsys: pytest.CaptureFixture[str]
) -> None:
    address = start_server(is_loaded=False).app.address
    assert main(["health", "--address", address]) == 1
    assert capsys.readouterr().err == f"shortlist: {address}: NOT_SERVING\n"


def test_a_missing_server_is_reported_in_one_line(free_address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--address", free_address]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"shortlist: {free_address}: ")
    assert err.count("\n") == 1


def test_a_server_that_hangs_times_out(silent_address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--address", silent_address, "--timeout", "0.3"]) == 1
    assert silent_address in capsys.readouterr().err


def test_a_server_with_tls_is_verified_by_the_name_in_its_certificate(tls_server: tuple[str, Path]) -> None:
    address, authority = tls_server
    assert main(["health", "--address", address, "--tls-ca", str(authority), "--tls-name", "shortlist.test"]) == 0


def test_a_certificate_of_another_name_is_not_trusted(tls_server: tuple[str, Path]) -> None:
    address, authority = tls_server
    assert main(["health", "--address", address, "--tls-ca", str(authority)]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tls-ca", "/no/such/file"], "/no/such/file cannot be read"),
        (["--tls-ca", "/etc/hostname"], "/etc/hostname is not a PEM file"),
        (["--tls-name", "a"], "--tls-name: needs --tls-ca"),
        (["--tls-ca", __file__, "--tls-key", __file__], "needs client_key; give both or neither"),
    ],
    ids=["no file", "no PEM", "a name alone", "a key alone"],
)
def test_wrong_options_are_reported_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["health", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_asking_loads_neither_torch_nor_the_settings(server: ServerThread) -> None:
    code = (
        "import json, sys; from shortlist.server.cli.main import main\n"
        f"code = main(['health', '--address', {server.app.address!r}])\n"
        "print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    status, loaded = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert {"torch", "numpy", "sqlglot", "pydantic"}.isdisjoint(loaded)
