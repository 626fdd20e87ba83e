"""Authenticates the caller of every method, and rejects strangers before any of their message is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from shortlist.server.auth.authenticator import headers_of
from shortlist.server.call import ANONYMOUS
from shortlist.server.grpc.service import abort_call, begin_call, current_caller

if TYPE_CHECKING:
    from shortlist.server.auth.authenticator import Authenticator
    from shortlist.server.dispatcher import Dispatcher
    from shortlist.server.services import Method

__all__ = ["PUBLIC_SERVICES", "AuthInterceptor"]

# The only services that answer without authentication.
PUBLIC_SERVICES = frozenset({health.SERVICE_NAME, reflection.SERVICE_NAME})


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
