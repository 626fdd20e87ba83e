"""What a service gets by being registered alone, shown on one that the product does not know (`toy_service.py`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from server_fixtures import ServerThread, wait_until
from toy_service import APPEND, DESCRIPTOR, ECHO, EchoRequest, EchoResponse, Toy
from trace_collector import Collector, attributes

from shortlist.schemas.errors import ServerBusy, ServerUnavailable
from shortlist.server.auth.authenticator import AnonymousAuthenticator
from shortlist.server.auth.keys import KeysFile, new_key, write_keys
from shortlist.server.dispatcher import Call, Dispatcher, Workers
from shortlist.server.grpc.service import AuthInterceptor
from shortlist.server.scheduling.admission import Admission
from shortlist.server.services import Service, make_services, methods_by_path
from shortlist.server.settings import Settings

Code = grpc.StatusCode
# A stock client's retries; its own pauses are too short to be taken for the server's.
RETRIES = {
    "maxAttempts": 5,
    "initialBackoff": "0.01s",
    "maxBackoff": "0.01s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}


@dataclass
class Deployed:
    """A server with the toy service beside its own, and the calls that it answered."""

    server: ServerThread
    toy: Toy
    calls: list[Call]

    def echo(self, text: str = "hello", *, key: str = "", timeout: float = 60) -> Any:
        return self.call(ECHO.name, text, key=key, timeout=timeout)

    def append(self, text: str = "hello") -> Any:
        return self.call(APPEND.name, text)

    def call(self, method: str, text: str, *, key: str = "", timeout: float = 60, retries: bool = False) -> Any:
        config = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": RETRIES}]} if retries else {})
        with grpc.insecure_channel(self.server.app.address, [("grpc.service_config", config)]) as channel:
            send = channel.unary_unary(
                f"/toy.v1.ToyService/{method}", EchoRequest.SerializeToString, EchoResponse.FromString
            )
            metadata = [("authorization", f"Bearer {key}")] if key else []
            return send(EchoRequest(text=text), timeout=timeout, metadata=metadata)


@pytest.fixture
def deploy(start_server: Callable[..., ServerThread]) -> Callable[..., Deployed]:
    """Starts a server with the settings given; registering the toy service is all that is done for it."""

    def deploy(toy: Toy | None = None, **options: Any) -> Deployed:
        toy, calls = toy or Toy(), list[Call]()
        services = (*make_services(Settings()), toy.service)
        return Deployed(start_server(services=services, observers=[calls.append], **options), toy, calls)

    return deploy


@pytest.fixture
def key_of_ada(tmp_path: Path) -> tuple[Path, str]:
    """A file of keys, and one key in it."""
    key, entry = new_key("ada")
    write_keys(tmp_path / "keys.json", KeysFile(keys=(entry,)))
    return tmp_path / "keys.json", key


def code_of(error: pytest.ExceptionInfo[Any]) -> grpc.StatusCode:
    code: grpc.StatusCode = error.value.code()
    return code


def reason_of(error: pytest.ExceptionInfo[Any]) -> str:
    return str(detail_of(error, error_details_pb2.ErrorInfo).reason)


def detail_of(error: pytest.ExceptionInfo[Any], kind: type[Any]) -> Any:
    """Gives the `google.rpc` detail of that kind, None where there is none."""
    sent = status_pb2.Status.FromString(trailing(error)["grpc-status-details-bin"])
    found = [kind.FromString(detail.value) for detail in sent.details if detail.Is(kind.DESCRIPTOR)]
    return found[0] if found else None


def trailing(error: pytest.ExceptionInfo[Any]) -> dict[str, Any]:
    return dict(error.value.trailing_metadata())


def sample(deployed: Deployed, name: str, **labels: str) -> float | None:
    return deployed.server.app.metrics.registry.get_sample_value(name, labels)


def test_a_registered_service_is_answered(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy(Toy(times=2))

    assert deployed.echo("ab").text == "abab"


def test_its_methods_are_authenticated(deploy: Callable[..., Deployed], key_of_ada: tuple[Path, str]) -> None:
    keys_file, key = key_of_ada
    deployed = deploy(keys_file=keys_file)

    with pytest.raises(grpc.RpcError) as refused:
        deployed.echo()
    answer = deployed.echo(key=key)

    assert (code_of(refused), reason_of(refused)) == (Code.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert (answer.text, [call.caller.name for call in deployed.calls]) == ("hello", ["anonymous", "ada"])


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/toy.v1.ToyService/Forged", id="unknown method"),
        pytest.param("/toy.v1.OtherService/Echo", id="service outside the table"),
        pytest.param("/grpc.health.v1.Health2/Check", id="name like a public one"),
        pytest.param("//grpc.health.v1.Health/Check", id="path like a public one"),
    ],
)
def test_a_method_outside_the_table_is_unknown_even_where_it_has_a_handler(path: str) -> None:
    assert intercept(path) is None


@pytest.mark.parametrize(
    "path", ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"]
)
def test_health_and_reflection_pass_without_authentication(path: str) -> None:
    assert intercept(path) is HANDLER


HANDLER = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")


def intercept(path: str) -> Any:
    """Gives the handler that a call of that path gets where every path has one."""

    async def find(details: Any) -> Any:
        return HANDLER

    settings = Settings()
    admission = Admission(max_concurrent=1, max_waiting=1, max_queue_seconds=1)
    dispatcher = Dispatcher(admission, Workers(max_concurrent=1), max_message_bytes=1)
    methods = methods_by_path([*make_services(settings), Toy().service])
    interceptor = AuthInterceptor(dispatcher, AnonymousAuthenticator(settings), methods)
    return asyncio.run(interceptor.intercept_service(find, Details(path)))


@dataclass
class Details(grpc.HandlerCallDetails):
    method: str
    invocation_metadata: Sequence[tuple[str, str]] = ()


def test_its_requests_are_checked(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy()

    with pytest.raises(grpc.RpcError) as refused:
        deployed.echo("x" * 1001)

    assert (code_of(refused), reason_of(refused)) == (Code.INVALID_ARGUMENT, "LIMIT_EXCEEDED")
    assert trailing(refused)["shortlist-field"] == "text"


def test_its_requests_are_limited_in_size(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy(max_message_mb=1)

    with pytest.raises(grpc.RpcError) as refused:
        deployed.echo("x" * 2_000_000)

    assert (code_of(refused), deployed.calls) == (Code.RESOURCE_EXHAUSTED, [])


def test_its_responses_are_limited_in_size(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy(Toy(times=2000), max_message_mb=1)

    with pytest.raises(grpc.RpcError) as refused:
        deployed.echo("x" * 1000)

    assert (code_of(refused), reason_of(refused)) == (Code.INVALID_ARGUMENT, "LIMIT_EXCEEDED")


def test_its_calls_pass_admission(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy(max_concurrent=1, max_waiting=0)
    deployed.server.engine.gate.clear()

    with ThreadPoolExecutor() as pool:
        admitted = pool.submit(deployed.echo, "first")
        deployed.server.engine.wait_until_entered()
        with pytest.raises(grpc.RpcError) as refused:
            deployed.echo("second")
        deployed.server.engine.gate.set()

        assert (admitted.result(60).text, reason_of(refused)) == ("first", "OVERLOADED")


def test_its_callers_are_limited_in_rate(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy(rate=0.001, burst=1)
    deployed.echo()

    with pytest.raises(grpc.RpcError) as refused:
        deployed.append()

    assert (reason_of(refused), deployed.toy.kept) == ("RATE_LIMITED", [])


def test_its_calls_end_at_their_deadline(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy()
    deployed.server.engine.gate.clear()

    with ThreadPoolExecutor() as pool:
        running = pool.submit(deployed.echo, "first")
        deployed.server.engine.wait_until_entered()
        with pytest.raises(grpc.RpcError) as late:
            deployed.echo("second", timeout=0.3)
        wait_until(lambda: deployed.server.app.admission.num_admitted == 1)
        deployed.server.engine.gate.set()
        running.result(60)

    assert code_of(late) is Code.DEADLINE_EXCEEDED
    assert [call.code for call in deployed.calls] == ["DEADLINE_EXCEEDED", "OK"]


def test_its_calls_are_refused_until_the_model_is_loaded(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy(is_loaded=False)

    with pytest.raises(grpc.RpcError) as refused:
        deployed.echo()

    assert (code_of(refused), reason_of(refused)) == (Code.UNAVAILABLE, "NOT_SERVING")


def test_its_calls_are_traced(deploy: Callable[..., Deployed], collector: Collector) -> None:
    deployed = deploy(otlp_endpoint=collector.url)

    deployed.echo()
    deployed.server.begin_stop().result(60)

    span = collector.named("toy.v1.ToyService/Echo")
    assert attributes(span).items() >= {"rpc.service": "toy.v1.ToyService", "rpc.method": "Echo"}.items()
    assert {one.name for one in collector.spans} >= {"queue", "infer"}


def test_its_calls_are_measured(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy()

    size = deployed.echo().ByteSize()

    assert sample(deployed, "shortlist_requests_total", method="Echo", transport="grpc", code="OK") == 1
    assert sample(deployed, "shortlist_response_size_bytes_sum", method="Echo") == size


def test_its_calls_are_logged(deploy: Callable[..., Deployed], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="shortlist.access")
    deployed = deploy()

    deployed.echo("secret")

    [line] = [vars(record) for record in caplog.records if record.msg == "call"]
    assert (line["method"], line["code"], "secret" in str(line)) == ("Echo", "OK", False)


def test_health_and_reflection_name_it(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy()

    with grpc.insecure_channel(deployed.server.app.address) as channel:
        request = health_pb2.HealthCheckRequest(service=DESCRIPTOR.full_name)
        health = health_pb2_grpc.HealthStub(channel).Check(request, timeout=60)
        database = ProtoReflectionDescriptorDatabase(channel)
        names, file = database.get_services(), database.FindFileContainingSymbol(DESCRIPTOR.full_name)

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert ("toy.v1.ToyService" in names, isinstance(file, FileDescriptorProto)) == (True, True)
    assert [method.name for method in file.service[0].method] == ["Echo", "Append"]


def test_a_service_needs_a_method_for_each_rpc() -> None:
    with pytest.raises(AssertionError, match="one Method for each rpc"):
        Service(DESCRIPTOR, Toy().service.methods[:1])


def test_two_methods_may_not_share_a_name() -> None:
    with pytest.raises(AssertionError, match="share a name"):
        methods_by_path([Toy().service, Toy().service])


def test_a_stock_client_retries_when_the_server_asks_it_to(deploy: Callable[..., Deployed]) -> None:
    deployed = deploy(is_loaded=False)

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(deployed.call, "Echo", "hello", retries=True)
        wait_until(lambda: len(deployed.calls) == 1)
        deployed.server.load()

        assert answer.result(60).text == "hello"
    first, *_, last = deployed.calls
    assert (first.code, last.code) == ("UNAVAILABLE", "OK")
    assert last.arrived - first.arrived >= 0.95  # the server asked for 1 s; the client's own pauses come to 0.05 s


@pytest.mark.parametrize(
    ("method", "failure"),
    [
        pytest.param("Echo", ServerBusy("not enough memory for this request"), id="of no use"),
        pytest.param("Append", ServerUnavailable("the engine restarts"), id="may have changed something"),
    ],
)
def test_a_stock_client_does_not_retry_where_the_server_says_so(
    deploy: Callable[..., Deployed], method: str, failure: Exception
) -> None:
    deployed = deploy(Toy(failure=failure))

    with pytest.raises(grpc.RpcError) as caught:
        deployed.call(method, "hello", retries=True)

    assert (trailing(caught)["grpc-retry-pushback-ms"], len(deployed.calls)) == ("-1", 1)


def test_a_method_with_side_effects_may_be_retried_only_if_its_handler_did_not_start(
    deploy: Callable[..., Deployed],
) -> None:
    deployed = deploy(Toy(failure=ServerUnavailable("the engine restarts")), is_loaded=False)

    with pytest.raises(grpc.RpcError) as before:
        deployed.append()
    deployed.server.load()
    with pytest.raises(grpc.RpcError) as after:
        deployed.append()
    with pytest.raises(grpc.RpcError) as read:
        deployed.echo()

    retries = [detail_of(error, error_details_pb2.RetryInfo) is not None for error in (before, after, read)]
    assert (retries, deployed.toy.kept) == ([True, False, True], ["hello"])
