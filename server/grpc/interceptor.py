"""Asks who calls by the headers of a call, and refuses strangers before any of its message is read, let alone kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from shortlist.server.auth.authenticator import headers_of
from shortlist.server.call import ANONYMOUS, METHODS
from shortlist.server.grpc.service import SERVICE_NAME, abort_call, begin_call, current_caller

if TYPE_CHECKING:
    from shortlist.server.auth.authenticator import Authenticator
    from shortlist.server.dispatcher import Dispatcher

__all__ = ["AuthInterceptor"]


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """Asks the authenticator as soon as a call begins, and lets the service know who calls (`current_caller`)."""

    def __init__(self, dispatcher: Dispatcher, authenticator: Authenticator) -> None:
        self._dispatcher, self._authenticator = dispatcher, authenticator

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Lets a call go on, or answers it with the authenticator's refusal."""
        service, _, method = handler_call_details.method.strip("/").rpartition("/")
        # Another method is gRPC's to refuse: its name is the stranger's text, and belongs in no metric and no log.
        if service == SERVICE_NAME and method in (*METHODS, "GetInfo"):
            try:
                caller = await self._authenticator.authenticate(
                    headers_of(handler_call_details.invocation_metadata or ())
                )
            except Exception as error:  # the RPC boundary
                return self._refusing(method, error)
            current_caller.set(caller)  # the handler runs in the same task
        return await continuation(handler_call_details)

    def _refusing(self, method: str, error: Exception) -> grpc.RpcMethodHandler[Any, Any]:
        async def refuse(_: Any, context: Any) -> None:
            call = begin_call(method, context, ANONYMOUS)
            self._dispatcher.fail(call, error)
            await abort_call(context, call, error)

        # A method that takes a stream is called before the first message is read; this one never asks for it.
        return grpc.stream_unary_rpc_method_handler(refuse)
