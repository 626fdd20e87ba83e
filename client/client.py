"""Calls a Shortlist server, from threads or from asyncio; imports neither torch nor a parser.

A whole program:

    with Client("127.0.0.1:50051") as client:
        for item in client.select_tools("refund the last order", catalog_json).items:
            print(item.rank, item.name, item.score)
"""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack

import grpc
from google.protobuf.message import Message as ProtoMessage

from shortlist.client.channel import DEFAULT_MESSAGE_BYTES, Connection, FilePath
from shortlist.client.convert import (
    DEFAULT_ADDRESS,
    make_rerank_request,
    make_tables_request,
    make_tools_request,
    read_info,
    read_selection,
)
from shortlist.client.errors import error_of
from shortlist.client.retries import Attempts, RetryPolicy, only_reads
from shortlist.schemas import errors
from shortlist.schemas.arguments import Tools, check_timeout
from shortlist.schemas.conversation import Query
from shortlist.schemas.options import OptionArguments, SelectionOptions, make_options
from shortlist.schemas.results import Selection, ServerInfo
from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

__all__ = ["DEFAULT_ADDRESS", "AsyncClient", "Calls", "Client"]

_RPCS = pb.DESCRIPTOR.services_by_name["RouterService"].methods_by_name
_READY_POLL_SECONDS = 0.1
DEFAULT_RETRY = RetryPolicy()

SelectionT = TypeVar("SelectionT", covariant=True)
InfoT = TypeVar("InfoT", covariant=True)


class Calls(abc.ABC, Generic[SelectionT, InfoT]):
    """The calls of the service, written once; a subclass decides whether they return results or coroutines.

    Options are given as `SelectionOptions`, as keywords of the same names, or both; keywords win, and None means the
    default. `timeout_seconds=None` means the client's. Wrong arguments raise `InvalidInput`, whose `field` names
    the argument. The calls also raise `LimitExceeded`, `ModelMismatch`, `RequestCancelled` (the timeout has passed),
    `ServerUnavailable` and its subclasses `ServerBusy`, `DeadlineTooShort` and `RateLimited`, `Unauthenticated`,
    `PermissionDenied`, and `ShortlistError` for a bug in the server.
    """

    def select_tools(
        self,
        query: Query,
        tools: Tools,
        options: SelectionOptions | None = None,
        *,
        namespaces: Sequence[str] = (),
        timeout_seconds: float | None = None,
        **more: Unpack[OptionArguments],
    ) -> SelectionT:
        """Selects the tools a query needs; `namespaces` is empty or has one entry per tool text."""
        request = make_tools_request(query, tools, make_options("tools", options, more), namespaces)
        result: SelectionT = self._call("SelectTools", request, read_selection, timeout_seconds)
        return result

    def select_tables(
        self,
        query: Query,
        ddl: str,
        options: SelectionOptions | None = None,
        *,
        dialect: str | None = None,
        timeout_seconds: float | None = None,
        **more: Unpack[OptionArguments],
    ) -> SelectionT:
        """Selects the tables a question needs from a DDL script; without a dialect, the server detects it."""
        request, warnings = make_tables_request(query, ddl, make_options("tables", options, more), dialect)
        read = partial(read_selection, warnings=warnings)
        result: SelectionT = self._call("SelectTables", request, read, timeout_seconds)
        return result

    def rerank(
        self,
        query: Query,
        documents: Sequence[str],
        options: SelectionOptions | None = None,
        *,
        timeout_seconds: float | None = None,
        **more: Unpack[OptionArguments],
    ) -> SelectionT:
        """Ranks plain documents."""
        request, warnings = make_rerank_request(query, documents, make_options("documents", options, more))
        read = partial(read_selection, warnings=warnings)
        result: SelectionT = self._call("Rerank", request, read, timeout_seconds)
        return result

    def get_info(self, *, timeout_seconds: float | None = None) -> InfoT:
        """Describes the model and the limits."""
        result: InfoT = self._call("GetInfo", pb.GetInfoRequest(), read_info, timeout_seconds)
        return result

    @abc.abstractmethod
    def _call(
        self, method: str, request: ProtoMessage, read: Callable[[Any], Any], timeout_seconds: float | None
    ) -> Any: ...


class Client(Calls[Selection, ServerInfo]):
    """Calls a server and blocks; safe to share between threads.

    `timeout_seconds` applies to each call, and None waits forever. A response above `max_message_bytes` is rejected.

    `tls` encrypts: True trusts the certificate authorities that come with gRPC, a path those in that PEM file. If the
    server requires authentication, give the PEM files `client_certificate` and `client_key`, or `api_key`: an API key
    or a bearer token. The key is never sent unencrypted to another machine, unless `allow_insecure_key` is set, for
    example because a proxy encrypts.

    `retry` says how long a call is retried while the server is unreachable, starting, stopping, overloaded or
    rate-limiting the client; None never retries. The error of the last attempt is raised.

    `channel` replaces the channel to `address` and is closed with the client; an `api_key` is sent over it only if it
    is encrypted.

    Raises:
        InvalidInput: the arguments contradict each other, a file cannot be read, or the key would be sent unencrypted.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_seconds: float | None = 60.0,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
        tls: bool | FilePath = False,
        client_certificate: FilePath | None = None,
        client_key: FilePath | None = None,
        api_key: str | None = None,
        allow_insecure_key: bool = False,
        retry: RetryPolicy | None = DEFAULT_RETRY,
        channel: grpc.Channel | None = None,
    ) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._retry = retry
        self._was_answered = False
        connection = Connection(
            address,
            max_message_bytes=max_message_bytes,
            tls=tls,
            client_certificate=client_certificate,
            client_key=client_key,
            api_key=api_key,
            allow_insecure_key=allow_insecure_key,
        )
        self._identity = connection.identity(is_foreign_channel=channel is not None)
        self._is_closed = False
        self._channel = channel or connection.open()
        self._stub = pb_grpc.RouterServiceStub(self._channel)

    def wait_until_ready(self, timeout_seconds: float = 30.0) -> ServerInfo:
        """Waits until the server is reachable and its model is loaded and warm, and describes it.

        Raises:
            ServerUnavailable: the server was not ready within `timeout_seconds`.
            PermissionDenied: `GetInfo` is disabled on the server, so readiness cannot be checked.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return read_info(self._attempt("GetInfo", pb.GetInfoRequest(), _until(deadline)))
            except (errors.ServerUnavailable, errors.RequestCancelled) as error:
                _raise_if_past(deadline, error)
            time.sleep(_READY_POLL_SECONDS)

    def close(self) -> None:
        """Closes the connection; running calls of other threads fail."""
        self._is_closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self, method: str, request: ProtoMessage, read: Callable[[Any], Any], timeout_seconds: float | None
    ) -> Any:
        check_timeout(timeout_seconds)
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        attempts = Attempts(self._retry, timeout, self._was_answered, only_reads(_RPCS[method]))
        while True:
            try:
                return read(self._attempt(method, request, attempts.left_seconds))
            except errors.ServerUnavailable as error:
                if self._is_closed or (pause := attempts.pause_after(error)) is None:
                    raise
            time.sleep(pause)

    def _attempt(self, method: str, request: ProtoMessage, timeout_seconds: float | None) -> Any:
        try:
            response = getattr(self._stub, method)(request, timeout=timeout_seconds, **self._identity)
        except grpc.RpcError as error:
            raise error_of(error, self._address) from error
        except ValueError as error:  # the channel is closed
            raise errors.ShortlistError(f"{self._address}: {error}") from error
        self._was_answered = True
        return response


class AsyncClient(Calls[Coroutine[Any, Any, Selection], Coroutine[Any, Any, ServerInfo]]):
    """Calls a server from asyncio; create it in a running event loop. Takes the arguments of `Client`.

    Cancelling the awaiting task cancels the call on the server too.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_seconds: float | None = 60.0,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
        tls: bool | FilePath = False,
        client_certificate: FilePath | None = None,
        client_key: FilePath | None = None,
        api_key: str | None = None,
        allow_insecure_key: bool = False,
        retry: RetryPolicy | None = DEFAULT_RETRY,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._retry = retry
        self._was_answered = False
        connection = Connection(
            address,
            max_message_bytes=max_message_bytes,
            tls=tls,
            client_certificate=client_certificate,
            client_key=client_key,
            api_key=api_key,
            allow_insecure_key=allow_insecure_key,
        )
        self._identity = connection.identity(is_foreign_channel=channel is not None)
        self._channel = channel or connection.open_async()
        self._stub = pb_grpc.RouterServiceStub(self._channel)

    async def wait_until_ready(self, timeout_seconds: float = 30.0) -> ServerInfo:
        """Waits until the server is reachable and its model is loaded and warm, and describes it.

        Raises:
            ServerUnavailable: the server was not ready within `timeout_seconds`.
            PermissionDenied: `GetInfo` is disabled on the server, so readiness cannot be checked.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return read_info(await self._attempt("GetInfo", pb.GetInfoRequest(), _until(deadline)))
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

    async def _call(
        self, method: str, request: ProtoMessage, read: Callable[[Any], Any], timeout_seconds: float | None
    ) -> Any:
        check_timeout(timeout_seconds)
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        attempts = Attempts(self._retry, timeout, self._was_answered, only_reads(_RPCS[method]))
        while True:
            try:
                return read(await self._attempt(method, request, attempts.left_seconds))
            except errors.ServerUnavailable as error:
                if (pause := attempts.pause_after(error)) is None:
                    raise
            await asyncio.sleep(pause)

    async def _attempt(self, method: str, request: ProtoMessage, timeout_seconds: float | None) -> Any:
        try:
            response = await getattr(self._stub, method)(request, timeout=timeout_seconds, **self._identity)
        except grpc.aio.AioRpcError as error:
            raise error_of(error, self._address) from error
        except grpc.aio.UsageError as error:  # the channel is closed, or is one that must not carry a key
            raise errors.ShortlistError(f"{self._address}: {error}") from error
        self._was_answered = True
        return response


def _until(deadline: float) -> float | None:
    return Attempts(None, deadline - time.monotonic()).left_seconds


def _raise_if_past(deadline: float, error: errors.ShortlistError) -> None:
    if time.monotonic() >= deadline:
        raise errors.ServerUnavailable(f"the server did not become ready in time; last: {error}") from error
