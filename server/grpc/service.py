"""Is RouterService over gRPC: reads who calls and how long they wait, and tells failures as gRPC statuses."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

from shortlist.server.auth.authenticator import headers_of
from shortlist.server.call import Call, Caller, new_request_id
from shortlist.server.status import status_of
from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    from shortlist.server.dispatcher import Dispatcher

    _Context = ServicerContext[Any, Any]

__all__ = ["SERVICE_NAME", "RouterService", "abort_call", "begin_call", "current_caller"]

SERVICE_NAME: str = pb.DESCRIPTOR.services_by_name["RouterService"].full_name
_REQUEST_ID = "x-request-id"
# The authenticated caller. It has no default: a call that was not authenticated is a defect, and is not answered.
current_caller: ContextVar[Caller] = ContextVar("current_caller")


class RouterService(pb_grpc.RouterServiceServicer):
    """Implements RouterService. The interceptor has authenticated the caller; the dispatcher handles the request."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def SelectTools(  # noqa: N802 - the generated name
        self, request: pb.SelectToolsRequest, context: _Context
    ) -> pb.SelectToolsResponse:
        """Ranks tools."""
        response: pb.SelectToolsResponse = await self._answer("SelectTools", request, context)
        return response

    async def SelectTables(  # noqa: N802 - the generated name
        self, request: pb.SelectTablesRequest, context: _Context
    ) -> pb.SelectTablesResponse:
        """Ranks tables."""
        response: pb.SelectTablesResponse = await self._answer("SelectTables", request, context)
        return response

    async def Rerank(  # noqa: N802 - the generated name
        self, request: pb.RerankRequest, context: _Context
    ) -> pb.RerankResponse:
        """Ranks documents."""
        response: pb.RerankResponse = await self._answer("Rerank", request, context)
        return response

    async def GetInfo(  # noqa: N802 - the generated name
        self, request: pb.GetInfoRequest, context: _Context
    ) -> pb.GetInfoResponse:
        """Describes the model and the limits."""
        call = begin_call("GetInfo", context, current_caller.get())
        try:
            response = self._dispatcher.info()
        except Exception as error:  # the RPC boundary
            self._dispatcher.fail(call, error)
            await abort_call(context, call, error)
        self._dispatcher.end(call, response)
        return response

    async def _answer(self, method: str, request: Any, context: _Context) -> Any:
        call = begin_call(method, context, current_caller.get())
        try:
            response = await self._dispatcher.answer(call, request)
        except Exception as error:  # the RPC boundary
            self._dispatcher.fail(call, error)
            await abort_call(context, call, error)
        context.set_trailing_metadata(((_REQUEST_ID, call.request_id),))
        return response


def begin_call(method: str, context: _Context, caller: Caller) -> Call:
    """Makes the Call of a gRPC call."""
    metadata = headers_of(context.invocation_metadata() or ())
    return Call(
        method,
        caller=caller,
        request_id=new_request_id(metadata.get(_REQUEST_ID, "")),
        parent=metadata.get("traceparent", ""),
        timeout_seconds=context.time_remaining(),
    )


async def abort_call(context: _Context, call: Call, error: Exception) -> NoReturn:
    """Ends a gRPC call with an error's status."""
    status = call.status or status_of(error, request_id=call.request_id)
    await context.abort(status.code, status.text, (*status.metadata, (_REQUEST_ID, call.request_id)))
    raise AssertionError("abort does not return")
