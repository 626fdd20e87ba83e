from __future__ import annotations

import os
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority, private_pem
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_der_x509_certificate
from server_fixtures import ServerThread

from shortlist import Client
from shortlist.schemas.errors import InvalidConfiguration, ServerUnavailable
from shortlist.server.settings import Settings
from shortlist.server.tls import server_credentials, ssl_context

StartServer = Callable[..., ServerThread]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def files(authority: Authority) -> dict[str, Path]:
    certificate, key = authority.issue("server")
    return {"tls_certificate": certificate, "tls_key": key}


def ask(server: ServerThread, **options: Any) -> int:
    with Client(server.app.address, timeout_seconds=20, retry=None, **options) as client:
        return len(client.rerank("word", ["word"]).items)


def served_by(address: tuple[str, int], **options: Any) -> str:
    """Does a TLS handshake, and returns the name in the server's certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, timeout=20) as plain, context.wrap_socket(plain, **options) as encrypted:
        certificate = load_der_x509_certificate(encrypted.getpeercert(binary_form=True) or b"")
        return certificate.subject.rfc4514_string().removeprefix("CN=")


def address_of(server: ServerThread) -> tuple[str, int]:
    return "127.0.0.1", server.app.port


def replace(path: Path, source: Path) -> None:
    """Replaces a file like tools that renew certificates."""
    made = path.with_suffix(".new")
    shutil.copy(source, made)
    os.replace(made, path)


def test_an_encrypted_server_answers_clients_that_trust_its_authority(
    start_server: StartServer, files: dict[str, Path], authority: Authority
) -> None:
    assert ask(start_server(**files), tls=authority.path) == 1


@pytest.mark.parametrize("tls", [True, "other", False], ids=["public authorities", "another authority", "no TLS"])
def test_an_encrypted_server_is_unavailable_otherwise(
    start_server: StartServer, files: dict[str, Path], tmp_path: Path, tls: bool | str
) -> None:
    server = start_server(**files)
    with pytest.raises(ServerUnavailable):
        ask(server, tls=Authority(tmp_path, "other").path if tls == "other" else tls)


def test_a_certificate_that_expired_is_refused_by_the_client(start_server: StartServer, authority: Authority) -> None:
    certificate, key = authority.issue("old", is_valid=False)
    with pytest.raises(ServerUnavailable, match="expired"):
        ask(start_server(tls_certificate=certificate, tls_key=key), tls=authority.path)


def test_versions_before_1_2_are_refused(start_server: StartServer, files: dict[str, Path]) -> None:
    server = start_server(**files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(address_of(server), timeout=20) as plain, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(plain)


@pytest.fixture
def mutual(start_server: StartServer, files: dict[str, Path], authority: Authority) -> ServerThread:
    """A server that requires client certificates of its own authority."""
    return start_server(**files, tls_client_ca=authority.path)


def test_a_client_with_a_certificate_of_the_authority_is_accepted(mutual: ServerThread, authority: Authority) -> None:
    certificate, key = authority.issue("client")
    assert ask(mutual, tls=authority.path, client_certificate=certificate, client_key=key) == 1


def test_a_client_without_a_certificate_is_rejected(mutual: ServerThread, authority: Authority) -> None:
    with pytest.raises(ServerUnavailable):
        ask(mutual, tls=authority.path)


def test_a_client_with_a_certificate_of_another_authority_is_rejected(
    mutual: ServerThread, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = Authority(tmp_path, "other").issue("stranger")
    with pytest.raises(ServerUnavailable):
        ask(mutual, tls=authority.path, client_certificate=certificate, client_key=key)


def test_a_client_with_an_expired_certificate_is_rejected(mutual: ServerThread, authority: Authority) -> None:
    certificate, key = authority.issue("old", is_valid=False)
    with pytest.raises(ServerUnavailable):
        ask(mutual, tls=authority.path, client_certificate=certificate, client_key=key)


def test_a_renewed_certificate_is_served_without_a_restart(
    start_server: StartServer, files: dict[str, Path], authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(**files)
    certificate, key = authority.issue("renewed")
    assert served_by(address_of(server)) == "server"
    replace(files["tls_certificate"], certificate)
    assert served_by(address_of(server)) == "server"
    replace(files["tls_key"], key)
    assert [served_by(address_of(server)) for _ in range(2)] == ["renewed"] * 2
    assert caplog.text.count("is not the key of") == 1


def test_a_connection_outlives_the_renewal(
    start_server: StartServer, files: dict[str, Path], authority: Authority
) -> None:
    server = start_server(**files)
    certificate, key = authority.issue("renewed")
    with Client(server.app.address, timeout_seconds=20, tls=authority.path) as client:
        client.rerank("word", ["word"])
        replace(files["tls_certificate"], certificate)
        replace(files["tls_key"], key)
        assert len(client.rerank("word", ["word"]).items) == 1
        assert ask(server, tls=authority.path) == 1


@pytest.mark.parametrize("damage", ["half", "empty", "gone"])
def test_a_damaged_certificate_leaves_the_previous_one_in_force(
    start_server: StartServer, files: dict[str, Path], caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    server = start_server(**files)
    path = files["tls_certificate"]
    whole = path.read_bytes()
    path.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    if damage == "gone":
        path.unlink()
    assert [served_by(address_of(server)) for _ in range(2)] == ["server"] * 2
    assert caplog.text.count("the previous certificate stays in force") == 1


def test_a_changed_client_authority_applies_without_a_restart(
    mutual: ServerThread, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    certificate, key = other.issue("stranger")
    bundle = tmp_path / "trusted.pem"
    shutil.copy(authority.path, bundle)
    replace(authority.path, other.path)
    assert ask(mutual, tls=bundle, client_certificate=certificate, client_key=key) == 1


@pytest.mark.parametrize("name", ["tls_certificate", "tls_key", "tls_client_ca"])
@pytest.mark.parametrize("content", [None, b"", b"secret words"], ids=["missing", "empty", "garbage"])
def test_an_unusable_file_is_named_at_the_start(
    files: dict[str, Path], authority: Authority, name: str, content: bytes | None
) -> None:
    settings = Settings(**files, tls_client_ca=authority.path)
    path: Path = getattr(settings, name)
    path.unlink() if content is None else path.write_bytes(content)
    for make in (server_credentials, ssl_context):
        with pytest.raises(InvalidConfiguration, match=f"^{path}: ") as caught:
            make(settings)
        assert "secret words" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_key_of_another_certificate_is_rejected_at_the_start(files: dict[str, Path], authority: Authority) -> None:
    _, key = authority.issue("other")
    with pytest.raises(InvalidConfiguration, match=r"other\.key: is not the key of .*server\.crt"):
        server_credentials(Settings(tls_certificate=files["tls_certificate"], tls_key=key))


def test_a_key_with_a_passphrase_is_rejected_without_a_prompt(files: dict[str, Path]) -> None:
    files["tls_key"].write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1()), b"open sesame"))
    with pytest.raises(InvalidConfiguration, match="has a passphrase"):
        server_credentials(Settings(**files))


def test_a_key_open_to_all_users_gives_a_warning(files: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    files["tls_key"].chmod(0o644)
    server_credentials(Settings(**files))
    assert "every user of this machine" in caplog.text


class Listener:
    """Does TLS handshakes with one client after another, like a server with `ssl_context`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            with plain:
                try:
                    with self._context.wrap_socket(plain, server_side=True) as encrypted:
                        encrypted.sendall(b"hello")
                except OSError:
                    continue


@pytest.fixture
def listen() -> Iterator[Callable[[Settings], Listener]]:
    listeners: list[Listener] = []

    def start(settings: Settings) -> Listener:
        listeners.append(Listener(ssl_context(settings)))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


def greeting(listener: Listener, authority: Path, certificate: tuple[Path, Path] | None = None) -> bytes:
    context = ssl.create_default_context(cafile=authority)
    if certificate:
        context.load_cert_chain(*certificate)
    with (
        socket.create_connection(listener.address, timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        return encrypted.recv(5)


@pytest.mark.parametrize("options", [{}, {"server_hostname": "localhost"}], ids=["no name asked for", "a name"])
def test_a_context_serves_the_renewed_certificate_too(
    listen: Callable[[Settings], Listener], files: dict[str, Path], authority: Authority, options: dict[str, str]
) -> None:
    listener = listen(Settings(**files))
    certificate, key = authority.issue("renewed")
    assert served_by(listener.address, **options) == "server"
    replace(files["tls_certificate"], certificate)
    assert served_by(listener.address, **options) == "server"
    replace(files["tls_key"], key)
    assert served_by(listener.address, **options) == "renewed"


def test_a_context_rejects_clients_without_a_certificate_and_follows_the_authority(
    listen: Callable[[Settings], Listener], files: dict[str, Path], authority: Authority, tmp_path: Path
) -> None:
    listener = listen(Settings(**files, tls_client_ca=authority.path))
    trusted = tmp_path / "trusted.pem"
    shutil.copy(authority.path, trusted)
    other = Authority(tmp_path, "other")
    own, strange = authority.issue("client"), other.issue("stranger")
    assert greeting(listener, trusted, own) == b"hello"
    for certificate in (None, strange):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            greeting(listener, trusted, certificate)
    replace(authority.path, other.path)
    assert greeting(listener, trusted, strange) == b"hello"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        greeting(listener, trusted, own)
