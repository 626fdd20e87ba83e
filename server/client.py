"""Calls a Shortlist server, from ordinary code or from asyncio; imports neither torch nor a parser.

A whole program:

    with Client("127.0.0.1:50051") as client:
        for item in client.select_tools("refund the last order", catalog_json).items:
            print(item.rank, item.name, item.score)
"""

from __future__ import annotations

import abc
import asyncio
import json
import re
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc
from google.protobuf.message import Message as ProtoMessage

from shortlist.schemas import errors
from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

__all__ = ["DEFAULT_ADDRESS", "AsyncClient", "Calls", "ChatMessage", "Client", "Query", "ToolText", "Tools"]

DEFAULT_ADDRESS = "127.0.0.1:50051"
_DEFAULT_MESSAGE_BYTES = 64 * 1024 * 1024
_READY_POLL_SECONDS = 0.1

# A message as chat APIs write it: role, and content as text, as a list of parts, or None.
ChatMessage = Mapping[str, Any]
Query = str | Sequence[ChatMessage]
# One tool or a container of many, as JSON text or as the object it decodes to.
ToolText = str | Mapping[str, Any]
Tools = ToolText | Sequence[ToolText]

ToolsT = TypeVar("ToolsT", covariant=True)
TablesT = TypeVar("TablesT", covariant=True)
RerankT = TypeVar("RerankT", covariant=True)
InfoT = TypeVar("InfoT", covariant=True)
RequestT = TypeVar("RequestT", bound=ProtoMessage)


class Calls(abc.ABC, Generic[ToolsT, TablesT, RerankT, InfoT]):
    """The calls of the service, written once; whether they return answers or coroutines is the subclass's to say.

    `top_n` and `max_candidates` of 0 mean all; None and an empty text take the server's default. `timeout_seconds` of
    None takes the client's. The calls raise `InvalidInput`, `LimitExceeded`, `ModelMismatch`, `RequestCancelled` (also
    when the time is up), `ServerUnavailable`, `ServerBusy`, and `ShortlistError` for a defect of the server.
    """

    def select_tools(
        self,
        query: Query,
        tools: Tools,
        *,
        namespaces: Sequence[str] = (),
        top_n: int | None = None,
        min_score: float = 0.0,
        always_include: Sequence[str] = (),
        max_candidates: int | None = None,
        expected_model: str = "",
        expected_version: str = "",
        allow_degraded: bool = False,
        timeout_seconds: float | None = None,
    ) -> ToolsT:
        """Ranks tools; `namespaces` is empty or has one entry per tool text, for all tools in it."""
        fields = {
            "query": _query(query),
            "tools": _tool_texts(tools, namespaces),
            "top_n": top_n,
            "min_score": min_score,
            "always_include": _texts("always_include", always_include),
            "max_candidates": max_candidates,
            "expected_model": expected_model,
            "expected_version": expected_version,
            "allow_degraded": allow_degraded,
        }
        result: ToolsT = self._call("SelectTools", _request(pb.SelectToolsRequest, fields), timeout_seconds)
        return result

    def select_tables(
        self,
        query: Query,
        ddl: str,
        *,
        dialect: str = "",
        top_n: int | None = None,
        min_score: float = 0.0,
        always_include: Sequence[str] = (),
        max_candidates: int | None = None,
        expected_model: str = "",
        expected_version: str = "",
        allow_degraded: bool = False,
        timeout_seconds: float | None = None,
    ) -> TablesT:
        """Ranks the tables of a DDL script; without `dialect` the server detects it."""
        fields = {
            "query": _query(query),
            "ddl": ddl,
            "dialect": dialect,
            "top_n": top_n,
            "min_score": min_score,
            "always_include": _texts("always_include", always_include),
            "max_candidates": max_candidates,
            "expected_model": expected_model,
            "expected_version": expected_version,
            "allow_degraded": allow_degraded,
        }
        result: TablesT = self._call("SelectTables", _request(pb.SelectTablesRequest, fields), timeout_seconds)
        return result

    def rerank(
        self,
        query: Query,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        min_score: float = 0.0,
        max_candidates: int | None = None,
        max_query_tokens: int | None = None,
        max_pair_tokens: int | None = None,
        overlap_tokens: int | None = None,
        return_documents: bool = True,
        expected_model: str = "",
        expected_version: str = "",
        allow_degraded: bool = False,
        timeout_seconds: float | None = None,
    ) -> RerankT:
        """Ranks plain documents."""
        fields = {
            "query": _query(query),
            "documents": _texts("documents", documents),
            "top_n": top_n,
            "min_score": min_score,
            "max_candidates": max_candidates,
            "max_query_tokens": max_query_tokens,
            "max_pair_tokens": max_pair_tokens,
            "overlap_tokens": overlap_tokens,
            "return_documents": return_documents,
            "expected_model": expected_model,
            "expected_version": expected_version,
            "allow_degraded": allow_degraded,
        }
        result: RerankT = self._call("Rerank", _request(pb.RerankRequest, fields), timeout_seconds)
        return result

    def get_info(self, *, timeout_seconds: float | None = None) -> InfoT:
        """Describes the model and the limits."""
        result: InfoT = self._call("GetInfo", pb.GetInfoRequest(), timeout_seconds)
        return result

    @abc.abstractmethod
    def _call(self, method: str, request: ProtoMessage, timeout_seconds: float | None) -> Any: ...


class Client(Calls[pb.SelectToolsResponse, pb.SelectTablesResponse, pb.RerankResponse, pb.GetInfoResponse]):
    """Calls a server and blocks; safe to share between threads.

    `timeout_seconds` applies to each call, None waits for ever; an answer above `max_message_bytes` is refused. A
    `channel` of the caller's own (with TLS, say) is used instead of `address` and closed with the client.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_seconds: float | None = 60.0,
        max_message_bytes: int = _DEFAULT_MESSAGE_BYTES,
        channel: grpc.Channel | None = None,
    ) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._channel = channel or grpc.insecure_channel(address, options=_channel_options(address, max_message_bytes))
        self._stub = pb_grpc.RouterServiceStub(self._channel)

    def wait_until_ready(self, timeout_seconds: float = 30.0) -> pb.GetInfoResponse:
        """Waits until the server is reachable and has its model warm, and describes it.

        Raises:
            ServerUnavailable: it was not within `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return self.get_info(timeout_seconds=max(0.001, deadline - time.monotonic()))
            except (errors.ServerUnavailable, errors.RequestCancelled) as error:
                _raise_if_past(deadline, error)
            time.sleep(_READY_POLL_SECONDS)

    def close(self) -> None:
        """Closes the connection; running calls of other threads fail."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, request: ProtoMessage, timeout_seconds: float | None) -> Any:
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            return getattr(self._stub, method)(request, timeout=timeout)
        except grpc.RpcError as error:
            raise _error_of(error, self._address) from error


class AsyncClient(
    Calls[
        Coroutine[Any, Any, pb.SelectToolsResponse],
        Coroutine[Any, Any, pb.SelectTablesResponse],
        Coroutine[Any, Any, pb.RerankResponse],
        Coroutine[Any, Any, pb.GetInfoResponse],
    ]
):
    """Calls a server from asyncio; make it where a loop runs. The arguments are those of `Client`.

    Cancelling the awaiting task cancels the call on the server too.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_seconds: float | None = 60.0,
        max_message_bytes: int = _DEFAULT_MESSAGE_BYTES,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        options = _channel_options(address, max_message_bytes)
        self._channel = channel or grpc.aio.insecure_channel(address, options=options)
        self._stub = pb_grpc.RouterServiceStub(self._channel)

    async def wait_until_ready(self, timeout_seconds: float = 30.0) -> pb.GetInfoResponse:
        """Waits until the server is reachable and has its model warm, and describes it.

        Raises:
            ServerUnavailable: it was not within `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return await self.get_info(timeout_seconds=max(0.001, deadline - time.monotonic()))
            except (errors.ServerUnavailable, errors.RequestCancelled) as error:
                _raise_if_past(deadline, error)
            await asyncio.sleep(_READY_POLL_SECONDS)

    async def close(self) -> None:
        """Closes the connection; running calls fail."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: str, request: ProtoMessage, timeout_seconds: float | None) -> Any:
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        try:
            return await getattr(self._stub, method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise _error_of(error, self._address) from error


def _request(kind: type[RequestT], fields: Mapping[str, object]) -> RequestT:
    request = kind()
    for field, value in fields.items():
        with _naming(field):
            request.MergeFrom(kind(**{field: value}))
    return request


def _query(query: Query) -> pb.Query:
    with _naming("query"):
        if isinstance(query, str):
            return pb.Query(text=query)
        messages = [pb.ChatMessage(role=message["role"], content=_content(message)) for message in query]
        return pb.Query(conversation=pb.Conversation(messages=messages))


def _content(message: ChatMessage) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("text"))


def _tool_texts(tools: Tools, namespaces: Sequence[str]) -> list[pb.ToolText]:
    texts = [tools] if isinstance(tools, str | Mapping) else tools
    owners = _texts("namespaces", namespaces) or [""] * len(texts)
    if len(owners) != len(texts):
        raise errors.InvalidInput(f"are {len(owners)} for {len(texts)} tool texts; give one each", field="namespaces")
    with _naming("tools"):
        return [pb.ToolText(json=_json(text), namespace=owner) for text, owner in zip(texts, owners, strict=True)]


def _json(tool: ToolText) -> str:
    return tool if isinstance(tool, str) else json.dumps(tool, ensure_ascii=False)


def _texts(field: str, texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise errors.InvalidInput("is one text; give a list of texts", field=field)
    return texts


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Says which field holds a value that protobuf refuses: a number too large, a lone surrogate."""
    try:
        yield
    except ValueError as error:
        raise errors.InvalidInput(str(error), field=field) from error


def _channel_options(address: str, max_message_bytes: int) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),  # the server says what is too much, and how to mend it
        ("grpc.initial_reconnect_backoff_ms", 100),
    ]
    # A proxy named in the environment cannot reach this machine's own loopback.
    is_loopback = address.startswith(("127.", "localhost:", "[::1]:"))
    return [*options, ("grpc.enable_http_proxy", 0)] if is_loopback else options


def _raise_if_past(deadline: float, error: errors.ShortlistError) -> None:
    if time.monotonic() >= deadline:
        raise errors.ServerUnavailable(f"the server did not become ready in time; last: {error}") from error


# gRPC's own wording for a message above a limit: "… larger than max (actual vs. limit)".
_TOO_LARGE = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")
_KINDS: dict[grpc.StatusCode, type[errors.ShortlistError]] = {
    grpc.StatusCode.FAILED_PRECONDITION: errors.ModelMismatch,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ServerBusy,
    grpc.StatusCode.UNAVAILABLE: errors.ServerUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.RequestCancelled,
    # Who cancels a call here gets no answer at all; this is a server that went away while the call was on its way.
    grpc.StatusCode.CANCELLED: errors.ServerUnavailable,
}


def _error_of(error: Any, address: str) -> errors.ShortlistError:
    code, text = error.code(), error.details() or ""
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        # Not dict(…): the metadata of older grpc.aio only look like a mapping.
        field = {key: str(value) for key, value in error.trailing_metadata() or ()}.get("shortlist-field", "")
        return errors.InvalidInput(text.removeprefix(f"{field}: "), field=field)
    if match := _TOO_LARGE.search(text):
        return _too_large(actual=int(match[1]), limit=int(match[2]), is_answer="CLIENT" in text)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return errors.ShortlistError(f"{address} has no such call: no Shortlist server, or an older one")
    return _KINDS.get(code, errors.ShortlistError)(f"{address}: {text or code.name}")


def _too_large(*, actual: int, limit: int, is_answer: bool) -> errors.LimitExceeded:
    if is_answer:
        message = f"the answer has {actual} bytes, the client takes {limit}; raise the client's max_message_bytes"
    else:
        message = (
            f"the request has {actual} bytes, the server takes {limit}; "
            "send less, or start the server with a larger --max-message-mb"
        )
    return errors.LimitExceeded(message, limit=limit, actual=actual)
