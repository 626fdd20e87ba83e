"""Turns what a failed gRPC call tells into the error that a caller of the client handles."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from shortlist.schemas import errors

__all__ = ["error_of"]

_DOMAIN = "shortlist"
_DETAILS_KEY = "grpc-status-details-bin"
_FIELD_KEY = "shortlist-field"
# gRPC's own wording for a message above a limit: "… larger than max (actual vs. limit)".
_TOO_LARGE = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")


@dataclass(slots=True)
class _Told:
    """What a server says about a failure; all but the text may be missing where it is another or an older server."""

    text: str
    address: str
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    field: str = ""
    resource: str = ""
    retry_seconds: float | None = None

    @property
    def placed(self) -> str:
        """The text with the server's address before it."""
        return f"{self.address}: {self.text}"

    @property
    def bare(self) -> str:
        """The text without the field's name, which `InvalidInput` puts before it."""
        return self.text.removeprefix(f"{self.field}: ")


def _invalid(kind: type[errors.InvalidInput]) -> Callable[[_Told], errors.ShortlistError]:
    return lambda told: kind(told.bare, field=told.field)


def _unavailable(kind: type[errors.ServerUnavailable]) -> Callable[[_Told], errors.ShortlistError]:
    return lambda told: kind(told.placed, retry_seconds=told.retry_seconds)


def _plain(kind: type[errors.ShortlistError]) -> Callable[[_Told], errors.ShortlistError]:
    return lambda told: kind(told.placed)


def _limit(told: _Told) -> errors.ShortlistError:
    limit, actual = (int(told.facts.get(name, "0")) for name in ("limit", "actual"))
    return errors.LimitExceeded(told.bare, limit=limit, actual=actual, field=told.field)


# The reasons of a server's errors (`status.py`), and where there is none that is known, the codes. An unknown dialect
# stays an InvalidInput: the list of known ones is in its text alone.
_BY_REASON: dict[str, Callable[[_Told], errors.ShortlistError]] = {
    "INVALID_FIELD": _invalid(errors.InvalidInput),
    "UNKNOWN_DIALECT": _invalid(errors.InvalidInput),
    "INVALID_TOOL": _invalid(errors.InvalidTool),
    "LIMIT_EXCEEDED": _limit,
    "UNSUPPORTED_CONTENT": _invalid(errors.UnsupportedContent),
    "MODEL_UNUSABLE": _plain(errors.ModelError),
    "MODEL_MISMATCH": lambda told: errors.ModelMismatch(told.placed, wanted=told.resource),
    "CANCELLED": _plain(errors.RequestCancelled),
    "DEADLINE_EXCEEDED": _plain(errors.RequestCancelled),
    "NOT_SERVING": _unavailable(errors.ServerUnavailable),
    "OVERLOADED": _unavailable(errors.ServerBusy),
    "DEADLINE_TOO_SHORT": _unavailable(errors.DeadlineTooShort),
    "RATE_LIMITED": _unavailable(errors.RateLimited),
    "UNAUTHENTICATED": _plain(errors.Unauthenticated),
    "PERMISSION_DENIED": _plain(errors.PermissionDenied),
    "INVALID_CONFIGURATION": _plain(errors.InvalidConfiguration),
}
_BY_CODE: dict[grpc.StatusCode, Callable[[_Told], errors.ShortlistError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: _invalid(errors.InvalidInput),
    grpc.StatusCode.FAILED_PRECONDITION: _plain(errors.ModelMismatch),
    grpc.StatusCode.RESOURCE_EXHAUSTED: _unavailable(errors.ServerBusy),
    grpc.StatusCode.UNAVAILABLE: _unavailable(errors.ServerUnavailable),
    grpc.StatusCode.DEADLINE_EXCEEDED: _plain(errors.RequestCancelled),
    # Who cancels a call here gets no answer at all; this is a server that went away while the call was on its way.
    grpc.StatusCode.CANCELLED: _unavailable(errors.ServerUnavailable),
    grpc.StatusCode.UNAUTHENTICATED: _plain(errors.Unauthenticated),
    grpc.StatusCode.PERMISSION_DENIED: _plain(errors.PermissionDenied),
}


def error_of(error: Any, address: str) -> errors.ShortlistError:
    """Makes the error of ours for one of `grpc` or `grpc.aio`, by its reason where it has one of ours, else by code."""
    code = error.code()
    told = _told(error, address)
    if make := _BY_REASON.get(told.reason):
        return make(told)
    if match := _TOO_LARGE.search(told.text):
        return _too_large(actual=int(match[1]), limit=int(match[2]), is_answer="CLIENT" in told.text)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return errors.ShortlistError(f"{address} has no such call: no Shortlist server, or an older one")
    return _BY_CODE.get(code, _plain(errors.ShortlistError))(told)


def _told(error: Any, address: str) -> _Told:
    # Not dict(…): the metadata of older grpc.aio only look like a mapping.
    trailing: dict[str, Any] = {str(key): value for key, value in error.trailing_metadata() or ()}
    told = _Told(error.details() or error.code().name, address, field=str(trailing.get(_FIELD_KEY, "")))
    try:
        details = status_pb2.Status.FromString(trailing.get(_DETAILS_KEY, b"")).details
    except (DecodeError, TypeError):
        return told
    for detail in details:
        _note(told, detail)
    return told


def _note(told: _Told, detail: Any) -> None:
    info, wait = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    resource = error_details_pb2.ResourceInfo()
    try:
        if detail.Unpack(info) and info.domain == _DOMAIN:
            told.reason, told.facts = info.reason, dict(info.metadata)
        elif detail.Unpack(wait):
            told.retry_seconds = wait.retry_delay.ToTimedelta().total_seconds()
        elif detail.Unpack(resource):
            told.resource = resource.resource_name
    except DecodeError:
        return


def _too_large(*, actual: int, limit: int, is_answer: bool) -> errors.LimitExceeded:
    if is_answer:
        message = f"the answer has {actual} bytes, the client takes {limit}; raise the client's max_message_bytes"
    else:
        message = (
            f"the request has {actual} bytes, the server takes {limit}; "
            "send less, or start the server with a larger --max-message-mb"
        )
    return errors.LimitExceeded(message, limit=limit, actual=actual)
