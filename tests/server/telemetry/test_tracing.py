from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from server_fixtures import ServerThread
from trace_collector import Collector, attributes

from shortlist import Client
from shortlist.router.stages import Stage
from shortlist.schemas.errors import InvalidConfiguration, ShortlistError
from shortlist.server.auth.authenticator import Caller
from shortlist.server.dispatcher import Call
from shortlist.server.settings import Settings
from shortlist.server.status import status_of
from shortlist.server.telemetry.tracing import Tracing, _QuietExporter, make_tracing
from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

StartServer = Callable[..., ServerThread]

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
ERROR = 2


def rerank(address: str, *documents: str, **metadata: str) -> None:
    request = pb.RerankRequest(query={"text": "secret query"}, documents=documents)
    with grpc.insecure_channel(address) as channel:
        pb_grpc.RouterServiceStub(channel).Rerank(request, timeout=60, metadata=tuple(metadata.items()))


def test_a_call_becomes_a_span_of_its_callers_trace(
    start_server: StartServer, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="shortlist.access")
    server = start_server(otlp_endpoint=collector.url, otlp_headers="X-Tenant=blue, x-other=a=b")
    before = time.time_ns()
    rerank(server.app.address, "one", "two", traceparent=TRACEPARENT, **{"x-request-id": "r-1"})
    after = time.time_ns()
    server.begin_stop().result(60)
    span = collector.named("shortlist.v1.RouterService/Rerank")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert before <= span.start_time_unix_nano < span.end_time_unix_nano <= after
    expected = {
        "rpc.system": "grpc",
        "rpc.service": "shortlist.v1.RouterService",
        "rpc.method": "Rerank",
        "rpc.grpc.status_code": 0,
        "shortlist.request_id": "r-1",
        "shortlist.caller": "anonymous",
        "shortlist.num_candidates": 2,
        "shortlist.num_scored": 2,
        "shortlist.num_tokens": 14,
        "shortlist.degraded": False,
    }
    assert attributes(span).items() >= expected.items()
    assert span.status.code != ERROR
    assert collector.resources[0]["service.name"] == "shortlist"
    assert (collector.headers[0]["x-tenant"], collector.headers[0]["x-other"]) == ("blue", "a=b")
    assert [vars(record)["trace_id"] for record in caplog.records if record.msg == "call"] == [TRACE]
    assert b"secret" not in collector.raw


def test_waiting_and_computing_are_spans_in_their_real_order(start_server: StartServer, collector: Collector) -> None:
    server = start_server(otlp_endpoint=collector.url)
    rerank(server.app.address, "one", "two")
    server.begin_stop().result(60)
    root = collector.named("shortlist.v1.RouterService/Rerank")
    infer = collector.named("infer")
    thread, engine = sorted((s for s in collector.spans if s.name == "queue"), key=lambda s: s.start_time_unix_nano)
    assert {infer.parent_span_id, thread.parent_span_id, engine.parent_span_id} == {root.span_id}
    moments = [root.start_time_unix_nano, thread.start_time_unix_nano, thread.end_time_unix_nano]
    moments += [engine.start_time_unix_nano, engine.end_time_unix_nano, infer.start_time_unix_nano]
    moments += [infer.end_time_unix_nano, root.end_time_unix_nano]
    assert moments == sorted(moments)
    assert attributes(infer) == {"shortlist.num_tokens": 14}


def test_the_spans_of_a_failed_call_have_its_reason_and_the_stages_it_reached(
    start_server: StartServer, collector: Collector
) -> None:
    server = start_server(otlp_endpoint=collector.url)
    with Client(server.app.address, timeout_seconds=60) as client:
        with pytest.raises(ShortlistError):
            client.rerank("x", ["explode"])
        with pytest.raises(ShortlistError):
            client.rerank("x", ["a"], max_pair_tokens=100_000)
    server.begin_stop().result(60)
    by_reason = {attributes(one)["error.type"]: one for one in collector.spans if one.name.endswith("Rerank")}
    assert (by_reason["INTERNAL"].status.code, by_reason["INTERNAL"].status.message) == (ERROR, "INTERNAL")
    assert attributes(by_reason["INTERNAL"])["rpc.grpc.status_code"] == 13
    assert collector.named("infer").parent_span_id == by_reason["INTERNAL"].span_id
    assert by_reason["INVALID_FIELD"].status.code != ERROR


def test_a_part_of_a_stage_comes_under_it(collector: Collector) -> None:
    tracing = Tracing(collector.url, headers={}, ratio=1)
    call = Call("SelectTools", "shortlist.v1.RouterService")
    at = call.arrived
    call.stages += [Stage("parse", at, at + 0.001), Stage("infer", at + 0.002, at + 0.003, "retrieve", 5)]
    call.stages += [Stage("retrieve", at + 0.001, at + 0.004), Stage("infer", at + 0.004, at + 0.006)]
    call.end("OK")
    tracing.observe(call)
    tracing.close()
    root, retrieve = collector.named("shortlist.v1.RouterService/SelectTools"), collector.named("retrieve")
    parents = {span.start_time_unix_nano: span.parent_span_id for span in collector.spans if span.name == "infer"}
    assert [parents[moment] for moment in sorted(parents)] == [retrieve.span_id, root.span_id]
    assert retrieve.end_time_unix_nano - retrieve.start_time_unix_nano == pytest.approx(3_000_000, abs=1000)
    assert call.trace_id == root.trace_id.hex()


def test_a_call_over_http_has_its_status(collector: Collector) -> None:
    tracing = Tracing(collector.url, headers={}, ratio=1)
    call = Call("Rerank", transport="http", caller=Caller("ada"))
    call.status = status_of(InvalidConfiguration("x"))
    call.end("FAILED_PRECONDITION", "INVALID_CONFIGURATION")
    tracing.observe(call)
    tracing.close()
    found = attributes(collector.spans[0])
    assert (found["http.response.status_code"], found["shortlist.caller"]) == (500, "ada")
    assert "rpc.system" not in found


@pytest.mark.parametrize(
    ("ratio", "parent", "is_traced"),
    [
        pytest.param(0.0, "", False, id="none of its own"),
        pytest.param(0.0, TRACEPARENT, True, id="the caller wants it"),
        pytest.param(1.0, TRACEPARENT[:-2] + "00", False, id="the caller does not"),
        pytest.param(1.0, "nonsense", True, id="a parent that cannot be read"),
    ],
)
def test_the_caller_decides_what_is_sampled_and_else_the_ratio(
    collector: Collector, ratio: float, parent: str, is_traced: bool
) -> None:
    tracing = Tracing(collector.url, headers={}, ratio=ratio)
    call = Call("Rerank", parent=parent)
    call.end("OK")
    tracing.observe(call)
    tracing.close()
    assert (bool(collector.spans), bool(call.trace_id)) == (is_traced, is_traced)


def test_a_collector_that_is_not_there_breaks_neither_a_call_nor_a_stop(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(otlp_endpoint="http://127.0.0.1:9/v1/traces")
    with Client(server.app.address, timeout_seconds=60) as client:
        assert client.rerank("paris", ["berlin", "paris"]).items[0].index == 1
    server.begin_stop().result(60)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [("spans did not reach" in text, "are lost" in text) for text in warned] == [(True, True)]


def test_lost_spans_are_warned_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            raise OSError("down")

    now = [100.0]
    exporter = _QuietExporter(Broken(), "http://user:password@collector:4318/v1/traces", now=lambda: now[0])
    for moment in (100.0, 130.0, 159.0, 161.0):
        now[0] = moment
        assert exporter.export([object(), object()]) is SpanExportResult.FAILURE
    assert [record.getMessage() for record in caplog.records] == [
        "2 spans did not reach the trace collector at collector and are lost",
        "6 spans did not reach the trace collector at collector and are lost",
    ]


@pytest.mark.parametrize(
    "options",
    [{"otlp_endpoint": "collector:4318"}, {"otlp_endpoint": "http://collector:4318", "otlp_headers": "secret"}],
    ids=["endpoint", "headers"],
)
def test_settings_that_cannot_be_read_are_refused_without_quoting_secrets(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfiguration, match="must be") as caught:
        make_tracing(Settings(**options))
    assert "secret" not in str(caught.value)


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert make_tracing(Settings()) is None


def test_the_real_model_traces_every_stage(start_server: StartServer, collector: Collector, tmp_path: Path) -> None:
    import own_folders  # torch: only this test pays for it

    from shortlist.router.pipeline import Router

    folder = own_folders.write_whole(tmp_path / "model").folder
    server = start_server(is_loaded=False, otlp_endpoint=collector.url)
    server.call(server.app.load(lambda: Router.load(folder, device="cpu", dtype="float32"))).result(60)
    with Client(server.app.address, timeout_seconds=60) as client:
        client.select_tools("refund", '[{"name": "ping"}, {"name": "create_refund"}]')
    server.begin_stop().result(60)
    ids = {span.span_id: span.name for span in collector.spans}
    nested = {(span.name, ids.get(span.parent_span_id, "")) for span in collector.spans}
    root = "shortlist.v1.RouterService/SelectTools"
    assert {("parse", root), ("retrieve", root), ("tokenize", root), ("queue", root), ("infer", root)} <= nested
    assert {("queue", "retrieve"), ("infer", "retrieve")} <= nested
