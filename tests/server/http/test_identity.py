"""The REST API with real keys, certificates, metrics and log together, as a process that is run for others."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from certificates import Authority
from prometheus_client.parser import text_string_to_metric_families
from rest_fixtures import reason_of
from server_fixtures import ServerProcess

from shortlist import Client
from shortlist.server.auth.keys import KeysFile, new_key, write_keys

StartProcess = Callable[..., ServerProcess]
QUESTION = {"query": "paris", "documents": ["berlin", "paris"]}


@pytest.fixture
def key(tmp_path: Path) -> str:
    """An API key of a caller named ada, who may send two requests, then one every hundred seconds."""
    made, entry = new_key("ada", rate=0.01, burst=2)
    write_keys(tmp_path / "keys.json", KeysFile(keys=(entry,)))
    return made


@pytest.fixture
def served(start_process: StartProcess, tmp_path: Path, key: str) -> ServerProcess:
    certificate, private = Authority(tmp_path).issue("server")
    files = (
        "--tls-certificate",
        str(certificate),
        "--tls-key",
        str(private),
        "--keys-file",
        str(tmp_path / "keys.json"),
    )
    return start_process(*files, "--http-port", "0", "--log-format", "json")


@pytest.fixture
def url(served: ServerProcess) -> str:
    assert served.process.stdout is not None
    return served.process.stdout.readline().strip().removeprefix("listening on ")


def test_both_apis_take_the_same_key_count_together_and_answer_alike(
    served: ServerProcess, url: str, key: str, tmp_path: Path
) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    bearer = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=30) as web:
        stranger = web.post("/v1/rerank", json=QUESTION)
        known = web.post("/v1/rerank", json=QUESTION, headers=bearer | {"X-Request-Id": "r-1"})
        with Client(served.address, tls=tmp_path / "authority.pem", api_key=key, retry=None) as client:
            assert client.rerank("paris", ["berlin", "paris"]).items[0].index == 1
        beyond = web.post("/v1/rerank", json=QUESTION, headers=bearer)
        metrics = web.get("/metrics", headers=bearer).text
    assert (stranger.status_code, reason_of(stranger)) == (401, "UNAUTHENTICATED")
    assert (known.status_code, known.json()["results"][0]["index"], known.headers["x-request-id"]) == (200, 1, "r-1")
    assert (beyond.status_code, reason_of(beyond), int(beyond.headers["retry-after"]) > 50) == (
        429,
        "RATE_LIMITED",
        True,
    )
    counted = {
        (sample.labels["transport"], sample.labels["code"]): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "shortlist_requests_total"
    }
    assert counted == {
        ("http", "UNAUTHENTICATED"): 1,
        ("http", "OK"): 1,
        ("grpc", "OK"): 1,
        ("http", "RESOURCE_EXHAUSTED"): 1,
    }
    served.process.terminate()
    _, log = served.process.communicate(timeout=40)
    calls = [line for line in map(json.loads, log.splitlines()) if line["event"] == "call"]
    assert [(call["transport"], call["code"], call["caller"]) for call in calls] == [
        ("http", "UNAUTHENTICATED", "anonymous"),
        ("http", "OK", "ada"),
        ("grpc", "OK", "ada"),
        ("http", "RESOURCE_EXHAUSTED", "ada"),
    ]
    assert (calls[1]["request_id"], key in log) == ("r-1", False)


def test_a_stranger_is_refused_before_the_body_is_sent(url: str, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    host, port = url.removeprefix("https://").rsplit(":", 1)
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        encrypted.sendall(head)
        assert encrypted.recv(100).startswith(b"HTTP/1.1 401")
