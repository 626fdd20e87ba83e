"""What a stranger can make the REST API gather: no more than a head, a body, and then nothing."""

from __future__ import annotations

import contextlib
import socket

import httpx
import pytest
from rest_fixtures import reason_of
from server_fixtures import ServerThread

from shortlist.server.http import server as rest_server_module


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"2\r\n{}\r\n0\r\n" + b"X-More: 1\r\n" * 20_000, id="trailers"),
        pytest.param(b"2\r\n{}\r\n0\r\nX-More: " + b"1" * 300_000, id="one endless trailer"),
        pytest.param(b"2;" + b"a" * 300_000, id="an endless chunk extension"),
    ],
)
def test_what_comes_behind_a_body_is_not_gathered(rest_server: ServerThread, sent: bytes) -> None:
    head = (
        b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    host, port = rest_server.app.http_url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head + sent)
        with contextlib.suppress(ConnectionError):
            while connection.recv(65536):  # ends when the server has closed the connection
                pass


def test_a_caller_answered_before_its_body_is_let_go_of(rest_server: ServerThread) -> None:
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n"
    host, port = rest_server.app.http_url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head + b"{")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert (answer.startswith(b"HTTP/1.1 415"), b"connection: close" in answer.lower()) == (True, True)


def test_the_head_of_a_later_request_is_waited_for_no_longer(
    rest_server: ServerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = rest_server.app.http_url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(rest_server_module, "_HEAD_SECONDS", 0.1)
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert b"HTTP" not in b"".join(iter(lambda: connection.recv(65536), b""))


def test_requests_sent_at_once_are_answered_in_order(rest_server: ServerThread) -> None:
    host, port = rest_server.app.http_url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert 0 <= answers.find(b"HTTP/1.1 200") < answers.find(b"HTTP/1.1 404")


def test_half_a_surrogate_pair_in_a_name_is_told_as_a_wrong_field(web: httpx.Client) -> None:
    body = b'{"\\ud800": 1, "\\ud800": 2}'
    answer = web.post("/v2/rerank", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, reason_of(answer)) == (400, "INVALID_FIELD")
