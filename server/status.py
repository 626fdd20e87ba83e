"""Turns an error into what a caller sees, over gRPC and over HTTP; the one table of codes, statuses and reasons.

Besides the code and the text a caller gets `google.rpc` details (AIP-193): ErrorInfo with a stable reason, BadRequest
with the field, RetryInfo with the time to wait, ResourceInfo with the model, RequestInfo with the request's id.
"""

from __future__ import annotations

import logging
import traceback
import uuid
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2, json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as ProtoMessage
from google.rpc import error_details_pb2, status_pb2

from shortlist.schemas import errors

__all__ = ["DOMAIN", "INTERNAL", "KINDS", "Kind", "Status", "status_of"]

_log = logging.getLogger(__name__)

DOMAIN = "shortlist"
_Code = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Kind:
    """How callers see a class of errors: gRPC code, HTTP status, and the stable reason for programs."""

    code: grpc.StatusCode
    http: int
    reason: str


# The most specific class of an error that is listed here decides.
KINDS: dict[type[errors.ShortlistError], Kind] = {
    errors.InvalidInput: Kind(_Code.INVALID_ARGUMENT, 400, "INVALID_FIELD"),
    errors.LimitExceeded: Kind(_Code.INVALID_ARGUMENT, 413, "LIMIT_EXCEEDED"),
    errors.UnknownDialect: Kind(_Code.INVALID_ARGUMENT, 400, "UNKNOWN_DIALECT"),
    errors.UnsupportedContent: Kind(_Code.INVALID_ARGUMENT, 415, "UNSUPPORTED_CONTENT"),
    errors.InvalidTool: Kind(_Code.INVALID_ARGUMENT, 400, "INVALID_TOOL"),
    errors.ModelError: Kind(_Code.FAILED_PRECONDITION, 409, "MODEL_UNUSABLE"),
    errors.ModelMismatch: Kind(_Code.FAILED_PRECONDITION, 409, "MODEL_MISMATCH"),
    errors.RequestCancelled: Kind(_Code.CANCELLED, 499, "CANCELLED"),
    errors.ServerUnavailable: Kind(_Code.UNAVAILABLE, 503, "NOT_SERVING"),
    errors.ServerBusy: Kind(_Code.RESOURCE_EXHAUSTED, 429, "OVERLOADED"),
    errors.DeadlineTooShort: Kind(_Code.RESOURCE_EXHAUSTED, 429, "DEADLINE_TOO_SHORT"),
    errors.RateLimited: Kind(_Code.RESOURCE_EXHAUSTED, 429, "RATE_LIMITED"),
    errors.Unauthenticated: Kind(_Code.UNAUTHENTICATED, 401, "UNAUTHENTICATED"),
    errors.PermissionDenied: Kind(_Code.PERMISSION_DENIED, 403, "PERMISSION_DENIED"),
    errors.InvalidConfiguration: Kind(_Code.FAILED_PRECONDITION, 500, "INVALID_CONFIGURATION"),
}
EXPIRED = Kind(_Code.DEADLINE_EXCEEDED, 504, "DEADLINE_EXCEEDED")
INTERNAL = Kind(_Code.INTERNAL, 500, "INTERNAL")

_AWAY_SECONDS = 1.0
_FIELD_KEY = "shortlist-field"
# Clients with a retry policy of gRPC's own (gRFC A6) wait this long, and do not retry where it is negative.
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_NO_RETRY_MS = -1
_DETAILS_KEY = "grpc-status-details-bin"
# Status texts are sent in HTTP/2 headers, of which clients accept 8 KiB: once percent-encoded, where each byte that is
# not ASCII takes three, and again in the details.
_MAX_TEXT_BYTES = 3000
_MAX_DETAIL_BYTES = 600


@dataclass(frozen=True, slots=True)
class Status:
    """What a caller learns about a failure: its kind, a text, and the details for programs.

    `retry_seconds` is when to send the request again, None where that is of no use. `pushback_ms` says the same to
    clients that retry a call within its deadline: milliseconds, -1 not to retry, None where it is not a matter of time.
    """

    kind: Kind
    text: str
    details: tuple[ProtoMessage, ...] = ()
    field: str = field(default="")
    retry_seconds: float | None = None
    pushback_ms: int | None = None

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC code."""
        return self.kind.code

    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The trailing metadata: the name of a wrong field, the pushback, and the details as google.rpc.Status."""
        field = ((_FIELD_KEY, _ascii(self.field)),) if self.field else ()
        pushback = ((_PUSHBACK_KEY, str(self.pushback_ms)),) if self.pushback_ms is not None else ()
        return (*field, *pushback, (_DETAILS_KEY, self.as_message().SerializeToString()))

    def as_message(self) -> status_pb2.Status:
        """Writes it as google.rpc.Status."""
        status = status_pb2.Status(code=self.code.value[0], message=_cut_for_details(self.text))
        for detail in self.details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return status

    def as_json(self) -> dict[str, Any]:
        """Writes it as the body of an HTTP response (AIP-193).

        Vendors' clients read `message` (Cohere's) or `detail` (Jina's) at the top.
        """
        details = [json_format.MessageToDict(detail) for detail in self.as_message().details]
        error = {"code": self.kind.http, "status": self.code.name, "message": self.text, "details": details}
        return {"error": error, "message": self.text, "detail": self.text}


def status_of(error: Exception, *, is_expired: bool = False, is_retriable: bool = True, request_id: str = "") -> Status:
    """Describes an error to the caller; an unexpected one is logged in full and described by an incident id only.

    `is_expired` says that the caller's deadline has passed, which a RequestCancelled alone does not tell. With
    `is_retriable` false the caller is not asked to try again, because the request may have changed something.
    """
    for base in type(error).__mro__:
        if base in KINDS:
            is_late = isinstance(error, errors.RequestCancelled) and is_expired
            return _described(error, EXPIRED if is_late else KINDS[base], request_id, is_retriable=is_retriable)
    return _incident(error, request_id)


def _described(error: Exception, kind: Kind, request_id: str, *, is_retriable: bool) -> Status:
    text = _writable(_shortened(str(error)))
    name = _writable(error.field) if isinstance(error, errors.InvalidInput) else ""
    retry = _retry_seconds(error) if is_retriable else None
    details: list[ProtoMessage] = [_info(kind, _facts(error))]
    if isinstance(error, errors.InvalidInput):
        details.append(_bad_request(name, text, kind.reason))
    if retry is not None:
        wait = Duration()
        wait.FromMilliseconds(_milliseconds(retry))
        details.append(error_details_pb2.RetryInfo(retry_delay=wait))
    if isinstance(error, errors.ModelMismatch):
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type="shortlist.v1/Model",
                resource_name=_writable(error.wanted),
                description=_cut_for_details(text),
            )
        )
    return Status(kind, text, (*details, *_request_info(request_id)), name, retry, _pushback_ms(error, retry))


def _retry_seconds(error: Exception) -> float | None:
    """Returns when to try again, None where that is of no use; a server that starts or stops may be back in 1 s."""
    if not isinstance(error, errors.ServerUnavailable):
        return None
    if error.retry_seconds is None and not isinstance(error, errors.ServerBusy):
        return _AWAY_SECONDS
    return error.retry_seconds


def _pushback_ms(error: Exception, retry_seconds: float | None) -> int | None:
    if not isinstance(error, errors.ServerUnavailable):
        return None
    # A retry of gRPC's own shares the deadline of the call, which was too short already.
    if retry_seconds is None or isinstance(error, errors.DeadlineTooShort):
        return _NO_RETRY_MS
    return _milliseconds(retry_seconds)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _facts(error: Exception) -> dict[str, str]:
    if isinstance(error, errors.LimitExceeded):
        return {"limit": str(error.limit), "actual": str(error.actual)}
    return {}


def _info(kind: Kind, metadata: dict[str, str]) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=kind.reason, domain=DOMAIN, metadata=metadata)


def _bad_request(name: str, text: str, reason: str) -> error_details_pb2.BadRequest:
    described = _cut_for_details(text.removeprefix(f"{name}: "))
    violation = error_details_pb2.BadRequest.FieldViolation(field=_ascii(name), description=described)
    if "reason" in violation.DESCRIPTOR.fields_by_name:  # not yet in the oldest release that we support
        violation.reason = reason
    return error_details_pb2.BadRequest(field_violations=[violation])


def _request_info(request_id: str) -> tuple[ProtoMessage, ...]:
    return (error_details_pb2.RequestInfo(request_id=request_id),) if request_id else ()


def _incident(error: Exception, request_id: str) -> Status:
    incident = uuid.uuid4().hex[:12]
    _log.error("incident %s: %s", incident, _trace(error))
    _log.debug("incident %s", incident, exc_info=error)
    text = f"the server failed on this request; its log explains why under incident {incident}"
    return Status(INTERNAL, text, (_info(INTERNAL, {"incident": incident}), *_request_info(request_id)))


def _trace(error: BaseException) -> str:
    """Formats the stack without the errors' texts, which may quote the request."""
    cause = error.__cause__ or error.__context__
    own = f"{type(error).__name__}\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip()
    return own if cause is None else f"{own}\ncaused by {_trace(cause)}"


def _shortened(text: str, max_bytes: int = _MAX_TEXT_BYTES) -> str:
    """Cuts a text so that it has at most `max_bytes` when percent-encoded."""
    length = 0
    for place, char in enumerate(text):
        length += 1 if char.isascii() else 3 * len(char.encode("utf-8", "replace"))
        if length > max_bytes:
            return text[: place - 1] + "…"
    return text


def _cut_for_details(text: str) -> str:
    return _shortened(text, _MAX_DETAIL_BYTES)


def _writable(text: str) -> str:
    """Replaces lone surrogates: JSON escapes can spell them, and protobuf messages cannot hold them."""
    return text.encode("utf-8", "replace").decode()


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
