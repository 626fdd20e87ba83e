"""Fetches an issuer's keys over https, from a server in this test."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from certificates import AUDIENCE, ISSUER, Authority, rsa_signer
from server_fixtures import ServerThread

from shortlist import Client
from shortlist.schemas.errors import ServerUnavailable
from shortlist.server.auth import jwks
from shortlist.server.auth.jwks import UrlKeys

StartServer = Callable[..., ServerThread]

RSA = rsa_signer()


class Site:
    """Answers GET /keys with the keys, /elsewhere with a redirect to it, /large with too much, /slow once released."""

    def __init__(self, certificate: Path, key: Path) -> None:
        keys = json.dumps({"keys": [RSA.jwk()]}).encode()
        is_requested, is_released = self.is_requested, self._is_released = threading.Event(), threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_requested.set()
                if self.path == "/slow":
                    is_released.wait(60)
                self.send_response(302 if self.path == "/elsewhere" else 200 if self.path != "/missing" else 404)
                self.send_header("Location", "/keys")
                self.end_headers()
                self.wfile.write(b" " * 2_000_000 if self.path == "/large" else keys)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients leave, on purpose
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def release(self) -> None:
        self._is_released.set()

    def close(self) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    monkeypatch.setenv("NO_PROXY", "*")
    site = Site(*authority.issue("site"))
    yield site
    site.close()


def find(url: str) -> Any:
    return asyncio.run(UrlKeys(url).find("one", "RS256"))


def test_a_server_accepts_tokens_whose_keys_it_fetches(site: Site, start_server: StartServer) -> None:
    server = start_server(jwks_url=f"{site.url}/keys", jwt_issuer=ISSUER, jwt_audience=AUDIENCE)
    with Client(server.app.address, timeout_seconds=60, api_key=RSA.token()) as client:
        assert len(client.rerank("word", ["word"]).items) == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param("/elsewhere", "it redirects", id="redirect"),
        pytest.param("/large", "more than 1048576 bytes", id="too large"),
        pytest.param("/missing", "Not Found", id="not found"),
        pytest.param("/slow", "timed out|TimeoutError", id="slow"),
    ],
)
def test_an_unusable_answer_is_rejected(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    monkeypatch.setattr(jwks, "_SOCKET_SECONDS", 0.5)
    with pytest.raises(ServerUnavailable):
        find(site.url + path)
    assert any(word in caplog.text for word in reason.split("|"))


def test_an_issuer_with_an_untrusted_certificate_is_rejected(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path, "other").path))
    with pytest.raises(ServerUnavailable):
        find(f"{site.url}/keys")
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


def test_a_fetch_does_not_hold_up_other_callers(site: Site) -> None:
    async def has_a_turn_while_fetching() -> bool:
        fetching = asyncio.create_task(UrlKeys(f"{site.url}/slow").find("one", "RS256"))
        await asyncio.to_thread(site.is_requested.wait, 60)
        await asyncio.sleep(0)
        is_fetching = not fetching.done()
        site.release()
        assert await fetching is not None
        return is_fetching

    assert asyncio.run(has_a_turn_while_fetching())
