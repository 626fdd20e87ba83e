"""Runs the gRPC server: binds, loads and warms the model, serves, and stops without dropping an answer."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shortlist.schemas.errors import ServerUnavailable
from shortlist.server.batching import BatchingScorer
from shortlist.server.service import SERVICE_NAME, RouterService
from shortlist.server.workers import Workers
from shortlist.v1 import router_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router

__all__ = ["Application", "ServerOptions"]

_log = logging.getLogger(__name__)

# What stays open after the answers are sent (health watches) ends after this.
_LINGER_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where the server listens and what it admits.

    `port` 0 picks a free one. `max_message_bytes` bounds a request and a response. `max_concurrent` requests are worked
    on at once and `max_waiting` more wait; `grace_seconds` is how long a stop waits for them.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    max_message_bytes: int = 64 * 1024 * 1024
    max_concurrent: int = 32
    max_waiting: int = 128
    grace_seconds: float = 10.0


class Application:
    """One server: `start()`, `load()`, `stop()`, in this order, all on one event loop.

    From start() on, health answers NOT_SERVING and calls UNAVAILABLE; from load() on it serves.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._workers = Workers(max_concurrent=options.max_concurrent, max_waiting=options.max_waiting)
        self._service = RouterService(self._workers, max_message_bytes=options.max_message_bytes)
        self._health = health.aio.HealthServicer()
        self._scorer: BatchingScorer | None = None
        self._server = grpc.aio.server(options=_channel_options(options))
        self.port = options.port

    @property
    def address(self) -> str:
        """HOST:PORT as a client takes it."""
        return _address(self._options.host, self.port)

    async def start(self) -> None:
        """Listens.

        Raises:
            ServerUnavailable: the address cannot be bound.
        """
        pb_grpc.add_RouterServiceServicer_to_server(self._service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        await self._set_health(is_serving=False)
        self.port = self._bind()
        await self._server.start()

    async def load(self, load_router: Callable[[], Router]) -> None:
        """Loads the model on a thread, warms it with a request of its own, and serves.

        Raises:
            ModelError: the model cannot be loaded.
        """
        router, self._scorer = await asyncio.to_thread(_load_warm, load_router)
        self._service.open(router)
        await self._set_health(is_serving=True)

    async def stop(self) -> bool:
        """Refuses new calls, waits for those in flight, and closes; False if some had to be cut off."""
        self._service.close()
        await self._health.enter_graceful_shutdown()
        is_idle = await self._service.wait_until_idle(self._options.grace_seconds)
        if not is_idle:
            _log.warning("cut off %d requests after %g s", self._service.cancel_all(), self._options.grace_seconds)
        await self._server.stop(_LINGER_SECONDS)
        self._workers.close()
        if self._scorer is not None:
            # Nobody is left to wait for a batch that outlasts its requests.
            await asyncio.to_thread(self._scorer.close, is_patient=is_idle)
        return is_idle

    async def _set_health(self, *, is_serving: bool) -> None:
        response = health_pb2.HealthCheckResponse
        status = response.SERVING if is_serving else response.NOT_SERVING
        for name in ("", SERVICE_NAME):
            await self._health.set(name, status)

    def _bind(self) -> int:
        _probe(self._options.host, self._options.port)
        try:
            port = self._server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise _cannot_listen(self.address, "the address was refused") from error
        if port == 0:
            raise _cannot_listen(self.address, "the address was refused")
        return port


def _load_warm(load_router: Callable[[], Router]) -> tuple[Router, BatchingScorer]:
    router = load_router()
    scorer = BatchingScorer(router.engine)
    router = router.with_scorer(scorer)
    if router.embedder is not None:
        router.embedder.embed_queries(["warm up"])
    router.rerank("warm up", ["The first request pays for what the device prepares once; this one is it."])
    return router, scorer


def _channel_options(options: ServerOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        # Two servers on one port would share its connections unnoticed.
        ("grpc.so_reuseport", 0),
    ]


def _probe(host: str, port: int) -> None:
    """Binds and lets go, since gRPC reports a taken port with a page of its own log and no reason."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _cannot_listen(_address(host, port), error.strerror or str(error)) from error


def _cannot_listen(address: str, reason: str) -> ServerUnavailable:
    return ServerUnavailable(f"cannot listen on {address}: {reason}; choose another --port (0 picks a free one)")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
