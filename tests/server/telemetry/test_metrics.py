from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from server_fakes import tool
from server_fixtures import SERVE_FAKE, ServerProcess, ServerThread, wait_until, wait_until_pairs_wait

from shortlist import Client
from shortlist.schemas.errors import InvalidInput, ServerBusy
from shortlist.server.auth.authenticator import Caller
from shortlist.server.dispatcher import Call, Dispatcher, Workers
from shortlist.server.scheduling.admission import Admission
from shortlist.server.telemetry.metrics import Metrics
from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

StartServer = Callable[..., ServerThread]

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
UNITS = {"duration": "_seconds", "size": "_bytes", "fill": "_ratio", "bytes": "_bytes", "time": "_seconds"}


def sample(server: ServerThread, name: str, **labels: str) -> float | None:
    return server.app.metrics.registry.get_sample_value(name, labels)


def made() -> Metrics:
    admission = Admission(max_concurrent=1, max_waiting=1, max_queue_seconds=1)
    return Metrics(admission, Dispatcher(admission, Workers(max_concurrent=1), max_message_bytes=1))


def ended(caller: str = "anonymous", **fields: str) -> Call:
    call = Call("Rerank", caller=Caller(caller), **fields)
    call.end("OK")
    return call


def test_every_metric_says_what_it_is_and_is_named_by_the_rules(server: ServerThread) -> None:
    families = list(server.app.metrics.registry.collect())
    own = [family for family in families if family.name.startswith("shortlist_")]
    assert len(own) >= 20
    assert all(family.name.startswith("process_") for family in families if family not in own)
    for family in own:
        assert re.fullmatch(r"shortlist_[a-z]+(_[a-z]+)*", family.name)
        assert re.fullmatch(r"[A-Z].{10,}\.", family.documentation), family.name
        assert not re.search(r"_(ms|total|milliseconds|kb|count)\b", family.name), family.name
        assert all(family.name.endswith(unit) for word, unit in UNITS.items() if f"_{word}_" in f"{family.name}_")


def test_a_call_is_counted_by_method_transport_and_code(server: ServerThread, client: Client) -> None:
    client.select_tools("refund", [tool("create_refund"), tool("ping")])
    client.get_info()
    labels = {"transport": "grpc", "code": "OK"}
    assert sample(server, "shortlist_requests_total", method="SelectTools", **labels) == 1
    assert sample(server, "shortlist_requests_total", method="GetInfo", **labels) == 1
    assert sample(server, "shortlist_request_duration_seconds_count", method="SelectTools", **labels) == 1
    assert sample(server, "shortlist_caller_requests_total", caller="anonymous", code="OK") == 2


def test_an_answer_is_measured_by_its_stages_candidates_and_sizes(server: ServerThread, client: Client) -> None:
    response = client.select_tools("refund", [tool("create_refund"), tool("ping"), "{broken"])
    method = {"method": "SelectTools"}
    infer = sample(server, "shortlist_stage_duration_seconds_sum", stage="infer", **method)
    assert infer == pytest.approx(response.timings.infer_ms / 1000)
    assert sample(server, "shortlist_stage_duration_seconds_count", stage="queue", **method) == 1
    assert sample(server, "shortlist_request_candidates_sum", **method) == 2
    assert sample(server, "shortlist_request_tokens_sum", **method) == response.num_tokens
    assert sample(server, "shortlist_caller_tokens_total", caller="anonymous") == response.num_tokens
    assert sample(server, "shortlist_unparsed_items_total", **method) == 1
    assert sample(server, "shortlist_degraded_responses_total", **method) == 0
    assert sample(server, "shortlist_response_size_bytes_sum", **method) > len("create_refund")
    assert (sample(server, "shortlist_request_size_bytes_sum", **method) or 0) > 50


def test_a_refused_call_is_counted_by_its_reason(start_server: StartServer) -> None:
    server = start_server(max_concurrent=1, max_waiting=0)
    server.engine.gate.clear()
    with Client(server.app.address, timeout_seconds=60, retry=None) as client, ThreadPoolExecutor() as pool:
        admitted = pool.submit(client.rerank, "first", ["first"])
        server.engine.wait_until_entered()
        with pytest.raises(ServerBusy):
            client.rerank("second", ["second"])
        server.engine.gate.set()
        admitted.result(60)
        with pytest.raises(InvalidInput):
            client.rerank("third", ["third"], max_pair_tokens=100_000)
    reasons = ("OVERLOADED", "INVALID_FIELD")
    assert [sample(server, "shortlist_request_errors_total", method="Rerank", reason=one) for one in reasons] == [1, 1]
    refused = {"method": "Rerank", "transport": "grpc", "code": "RESOURCE_EXHAUSTED"}
    assert sample(server, "shortlist_requests_total", **refused) == 1


def test_a_call_past_its_deadline_is_counted_apart_from_a_cancelled_one(start_server: StartServer) -> None:
    server = start_server(max_concurrent=1)
    server.engine.gate.clear()
    labels = {"method": "Rerank", "transport": "grpc"}
    with grpc.insecure_channel(server.app.address) as channel:
        request = pb.RerankRequest(query={"text": "x"}, documents=["a"])
        begin = pb_grpc.RouterServiceStub(channel).Rerank.future
        # It has the only thread, so that the others' ends are the transport's to tell.
        running = begin(request, timeout=60)
        server.engine.wait_until_entered()
        late, unwanted = begin(request, timeout=0.3), begin(request, timeout=60)
        assert late.exception(timeout=60).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: sample(server, "shortlist_requests_in_flight") == 2)
        unwanted.cancel()
        wait_until(lambda: sample(server, "shortlist_requests_in_flight") == 1)
        for code in ("DEADLINE_EXCEEDED", "CANCELLED"):
            assert sample(server, "shortlist_requests_total", code=code, **labels) == 1
        server.engine.gate.set()
        assert len(running.result(60).items) == 1


def test_waiting_tokens_are_measured_while_they_wait(server: ServerThread, client: Client) -> None:
    server.engine.gate.clear()
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(client.rerank, "first", ["a"])]
        server.engine.wait_until_entered()
        futures.append(pool.submit(client.rerank, "second", ["a", "b"]))
        wait_until_pairs_wait(server, 2)
        assert sample(server, "shortlist_requests_in_flight") == 2
        assert sample(server, "shortlist_requests_admitted") == 2
        assert sample(server, "shortlist_queue_tokens", state="queued") == 12
        server.engine.gate.set()
        for future in futures:
            future.result(60)
    wait_until(lambda: sample(server, "shortlist_requests_admitted") == 0)
    assert sample(server, "shortlist_queue_tokens", state="queued") == 0
    assert (sample(server, "shortlist_engine_tokens_per_second") or 0) > 0


def test_batches_are_counted_by_model(server: ServerThread, client: Client) -> None:
    before = sample(server, "shortlist_batch_tokens_sum", model="score") or 0  # the warm-up's
    client.rerank("a b", ["c"] * 10)
    tokens = (sample(server, "shortlist_batch_tokens_sum", model="score") or 0) - before
    assert tokens == 70
    assert sample(server, "shortlist_batch_fill_ratio_bucket", model="score", le="0.1") == 2
    assert sample(server, "shortlist_batch_duration_seconds_count", model="score") == 2
    assert sample(server, "shortlist_batch_pairs_sum", model="score") == 11


def test_model_build_caches_and_health_are_measured(start_server: StartServer) -> None:
    server = start_server(is_loaded=False)
    assert (sample(server, "shortlist_serving"), b'name="fake"' in server.app.metrics.render()[0]) == (0, False)
    server.load()
    text = server.app.metrics.render()[0].decode()
    assert sample(server, "shortlist_serving") == 1
    assert re.search(r'shortlist_model_info\{.*device="cpu".*name="fake".*server_version="[0-9.]+".*\} 1.0', text)
    assert re.search(r'shortlist_build_info\{python_version="3.*version="[0-9.]+"\} 1.0', text)
    assert sample(server, "shortlist_cache_requests_total", cache="catalogs", outcome="hit") == 3
    assert sample(server, "shortlist_cache_requests_total", cache="catalogs", outcome="miss") == 1
    assert (sample(server, "process_resident_memory_bytes") or 0) > 1_000_000
    server.begin_stop().result(60)
    assert sample(server, "shortlist_serving") == 0


def test_names_of_callers_do_not_grow_without_end() -> None:
    metrics = made()
    for number in range(300):
        metrics.observe(ended(f"caller-{number}"))
    metrics.observe(ended("caller-0"))
    (family,) = [one for one in metrics.registry.collect() if one.name == "shortlist_caller_requests"]
    counts = {one.labels["caller"]: one.value for one in family.samples if one.name.endswith("_total")}
    assert (len(counts), counts["other"], counts["caller-0"]) == (101, 200, 2)


def test_two_servers_of_one_process_count_apart() -> None:
    first, second = made(), made()
    first.observe(ended())
    labels = {"caller": "anonymous", "code": "OK"}
    assert first.registry.get_sample_value("shortlist_caller_requests_total", labels) == 1
    assert second.registry.get_sample_value("shortlist_caller_requests_total", labels) is None


def test_both_formats_can_be_read_by_their_parsers() -> None:
    metrics = made()
    metrics.observe(ended(trace_id="ab" * 16))
    old, old_type = metrics.render("text/plain;version=0.0.4")
    new, new_type = metrics.render(OPENMETRICS)
    assert old_type.startswith("text/plain; version=0.0.4")
    assert new_type.startswith("application/openmetrics-text")
    names = {re.sub(r"_(total|info)$", "", family.name) for family in parse_text(old.decode())}
    assert {"shortlist_requests", "shortlist_model"} < {family.name for family in parse_openmetrics(new.decode())}
    assert {family.name for family in parse_openmetrics(new.decode())} <= names
    assert f'trace_id="{"ab" * 16}"' in new.decode()


def fetch(url: str, accept: str = "*/*") -> tuple[str, str]:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=30) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def test_a_port_of_their_own_serves_them_until_the_server_stops(start_server: StartServer) -> None:
    server = start_server(metrics_port=0)
    url = server.app.metrics_url
    assert url is not None
    text, content_type = fetch(url, OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert "shortlist_serving 1.0" in text
    assert server.begin_stop().result(60) is True
    with pytest.raises(OSError, match="refused"):
        fetch(url)


def test_a_process_logs_where_its_metrics_are(start_process: Callable[..., ServerProcess]) -> None:
    served = start_process("--metrics-port", "0")
    assert served.process.stderr is not None
    lines = [served.process.stderr.readline() for _ in range(2)]
    (url,) = re.findall(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", "".join(lines))
    with Client(served.address, timeout_seconds=60) as client:
        client.rerank("paris", ["berlin", "paris"])
    text, _ = fetch(url)
    assert 'shortlist_requests_total{code="OK",method="Rerank",transport="grpc"} 1.0' in text
    served.process.send_signal(signal.SIGTERM)
    served.process.communicate(timeout=60)
    assert served.process.returncode == 0


def test_a_metrics_port_in_use_is_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        command = [sys.executable, str(SERVE_FAKE), "serve", "--port", "0", "--log-level", "error"]
        command += ["--metrics-port", str(taken)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    expected = f"shortlist: cannot listen on 127.0.0.1:{taken}: Address already in use; choose another --metrics-port"
    assert (done.returncode, done.stderr.startswith(expected), len(done.stderr.splitlines())) == (1, True, 1)
