"""Sends a trace of each sampled call over OTLP: when it arrived, how long its stages took, how it ended; no content."""

from __future__ import annotations

import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import grpc
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shortlist.schemas.errors import InvalidConfiguration
from shortlist.server.dispatcher import Call
from shortlist.server.settings import Settings

__all__ = ["Tracing", "make_tracing"]

_log = logging.getLogger(__name__)

_EXPORT_SECONDS = 5.0
_CLOSE_SECONDS = 3.0
_SECONDS_BETWEEN_WARNINGS = 60.0
_GRPC = "grpc"
# The codes that are the server's fault; OpenTelemetry's conventions for gRPC mark a span as failed for these alone.
_FAULTS = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")


def make_tracing(settings: Settings) -> Tracing | None:
    """Makes the tracing that the settings ask for; returns None if they name no endpoint.

    Raises:
        InvalidConfiguration: the endpoint or its headers cannot be read.
    """
    if settings.otlp_endpoint is None:
        return None
    if urlsplit(settings.otlp_endpoint).scheme not in ("http", "https"):
        raise InvalidConfiguration("otlp_endpoint must be a URL like http://HOST:4318/v1/traces")
    headers = settings.otlp_headers.get_secret_value() if settings.otlp_headers else ""
    return Tracing(settings.otlp_endpoint, headers=_read_headers(headers), ratio=settings.trace_ratio)


class Tracing:
    """Makes spans of calls that ended and sends them from a thread of its own, until `close()`.

    A traceparent from the caller decides whether its call is sampled; of the other calls the share `ratio` is. Sending
    neither delays nor fails a call: spans that cannot be sent are dropped.
    """

    def __init__(self, endpoint: str, *, headers: Mapping[str, str], ratio: float) -> None:
        # OpenTelemetry logs several lines for each failure; the exporter below logs one.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        version = importlib.metadata.version("shortlist")
        own = Resource({"service.name": "shortlist", "service.version": version})
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            # The environment takes precedence: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES.
            resource=Resource.create().merge(own).merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,  # it would wait for up to 30 s
        )
        sender = OTLPSpanExporter(endpoint, headers=dict(headers), timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(_QuietExporter(sender, endpoint)))
        self._tracer = self._provider.get_tracer("shortlist", version)
        self._propagator = TraceContextTextMapPropagator()

    def observe(self, call: Call) -> None:
        """Makes the spans of a call that ended and sets its `trace_id`; an `Observer`."""
        root = self._tracer.start_span(
            f"{call.service}/{call.method}",
            context=self._propagator.extract({"traceparent": call.parent}),
            kind=SpanKind.SERVER,
            attributes=_attributes(call),
            start_time=call.arrived_ns,
        )
        if not root.is_recording():
            return
        call.trace_id = f"{root.get_span_context().trace_id:032x}"
        self._add_stages(root, call)
        if call.code in _FAULTS:
            root.set_status(Status(StatusCode.ERROR, call.reason))
        root.end(call.arrived_ns + round(call.duration_ms * 1_000_000))

    def close(self, timeout_seconds: float = _CLOSE_SECONDS) -> None:
        """Sends the spans that are left, for at most `timeout_seconds`."""
        closing = threading.Thread(target=self._provider.shutdown, name="shortlist-tracing-close", daemon=True)
        closing.start()
        closing.join(timeout_seconds)
        if closing.is_alive():
            _log.warning("the last spans did not reach the trace collector within %g s and are lost", timeout_seconds)

    def _add_stages(self, root: Span, call: Call) -> None:
        """Adds a span for each stage, with its parts as children. Parts end first, so it goes from last to first."""
        spans: dict[str, Span] = {}
        for stage in reversed(list(call.stages)):
            parent = spans.get(stage.within, root)
            span = self._tracer.start_span(
                stage.name,
                context=set_span_in_context(parent),
                attributes={"shortlist.num_tokens": stage.num_tokens} if stage.num_tokens else None,
                start_time=_nanoseconds(call, stage.began),
            )
            span.end(_nanoseconds(call, stage.ended))
            if not stage.within:
                spans[stage.name] = span


class _QuietExporter(SpanExporter):
    """Passes spans to another exporter and logs failures at most once a minute."""

    def __init__(self, sender: SpanExporter, endpoint: str, now: Callable[[], float] = time.monotonic) -> None:
        self._sender, self._now = sender, now
        # The host alone, since a URL may hold a password.
        self._shown = urlsplit(endpoint).hostname
        self._warned: float | None = None
        self._num_lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends spans; never raises."""
        try:
            result = self._sender.export(spans)
        except Exception:  # must not end the thread that sends
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self._note_lost(len(spans))
        return result

    def shutdown(self) -> None:
        """Stops sending."""
        self._sender.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Does nothing, because nothing is buffered here."""
        return True

    def _note_lost(self, num_spans: int) -> None:
        self._num_lost += num_spans
        now = self._now()
        if self._warned is not None and now - self._warned < _SECONDS_BETWEEN_WARNINGS:
            return
        _log.warning("%d spans did not reach the trace collector at %s and are lost", self._num_lost, self._shown)
        self._warned, self._num_lost = now, 0


def _attributes(call: Call) -> dict[str, str | int | bool]:
    attributes: dict[str, str | int | bool] = {
        "rpc.service": call.service,
        "rpc.method": call.method,
        "shortlist.request_id": call.request_id,
        "shortlist.caller": call.caller.name,
        "shortlist.request_bytes": call.request_bytes,
        "shortlist.response_bytes": call.response_bytes,
    }
    if call.transport == _GRPC:
        attributes |= {"rpc.system": _GRPC, "rpc.grpc.status_code": grpc.StatusCode[call.code].value[0]}
    else:
        http = call.status.kind.http if call.status else 200
        attributes |= {"http.response.status_code": http}
    if call.reason:
        attributes["error.type"] = call.reason
    if call.report is not None:
        attributes |= {
            "shortlist.num_candidates": call.report.num_candidates,
            "shortlist.num_scored": call.report.num_scored,
            "shortlist.num_tokens": call.report.num_tokens,
            "shortlist.degraded": call.report.degraded,
        }
    return attributes


def _nanoseconds(call: Call, moment: float) -> int:
    """Converts a time of `time.perf_counter` into one of `time.time_ns`."""
    return call.arrived_ns + round((moment - call.arrived) * 1_000_000_000)


def _read_headers(text: str) -> dict[str, str]:
    headers = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, is_given, value = part.partition("=")
        if not is_given or not name.strip():
            raise InvalidConfiguration("otlp_headers must be like name=value,name=value")
        headers[name.strip().lower()] = value.strip()
    return headers
