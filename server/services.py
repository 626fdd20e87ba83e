"""Lists the server's services: the limits, the cost and the handler of each method.

Transports, dispatcher, interceptor, health, reflection, metrics and traces all read this list. To add a service, write
a function that returns its `Service` and call it in `make_services`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message as ProtoMessage
from google.protobuf.message_factory import GetMessageClass

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.errors import LimitExceeded
from shortlist.schemas.options import DEFAULTS
from shortlist.schemas.results import Selection, ServerInfo
from shortlist.schemas.sql.parse import DIALECTS
from shortlist.server.convert import read_options, read_query, write_info, write_selection
from shortlist.server.limits import (
    MAX_DOCUMENTS,
    MAX_MESSAGES,
    MAX_NAME_CHARS,
    MAX_NAMES,
    MAX_QUERY_CHARS,
    MAX_TOOL_TEXTS,
)
from shortlist.v1 import router_pb2 as pb

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router
    from shortlist.server.settings import Settings

__all__ = ["Handler", "Method", "Service", "describe", "make_services", "methods_by_path", "router_service"]

# A candidate tool or table usually has at most this many tokens, query included.
_ITEM_TOKENS = 160
_CHARS_PER_TOKEN = 4
# A column is scored with its table's name and the query, so it costs several times its own tokens. This is a guess (one
# schema of three tables gave 3); admission corrects all estimates by the tokens it counts.
_TOKENS_PER_COLUMN_TOKEN = 5

# Takes the Router, the request, its cancel token and the milliseconds it has waited; returns the response.
Handler = Callable[["Router", Any, CancelToken, float], ProtoMessage]


def _accept(request: ProtoMessage) -> None:
    """Accepts every request."""


def _never(request: ProtoMessage) -> bool:
    return False


def _whole(request: ProtoMessage) -> bytes:
    return request.SerializeToString(deterministic=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One unary method: its descriptor and the functions that the dispatcher calls with a request.

    A method with `expected_tokens` goes through admission, and its handler runs on a worker thread. Without it, the
    handler runs on the event loop at once, so it must not block.
    """

    descriptor: MethodDescriptor
    handle: Handler
    # Raises LimitExceeded, which names the field.
    check: Callable[[Any], None] = _accept
    # Estimates how many tokens the engine will read.
    expected_tokens: Callable[[Any], int] | None = None
    # Returns a key that a rejected request and its retry share.
    retry_key: Callable[[Any], bytes] = _whole
    # Returns whether the caller prefers an incomplete response to none; the handler then stops before the deadline.
    allows_degraded: Callable[[Any], bool] = _never
    # The request field that limits the size of the response; the error about a too large response names it.
    size_field: str = ""
    # The error text if this server has the method disabled; empty if it is enabled.
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
        """Whether the proto declares the method free of side effects, so a second identical request does no harm."""
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
    """A service of a proto file, with all its methods."""

    descriptor: ServiceDescriptor
    methods: tuple[Method, ...]

    def __post_init__(self) -> None:
        assert {method.descriptor for method in self.methods} == set(self.descriptor.methods), "one Method for each rpc"
        # A streaming method would need its own call life cycle in dispatcher.py and a handler in grpc/service.py.
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
            _selection(rpcs["SelectTools"], _select_tools, _check_tools, _tokens_of_tools),
            _selection(rpcs["SelectTables"], _select_tables, _check_tables, _tokens_of_tables),
            _selection(rpcs["Rerank"], _rerank, _check_documents, _tokens_of_documents),
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
        # Only the query identifies a retry: serializing a large catalog costs more than a better match is worth.
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
    """Answers a request for tools; `waited_ms` is the time it has already waited, and counts as time in the queue.

    Raises:
        InvalidInput: a field of the request is wrong.
        ModelMismatch: the request expects another model or version.
        RequestCancelled: `cancel` was set before the answer was ready.
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
    """Describes the loaded model and the limits; 0 bytes means no limit."""
    return write_info(describe(router, max_message_bytes=max_message_bytes))


def describe(router: Router, *, max_message_bytes: int = 0) -> ServerInfo:
    """Describes the model, the version of Shortlist and its limits."""
    return ServerInfo(router.info, importlib.metadata.version("shortlist"), max_message_bytes, tuple(DIALECTS))


def _with_wait(selection: Selection, waited_ms: float) -> Selection:
    timings = selection.timings
    timings = replace(timings, queue_ms=timings.queue_ms + waited_ms, total_ms=timings.total_ms + waited_ms)
    return replace(selection, timings=timings)


def _check_tools(request: pb.SelectToolsRequest) -> None:
    """Checks a request for tools.

    Raises:
        LimitExceeded: a field is above its limit; the error names the field.
    """
    _check_common(request)
    _hold("tools", len(request.tools), MAX_TOOL_TEXTS, "texts; put several tools into one text")
    for place, tool in enumerate(request.tools):
        _hold(f"tools[{place}].namespace", len(tool.namespace), MAX_NAME_CHARS, "characters")
    _check_names(request.always_include)


def _check_tables(request: pb.SelectTablesRequest) -> None:
    """Checks a request for tables; raises as `_check_tools`."""
    _check_common(request)
    _hold("dialect", len(request.dialect), MAX_NAME_CHARS, "characters")
    _check_names(request.always_include)


def _check_documents(request: pb.RerankRequest) -> None:
    """Checks a request for documents; raises as `_check_tools`."""
    _check_common(request)
    _hold("documents", len(request.documents), MAX_DOCUMENTS, "documents; send them in several requests")


def _tokens_of_tools(request: pb.SelectToolsRequest) -> int:
    """Estimates how many tokens the engine will read for a request, before it is parsed."""
    return _tokens_of_items(request, sum(len(tool.json) for tool in request.tools))


def _tokens_of_tables(request: pb.SelectTablesRequest) -> int:
    """Estimates the tokens of a request for tables, including those of their columns."""
    tokens = _tokens_of_items(request, len(request.ddl))
    if not request.keep_columns:
        return tokens
    top_n = request.top_n if request.HasField("top_n") else DEFAULTS.top_n
    return tokens + _TOKENS_PER_COLUMN_TOKEN * (min(tokens, top_n * _ITEM_TOKENS) if top_n else tokens)


def _tokens_of_documents(request: pb.RerankRequest) -> int:
    """Estimates the tokens of a request for documents."""
    most, num_documents = _max_candidates(request), len(request.documents)
    share = min(1.0, most / num_documents) if most and num_documents else 1.0
    return int(sum(map(len, request.documents)) * share) // _CHARS_PER_TOKEN


def _tokens_of_items(request: pb.SelectToolsRequest | pb.SelectTablesRequest, num_chars: int) -> int:
    tokens, most = num_chars // _CHARS_PER_TOKEN, _max_candidates(request)
    return min(tokens, most * _ITEM_TOKENS) if most else tokens


def _max_candidates(request: Any) -> int:
    return request.max_candidates if request.HasField("max_candidates") else DEFAULTS.max_candidates


def _check_common(request: Any) -> None:
    _check_query(request.query)
    for field in ("expected_model", "expected_version"):
        _hold(field, len(getattr(request, field)), MAX_NAME_CHARS, "characters")


def _check_query(query: pb.Query) -> None:
    _hold("query.text", len(query.text), MAX_QUERY_CHARS, "characters")
    messages = query.conversation.messages
    field = "query.conversation.messages"
    _hold(field, len(messages), MAX_MESSAGES, "messages; leave out the oldest")
    _hold(field, sum(len(message.content) for message in messages), MAX_QUERY_CHARS, "characters; leave out the oldest")
    for place, message in enumerate(messages):
        _hold(f"{field}[{place}].role", len(message.role), MAX_NAME_CHARS, "characters")


def _check_names(names: Sequence[str]) -> None:
    _hold("always_include", len(names), MAX_NAMES, "names")
    for place, name in enumerate(names):
        _hold(f"always_include[{place}]", len(name), MAX_NAME_CHARS, "characters")


def _hold(field: str, actual: int, limit: int, unit: str) -> None:
    if actual > limit:
        noun, _, remedy = unit.partition("; ")
        advice = f"; {remedy}" if remedy else ""
        raise LimitExceeded(
            f"has {actual} {noun}, but at most {limit} are allowed{advice}", limit=limit, actual=actual, field=field
        )
