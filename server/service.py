"""Answers the calls of RouterService: admits, hands over to a thread, and reports failures as gRPC statuses."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from google.protobuf.message import Message as ProtoMessage

from shortlist.router.scoring import CancelToken
from shortlist.schemas.errors import LimitExceeded, RequestCancelled, ServerUnavailable
from shortlist.server import answer
from shortlist.server.status import status_of
from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    from shortlist.router.pipeline import Router
    from shortlist.server.workers import Workers

    _Context = ServicerContext[Any, Any]

__all__ = ["SERVICE_NAME", "RouterService"]

SERVICE_NAME: str = pb.DESCRIPTOR.services_by_name["RouterService"].full_name

_log = logging.getLogger(__name__)

_RequestT = TypeVar("_RequestT", contravariant=True)
_ResponseT = TypeVar("_ResponseT", bound=ProtoMessage, covariant=True)
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT", bound=ProtoMessage)


class _Answer(Protocol[_RequestT, _ResponseT]):
    def __call__(
        self, router: Router, request: _RequestT, cancel: CancelToken, waited_ms: float = 0.0
    ) -> _ResponseT: ...


class RouterService(pb_grpc.RouterServiceServicer):
    """The service; it answers UNAVAILABLE before `open()` and after `close()`."""

    def __init__(self, workers: Workers, *, max_message_bytes: int) -> None:
        self._workers = workers
        self._max_message_bytes = max_message_bytes
        self._router: Router | None = None
        self._refusal = "the server is still loading its model; try again in a moment"
        self._in_flight: set[CancelToken] = set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def open(self, router: Router) -> None:
        """Answers from now on, with this Router."""
        self._router = router

    def close(self) -> None:
        """Refuses new calls from now on; those in flight go on."""
        self._router = None
        self._refusal = "the server is stopping; try another one, or again later"

    async def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Waits for the calls in flight; False if some are still there when the time is up."""
        try:
            await asyncio.wait_for(self._is_idle.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    def cancel_all(self) -> int:
        """Cancels the calls in flight and counts them."""
        tokens = list(self._in_flight)
        for token in tokens:
            token.cancel()
        return len(tokens)

    async def SelectTools(  # noqa: N802 - the generated name
        self, request: pb.SelectToolsRequest, context: _Context
    ) -> pb.SelectToolsResponse:
        """Ranks tools."""
        return await self._answer("SelectTools", answer.select_tools, request, context)

    async def SelectTables(  # noqa: N802 - the generated name
        self, request: pb.SelectTablesRequest, context: _Context
    ) -> pb.SelectTablesResponse:
        """Ranks tables."""
        return await self._answer("SelectTables", answer.select_tables, request, context)

    async def Rerank(  # noqa: N802 - the generated name
        self, request: pb.RerankRequest, context: _Context
    ) -> pb.RerankResponse:
        """Ranks documents."""
        return await self._answer("Rerank", answer.rerank, request, context)

    async def GetInfo(  # noqa: N802 - the generated name
        self, request: pb.GetInfoRequest, context: _Context
    ) -> pb.GetInfoResponse:
        """Describes the model and the limits."""
        try:
            return answer.get_info(self._ready_router(), max_message_bytes=self._max_message_bytes)
        except Exception as error:  # the RPC boundary
            await _abort(context, error, CancelToken())

    async def _answer(
        self, name: str, work: _Answer[RequestT, ResponseT], request: RequestT, context: _Context
    ) -> ResponseT:
        cancel = CancelToken(timeout_seconds=context.time_remaining())
        arrived = time.perf_counter()
        self._enter(cancel)
        try:
            response = await self._run(work, request, cancel, arrived)
        except asyncio.CancelledError:
            cancel.cancel()
            _log.info("%s cancelled after %.0f ms", name, _ms_since(arrived))
            raise
        except Exception as error:  # the RPC boundary
            _log.info("%s failed after %.0f ms: %s", name, _ms_since(arrived), type(error).__name__)
            await _abort(context, self._explained(error), cancel)
        finally:
            self._leave(cancel)
        _log.info("%s answered in %.0f ms", name, _ms_since(arrived))
        return response

    async def _run(
        self, work: _Answer[RequestT, ResponseT], request: RequestT, cancel: CancelToken, arrived: float
    ) -> ResponseT:
        router = self._ready_router()

        def run() -> ResponseT:
            cancel.raise_if_cancelled()
            response = work(router, request, cancel, waited_ms=_ms_since(arrived))
            self._check_size(response)
            return response

        return await self._workers.run(run)

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, RequestCancelled) and self._router is None:
            return ServerUnavailable("the server stopped before the answer was ready; try another one, or again later")
        return error

    def _ready_router(self) -> Router:
        if self._router is None:
            raise ServerUnavailable(self._refusal)
        return self._router

    def _check_size(self, response: ProtoMessage) -> None:
        size = response.ByteSize()
        if size > self._max_message_bytes:
            message = (
                f"the answer has {size} bytes, the server sends at most {self._max_message_bytes}; "
                "ask for fewer items, or start the server with a larger --max-message-mb"
            )
            raise LimitExceeded(message, limit=self._max_message_bytes, actual=size, field="top_n")

    def _enter(self, cancel: CancelToken) -> None:
        self._in_flight.add(cancel)
        self._is_idle.clear()

    def _leave(self, cancel: CancelToken) -> None:
        self._in_flight.discard(cancel)
        if not self._in_flight:
            self._is_idle.set()


async def _abort(context: _Context, error: Exception, cancel: CancelToken) -> NoReturn:
    status = status_of(error, is_expired=cancel.is_expired)
    await context.abort(status.code, status.text, status.metadata)
    raise AssertionError("abort does not return")


def _ms_since(moment: float) -> float:
    return (time.perf_counter() - moment) * 1000
