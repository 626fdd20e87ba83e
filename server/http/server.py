"""Runs the REST API on a port, with uvicorn, in the event loop of the gRPC server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from shortlist.schemas.errors import ServerUnavailable

if TYPE_CHECKING:
    import ssl

    from starlette.applications import Starlette

    from shortlist.server.settings import Settings

__all__ = ["RestServer"]

_log = logging.getLogger(__name__)

_MAX_HEAD_BYTES = 64 * 1024
_HEAD_SECONDS = 20.0
_KEEP_ALIVE_SECONDS = 75
_POLL_SECONDS = 0.01
_BACKLOG = 2048


class RestServer:
    """Serves one listening socket; call `bind()`, `start()` and `stop()` in this order."""

    def __init__(self, app: Starlette, settings: Settings, *, linger_seconds: float) -> None:
        self._host = settings.host
        self.port = settings.http_port or 0
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None
        self._is_secure = settings.tls_certificate is not None
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_Protocol,
                h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
                ws="none",
                lifespan="off",
                # uvicorn logs errors only; the dispatcher's observers log the calls.
                log_config=None,
                log_level=logging.ERROR,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(linger_seconds)),
                ssl_context_factory=(lambda *_: _ssl_context(settings)) if self._is_secure else None,
            )
        )

    @property
    def url(self) -> str:
        """The address to give to a client."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._is_secure else 'http'}://{host}:{self.port}"

    def bind(self) -> None:
        """Binds the port.

        Raises:
            ServerUnavailable: the address cannot be bound.
            InvalidConfiguration: the certificate cannot be read.
        """
        self._server.config.load()
        try:
            self._socket = _listen(self._host, self.port)
        except OSError as error:
            address, reason = self.url.partition("//")[2], error.strerror or str(error)
            message = f"cannot listen on {address}: {reason}; choose another --http-port (0 picks a free one)"
            raise ServerUnavailable(message) from error
        self.port = self._socket.getsockname()[1]

    async def start(self) -> None:
        """Starts to answer requests."""
        assert self._socket is not None
        self._serving = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Closes the port, finishes the running responses, and closes the connections."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        if self._socket is not None:
            self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    # asyncio turns off Nagle's algorithm only on sockets that name their protocol. With Nagle, each response on a kept
    # connection waits some 40 ms until the client has acknowledged its head.
    kind, form, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(kind, form, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # as gRPC does
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    from shortlist.server.tls import ssl_context  # servers without TLS start without it

    return ssl_context(settings)


class _Server(uvicorn.Server):
    """Leaves signals to the process, which has two servers to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


class _Protocol(H11Protocol):
    """Closes connections that send no complete head in time, and answers what is not HTTP in the API's own form.

    h11 bounds the bytes of a head, of a chunk's header and of trailers. `body.py` bounds a body's bytes and time.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops waiting."""
        self._end_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reads on, and times the head from its first byte until it is complete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end_waiting()
        elif self._head_timer is None:
            self._await_head()

    def on_response_complete(self) -> None:
        """Closes the connection if the request was answered before its body had arrived; the rest has no bound."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, or has too large a head, and closes the connection."""
        is_large = len(self.conn.trailing_data[0]) > _MAX_HEAD_BYTES
        code, phrase = (431, "Request Header Fields Too Large") if is_large else (400, "Bad Request")
        text = f"the headers have more than {_MAX_HEAD_BYTES} bytes" if is_large else "this is no HTTP request"
        error: dict[str, Any] = {"code": code, "status": "INVALID_ARGUMENT", "message": text, "details": []}
        body = json.dumps({"error": error, "message": text}).encode()
        head = (
            f"HTTP/1.1 {code} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {uuid.uuid4().hex}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _end_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
