"""Lists the services of the server: what each method accepts, what it costs and which function answers it.

Transports, dispatcher, interceptor, health, reflection, metrics and traces all read this table. To add a service, write
a function that returns its `Service` and call it in `make_services`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message as ProtoMessage
from google.protobuf.message_factory import GetMessageClass

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.results import Selection, ServerInfo
from shortlist.schemas.sql.parse import DIALECTS
from shortlist.server import limits
from shortlist.server.convert import read_options, read_query, write_info, write_selection
from shortlist.v1 import router_pb2 as pb

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router
    from shortlist.server.settings import Settings

__all__ = ["Handler", "Method", "Service", "describe", "make_services", "methods_by_path", "router_service"]

# Takes the Router, the request, the token that cancels it and the milliseconds it has waited; returns the response.
Handler = Callable[["Router", Any, CancelToken, float], ProtoMessage]


def _accept(request: ProtoMessage) -> None:
    """Accepts every request."""


def _never(request: ProtoMessage) -> bool:
    return False


def _whole(request: ProtoMessage) -> bytes:
    return request.SerializeToString(deterministic=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One unary method: its descriptor and the functions of a request that the dispatcher calls.

    A method with `expected_tokens` passes admission, and its handler runs on a worker thread. Without it the handler
    runs on the event loop at once, so it must not block.
    """

    descriptor: MethodDescriptor
    handle: Handler
    # Raises LimitExceeded, naming the field.
    check: Callable[[Any], None] = _accept
    # Estimates how many tokens the engine will read.
    expected_tokens: Callable[[Any], int] | None = None
    # What a rejected request and its retry have in common.
    retry_key: Callable[[Any], bytes] = _whole
    # Whether the caller prefers an incomplete response to none; the handler then stops before the deadline by itself.
    allows_degraded: Callable[[Any], bool] = _never
    # The field of the request that limits the size of the response, for the error about one that is too large.
    size_field: str = ""
    # The text of the refusal where this server has the method disabled; empty where it is enabled.
    disabled: str = ""

    @property
    def name(self) -> str:
        """The name without the service, as metrics and logs show it."""
        return self.descriptor.name

    @property
    def service(self) -> str:
        """The full name of its service."""
        return self.descriptor.containing_service.full_name

    @property
    def path(self) -> str:
        """The path of the HTTP/2 request: /SERVICE/METHOD."""
        return f"/{self.service}/{self.name}"

    @property
    def only_reads(self) -> bool:
        """Whether the proto promises that a second identical request does no harm."""
        level: int = self.descriptor.GetOptions().idempotency_level
        return level == MethodOptions.NO_SIDE_EFFECTS

    @property
    def request_class(self) -> type[ProtoMessage]:
        """The class of its requests."""
        return GetMessageClass(self.descriptor.input_type)

    @property
    def response_class(self) -> type[ProtoMessage]:
        """The class of its responses."""
        return GetMessageClass(self.descriptor.output_type)


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a proto file with all of its methods."""

    descriptor: ServiceDescriptor
    methods: tuple[Method, ...]

    def __post_init__(self) -> None:
        assert {method.descriptor for method in self.methods} == set(self.descriptor.methods), "one Method for each rpc"
        # A streaming method needs a call life cycle of its own in dispatcher.py and a handler in grpc/service.py.
        streaming = [rpc.name for rpc in self.descriptor.methods if rpc.client_streaming or rpc.server_streaming]
        assert not streaming, f"only unary methods are implemented, not {streaming}"

    @property
    def name(self) -> str:
        """The full name."""
        return self.descriptor.full_name


def make_services(settings: Settings) -> tuple[Service, ...]:
    """Makes all services of the server."""
    return (router_service(settings),)


def methods_by_path(services: Iterable[Service]) -> dict[str, Method]:
    """Maps /SERVICE/METHOD to its method. Metrics label calls by the short name, so no two methods may share one."""
    methods = [method for service in services for method in service.methods]
    assert len({method.name for method in methods}) == len(methods), "two methods share a name"
    return {method.path: method for method in methods}


def router_service(settings: Settings) -> Service:
    """Makes `shortlist.v1.RouterService`."""
    descriptor = pb.DESCRIPTOR.services_by_name["RouterService"]
    rpcs = descriptor.methods_by_name
    return Service(
        descriptor,
        (
            _selection(rpcs["SelectTools"], _select_tools, limits.check_tools, limits.tokens_of_tools),
            _selection(rpcs["SelectTables"], _select_tables, limits.check_tables, limits.tokens_of_tables),
            _selection(rpcs["Rerank"], _rerank, limits.check_documents, limits.tokens_of_documents),
            _info(rpcs["GetInfo"], settings),
        ),
    )


def _selection(
    descriptor: MethodDescriptor,
    handle: Handler,
    check: Callable[[Any], None],
    expected_tokens: Callable[[Any], int],
) -> Method:
    return Method(
        descriptor=descriptor,
        handle=handle,
        check=check,
        expected_tokens=expected_tokens,
        # The query, not the catalog: serializing a large catalog would cost more than recognising its caller is worth.
        retry_key=lambda request: _whole(request.query),
        allows_degraded=lambda request: bool(request.allow_degraded),
        size_field="top_n",
    )


def _info(descriptor: MethodDescriptor, settings: Settings) -> Method:
    max_bytes = settings.max_message_bytes
    refusal = "GetInfo is disabled on this server"
    return Method(
        descriptor=descriptor,
        handle=lambda router, request, cancel, waited_ms: _get_info(router, max_message_bytes=max_bytes),
        disabled=refusal if "info" in settings.disabled else "",
    )


def _select_tools(
    router: Router, request: pb.SelectToolsRequest, cancel: CancelToken, waited_ms: float
) -> pb.SelectToolsResponse:
    """Answers a request for tools; `waited_ms` passed before and counts as time in the queue.

    Raises:
        InvalidInput: the request is wrong.
        ModelMismatch: the request expects another model.
        RequestCancelled: `cancel` was set first.
    """
    selection = router.select_tools(
        read_query(request.query),
        [tool.json for tool in request.tools],
        read_options(request, "tools"),
        namespaces=[tool.namespace for tool in request.tools],
        cancel=cancel,
    )
    return write_selection(_with_wait(selection, waited_ms), pb.SelectToolsResponse)


def _select_tables(
    router: Router, request: pb.SelectTablesRequest, cancel: CancelToken, waited_ms: float
) -> pb.SelectTablesResponse:
    """Answers a request for tables; otherwise as `_select_tools`."""
    selection = router.select_tables(
        read_query(request.query),
        request.ddl,
        read_options(request, "tables"),
        dialect=request.dialect or None,
        cancel=cancel,
    )
    return write_selection(_with_wait(selection, waited_ms), pb.SelectTablesResponse)


def _rerank(router: Router, request: pb.RerankRequest, cancel: CancelToken, waited_ms: float) -> pb.RerankResponse:
    """Answers a request for documents; otherwise as `_select_tools`."""
    selection = router.rerank(
        read_query(request.query), request.documents, read_options(request, "documents"), cancel=cancel
    )
    return write_selection(_with_wait(selection, waited_ms), pb.RerankResponse)


def _get_info(router: Router, *, max_message_bytes: int = 0) -> pb.GetInfoResponse:
    """Describes the loaded model and the limits; 0 bytes stand for no limit."""
    return write_info(describe(router, max_message_bytes=max_message_bytes))


def describe(router: Router, *, max_message_bytes: int = 0) -> ServerInfo:
    """Describes what answers: the model, this program's version and its limits."""
    return ServerInfo(router.info, importlib.metadata.version("shortlist"), max_message_bytes, tuple(DIALECTS))


def _with_wait(selection: Selection, waited_ms: float) -> Selection:
    timings = selection.timings
    timings = replace(timings, queue_ms=timings.queue_ms + waited_ms, total_ms=timings.total_ms + waited_ms)
    return replace(selection, timings=timings)
