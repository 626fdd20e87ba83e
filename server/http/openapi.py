"""Describes the REST API as an OpenAPI 3.1 document: routes, schemas, errors and authentication.

The schemas are those of `openapi_schemas.py`.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Iterator

from shortlist.server.http.body import (
    DEFAULT_TIMEOUT_SECONDS,
    MAX_TIMEOUT_SECONDS,
    MIN_TIMEOUT_SECONDS,
    TIMEOUT_HEADER,
)
from shortlist.server.http.openapi_examples import EXAMPLES
from shortlist.server.http.openapi_schemas import REF, Json, schemas
from shortlist.server.http.rerank import WARNINGS_HEADER

__all__ = ["describe"]

_ERRORS: dict[int, str] = {
    400: "A field is missing, unknown or wrong (`INVALID_FIELD`, `UNKNOWN_DIALECT`); BadRequest in `details` names it.",
    401: "The key or token is missing, unknown or expired (`UNAUTHENTICATED`).",
    403: "The caller may not do this (`PERMISSION_DENIED`).",
    404: "The route does not exist or is disabled (`NO_SUCH_ROUTE`).",
    409: "The server runs another model or version than expected (`MODEL_MISMATCH`).",
    413: "The request, or a part of it, exceeds a limit (`LIMIT_EXCEEDED`).",
    415: "The body is not declared as `application/json` (`UNSUPPORTED_CONTENT`).",
    429: "The server is overloaded, or the caller sends too much (`OVERLOADED`, `DEADLINE_TOO_SHORT`, `RATE_LIMITED`).",
    499: "The body did not arrive within 60 s, or the caller disconnected (`CANCELLED`).",
    500: "A defect in the server; the text holds an incident id to look up in the server's log (`INTERNAL`).",
    503: "The model is still loading, or the server is stopping (`NOT_SERVING`).",
    504: "The deadline passed before the answer was ready (`DEADLINE_EXCEEDED`).",
}
# The errors of routes that rank, and of routes that return information.
_RANKING_ERRORS = tuple(code for code in _ERRORS if code != 404)
_INFORMATION_ERRORS = (401, 403, 500, 503)


def _ref(name: str, *, without: str = "") -> Json:
    """Refers to a schema; an object that matches must not have a value for the field `without`."""
    excluded = {"properties": {without: {"type": "null"}}} if without else {}
    return {"$ref": REF + name, **excluded}


# By route: the schemas of its requests and answers, and a summary.
_RANKING: dict[str, tuple[Json, Json, str]] = {
    "/v1/rerank": (_ref("RerankV1"), _ref("RerankResults"), "Ranks documents, as Jina's and Cohere's v1 do"),
    "/v2/rerank": (_ref("RerankV2"), _ref("RerankResults"), "Ranks documents, as Cohere's v2 does"),
    "/v1/v2/rerank": (
        _ref("RerankV2"),
        _ref("RerankResults"),
        "The same as /v2/rerank, for clients that add its path to an address that ends in `/v1`",
    ),
    "/rerank": (
        {"anyOf": [_ref("TeiRerank", without="documents"), _ref("RerankV1", without="texts")]},
        {"anyOf": [_ref("TeiResults"), _ref("RerankResults")]},
        "Ranks `texts`, as text-embeddings-inference does, or `documents`, as vLLM and llama.cpp do",
    ),
    "/infinity/rerank": (
        _ref("RerankV1"),
        _ref("InfinityResults"),
        "Ranks documents, as Infinity does: the answer has documents as strings",
    ),
    "/v1/tools:select": (_ref("SelectToolsRequest"), _ref("SelectToolsResponse"), "Selects tools for a query"),
    "/v1/tables:select": (_ref("SelectTablesRequest"), _ref("SelectTablesResponse"), "Selects tables for a query"),
}


def describe(*, needs_key: bool) -> Json:
    """Returns the document; `needs_key` says whether calls need a key or a token."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Shortlist",
            "version": importlib.metadata.version("shortlist"),
            "description": "Picks the few tools, tables or documents that fit a query. Every error response is an "
            "`Error`. Field names use snake case; the `select` routes also accept camel case.",
        },
        "paths": {**dict(_ranking_routes(needs_key)), **dict(_information_routes(needs_key))},
        "components": {
            "schemas": schemas(),
            "responses": {str(code): _error_response(code, text) for code, text in _ERRORS.items()},
            "parameters": _parameters(),
            "headers": _headers(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a signed token (JWT)."},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
            },
        },
    }


def _ranking_routes(needs_key: bool) -> Iterator[tuple[str, Json]]:
    for path, (request, response, summary) in _RANKING.items():
        request_example, response_example = EXAMPLES[path]
        operation = {
            "operationId": _operation_id(path),
            "summary": summary,
            "security": _security(needs_key),
            "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in _parameters()],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": request, "example": request_example}},
            },
            "responses": {
                "200": _answer(path, response, response_example),
                **_refs(_RANKING_ERRORS),
            },
        }
        yield path, {"post": operation}


def _answer(path: str, schema: Json, example: object) -> Json:
    made = _response("The results, best first.", schema, example)
    if path == "/rerank":
        made["headers"][WARNINGS_HEADER] = {"$ref": f"#/components/headers/{WARNINGS_HEADER}"}
    return made


def _information_routes(needs_key: bool) -> Iterator[tuple[str, Json]]:
    keyed = _security(needs_key)
    info, anything = {"$ref": REF + "GetInfoResponse"}, {"type": "object"}
    status = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}
    serving = {"status": "serving"}
    yield _get("/v1/info", "Returns the model and the limits", info, errors=_INFORMATION_ERRORS, security=keyed)
    yield _get(
        "/info",
        "Returns the model, as text-embeddings-inference does",
        anything,
        errors=_INFORMATION_ERRORS,
        security=keyed,
    )
    yield _get("/healthz", "Confirms that the process is alive", status, example={"status": "alive"})
    yield _get("/readyz", "Returns whether the server answers requests", status, example=serving, errors=(503,))
    yield _get(
        "/health", "The same as /readyz, as in text-embeddings-inference", status, example=serving, errors=(503,)
    )
    yield _get("/openapi.json", "Returns this document", anything)
    yield _get("/docs", "Returns this document as HTML", {"type": "string"}, kind="text/html")
    yield _get("/metrics", "Returns the metrics for Prometheus", {"type": "string"}, kind="text/plain",
               errors=(401, 403, 404, 500), security=keyed)  # fmt: skip


def _get(
    path: str,
    summary: str,
    schema: Json,
    *,
    kind: str = "application/json",
    example: object = None,
    errors: Iterable[int] = (),
    security: Iterable[Json] = ({},),
) -> tuple[str, Json]:
    operation = {
        "operationId": _operation_id(path),
        "summary": summary,
        "security": [*security],
        "parameters": [{"$ref": "#/components/parameters/X-Request-Id"}],
        "responses": {"200": _response(summary, schema, example, kind), **_refs(errors)},
    }
    return path, {"get": operation}


def _operation_id(path: str) -> str:
    return re.sub(r"\W+", "_", path).strip("_")


def _security(needs_key: bool) -> list[Json]:
    return [{"bearer": []}, {"key": []}] if needs_key else [{}, {"bearer": []}, {"key": []}]


def _refs(codes: Iterable[int]) -> Json:
    return {str(code): {"$ref": f"#/components/responses/{code}"} for code in codes}


def _response(text: str, schema: Json, example: object = None, kind: str = "application/json") -> Json:
    content: Json = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {"description": text, "headers": _answer_headers(), "content": {kind: content}}


def _error_response(code: int, text: str) -> Json:
    made = _response(text, {"$ref": REF + "Error"})
    if code in (429, 503):
        made["headers"]["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    if code == 401:
        made["headers"]["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
    return made


def _answer_headers() -> Json:
    return {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}


def _headers() -> Json:
    return {
        "X-Request-Id": {"required": True, "schema": {"type": "string"}, "description": "The request's id."},
        "Retry-After": {
            "required": False,
            "schema": {"type": "integer", "minimum": 1},
            "description": "How many seconds to wait before a retry; absent if a retry does not help.",
        },
        WARNINGS_HEADER: {
            "required": False,
            "schema": {"type": "string"},
            "description": "What `meta.warnings` holds in other answers, here for a list of results that has no place "
            "for it: what was cut because it did not fit the model, unknown fields. A JSON list of strings; absent if "
            "there is nothing to say.",
        },
        "WWW-Authenticate": {
            "required": True,
            "schema": {"const": "Bearer"},
            "description": "The authentication scheme.",
        },
    }


def _parameters() -> Json:
    def header(name: str, schema: Json, text: str) -> Json:
        return {"name": name, "in": "header", "required": False, "schema": schema, "description": text}

    id_text = (
        "An id for the request, returned with the response. At most 128 letters, digits and `._:/+=-`; "
        "the server replaces any other id."
    )
    time_text = "How many seconds to wait for the response."
    return {
        "X-Request-Id": header("X-Request-Id", {"type": "string"}, id_text),
        TIMEOUT_HEADER: header(
            TIMEOUT_HEADER,
            {
                "type": "number",
                "minimum": MIN_TIMEOUT_SECONDS,
                "maximum": MAX_TIMEOUT_SECONDS,
                "default": DEFAULT_TIMEOUT_SECONDS,
            },
            time_text,
        ),
        "traceparent": header("traceparent", {"type": "string"}, "The caller's trace, as in W3C Trace Context."),
    }
