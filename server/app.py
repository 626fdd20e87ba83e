"""Runs the gRPC server: binds, loads and warms the model, serves, and stops without dropping an answer."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shortlist.schemas.errors import ServerUnavailable
from shortlist.server.auth.authenticator import make_authenticator
from shortlist.server.dispatcher import Dispatcher, Observer, Workers
from shortlist.server.grpc.service import AuthInterceptor, make_handler
from shortlist.server.scheduling.admission import Admission
from shortlist.server.scheduling.batching import BatchingScorer, BatchRun
from shortlist.server.services import Service, make_services, methods_by_path
from shortlist.server.settings import RELOADED, Settings
from shortlist.server.telemetry.access_log import AccessLog
from shortlist.server.telemetry.metrics import Metrics, MetricsEndpoint

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router
    from shortlist.server.http.server import RestServer
    from shortlist.server.telemetry.tracing import Tracing

__all__ = ["Application"]

_log = logging.getLogger(__name__)

# The first release of gRPC that applies the size limit to a compressed message while it is decompressed.
_LIMITS_DECOMPRESSION = (1, 84)
# Streams that are still open once all responses are sent (health watches) end after this time.
_LINGER_SECONDS = 0.5


class Application:
    """One server: call `start()`, `load()` and `stop()`, in this order, all on one event loop.

    After start() health is NOT_SERVING and calls fail with UNAVAILABLE; after load() they are answered. `services`
    replace those of `make_services`. `observers` receive every call that ended.

    Raises:
        InvalidConfiguration: keys or certificates cannot be read.
    """

    def __init__(
        self, settings: Settings, *, services: Sequence[Service] | None = None, observers: Sequence[Observer] = ()
    ) -> None:
        self.settings = settings
        self._services = make_services(settings) if services is None else services
        self._methods = methods_by_path(self._services)
        self._credentials = _credentials(settings)
        self.admission = Admission(
            max_concurrent=settings.max_concurrent,
            max_waiting=settings.max_waiting,
            max_queue_seconds=settings.max_queue_seconds,
        )
        self.access_log = AccessLog(settings.slow_ms)
        self._workers = Workers(max_concurrent=settings.max_concurrent)
        self._authenticator = make_authenticator(settings)
        self.dispatcher = Dispatcher(
            self.admission,
            self._workers,
            max_message_bytes=settings.max_message_bytes,
        )
        self.metrics = Metrics(self.admission, self.dispatcher)
        self._tracing = _make_tracing(settings)
        traced = [self._tracing.observe] if self._tracing is not None else []
        # Tracing comes first, so that the others find the call's trace id.
        self.dispatcher.observers = (*traced, self.metrics.observe, self.access_log, *observers)
        self._metrics_endpoint: MetricsEndpoint | None = None
        self._health = health.aio.HealthServicer()
        self._scorer: BatchingScorer | None = None
        interceptor = AuthInterceptor(self.dispatcher, self._authenticator, self._methods)
        self._server = grpc.aio.server(options=_channel_options(settings), interceptors=(interceptor,))
        self.port = settings.port
        self.is_engine_busy = False  # after stop(): a batch without a waiting caller is still running
        self._rest = self._make_rest()
        self._is_serving = False

    @property
    def address(self) -> str:
        """HOST:PORT, as clients take it."""
        return _address(self.settings.host, self.port)

    @property
    def metrics_url(self) -> str | None:
        """The URL of the metrics, if they have a port of their own."""
        if self._metrics_endpoint is None:
            return None
        return f"http://{_address(self.settings.host, self._metrics_endpoint.port)}/metrics"

    @property
    def http_url(self) -> str:
        """http://HOST:PORT of the REST API; empty where it is off."""
        return self._rest.url if self._rest else ""

    async def start(self) -> None:
        """Listens on all ports.

        Raises:
            ServerUnavailable: the address cannot be bound.
        """
        self._server.add_generic_rpc_handlers([make_handler(one, self.dispatcher) for one in self._services])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if "reflection" not in self.settings.disabled:
            names = (*self._service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        await self._set_health(is_serving=False)
        self.port = self._bind()
        if self.settings.metrics_port is not None:
            self._metrics_endpoint = await self._serve_metrics(self.settings.metrics_port)
        if self._rest is not None:
            self._rest.bind()
        await self._server.start()
        if self._rest is not None:
            await self._rest.start()

    async def load(self, load_router: Callable[[], Router]) -> None:
        """Loads the model on a thread, warms it up with one request, and starts to answer calls.

        Raises:
            ModelError: the model cannot be loaded.
        """
        loop = asyncio.get_running_loop()

        def on_state(is_working: bool) -> None:
            asyncio.run_coroutine_threadsafe(self._set_health(is_serving=is_working and self.dispatcher.is_open), loop)

        router, scorer = await asyncio.to_thread(
            _load_warm, load_router, self.admission, on_state, self.metrics.note_batch
        )
        self._scorer = self.admission.backlog = scorer
        self.metrics.watch(router, scorer)
        self.dispatcher.open(router)
        await self._set_health(is_serving=True)

    def reload(self, settings: Settings) -> list[str]:
        """Reads the keys again and applies the settings named in `RELOADED`; returns the names of those that changed.

        Afterwards `self.settings` holds what is in force. A warning names changed settings that need a restart.

        Raises:
            InvalidConfiguration: a key file or a setting is invalid; nothing changes.
        """
        changed = settings.differing_from(self.settings)
        merged = self.settings.with_reloaded(settings)
        self._authenticator.reload(merged)
        self.settings = merged
        self.access_log.slow_ms = merged.slow_ms
        if late := [name for name in changed if name not in RELOADED]:
            _log.warning("settings that changed but need a restart to take effect: %s", ", ".join(late))
        return [name for name in changed if name in RELOADED]

    async def stop(self) -> bool:
        """Rejects new calls, waits for those in flight, and closes; returns False if some had to be cancelled."""
        self.dispatcher.close()
        self.metrics.is_serving = False
        await self._health.enter_graceful_shutdown()
        is_idle = await self.dispatcher.wait_until_idle(self.settings.grace_seconds)
        if not is_idle:
            _log.warning(
                "cancelled %d requests that still ran after %g s",
                self.dispatcher.cancel_all(),
                self.settings.grace_seconds,
            )
        if self._rest is not None:
            await self._rest.stop()
        await self._server.stop(_LINGER_SECONDS)
        self._workers.close()
        if self._scorer is not None:
            # A batch that outlasts its requests has no caller left who would wait for it.
            patience = _LINGER_SECONDS if is_idle else 0.0
            self.is_engine_busy = not await asyncio.to_thread(self._scorer.close, timeout_seconds=patience)
        if self._metrics_endpoint is not None:
            await asyncio.to_thread(self._metrics_endpoint.close)
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        return is_idle

    async def _set_health(self, *, is_serving: bool) -> None:
        self._is_serving = is_serving
        response = health_pb2.HealthCheckResponse
        status = response.SERVING if is_serving else response.NOT_SERVING
        for name in ("", *self._service_names):
            await self._health.set(name, status)
        self.metrics.is_serving = is_serving

    @property
    def _service_names(self) -> list[str]:
        return [service.name for service in self._services]

    async def _serve_metrics(self, port: int) -> MetricsEndpoint:
        host = self.settings.host
        try:
            # On a thread, because it resolves the host's name, which may block.
            return await asyncio.to_thread(MetricsEndpoint, self.metrics, host, port)
        except OSError as error:
            address = _address(host, port)
            raise _cannot_listen(address, error.strerror or str(error), "--metrics-port") from error

    def _make_rest(self) -> RestServer | None:
        if self.settings.http_port is None:
            return None
        # Imported only here, so that a server without REST starts faster.
        from shortlist.server.http.routes import RestApi
        from shortlist.server.http.server import RestServer

        rest = RestApi(
            self.dispatcher,
            self._authenticator,
            self.settings,
            {method.name: method for method in self._methods.values()},
            is_serving=lambda: self._is_serving,
            render_metrics=self.metrics.render,
        )
        return RestServer(rest.app, self.settings, linger_seconds=_LINGER_SECONDS)

    def _bind(self) -> int:
        _probe(self.settings.host, self.settings.port)
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(self.address)
            else:
                port = self._server.add_secure_port(self.address, self._credentials)
        except RuntimeError as error:
            raise _cannot_listen(self.address, "gRPC could not bind the address") from error
        if port == 0:
            raise _cannot_listen(self.address, "gRPC could not bind the address")
        return port


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate is None:
        return None
    from shortlist.server.tls import server_credentials

    return server_credentials(settings)


def _load_warm(
    load_router: Callable[[], Router],
    admission: Admission,
    on_state: Callable[[bool], None],
    on_batch: Callable[[BatchRun], None],
) -> tuple[Router, BatchingScorer]:
    router = load_router()
    scorer = BatchingScorer(router.engines, on_submit=admission.settle, on_batch=on_batch, on_state=on_state)
    router = router.with_scorer(scorer)
    if router.embedder is not None:
        router.embedder.embed_queries(["warm up"])
    router.rerank("warm up", ["The device prepares itself on the first request, so that is this one."])
    return router, scorer


def _make_tracing(settings: Settings) -> Tracing | None:
    if settings.otlp_endpoint is None:
        return None
    from shortlist.server.telemetry.tracing import make_tracing  # imports OpenTelemetry, which takes long

    return make_tracing(settings)


def _channel_options(settings: Settings, grpc_version: str = grpc.__version__) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Two servers on one port would share its connections unnoticed.
        ("grpc.so_reuseport", 0),
        # Close the connections of clients that vanished, and let clients send a keepalive ping every 10 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ]
    # Older releases decompress a whole message before they check its size: one megabyte can become a gigabyte.
    is_bounded = tuple(map(int, grpc_version.split(".")[:2])) >= _LIMITS_DECOMPRESSION
    return options if is_bounded else [*options, ("grpc.compression_enabled_algorithms_bitset", 1)]  # 1: none


def _probe(host: str, port: int) -> None:
    """Binds the port and releases it, because gRPC reports a port in use without a reason, and logs a page about it."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _cannot_listen(_address(host, port), error.strerror or str(error)) from error


def _cannot_listen(address: str, reason: str, flag: str = "--port") -> ServerUnavailable:
    return ServerUnavailable(f"cannot listen on {address}: {reason}; choose another {flag} (0 picks a free one)")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
