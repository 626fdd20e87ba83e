"""Turns an error into the gRPC status a caller sees; the one place that knows both."""

from __future__ import annotations

import logging
import traceback
import uuid
from dataclasses import dataclass

import grpc

from shortlist.schemas import errors

__all__ = ["CODES", "Status", "status_of"]

_log = logging.getLogger(__name__)

# The most specific class of an error that stands here decides.
CODES: dict[type[errors.ShortlistError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ModelError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.RequestCancelled: grpc.StatusCode.CANCELLED,
    errors.ServerUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ServerBusy: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

_FIELD_KEY = "shortlist-field"
# Status texts travel in an HTTP/2 header; clients refuse more than 8 KiB of them, percent-encoded.
_MAX_TEXT_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Status:
    """What a caller is told about a failure: code, text and trailing metadata."""

    code: grpc.StatusCode
    text: str
    metadata: tuple[tuple[str, str], ...] = ()


def status_of(error: Exception, *, is_expired: bool = False) -> Status:
    """Describes an error to the caller; one we did not foresee is logged in full and told by an incident id only.

    `is_expired` says that the caller's deadline has passed, which a cancelled request alone does not tell.
    """
    if isinstance(error, errors.RequestCancelled) and is_expired:
        return Status(grpc.StatusCode.DEADLINE_EXCEEDED, str(error))
    for kind in type(error).__mro__:
        if kind in CODES:
            return Status(CODES[kind], _shortened(str(error)), _metadata_of(error))
    return _incident(error)


def _metadata_of(error: Exception) -> tuple[tuple[str, str], ...]:
    field = error.field if isinstance(error, errors.InvalidInput) else ""
    return ((_FIELD_KEY, field.encode("ascii", "replace").decode()),) if field else ()


def _incident(error: Exception) -> Status:
    incident = uuid.uuid4().hex[:12]
    _log.error("incident %s: %s", incident, _trace(error))
    _log.debug("incident %s", incident, exc_info=error)
    return Status(grpc.StatusCode.INTERNAL, f"the server failed on this request; its log tells why under {incident}")


def _trace(error: BaseException) -> str:
    """Writes the stack without the errors' texts, which may quote the request."""
    cause = error.__cause__ or error.__context__
    own = f"{type(error).__name__}\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip()
    return own if cause is None else f"{own}\ncaused by {_trace(cause)}"


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_TEXT_CHARS else text[: _MAX_TEXT_CHARS - 1] + "…"
