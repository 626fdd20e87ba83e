"""Counts and times calls and batches, and exports the metrics in the formats of Prometheus and OpenMetrics.

This module defines the name and the meaning of every metric. No label is caller-controlled: methods, codes and reasons
are the server's own, and callers have the names that the operator or the issuer of their tokens gave them.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router
    from shortlist.server.dispatcher import Call, Dispatcher
    from shortlist.server.scheduling.admission import Admission
    from shortlist.server.scheduling.batching import BatchingScorer, BatchRun
    from shortlist.v1 import router_pb2 as pb

__all__ = ["Metrics", "MetricsEndpoint"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SHORT_SECONDS = (0.0005, 0.001, 0.0025, *_SECONDS)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
_TOKENS = tuple(4**power for power in range(3, 11))  # 64 to a million
_BATCH_TOKENS = tuple(2**power for power in range(6, 17))  # 64 to 65,536
_BYTES = tuple(4**power for power in range(5, 14))  # 1 KiB to 64 MiB
_ITEMS = (1, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 20_000)
_STAGES = ("queue", "parse", "retrieve", "tokenize", "infer")

# Bearer tokens can name any number of callers. So many get a series of their own, later ones share one.
_MAX_CALLERS = 100
_OTHER = "other"


class Metrics:
    """The metrics of one server, in a registry of its own; safe to share between threads.

    `observe` and `note_batch` count events as they happen; the other values are read at each scrape.
    """

    def __init__(self, admission: Admission, dispatcher: Dispatcher) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._callers: set[str] = set()
        self._live = _Live(admission, dispatcher)
        self._requests = _Requests(self.registry)
        self._batches = _Batches(self.registry)
        self.registry.register(self._live)
        ProcessCollector(registry=self.registry)

    @property
    def is_serving(self) -> bool:
        """Whether the health service answers SERVING."""
        return self._live.is_serving

    @is_serving.setter
    def is_serving(self, is_serving: bool) -> None:
        self._live.is_serving = is_serving

    def watch(self, router: Router, scorer: BatchingScorer) -> None:
        """Adds the metrics of the model, its caches and its queue."""
        self._live.router, self._live.scorer = router, scorer

    def observe(self, call: Call) -> None:
        """Counts a call that ended; an `Observer`."""
        self._requests.count(call, self._caller_label(call.caller.name))

    def note_batch(self, run: BatchRun) -> None:
        """Counts a batch that the engine ran."""
        self._batches.count(run)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Renders all metrics for an HTTP `Accept` header; returns the body and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _caller_label(self, name: str) -> str:
        if name not in self._callers and len(self._callers) < _MAX_CALLERS:
            self._callers.add(name)
        return name if name in self._callers else _OTHER


class MetricsEndpoint:
    """Serves metrics at http://HOST:PORT/metrics from a thread of its own, until `close()`.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        self._server, self._thread = start_http_server(port, host, metrics.registry)
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stops serving; takes up to half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Requests:
    """The metrics of calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"shortlist_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"shortlist_{name}", text, labels, buckets=buckets, registry=registry)

        self._total = counter(
            "requests", "Calls that ended, by method, transport and gRPC code.", "method", "transport", "code"
        )
        self._seconds = histogram(
            "request_duration_seconds",
            "Time from a call's arrival to its end, queueing included, in seconds.",
            _SECONDS,
            *("method", "transport", "code"),
        )
        self._errors = counter(
            "request_errors",
            "Calls that failed or were rejected, by the stable reason in the error.",
            *("method", "reason"),
        )
        self._of_callers = counter("caller_requests", "Calls that ended, by caller and gRPC code.", "caller", "code")
        self._tokens_of_callers = counter(
            "caller_tokens", "Tokens the cross-encoder read for answered calls, by caller.", "caller"
        )
        self._degraded = counter(
            "degraded_responses", "Responses in the order of the first stage because time ran out.", "method"
        )
        self._unparsed = counter(
            "unparsed_items", "Tools or statements in answered calls that could not be parsed.", "method"
        )
        self._stage_seconds = histogram(
            "stage_duration_seconds",
            "Time of each stage of an answered call, in seconds.",
            _SHORT_SECONDS,
            *("method", "stage"),
        )
        self._candidates = histogram("request_candidates", "Candidates per answered call.", _ITEMS, "method")
        self._tokens = histogram(
            "request_tokens", "Tokens the cross-encoder read per answered call.", _TOKENS, "method"
        )
        self._request_bytes = histogram("request_size_bytes", "Size of requests, in bytes.", _BYTES, "method")
        self._response_bytes = histogram("response_size_bytes", "Size of responses, in bytes.", _BYTES, "method")

    def count(self, call: Call, caller: str) -> None:
        seconds = call.duration_ms / 1000
        self._total.labels(call.method, call.transport, call.code).inc()
        exemplar = {"trace_id": call.trace_id} if call.trace_id else None
        self._seconds.labels(call.method, call.transport, call.code).observe(seconds, exemplar)
        self._of_callers.labels(caller, call.code).inc()
        if call.request_bytes:
            self._request_bytes.labels(call.method).observe(call.request_bytes)
        if call.response_bytes:
            self._response_bytes.labels(call.method).observe(call.response_bytes)
        if call.reason:
            self._errors.labels(call.method, call.reason).inc()
        if call.report is not None:
            self._count_report(call.method, caller, call.report)

    def _count_report(self, method: str, caller: str, report: pb.SelectionReport) -> None:
        for stage in _STAGES:
            self._stage_seconds.labels(method, stage).observe(getattr(report.timings, f"{stage}_ms") / 1000)
        self._candidates.labels(method).observe(report.num_candidates)
        self._tokens.labels(method).observe(report.num_tokens)
        self._tokens_of_callers.labels(caller).inc(report.num_tokens)
        self._unparsed.labels(method).inc(len(report.unparsed))
        self._degraded.labels(method).inc(report.degraded)


class _Batches:
    """The metrics of the engine's batches; `model` is `score` (the cross-encoder) or `embed` (the encoder)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"shortlist_batch_{name}", text, ("model",), buckets=buckets, registry=registry)

        self._tokens = histogram("tokens", "Tokens per batch.", _BATCH_TOKENS)
        self._pairs = histogram("pairs", "Pairs, or texts to embed, per batch.", _ITEMS)
        self._fill = histogram("fill_ratio", "Tokens of a batch as a share of its limit.", _SHARES)
        self._seconds = histogram("duration_seconds", "Time the engine took for a batch, in seconds.", _SHORT_SECONDS)

    def count(self, run: BatchRun) -> None:
        self._tokens.labels(run.model).observe(run.num_tokens)
        self._pairs.labels(run.model).observe(run.num_pairs)
        self._fill.labels(run.model).observe(run.num_tokens / max(1, run.max_batch_tokens))
        self._seconds.labels(run.model).observe(run.seconds)


class _Live(Collector):
    """The metrics whose values are read at each scrape."""

    def __init__(self, admission: Admission, dispatcher: Dispatcher) -> None:
        self._admission, self._dispatcher = admission, dispatcher
        self._version = importlib.metadata.version("shortlist")
        self.is_serving = False
        self.router: Router | None = None
        self.scorer: BatchingScorer | None = None

    def collect(self) -> Iterator[Metric]:
        yield self._gauge("serving", "Whether health says SERVING: 1 or 0.", self.is_serving)
        yield self._gauge(
            "requests_in_flight", "Calls that arrived and have not ended.", self._dispatcher.num_in_flight
        )
        yield self._gauge(
            "requests_admitted", "Calls that run or wait, admitted ones only.", self._admission.num_admitted
        )
        yield self._gauge(
            "retry_slots", "Rejected calls with a retry time that has not lapsed.", self._admission.num_retry_slots
        )
        yield self._queue_tokens()
        rate = self.scorer.tokens_per_second if self.scorer else 0.0
        yield self._gauge("engine_tokens_per_second", "Recent speed of the engine: tokens per second of work.", rate)
        yield from self._caches()
        yield self._build()
        yield self._model()

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        return GaugeMetricFamily(f"shortlist_{name}", text, value=float(value))

    def _queue_tokens(self) -> Metric:
        text = "Tokens that wait for the engine: queued ones, and estimated ones of calls not yet parsed."
        family = GaugeMetricFamily("shortlist_queue_tokens", text, labels=["state"])
        family.add_metric(["queued"], self.scorer.num_waiting_tokens if self.scorer else 0)
        family.add_metric(["expected"], self._admission.expected_tokens)
        return family

    def _caches(self) -> Iterator[Metric]:
        counts = self.router.cache_counts if self.router else {}
        asked = CounterMetricFamily(
            "shortlist_cache_requests",
            "Lookups in a cache, by outcome (hit or miss); `vectors` counts one per document.",
            labels=["cache", "outcome"],
        )
        kept = GaugeMetricFamily(
            "shortlist_cache_entries", "Catalogs, or vectors of documents, in a cache.", labels=["cache"]
        )
        for name, count in counts.items():
            asked.add_metric([name, "hit"], count.num_hits)
            asked.add_metric([name, "miss"], count.num_misses)
            kept.add_metric([name], count.num_kept)
        yield asked
        yield kept

    def _build(self) -> Metric:
        about = {"version": self._version, "python_version": platform.python_version()}
        return InfoMetricFamily("shortlist_build", "The server's version and Python's.", value=about)

    def _model(self) -> Metric:
        family = InfoMetricFamily("shortlist_model", "The loaded model and how it runs.", labels=[])
        if self.router is not None:
            info = self.router.info
            about = {name: getattr(info, name) for name in ("name", "version", "device", "dtype", "attention")}
            family.add_metric([], about | {"server_version": self._version})
        return family
