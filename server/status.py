"""Turns an error into what a caller sees, over gRPC and over HTTP; the one place that knows all three.

Beside code and text a caller gets `google.rpc` details (AIP-193): ErrorInfo with a stable reason, BadRequest with the
field, RetryInfo with the time to wait, ResourceInfo with the model, RequestInfo with the request's id.
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
    """How a class of errors is told: gRPC code, HTTP status, and the reason that programs may rely on."""

    code: grpc.StatusCode
    http: int
    reason: str


# The most specific class of an error that stands here decides.
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
_DETAILS_KEY = "grpc-status-details-bin"
# Status texts travel in HTTP/2 headers, of which clients refuse more than 8 KiB: once percent-encoded, three bytes for
# each that is not ASCII, and again in the details.
_MAX_TEXT_BYTES = 3000
_MAX_DETAIL_BYTES = 600


@dataclass(frozen=True, slots=True)
class Status:
    """What a caller is told about a failure: its kind, a text, and the details for programs."""

    kind: Kind
    text: str
    details: tuple[ProtoMessage, ...] = ()
    field: str = field(default="")
    retry_seconds: float | None = None

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC code."""
        return self.kind.code

    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The trailing metadata: the details as google.rpc.Status, and the field's name where one is wrong."""
        named = ((_FIELD_KEY, _ascii(self.field)),) if self.field else ()
        return (*named, (_DETAILS_KEY, self.as_message().SerializeToString()))

    def as_message(self) -> status_pb2.Status:
        """Writes it as google.rpc.Status."""
        status = status_pb2.Status(code=self.code.value[0], message=_cut_for_details(self.text))
        for detail in self.details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return status

    def as_json(self) -> dict[str, Any]:
        """Writes it as the body of an HTTP answer, after AIP-193; `message` stands outside too, where SDKs look."""
        details = [json_format.MessageToDict(detail) for detail in self.as_message().details]
        error = {"code": self.kind.http, "status": self.code.name, "message": self.text, "details": details}
        return {"error": error, "message": self.text}


def status_of(error: Exception, *, is_expired: bool = False, request_id: str = "") -> Status:
    """Describes an error to the caller; one we did not foresee is logged in full and told by an incident id only.

    `is_expired` says that the caller's deadline has passed, which a cancelled request alone does not tell.
    """
    for base in type(error).__mro__:
        if base in KINDS:
            is_late = isinstance(error, errors.RequestCancelled) and is_expired
            return _told(error, EXPIRED if is_late else KINDS[base], request_id)
    return _incident(error, request_id)


def _told(error: Exception, kind: Kind, request_id: str) -> Status:
    text = _writable(_shortened(str(error)))
    name = _writable(error.field) if isinstance(error, errors.InvalidInput) else ""
    retry = _retry_seconds(error)
    details: list[ProtoMessage] = [_info(kind, _facts(error))]
    if isinstance(error, errors.InvalidInput):
        details.append(_bad_request(name, text, kind.reason))
    if retry is not None:
        wait = Duration()
        wait.FromMilliseconds(round(retry * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=wait))
    if isinstance(error, errors.ModelMismatch):
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type="shortlist.v1/Model",
                resource_name=_writable(error.wanted),
                description=_cut_for_details(text),
            )
        )
    return Status(kind, text, (*details, *_request_info(request_id)), name, retry)


def _retry_seconds(error: Exception) -> float | None:
    """Returns when to try again, None where that is of no use: a server that is away may be back in a second."""
    if not isinstance(error, errors.ServerUnavailable):
        return None
    if error.retry_seconds is None and not isinstance(error, errors.ServerBusy):
        return _AWAY_SECONDS
    return error.retry_seconds


def _facts(error: Exception) -> dict[str, str]:
    if isinstance(error, errors.LimitExceeded):
        return {"limit": str(error.limit), "actual": str(error.actual)}
    return {}


def _info(kind: Kind, metadata: dict[str, str]) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=kind.reason, domain=DOMAIN, metadata=metadata)


def _bad_request(name: str, text: str, reason: str) -> error_details_pb2.BadRequest:
    described = _cut_for_details(text.removeprefix(f"{name}: "))
    violation = error_details_pb2.BadRequest.FieldViolation(field=_ascii(name), description=described)
    if "reason" in violation.DESCRIPTOR.fields_by_name:  # younger than the oldest release that serves
        violation.reason = reason
    return error_details_pb2.BadRequest(field_violations=[violation])


def _request_info(request_id: str) -> tuple[ProtoMessage, ...]:
    return (error_details_pb2.RequestInfo(request_id=request_id),) if request_id else ()


def _incident(error: Exception, request_id: str) -> Status:
    incident = uuid.uuid4().hex[:12]
    _log.error("incident %s: %s", incident, _trace(error))
    _log.debug("incident %s", incident, exc_info=error)
    text = f"the server failed on this request; its log tells why under {incident}"
    return Status(INTERNAL, text, (_info(INTERNAL, {"incident": incident}), *_request_info(request_id)))


def _trace(error: BaseException) -> str:
    """Writes the stack without the errors' texts, which may quote the request."""
    cause = error.__cause__ or error.__context__
    own = f"{type(error).__name__}\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip()
    return own if cause is None else f"{own}\ncaused by {_trace(cause)}"


def _shortened(text: str, max_bytes: int = _MAX_TEXT_BYTES) -> str:
    """Cuts a text to so many bytes when percent-encoded."""
    length = 0
    for place, char in enumerate(text):
        length += 1 if char.isascii() else 3 * len(char.encode("utf-8", "replace"))
        if length > max_bytes:
            return text[: place - 1] + "…"
    return text


def _cut_for_details(text: str) -> str:
    return _shortened(text, _MAX_DETAIL_BYTES)


def _writable(text: str) -> str:
    """Replaces half surrogate pairs: JSON escapes can spell them, and messages cannot hold them."""
    return text.encode("utf-8", "replace").decode()


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
