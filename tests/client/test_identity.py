from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from google.rpc import code_pb2
from server_fixtures import ServerThread

from shortlist import AsyncClient, Client
from shortlist.client.channel import Connection, is_loopback
from shortlist.client.errors import error_of
from shortlist.schemas import errors
from shortlist.server.auth.keys import KeysFile, new_key, write_keys
from shortlist.server.cli.main import main
from shortlist.server.status import KINDS, Kind, Status, status_of

StartServer = Callable[..., ServerThread]

KEY = "shortlist_0123456789ab_" + "s" * 43


class Failed:
    """A gRPC error as made from a server's status."""

    def __init__(self, status: Status, metadata: Any = None) -> None:
        self._status = status
        self._metadata = status.metadata if metadata is None else metadata

    def code(self) -> grpc.StatusCode:
        return self._status.code

    def details(self) -> str:
        return self._status.text

    def trailing_metadata(self) -> Any:
        return self._metadata


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidInput("is wrong", field="top_n"),
        errors.LimitExceeded("is long", limit=5, actual=7, field="tools"),
        errors.InvalidTool("has no name", field="tools[3]"),
        errors.ModelNotFound("no such folder"),
        errors.ModelMismatch("the loaded model is a", wanted="b"),
        errors.RequestCancelled("too late"),
        errors.ServerUnavailable("loading", retry_seconds=1.5),
        errors.ServerBusy("full", retry_seconds=0.25),
        errors.DeadlineTooShort("no time", retry_seconds=2.0),
        errors.RateLimited("slower", retry_seconds=3.0),
        errors.Unauthenticated("who are you"),
        errors.PermissionDenied("not you"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_client_raises_the_error_that_the_server_raised(error: errors.ShortlistError) -> None:
    told = error_of(Failed(status_of(error)), "host:1")
    kinds = (errors.ModelError,) if isinstance(error, errors.ModelNotFound) else (type(error),)
    assert type(told) in kinds
    assert vars(told) == vars(error)
    assert str(error) in str(told)


def test_each_reason_of_the_server_has_its_error() -> None:
    for kind_of, kind in KINDS.items():
        told = error_of(Failed(status_of(made(kind_of))), "host:1")
        assert isinstance(told, kind_of) or kind.reason == "UNKNOWN_DIALECT"


def made(kind: type[errors.ShortlistError]) -> errors.ShortlistError:
    if kind is errors.UnknownDialect:
        return errors.UnknownDialect("x", ("ansi",))
    if kind is errors.LimitExceeded:
        return errors.LimitExceeded("x", limit=1, actual=2)
    return kind("x")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, errors.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, errors.PermissionDenied),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.ServerBusy),
        (grpc.StatusCode.UNAVAILABLE, errors.ServerUnavailable),
        (grpc.StatusCode.DATA_LOSS, errors.ShortlistError),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param((), id="none"),
        pytest.param((("grpc-status-details-bin", b"\xff\xff"),), id="damaged"),
        pytest.param((("grpc-status-details-bin", "text"),), id="text"),
    ],
)
def test_without_details_the_code_decides(
    code: grpc.StatusCode, kind: type[errors.ShortlistError], metadata: Any
) -> None:
    failed = Failed(Status(Kind(code, 500, "X"), "text"), metadata)
    assert type(error_of(failed, "host:1")) is kind


def test_the_reason_of_another_service_is_ignored() -> None:
    status = Status(Kind(grpc.StatusCode.UNAVAILABLE, 503, "X"), "text", status_of(errors.RateLimited("x")).details)
    status.details[0].domain = "elsewhere"  # type: ignore[attr-defined]
    assert type(error_of(Failed(status), "host:1")) is errors.ServerUnavailable
    assert status.as_message().code == code_pb2.UNAVAILABLE


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:50051", True),
        ("127.8.8.8:1", True),
        ("localhost:1", True),
        ("localhost", True),
        ("[::1]:1", True),
        ("::1", False),
        ("unix:/run/s.sock", True),
        ("ipv4:127.0.0.1:1,127.0.0.1:2", True),
        ("ipv4:127.0.0.1:1,10.0.0.1:2", False),
        ("127.evil.example:1", False),
        ("localhost.evil.example:1", False),
        ("10.0.0.1:1", False),
        ("0.0.0.0:1", False),
        ("dns:///localhost:1", False),
        ("", False),
    ],
)
def test_loopback_addresses_are_recognised(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize("make", [Client, AsyncClient], ids=["sync", "async"])
def test_a_key_is_not_sent_unencrypted(make: Callable[..., Any]) -> None:
    async def open_one(**options: Any) -> None:
        made = make("10.0.0.1:50051", api_key=KEY, **options).close()
        await made if made is not None else None

    with pytest.raises(errors.InvalidInput, match="unencrypted") as caught:
        asyncio.run(open_one())
    assert caught.value.field == "api_key"
    assert KEY not in str(caught.value)
    asyncio.run(open_one(allow_insecure_key=True))
    asyncio.run(open_one(tls=True))


@pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "ä", "a\r\nx-api-key: b"], ids=repr)
def test_a_key_that_does_not_fit_a_header_is_rejected_without_showing_it(key: str) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        Client(api_key=key)
    assert caught.value.field == "api_key"
    assert str(caught.value) == "api_key: is empty, or has characters that keys cannot have"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        pytest.param({"client_certificate": "a"}, "client_certificate", id="no key for it"),
        pytest.param({"client_certificate": "a", "client_key": "b"}, "client_certificate", id="no TLS"),
        pytest.param({"tls": "/no/such.pem"}, "tls", id="no such authorities"),
        pytest.param(
            {"tls": True, "client_certificate": "/no/c", "client_key": "/no/k"}, "client_key", id="no such key"
        ),
    ],
)
def test_conflicting_options_are_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        Client("localhost:1", **options)
    assert caught.value.field == field


def test_a_client_does_not_show_its_key() -> None:
    with Client(api_key=KEY) as client:
        assert KEY not in repr(client)
    assert KEY not in repr(Connection("localhost:1", max_message_bytes=1, api_key=KEY))


@pytest.fixture
def guarded(start_server: StartServer, tmp_path: Path) -> tuple[ServerThread, Path, str]:
    """An encrypted server that needs a key, its authority, and a key."""
    authority = Authority(tmp_path)
    certificate, private = authority.issue("server")
    key, entry = new_key("a")
    write_keys(tmp_path / "keys.json", KeysFile(keys=(entry,)))
    server = start_server(keys_file=tmp_path / "keys.json", tls_certificate=certificate, tls_key=private)
    return server, authority.path, key


def test_the_async_client_sends_its_key(guarded: tuple[ServerThread, Path, str]) -> None:
    server, authority, key = guarded

    async def ask(api_key: str | None) -> int:
        async with AsyncClient(server.app.address, tls=authority, api_key=api_key) as client:
            return len((await client.rerank("word", ["word"])).items)

    assert asyncio.run(ask(key)) == 1
    with pytest.raises(errors.Unauthenticated):
        asyncio.run(ask(None))


def test_a_key_is_sent_over_the_callers_own_encrypted_channel(guarded: tuple[ServerThread, Path, str]) -> None:
    server, authority, key = guarded
    credentials = grpc.ssl_channel_credentials(authority.read_bytes())

    async def ask() -> int:
        channel = grpc.aio.secure_channel(server.app.address, credentials)
        async with AsyncClient(channel=channel, api_key=key) as client:
            return len((await client.rerank("word", ["word"])).items)

    with Client(channel=grpc.secure_channel(server.app.address, credentials), api_key=key) as client:
        assert len(client.rerank("word", ["word"]).items) == 1
    assert asyncio.run(ask()) == 1


def test_a_key_is_not_sent_over_the_callers_own_unencrypted_channel(server: ServerThread) -> None:
    async def ask() -> None:
        async with AsyncClient(channel=grpc.aio.insecure_channel(server.app.address), api_key=KEY) as client:
            await client.get_info()

    with (
        Client(channel=grpc.insecure_channel(server.app.address), api_key=KEY) as client,
        pytest.raises(errors.Unauthenticated),
    ):
        client.get_info()
    with pytest.raises(errors.ShortlistError):
        asyncio.run(ask())


@pytest.mark.parametrize("flag", ["--tls", "--allow-insecure-key"])
def test_options_of_a_connection_need_an_address(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["info", flag])
    assert f"without --address no server is called; leave out {flag}" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"\xff"], ids=["missing", "no text"])
def test_a_file_without_a_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any) -> None:
    path = tmp_path / "key"
    if content:
        path.write_bytes(content)
    assert main(["info", "--address", "localhost:1", "--api-key-file", str(path)]) == 1
    assert str(path) in capsys.readouterr().err
