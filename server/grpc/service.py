"""Answers the methods of registered services over gRPC: authenticates every call, and turns errors into statuses.

Strangers are rejected before any of their message is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from shortlist.server.auth.authenticator import ANONYMOUS, Caller, headers_of
from shortlist.server.dispatcher import Call, new_request_id
from shortlist.server.status import status_of

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    from shortlist.server.dispatcher import Dispatcher
    from shortlist.server.services import Method, Service

    _Context = ServicerContext[Any, Any]
    from shortlist.server.auth.authenticator import Authenticator
__all__ = ["PUBLIC_SERVICES", "AuthInterceptor", "abort_call", "begin_call", "current_caller", "make_handler"]

_REQUEST_ID = "x-request-id"
# The authenticated caller. It has no default, so that a call without authentication fails instead of being answered.
current_caller: ContextVar[Caller] = ContextVar("current_caller")
# The only services that answer without authentication.
PUBLIC_SERVICES = frozenset({health.SERVICE_NAME, reflection.SERVICE_NAME})


def make_handler(service: Service, dispatcher: Dispatcher) -> grpc.GenericRpcHandler:
    """Makes the handler of a service. The interceptor authenticates the caller; the dispatcher handles the request."""
    handlers = {method.name: _unary(method, dispatcher) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.name, handlers)


def begin_call(method: Method, context: _Context, caller: Caller) -> Call:
    """Makes the Call of a gRPC call."""
    metadata = headers_of(context.invocation_metadata() or ())
    return Call(
        method.name,
        method.service,
        caller=caller,
        request_id=new_request_id(metadata.get(_REQUEST_ID, "")),
        parent=metadata.get("traceparent", ""),
        timeout_seconds=context.time_remaining(),
    )


async def abort_call(context: _Context, call: Call, error: Exception) -> NoReturn:
    """Ends a gRPC call with the status of an error."""
    status = call.status or status_of(error, request_id=call.request_id)
    await context.abort(status.code, status.text, (*status.metadata, (_REQUEST_ID, call.request_id)))
    raise AssertionError("abort does not return")


def _unary(method: Method, dispatcher: Dispatcher) -> grpc.RpcMethodHandler[Any, Any]:
    async def answer(request: Any, context: Any) -> Any:
        call = begin_call(method, context, current_caller.get())
        try:
            response = await dispatcher.answer(method, call, request)
        except Exception as error:  # the RPC boundary
            dispatcher.fail(call, error)
            await abort_call(context, call, error)
        context.set_trailing_metadata(((_REQUEST_ID, call.request_id),))
        return response

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=method.request_class.FromString,
        response_serializer=method.response_class.SerializeToString,
    )


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates calls of `methods` (by path) as soon as they begin, and sets `current_caller` for the handler.

    Public services pass. Any other method is unknown, even if a handler for it was added to the gRPC server.
    """

    def __init__(self, dispatcher: Dispatcher, authenticator: Authenticator, methods: Mapping[str, Method]) -> None:
        self._dispatcher, self._authenticator, self._methods = dispatcher, authenticator, methods

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the handler of the method, or one that rejects the call."""
        path = handler_call_details.method
        if _service_in(path) in PUBLIC_SERVICES:
            return await continuation(handler_call_details)
        method = self._methods.get(path)
        # gRPC rejects unknown methods. Their names are caller-controlled, so keep them out of logs and metrics.
        if method is None:
            return None
        try:
            caller = await self._authenticator.authenticate(headers_of(handler_call_details.invocation_metadata or ()))
        except Exception as error:  # the RPC boundary
            return self._rejecting(method, error)
        current_caller.set(caller)  # the handler runs in the same task
        return await continuation(handler_call_details)

    def _rejecting(self, method: Method, error: Exception) -> grpc.RpcMethodHandler[Any, Any]:
        async def reject(_: Any, context: Any) -> None:
            call = begin_call(method, context, ANONYMOUS)
            self._dispatcher.fail(call, error)
            await abort_call(context, call, error)

        # gRPC calls a method that takes a stream before it reads the first message; this one reads none.
        return grpc.stream_unary_rpc_method_handler(reject)


def _service_in(path: str) -> str:
    return path.removeprefix("/").rpartition("/")[0]
