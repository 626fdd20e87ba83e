from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import AUDIENCE, ISSUER, ec_signer, rsa_signer, write_jwks
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from server_fixtures import ServerThread, wait_until

from shortlist import Client
from shortlist.schemas.errors import InvalidConfiguration, RateLimited, Unauthenticated
from shortlist.server.auth.authenticator import headers_of, make_authenticator
from shortlist.server.auth.keys import KeysFile, new_key, read_keys, write_keys
from shortlist.server.call import Call
from shortlist.server.settings import Settings
from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

StartServer = Callable[..., ServerThread]
AddKey = Callable[..., str]

RSA = rsa_signer()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def add_key(path: Path) -> AddKey:
    """Adds a key to the file and gives it."""

    def add(name: str = "billing", **options: Any) -> str:
        key, entry = new_key(name, **options)
        held = read_keys(path).keys if path.exists() else ()
        write_keys(path, KeysFile(keys=(*held, entry)))
        return key

    return add


@pytest.fixture
def token_settings(tmp_path: Path) -> dict[str, Any]:
    jwks = write_jwks(tmp_path / "jwks.json", RSA.jwk())
    return {"jwks_file": jwks, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}


def ask(server: ServerThread, api_key: str | None, **options: Any) -> Any:
    with Client(server.app.address, timeout_seconds=60, api_key=api_key, retry=None, **options) as client:
        return client.rerank("word", ["word"])


def ask_with(server: ServerThread, *metadata: tuple[str, str]) -> Any:
    """Sends metadata as they are, and gives the code and the text of the answer."""
    with grpc.insecure_channel(server.app.address) as channel:
        request = pb.RerankRequest(query=pb.Query(text="word"), documents=["word"])
        try:
            pb_grpc.RouterServiceStub(channel).Rerank(request, metadata=metadata, timeout=60)
        except grpc.RpcError as error:
            return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def reload(server: ServerThread, **changes: Any) -> list[str]:
    async def on_its_loop() -> list[str]:
        values = {name: getattr(server.settings, name) for name in Settings.model_fields}
        return server.app.reload(Settings(**{**values, **changes}))

    changed: list[str] = server.call(on_its_loop()).result(60)
    return changed


@pytest.fixture
def guarded(start_server: StartServer, path: Path, add_key: AddKey) -> ServerThread:
    """A server that knows the key of somebody else."""
    add_key("somebody-else")
    return start_server(keys_file=path)


def test_a_caller_without_a_key_is_rejected_and_learns_how_to_send_one(guarded: ServerThread) -> None:
    code, text = ask_with(guarded)
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "give an API key, as `authorization: Bearer …`" in text


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param([("authorization", "Bearer {key}")], id="bearer"),
        pytest.param([("authorization", "bearer  {key} ")], id="lower case and blanks"),
        pytest.param([("x-api-key", "{key}")], id="x-api-key"),
    ],
)
def test_a_key_is_accepted_in_both_headers(
    start_server: StartServer, path: Path, add_key: AddKey, metadata: list[tuple[str, str]]
) -> None:
    key = add_key()
    server = start_server(keys_file=path)
    assert ask_with(server, *((name, value.format(key=key)) for name, value in metadata))[0] is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        pytest.param([("authorization", "Bearer {key}"), ("x-api-key", "{key}")], "not both", id="both headers"),
        pytest.param([("authorization", "Bearer {key}")] * 2, "malformed", id="the header twice"),
        pytest.param([("authorization", "Bearer x"), ("authorization", "Bearer {key}")], "malformed", id="two keys"),
        pytest.param([("x-api-key", "{key}")] * 2, "not known here", id="x-api-key twice"),
        pytest.param([("authorization", "{key}")], "malformed", id="no scheme"),
        pytest.param([("authorization", "Basic {key}")], "malformed", id="another scheme"),
        pytest.param([("authorization", "Bearer")], "malformed", id="scheme alone"),
        pytest.param([("authorization", "")], "malformed", id="empty"),
        pytest.param([("x-api-key", "")], "not known here", id="empty key"),
        pytest.param([("authorization", "Bearer {key}x")], "not known here", id="wrong key"),
        pytest.param([("authorization", "Bearer a.b.c")], "not known here", id="a token where none are taken"),
    ],
)
def test_credentials_that_are_not_exactly_one_key_are_rejected(
    start_server: StartServer, path: Path, add_key: AddKey, metadata: list[tuple[str, str]], reason: str
) -> None:
    key = add_key()
    server = start_server(keys_file=path)
    code, text = ask_with(server, *((name, value.format(key=key)) for name, value in metadata))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert reason in text
    assert key not in text


def test_a_header_sent_twice_has_both_values() -> None:
    assert headers_of([("A", "1"), ("a", "2"), ("b-bin", b"x")]) == {"a": "1, 2"}


def test_two_keys_of_a_name_are_accepted_during_a_rotation(
    start_server: StartServer, path: Path, add_key: AddKey
) -> None:
    old, new = add_key(), add_key()
    server = start_server(keys_file=path)
    assert [len(ask(server, key).items) for key in (old, new)] == [1, 1]
    write_keys(path, KeysFile(keys=read_keys(path).keys[1:]))
    reload(server)
    with pytest.raises(Unauthenticated, match="not known here"):
        ask(server, old)
    assert len(ask(server, new).items) == 1


def test_the_error_about_an_expired_key_says_so(start_server: StartServer, path: Path, add_key: AddKey) -> None:
    key = add_key(expires=datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(Unauthenticated, match="expired at"):
        ask(start_server(keys_file=path), key)


def test_a_stranger_is_refused_before_a_byte_of_the_message_is_sent(guarded: ServerThread) -> None:
    never = threading.Event()

    def nothing() -> Iterator[bytes]:
        never.wait(60)
        yield b""

    with grpc.insecure_channel(guarded.app.address) as channel, pytest.raises(grpc.RpcError) as caught:
        # On the wire a call that sends one message, and takes its time.
        channel.stream_unary("/shortlist.v1.RouterService/Rerank")(nothing(), timeout=20)
    never.set()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    trailing = dict(caught.value.trailing_metadata())
    assert {"x-request-id", "grpc-status-details-bin"} <= set(trailing)


def test_each_call_is_authenticated_once(
    guarded: ServerThread, path: Path, add_key: AddKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    authenticate = guarded.app._authenticator.authenticate

    async def count(metadata: Any) -> Any:
        caller = await authenticate(metadata)
        asked.append(caller.name)
        return caller

    monkeypatch.setattr(guarded.app._authenticator, "authenticate", count)
    ada, bob = add_key("ada"), add_key("bob")
    reload(guarded)
    for key in (ada, bob, ada):
        ask(guarded, key)
    assert asked == ["ada", "bob", "ada"]


def test_the_name_of_an_unknown_method_is_kept_out_of_metrics_and_logs(
    guarded: ServerThread, caplog: pytest.LogCaptureFixture
) -> None:
    with grpc.insecure_channel(guarded.app.address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/shortlist.v1.RouterService/Forged")(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    metrics, _ = guarded.app.metrics.render("")
    assert (b"Forged" in metrics, "Forged" in str([vars(record) for record in caplog.records])) == (False, False)


def test_the_description_needs_a_key_too(guarded: ServerThread, path: Path, add_key: AddKey) -> None:
    with Client(guarded.app.address) as client, pytest.raises(Unauthenticated):
        client.get_info()
    key = add_key()
    reload(guarded)
    with Client(guarded.app.address, api_key=key) as client:
        assert client.wait_until_ready(60).model_name == "fake"


def test_health_needs_no_key(guarded: ServerThread) -> None:
    with grpc.insecure_channel(guarded.app.address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_needs_no_key_and_can_be_disabled(guarded: ServerThread, start_server: StartServer) -> None:
    with grpc.insecure_channel(guarded.app.address) as channel:
        assert "shortlist.v1.RouterService" in ProtoReflectionDescriptorDatabase(channel).get_services()
    closed = start_server(disabled=("reflection",))
    with grpc.insecure_channel(closed.app.address) as channel, pytest.raises(grpc.RpcError) as caught:
        ProtoReflectionDescriptorDatabase(channel).get_services()
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_caller_above_its_rate_learns_when_to_retry(start_server: StartServer, path: Path, add_key: AddKey) -> None:
    slow, free = add_key("slow", rate=0.5, burst=1), add_key("free")
    server = start_server(keys_file=path)
    ask(server, slow)
    with pytest.raises(RateLimited, match=r"slow has used up its rate of 0\.5") as caught:
        ask(server, slow)
    assert caught.value.retry_seconds is not None
    assert 0 < caught.value.retry_seconds <= 2
    assert [len(ask(server, free).items) for _ in range(5)] == [1] * 5


def test_the_keys_of_one_name_share_what_it_may_send(start_server: StartServer, path: Path, add_key: AddKey) -> None:
    one, other = add_key(rate=0.01, burst=1), add_key(rate=0.01, burst=1)
    server = start_server(keys_file=path)
    ask(server, one)
    with pytest.raises(RateLimited):
        ask(server, other)


def test_a_caller_may_have_so_many_calls_under_way_and_others_are_not_held_up(
    start_server: StartServer, path: Path, add_key: AddKey
) -> None:
    one, other = add_key("one", max_calls=1), add_key("other", max_calls=1)
    server = start_server(keys_file=path)
    server.engine.gate.clear()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(ask, server, one)
        server.engine.wait_until_entered()
        with pytest.raises(RateLimited, match="one has 1 requests running and may have 1"):
            ask(server, one)
        beside = pool.submit(ask, server, other)
        wait_until(lambda: server.app.admission.num_admitted == 2)
        server.engine.gate.set()
        assert len(running.result(60).items) == len(beside.result(60).items) == 1
    assert len(ask(server, one).items) == 1


def test_a_key_without_limits_has_those_of_the_settings(start_server: StartServer, path: Path, add_key: AddKey) -> None:
    key, free = add_key(), add_key("free", rate=0)
    server = start_server(keys_file=path, rate=0.01, burst=1)
    ask(server, key)
    with pytest.raises(RateLimited):
        ask(server, key)
    assert [len(ask(server, free).items) for _ in range(3)] == [1] * 3


def test_a_token_names_the_caller(start_server: StartServer, token_settings: dict[str, Any]) -> None:
    seen: list[Call] = []
    server = start_server(observers=[seen.append], **token_settings)
    ask(server, RSA.token(sub="alice"))
    assert seen[0].caller.name == "jwt:alice"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        pytest.param(RSA.token(exp=time.time() - 60), "expired", id="expired"),
        pytest.param(RSA.token(iss="other"), "issuer", id="wrong issuer"),
        pytest.param(ec_signer("two").token(), "not known here", id="unknown key"),
    ],
)
def test_an_invalid_token_is_rejected(
    start_server: StartServer, token_settings: dict[str, Any], token: str, reason: str
) -> None:
    with pytest.raises(Unauthenticated, match=reason):
        ask(start_server(**token_settings), token)


def test_keys_and_tokens_are_accepted_side_by_side(
    start_server: StartServer, path: Path, add_key: AddKey, token_settings: dict[str, Any]
) -> None:
    key = add_key()
    server = start_server(keys_file=path, **token_settings)
    assert [len(ask(server, secret).items) for secret in (key, RSA.token())] == [1, 1]
    assert ask_with(server, ("x-api-key", RSA.token()))[0] is grpc.StatusCode.UNAUTHENTICATED


def test_limits_hold_from_a_reload_on_even_with_calls_under_way(start_server: StartServer) -> None:
    server = start_server()
    server.engine.gate.clear()
    with ThreadPoolExecutor() as pool:
        before = pool.submit(ask, server, None)
        server.engine.wait_until_entered()
        assert reload(server, max_calls=1) == ["max_calls"]
        running = pool.submit(ask, server, None)
        wait_until(lambda: server.app.admission.num_admitted == 2)
        with pytest.raises(RateLimited):
            ask(server, None)
        server.engine.gate.set()
        assert len(before.result(60).items) == len(running.result(60).items) == 1
    server.engine.gate.clear()
    with ThreadPoolExecutor() as pool:
        again = pool.submit(ask, server, None)
        wait_until(lambda: server.app.admission.num_admitted == 1)
        with pytest.raises(RateLimited):
            ask(server, None)
        server.engine.gate.set()
        again.result(60)


def test_a_reload_that_fails_leaves_keys_and_limits(start_server: StartServer, path: Path, add_key: AddKey) -> None:
    key = add_key()
    server = start_server(keys_file=path)
    path.write_text("{")
    with pytest.raises(InvalidConfiguration, match=r"keys\.json"):
        reload(server, rate=0.001, burst=1)
    assert [len(ask(server, key).items) for _ in range(3)] == [1] * 3
    assert server.app.settings.rate == 0


@pytest.mark.parametrize("is_guarded", [True, False], ids=["with keys", "without"])
def test_a_reload_neither_opens_a_server_nor_closes_it(
    start_server: StartServer, path: Path, add_key: AddKey, is_guarded: bool
) -> None:
    add_key()
    server = start_server(keys_file=path if is_guarded else None)
    with pytest.raises(InvalidConfiguration, match="a restart is needed"):
        reload(server, keys_file=None if is_guarded else path)
    code = grpc.StatusCode.UNAUTHENTICATED if is_guarded else grpc.StatusCode.OK
    assert ask_with(server)[0] is code


def test_a_reload_names_what_needs_a_restart(server: ServerThread, caplog: pytest.LogCaptureFixture) -> None:
    assert reload(server, slow_ms=1.0, grace_seconds=1.0, max_waiting=3) == ["slow_ms"]
    assert "need a restart to take effect: max_waiting, grace_seconds" in caplog.text
    assert (server.app.settings.slow_ms, server.app.settings.grace_seconds) == (1.0, 10.0)


def test_a_reload_does_not_mix_what_excludes_each_other(
    start_server: StartServer, token_settings: dict[str, Any]
) -> None:
    at_url = {**token_settings, "jwks_file": None, "jwks_url": "https://issuer.example/keys"}
    server = start_server(**at_url)
    with pytest.raises(InvalidConfiguration, match=r"needs a restart.* not both"):
        reload(server, **{**token_settings, "jwks_url": None})
    assert server.app.settings.jwks_url is not None


def test_credentials_longer_than_any_key_are_rejected(path: Path, add_key: AddKey) -> None:
    add_key()
    authenticator = make_authenticator(Settings(keys_file=path))
    with pytest.raises(Unauthenticated, match="more than 8192 characters"):
        asyncio.run(authenticator.authenticate({"authorization": "Bearer " + "a" * 9000}))
