"""Serves the API over HTTP: routes, authentication, deadlines, and errors as JSON.

`rerank.py` and `proto_json.py` read the requests and write the responses; `openapi.py` describes them.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.errors import InvalidInput, RequestCancelled, ServerUnavailable
from shortlist.server.auth.authenticator import headers_of
from shortlist.server.dispatcher import Call, new_request_id
from shortlist.server.http import body, docs, openapi, proto_json, rerank
from shortlist.server.http.rerank import ParsedRequest
from shortlist.server.status import DOMAIN, Kind, Status, status_of
from shortlist.v1 import router_pb2 as pb

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from shortlist.server.auth.authenticator import Authenticator
    from shortlist.server.dispatcher import Dispatcher
    from shortlist.server.services import Method
    from shortlist.server.settings import Settings

__all__ = ["RestApi"]

# Renders metrics in the format that an Accept header asks for; returns the body and its content type.
Render = Callable[[str], tuple[bytes, str]]

_ROUTE_KINDS = {
    404: Kind(grpc.StatusCode.NOT_FOUND, 404, "NO_SUCH_ROUTE"),
    405: Kind(grpc.StatusCode.UNIMPLEMENTED, 405, "METHOD_NOT_ALLOWED"),
}
# The engine notices a passed deadline by itself; this much later the work is cancelled without it.
_SLACK_SECONDS = 0.1
# Methods whose unknown fields are ignored, with the fields that they read.
_READ_FIELDS = {"Rerank": rerank.READ_FIELDS}
# Parsing more than this would delay health checks, so a thread does it.
_LARGE_BYTES = 64 * 1024


class RestApi:
    """The routes, as the ASGI application `app`.

    `methods` are those of all services by name; `is_serving` says whether the engine works.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        authenticator: Authenticator,
        settings: Settings,
        methods: Mapping[str, Method],
        *,
        is_serving: Callable[[], bool],
        render_metrics: Render | None = None,
    ) -> None:
        self._dispatcher, self._authenticator, self._methods = dispatcher, authenticator, methods
        self._max_bytes = settings.max_message_bytes
        self._is_serving = is_serving
        self._render_metrics = None if "metrics" in settings.disabled else render_metrics
        document = openapi.describe(needs_key=settings.needs_credentials)
        self._openapi = _json(document)
        self._docs = docs.render(document)
        self.app = Starlette(
            routes=self._routes(),
            middleware=[Middleware(_Envelope)],
            exception_handlers={HTTPException: _no_route},
        )
        self.app.router.redirect_slashes = False

    def _routes(self) -> list[Route]:
        ranked = {
            "/v1/rerank": ("Rerank", _of_fields(rerank.read_v1)),
            "/v2/rerank": ("Rerank", _of_fields(rerank.read_v2)),
            "/v1/v2/rerank": ("Rerank", _of_fields(rerank.read_v2)),  # LiteLLM's, if its base address ends in /v1
            "/infinity/rerank": ("Rerank", _of_fields(rerank.read_infinity)),
            "/rerank": ("Rerank", _of_fields(rerank.read_either)),
            "/v1/tools:select": ("SelectTools", _reader(proto_json.read_tools)),
            "/v1/tables:select": ("SelectTables", _reader(proto_json.read_tables)),
        }
        described: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/v1/info": partial(self._get_info, proto_json.write),
            "/info": partial(self._get_info, rerank.write_tei_info),
            "/healthz": self._get_liveness,
            "/readyz": self._get_readiness,
            "/health": self._get_readiness,
            "/metrics": self._get_metrics,
            "/openapi.json": self._get_openapi,
            "/docs": self._get_docs,
        }
        return [
            *(
                Route(path, partial(self._rank, self._methods[name], read, _READ_FIELDS.get(name)), methods=["POST"])
                for path, (name, read) in ranked.items()
            ),
            *(Route(path, get, methods=["GET"]) for path, get in described.items()),
        ]

    async def _rank(
        self,
        method: Method,
        read: Callable[[body.Body], ParsedRequest],
        read_fields: Collection[str] | None,
        request: Request,
    ) -> Response:
        call = _begin(method, request)
        parsed: ParsedRequest | None = None
        try:
            call.timeout_seconds = body.read_timeout(request.headers)
            call.cancel = CancelToken(timeout_seconds=call.timeout_seconds)
            call.caller = await self._authenticator.authenticate(headers_of(request.headers.items()))
            if self._dispatcher.refusal:  # before a large body is received
                raise ServerUnavailable(self._dispatcher.refusal)
            content = await body.receive(request, self._max_bytes, call.cancel)
            fields = await _in_turn(len(content), lambda: body.read_json(content, read_fields=read_fields))
            parsed = await _in_turn(len(content), lambda: read(fields))
            answer = await self._answer(method, call, parsed.request, request)
            _put_first(answer.report.warnings, fields.warnings)
            written = await _in_turn(answer.ByteSize(), lambda: _json(parsed.write(answer, call)))
            headers = parsed.headers(answer)
        except ClientDisconnect:
            return self._failed(call, RequestCancelled("the caller left before its request had arrived"))
        except asyncio.CancelledError:  # the server stops and its grace period is over; the task ends here
            return self._failed(call, ServerUnavailable("the server stopped before the request had arrived"))
        except Exception as error:  # the boundary of the request
            _rename_field(error, parsed.names if parsed else {})
            return self._failed(call, error)
        return Response(written, headers=dict(headers), media_type="application/json")

    async def _answer(self, method: Method, call: Call, message: Any, request: Request) -> Any:
        """Answers, unless the caller leaves first.

        Raises:
            RequestCancelled: the caller left, or its deadline passed, first.
            ShortlistError: as `Dispatcher.answer`.
        """
        working = asyncio.ensure_future(self._dispatcher.answer(method, call, message))
        leaving = asyncio.ensure_future(_left(request))
        seconds = (call.timeout_seconds or 0.0) + _SLACK_SECONDS
        try:
            await asyncio.wait({working, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
        finally:
            leaving.cancel()
            working.cancel()
        await asyncio.wait({working})
        raise RequestCancelled("the caller left, or its deadline passed, before the response was ready")

    async def _get_info(self, write: Callable[[pb.GetInfoResponse], Any], request: Request) -> Response:
        method = self._methods["GetInfo"]
        call = _begin(method, request)
        try:
            call.caller = await self._authenticator.authenticate(headers_of(request.headers.items()))
            response = await self._dispatcher.answer(method, call, pb.GetInfoRequest())
        except Exception as error:  # the boundary of the request
            return self._failed(call, error)
        return _answer_json(write(response))

    async def _get_liveness(self, request: Request) -> Response:
        return _answer_json({"status": "alive"})

    async def _get_readiness(self, request: Request) -> Response:
        refusal = self._dispatcher.refusal or ("" if self._is_serving() else "the engine is not working")
        if refusal:
            return _answer_status(status_of(ServerUnavailable(refusal), request_id=_request_id(request)))
        return _answer_json({"status": "serving"})

    async def _get_metrics(self, request: Request) -> Response:
        if self._render_metrics is None:
            raise HTTPException(404)
        try:
            await self._authenticator.authenticate(headers_of(request.headers.items()))
            content, kind = self._render_metrics(request.headers.get("accept", ""))
        except Exception as error:  # the boundary of the request
            return _answer_status(status_of(error, request_id=_request_id(request)))
        return Response(content, headers={"Content-Type": kind})

    async def _get_openapi(self, request: Request) -> Response:
        return Response(self._openapi, media_type="application/json")

    async def _get_docs(self, request: Request) -> Response:
        return Response(self._docs, media_type="text/html", headers=docs.HEADERS)

    def _failed(self, call: Call, error: Exception) -> Response:
        self._dispatcher.fail(call, error)
        if call.status is None or isinstance(error, InvalidInput):  # this API may have another name for its field
            return _answer_status(status_of(error, is_expired=call.cancel.is_expired, request_id=call.request_id))
        return _answer_status(call.status)


class _Envelope:
    """Gives every request an id (the caller's own if usable), returns it, and answers unexpected errors as JSON too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id(Request(scope).headers.get("x-request-id", ""))
        scope["state"]["request_id"] = request_id

        has_started, is_read = False, scope["method"] != "POST"

        async def receive_and_note() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = is_read or not message.get("more_body", False)
            return message

        async def send_with_id(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if not is_read:  # the server closes a connection whose request body it has not read
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive_and_note, send_with_id)
        except Exception as error:  # an unexpected error must not be logged with its text
            status = status_of(error, request_id=request_id)
            if not has_started:
                await _answer_status(status)(scope, receive, send_with_id)


def _begin(method: Method, request: Request) -> Call:
    return Call(
        method.name,
        method.service,
        transport="http",
        request_id=_request_id(request),
        parent=request.headers.get("traceparent", ""),
    )


def _request_id(request: Request) -> str:
    return str(request.state.request_id)


def _reader(read: Callable[[body.Body], Any]) -> Callable[[body.Body], ParsedRequest]:
    return lambda body: ParsedRequest(read(body), lambda answer, _: proto_json.write(answer))


def _of_fields(read: Callable[[Mapping[str, Any]], ParsedRequest]) -> Callable[[body.Body], ParsedRequest]:
    return lambda body: read(body.fields)


def _put_first(warnings: Any, more: Sequence[str]) -> None:
    for place, warning in enumerate(more):
        warnings.insert(place, warning)


async def _left(request: Request) -> None:
    """Returns once the caller has closed its connection; the body must have been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _in_turn(size: int, work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work) if size > _LARGE_BYTES else work()


def _rename_field(error: Exception, names: Mapping[str, str]) -> None:
    """Gives the field of an error the name that it has in the caller's API."""
    if not isinstance(error, InvalidInput):
        return
    for inner, outer in names.items():
        if error.field == inner or error.field.startswith((f"{inner}[", f"{inner}.")):
            field = outer + error.field.removeprefix(inner)
            error.args = (f"{field}: {str(error).removeprefix(f'{error.field}: ')}",)
            error.field = field
            return


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:100]
    text = f"there is no route {path}; /docs lists the routes"
    if error.status_code == 405:
        text = f"{path} does not accept {request.method}; /docs lists the routes"
    kind = _ROUTE_KINDS[error.status_code]
    details = (
        error_details_pb2.ErrorInfo(reason=kind.reason, domain=DOMAIN),
        error_details_pb2.RequestInfo(request_id=_request_id(request)),
    )
    return _answer_status(Status(kind, text, details), error.headers)


def _answer_status(status: Status, headers: Mapping[str, str] | None = None) -> Response:
    headers = dict(headers or {})
    if status.retry_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(status.retry_seconds)))
    if status.kind.http == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(_json(status.as_json()), status.kind.http, headers, "application/json")


def _answer_json(content: Any) -> Response:
    return Response(_json(content), media_type="application/json")


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
