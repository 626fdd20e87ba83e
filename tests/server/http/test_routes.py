"""The REST API as a transport: authentication, limits, errors, deadlines, disconnects and stops, on real sockets."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Authority
from rest_fixtures import ask, detail_of, field_of, reason_of, url_of
from server_fixtures import ServerProcess, ServerThread, wait_until, wait_until_pairs_wait

from shortlist import Client
from shortlist.schemas.errors import InvalidConfiguration, ServerUnavailable, Unauthenticated
from shortlist.server.auth.authenticator import Caller
from shortlist.server.dispatcher import Call
from shortlist.server.http import server as rest_server_module

StartServer = Callable[..., ServerThread]
StartProcess = Callable[..., ServerProcess]

JSON = {"Content-Type": "application/json"}
QUESTION = {"query": "word", "documents": ["word"]}


@pytest.fixture
def calls(rest_server: ServerThread) -> list[Call]:
    """The calls of the server that have ended."""
    return rest_server.calls


def raw(server: ServerThread, data: bytes) -> bytes:
    """Sends bytes, and gives what comes back until the server closes."""
    with connect(server) as connection:
        connection.sendall(data)
        return rest_of(connection)


def connect(server: ServerThread) -> socket.socket:
    host, port = server.app.http_url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def rest_of(connection: socket.socket) -> bytes:
    """Receives until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_without_its_port_there_is_no_rest_api(server: ServerThread) -> None:
    assert server.app.http_url == ""


def test_observers_see_the_transport_and_the_headers_of_a_call(web: httpx.Client, calls: list[Call]) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    web.post("/v2/rerank", json=QUESTION, headers={"X-Request-Id": "mine", "traceparent": parent})
    [call] = calls
    assert (call.method, call.transport, call.code) == ("Rerank", "http", "OK")
    assert (call.request_id, call.parent, call.timeout_seconds is not None) == ("mine", parent, True)


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/v1/info", "/docs"])
def test_every_answer_returns_the_request_id(web: httpx.Client, path: str) -> None:
    assert web.get(path, headers={"X-Request-Id": "mine"}).headers["X-Request-Id"] == "mine"


def test_a_request_without_a_usable_id_gets_one(web: httpx.Client) -> None:
    given = [web.get("/healthz", headers=headers).headers["X-Request-Id"] for headers in ({}, {"X-Request-Id": "a b"})]
    assert [len(request_id) for request_id in given] == [32, 32]


def test_an_error_carries_the_request_id_for_programs(web: httpx.Client) -> None:
    answer = web.post("/v1/rerank", json={}, headers={"X-Request-Id": "mine"})
    assert detail_of(answer, "RequestInfo")["requestId"] == "mine"


def test_an_unknown_route_is_an_error_like_all_others(web: httpx.Client) -> None:
    answer = web.get("/v1/rank")
    assert (answer.status_code, reason_of(answer)) == (404, "NO_SUCH_ROUTE")
    assert answer.json()["message"] == answer.json()["error"]["message"]


def test_a_wrong_http_method_is_rejected_with_the_right_ones(web: httpx.Client) -> None:
    answer = web.get("/v1/rerank")
    assert (answer.status_code, reason_of(answer), answer.headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "POST")


def test_a_path_may_be_percent_encoded(web: httpx.Client) -> None:
    assert web.post("/v1/tools%3Aselect", json={"query": "x", "tools": []}).status_code == 200


def test_a_full_server_says_when_to_retry(start_server: StartServer) -> None:
    server = start_server(http_port=0, max_concurrent=1, max_waiting=0)
    server.engine.gate.clear()
    with ask(server) as web, ThreadPoolExecutor() as pool:
        admitted = pool.submit(web.post, "/v1/rerank", json=QUESTION)
        server.engine.wait_until_entered()
        refused = web.post("/v1/rerank", json=QUESTION)
        server.engine.gate.set()
        assert admitted.result(60).status_code == 200
    assert (refused.status_code, reason_of(refused), refused.headers["Retry-After"]) == (429, "OVERLOADED", "1")


def test_a_server_without_its_model_is_alive_but_not_ready(start_server: StartServer) -> None:
    server = start_server(http_port=0, is_loaded=False)
    with ask(server) as web:
        answers = [web.get(path) for path in ("/healthz", "/readyz", "/health", "/v1/info")]
        answers.append(web.post("/v1/rerank", json=QUESTION))
        server.load()
        assert web.get("/readyz").json() == {"status": "serving"}
    assert [answer.status_code for answer in answers] == [200, 503, 503, 503, 503]
    assert all("loading" in answer.json()["message"] for answer in answers[1:])
    assert [answer.headers.get("Retry-After") for answer in answers] == [None, "1", "1", "1", "1"]


def test_a_server_whose_engine_fails_too_often_is_not_ready(rest_server: ServerThread, web: httpx.Client) -> None:
    def is_ready_after_a_crash() -> bool:
        web.post("/v1/rerank", json={"query": "word", "documents": ["crash"]})
        return web.get("/readyz").status_code == 200

    wait_until(lambda: not is_ready_after_a_crash())
    assert web.get("/healthz").status_code == 200


def test_a_defect_shows_its_incident_id_only(web: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    answer = web.post("/v1/rerank", json={"query": "secret query", "documents": ["explode"]})
    assert (answer.status_code, reason_of(answer)) == (500, "INTERNAL")
    assert "secret" not in answer.text + caplog.text
    assert detail_of(answer, "ErrorInfo")["metadata"]["incident"] in caplog.text


def test_a_defect_outside_of_a_call_is_an_internal_error_too(
    web: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("".join(["sec", "ret"]))

    monkeypatch.setattr("shortlist.server.http.routes.Call", fail)
    answer = web.post("/v1/rerank", json=QUESTION)
    assert (answer.status_code, reason_of(answer), len(answer.headers["X-Request-Id"])) == (500, "INTERNAL", 32)
    assert "secret" not in answer.text + caplog.text


def test_disabled_info_is_rejected(start_server: StartServer) -> None:
    with ask(start_server(http_port=0, disabled="info")) as web:
        answers = [web.get("/v1/info"), web.get("/info")]
    assert [(answer.status_code, reason_of(answer)) for answer in answers] == [(403, "PERMISSION_DENIED")] * 2


class OneKey:
    """An authenticator that knows one key."""

    async def authenticate(self, metadata: Mapping[str, str]) -> Caller:
        if metadata.get("authorization") != "Bearer right":
            raise Unauthenticated("there is no key; send one as `authorization: Bearer KEY`")
        return Caller("alice")

    def reload(self, settings: Any) -> None:
        """Does nothing."""


@pytest.fixture
def guarded(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr("shortlist.server.app.make_authenticator", lambda _: OneKey())
    with ask(start_server(http_port=0)) as web:
        yield web


def test_a_caller_without_a_key_learns_how_to_send_one(guarded: httpx.Client) -> None:
    answers = [
        guarded.post("/v1/rerank", json=QUESTION),
        guarded.post("/v1/rerank", content=b"x"),
        guarded.get("/v1/info"),
        guarded.get("/info"),
    ]
    assert [(answer.status_code, answer.headers["WWW-Authenticate"]) for answer in answers] == [(401, "Bearer")] * 4


def test_a_caller_with_a_key_is_answered(guarded: httpx.Client) -> None:
    answer = guarded.post("/v1/rerank", json=QUESTION, headers={"Authorization": "Bearer right"})
    assert answer.status_code == 200


def test_a_caller_with_two_keys_is_refused(guarded: httpx.Client) -> None:
    headers = [("Authorization", "Bearer right"), ("Authorization", "Bearer wrong")]
    assert guarded.post("/v1/rerank", json=QUESTION, headers=headers).status_code == 401


def test_health_and_documentation_need_no_key(guarded: httpx.Client) -> None:
    paths = ("/healthz", "/readyz", "/health", "/docs", "/openapi.json")
    assert [guarded.get(path).status_code for path in paths] == [200] * 5


@pytest.mark.parametrize(
    ("options", "status"), [({}, 200), ({"disabled": "metrics"}, 404)], ids=["enabled", "disabled"]
)
def test_metrics_are_served_unless_they_are_disabled(
    start_server: StartServer, options: dict[str, Any], status: int
) -> None:
    with ask(start_server(http_port=0, **options)) as web:
        assert web.get("/metrics").status_code == status


@pytest.mark.parametrize("text", ["0", "0.0009", "-1", "abc", "1e9", "1.e0", "nan", "inf", "3601", "1_0"])
def test_an_invalid_timeout_is_refused(web: httpx.Client, text: str) -> None:
    answer = web.post("/v1/rerank", json=QUESTION, headers={"X-Request-Timeout": text})
    assert (answer.status_code, field_of(answer)) == (400, "X-Request-Timeout")


def test_a_request_past_its_deadline_fails_and_frees_the_queue(rest_server: ServerThread, web: httpx.Client) -> None:
    rest_server.engine.gate.clear()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(web.post, "/v1/rerank", json=QUESTION)
        rest_server.engine.wait_until_entered()
        expired = web.post("/v1/rerank", json=QUESTION, headers={"X-Request-Timeout": "0.3"})
        wait_until_pairs_wait(rest_server, 0)
        rest_server.engine.gate.set()
        running.result(60)
    assert (expired.status_code, reason_of(expired)) == (504, "DEADLINE_EXCEEDED")


def test_a_request_whose_time_is_up_before_it_has_a_thread_is_never_worked_on(start_server: StartServer) -> None:
    server = start_server(http_port=0, max_concurrent=1)
    server.engine.gate.clear()
    with ask(server) as web, ThreadPoolExecutor() as pool:
        running = pool.submit(web.post, "/v1/rerank", json={"query": "running", "documents": ["a"]})
        server.engine.wait_until_entered()
        expired = web.post("/v1/rerank", json=QUESTION, headers={"X-Request-Timeout": "0.3"})
        wait_until(lambda: server.app.admission.num_admitted == 1)
        server.engine.gate.set()
        running.result(60)
    assert (expired.status_code, server.engine.queries) == (504, [{"running"}])


def test_a_body_that_does_not_arrive_in_time_is_given_up(rest_server: ServerThread) -> None:
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    answer = raw(rest_server, head + b"Connection: close\r\nX-Request-Timeout: 0.2\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 504")


def test_a_caller_that_leaves_frees_the_queue(rest_server: ServerThread, web: httpx.Client, calls: list[Call]) -> None:
    async def leave_while_waiting() -> None:
        async with httpx.AsyncClient(base_url=rest_server.app.http_url, trust_env=False, timeout=60) as client:
            body = {"query": "unwanted", "documents": ["a"] * 40}
            waiting = asyncio.create_task(client.post("/v1/rerank", json=body))
            await asyncio.to_thread(wait_until_pairs_wait, rest_server, 40)
            waiting.cancel()
            await asyncio.to_thread(wait_until_pairs_wait, rest_server, 0)

    rest_server.engine.gate.clear()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(web.post, "/v1/rerank", json={"query": "running", "documents": ["a"]})
        rest_server.engine.wait_until_entered()
        asyncio.run(leave_while_waiting())
        rest_server.engine.gate.set()
        running.result(60)
    assert rest_server.engine.queries == [{"running"}]
    assert [call.code for call in calls] == ["CANCELLED", "OK"]


def test_a_stop_answers_what_is_in_flight_and_refuses_the_rest(rest_server: ServerThread, web: httpx.Client) -> None:
    rest_server.engine.gate.clear()
    with ThreadPoolExecutor() as pool:
        in_flight = pool.submit(web.post, "/v1/rerank", json=QUESTION)
        rest_server.engine.wait_until_entered()
        stopped = rest_server.begin_stop()
        wait_until(lambda: web.get("/readyz").status_code == 503)
        late = web.post("/v1/rerank", json=QUESTION)
        rest_server.engine.gate.set()
        assert (in_flight.result(60).status_code, stopped.result(60)) == (200, True)
    assert (late.status_code, reason_of(late), "stopping" in late.json()["message"]) == (503, "NOT_SERVING", True)
    with pytest.raises(httpx.TransportError):
        web.get("/healthz")


def test_a_stop_cuts_off_what_outlasts_the_grace_period(start_server: StartServer) -> None:
    server = start_server(http_port=0, grace_seconds=0.1)
    server.engine.gate.clear()
    with ask(server) as web, ThreadPoolExecutor() as pool:
        in_flight = pool.submit(web.post, "/v1/rerank", json=QUESTION)
        server.engine.wait_until_entered()
        stopped = server.begin_stop()
        cut_off = in_flight.result(60)
        server.engine.gate.set()
        assert stopped.result(60) is False
    assert (cut_off.status_code, "stopped" in cut_off.json()["message"]) == (503, True)


def test_a_stop_does_not_wait_for_a_body_that_is_still_to_come(
    rest_server: ServerThread, calls: list[Call], caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    with connect(rest_server) as connection:
        connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")  # the server waits for the body
        assert rest_server.begin_stop().result(60) is True
        assert rest_of(connection).startswith(b"HTTP/1.1 503 ")
    assert ([call.reason for call in calls], "Traceback" in caplog.text) == (["NOT_SERVING"], False)


def test_a_port_in_use_is_refused_in_one_line(rest_server: ServerThread, start_server: StartServer) -> None:
    port = int(rest_server.app.http_url.rsplit(":", 1)[1])
    with pytest.raises(ServerUnavailable, match=f"cannot listen on 127.0.0.1:{port}: .*; choose another --http-port"):
        start_server(http_port=port)


def test_answers_do_not_wait_for_acknowledgements(rest_server: ServerThread, web: httpx.Client) -> None:
    web.get("/healthz")
    assert rest_server.app._rest is not None
    [connection] = rest_server.app._rest._server.server_state.connections
    accepted = connection.transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def certificate(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("server")


def test_with_a_certificate_it_is_encrypted(
    start_server: StartServer, authority: Authority, certificate: tuple[Path, Path]
) -> None:
    server = start_server(http_port=0, host="localhost", tls_certificate=certificate[0], tls_key=certificate[1])
    trusting = ssl.create_default_context(cafile=str(authority.path))
    with httpx.Client(base_url=server.app.http_url, verify=trusting, trust_env=False, timeout=60) as web:
        assert web.post("/v1/rerank", json=QUESTION).status_code == 200
    assert server.app.http_url.startswith("https://localhost:")


def test_a_file_that_is_not_a_certificate_is_refused(start_server: StartServer, certificate: tuple[Path, Path]) -> None:
    certificate[0].write_text("no certificate")
    with pytest.raises(InvalidConfiguration, match=r"server\.crt"):
        start_server(http_port=0, host="localhost", tls_certificate=certificate[0], tls_key=certificate[1])


def test_bytes_that_are_not_http_are_an_error_like_all_others(rest_server: ServerThread) -> None:
    head, _, body = raw(rest_server, b"\x16\x03\x01 hello\r\n\r\n").partition(b"\r\n\r\n")
    assert (head.startswith(b"HTTP/1.1 400 "), b"x-request-id" in head) == (True, True)
    assert json.loads(body)["error"]["code"] == 400


def test_headers_above_the_limit_are_refused(rest_server: ServerThread) -> None:
    answer = raw(rest_server, b"GET /healthz HTTP/1.1\r\nX-Filler: " + b"a" * 70_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_a_head_that_does_not_arrive_is_waited_for_no_longer(
    rest_server: ServerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_server_module, "_HEAD_SECONDS", 0.1)
    assert raw(rest_server, b"GET /healthz HTTP/1.1\r\n") == b""  # raises if the connection stays open for a minute


def test_the_process_prints_its_http_address_second_and_stops_on_sigterm(start_process: StartProcess) -> None:
    served = start_process("--http-port", "0")
    url = url_of(served)
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as web, Client(served.address) as client:
        answer = web.post("/v1/rerank", json={"query": "paris", "documents": ["berlin", "paris"]})
        assert answer.json()["results"][0]["index"] == client.rerank("paris", ["berlin", "paris"]).items[0].index == 1
    assert url.startswith("http://127.0.0.1:")
    served.process.send_signal(signal.SIGTERM)
    out, log = served.process.communicate(timeout=60)
    assert (served.process.returncode, out) == (0, "")
    assert "Traceback" not in log
    assert "paris" not in log
