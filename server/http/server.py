"""Runs the REST API on a port, with uvicorn, inside the loop that runs the gRPC server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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
    """One listening socket: `bind()`, `start()`, `stop()`, in this order."""

    def __init__(self, app: Starlette, settings: Settings, *, linger_seconds: float) -> None:
        self._host = settings.host
        self.port = settings.http_port or 0
        self._socket: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None
        self._is_secure = settings.tls_certificate is not None
        self._server = _Server(
            uvicorn.Config(
                app,
                http=_GuardedProtocol,
                ws="none",
                lifespan="off",
                # Its logging is off but for what goes wrong: who calls is told by the observers of the Dispatcher.
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
        """Its address as a client takes it."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._is_secure else 'http'}://{host}:{self.port}"

    def bind(self) -> None:
        """Takes the port.

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
        """Answers from now on."""
        assert self._socket is not None
        self._serving = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Closes the port, sends what is being sent, and closes the connections."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        if self._socket is not None:
            self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    # The protocol is named because asyncio turns off Nagle's algorithm on such sockets only; with it, each answer on a
    # kept connection waits some 40 ms for the client's acknowledgement of its head.
    kind, form, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(kind, form, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # as gRPC has it
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    from shortlist.server.tls import ssl_context  # servers in the open start without it

    return ssl_context(settings)


class _Server(uvicorn.Server):
    """Leaves the signals to the process, which has two servers to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


class _GuardedProtocol(HttpToolsProtocol):
    """Bounds the bytes and the seconds of what comes before and behind a body, which the protocol itself does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for a first head."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_bytes = 0  # since the last part of a body
        self._begin_head()
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what arrives before a head is complete."""
        if self._is_in_head:
            if self._head_timer is None:  # the next request of a connection that was kept
                self._begin_head()
            self._head_bytes += len(data)
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("")
        if not self._is_in_head and self._idle_bytes > len(data) + _MAX_HEAD_BYTES:
            self.transport.close()  # neither body nor end: a line behind the body that does not end

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header before the body; those behind one (trailers) nobody asked for, and nothing bounds."""
        if self._is_in_head:
            super().on_header(name, value)
        else:
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Lets go of a caller who was answered before its body was there: what is left of that would be unbounded."""
        super().on_response_complete()
        if not self._is_in_head and not self.transport.is_closing():
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Lets the body take its time, which `body.py` bounds."""
        self._end_head()
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expects another head."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, or has too large a head, as all else is answered, and closes."""
        is_large = self._is_in_head and self._head_bytes > _MAX_HEAD_BYTES
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

    def _begin_head(self) -> None:
        self._is_in_head, self._head_bytes = True, 0
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._close_late)

    def _end_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close_late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
