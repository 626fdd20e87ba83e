"""Converts the error of a failed gRPC call into one of `schemas.errors`."""

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
class _Failure:
    """What a server reports about a failure; a foreign or an older server may send only the text."""

    text: str
    address: str
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    field: str = ""
    resource: str = ""
    retry_seconds: float | None = None

    @property
    def text_with_address(self) -> str:
        """The text, prefixed with the server's address."""
        return f"{self.address}: {self.text}"

    @property
    def text_without_field(self) -> str:
        """The text without the field's name, which `InvalidInput` adds."""
        return self.text.removeprefix(f"{self.field}: ")


def _invalid(kind: type[errors.InvalidInput]) -> Callable[[_Failure], errors.ShortlistError]:
    return lambda failure: kind(failure.text_without_field, field=failure.field)


def _unavailable(kind: type[errors.ServerUnavailable]) -> Callable[[_Failure], errors.ShortlistError]:
    return lambda failure: kind(failure.text_with_address, retry_seconds=failure.retry_seconds)


def _plain(kind: type[errors.ShortlistError]) -> Callable[[_Failure], errors.ShortlistError]:
    return lambda failure: kind(failure.text_with_address)


def _limit(failure: _Failure) -> errors.ShortlistError:
    limit, actual = (int(failure.facts.get(name, "0")) for name in ("limit", "actual"))
    return errors.LimitExceeded(failure.text_without_field, limit=limit, actual=actual, field=failure.field)


# By the reason of the server's error (`status.py`); without a known reason, by gRPC code. An unknown dialect becomes a
# plain InvalidInput, because only its text lists the known dialects.
_BY_REASON: dict[str, Callable[[_Failure], errors.ShortlistError]] = {
    "INVALID_FIELD": _invalid(errors.InvalidInput),
    "UNKNOWN_DIALECT": _invalid(errors.InvalidInput),
    "INVALID_TOOL": _invalid(errors.InvalidTool),
    "LIMIT_EXCEEDED": _limit,
    "UNSUPPORTED_CONTENT": _invalid(errors.UnsupportedContent),
    "MODEL_UNUSABLE": _plain(errors.ModelError),
    "MODEL_MISMATCH": lambda failure: errors.ModelMismatch(failure.text_with_address, wanted=failure.resource),
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
_BY_CODE: dict[grpc.StatusCode, Callable[[_Failure], errors.ShortlistError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: _invalid(errors.InvalidInput),
    grpc.StatusCode.FAILED_PRECONDITION: _plain(errors.ModelMismatch),
    grpc.StatusCode.RESOURCE_EXHAUSTED: _unavailable(errors.ServerBusy),
    grpc.StatusCode.UNAVAILABLE: _unavailable(errors.ServerUnavailable),
    grpc.StatusCode.DEADLINE_EXCEEDED: _plain(errors.RequestCancelled),
    # A caller that cancels gets no answer at all, so this comes from a server that went away during the call.
    grpc.StatusCode.CANCELLED: _unavailable(errors.ServerUnavailable),
    grpc.StatusCode.UNAUTHENTICATED: _plain(errors.Unauthenticated),
    grpc.StatusCode.PERMISSION_DENIED: _plain(errors.PermissionDenied),
}


def error_of(error: Any, address: str) -> errors.ShortlistError:
    """Converts an error of `grpc` or `grpc.aio`, by its reason if the server gave a known one, else by its code."""
    code = error.code()
    failure = _read_failure(error, address)
    if make := _BY_REASON.get(failure.reason):
        return make(failure)
    if match := _TOO_LARGE.search(failure.text):
        return _too_large(actual=int(match[1]), limit=int(match[2]), is_answer="CLIENT" in failure.text)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return errors.ShortlistError(
            f"{address} does not have this method: an older version, or not a Shortlist server"
        )
    return _BY_CODE.get(code, _plain(errors.ShortlistError))(failure)


def _read_failure(error: Any, address: str) -> _Failure:
    # Not dict(…): in older grpc.aio the metadata only resembles a mapping.
    trailing: dict[str, Any] = {str(key): value for key, value in error.trailing_metadata() or ()}
    failure = _Failure(error.details() or error.code().name, address, field=str(trailing.get(_FIELD_KEY, "")))
    try:
        details = status_pb2.Status.FromString(trailing.get(_DETAILS_KEY, b"")).details
    except (DecodeError, TypeError):
        return failure
    for detail in details:
        _add_detail(failure, detail)
    return failure


def _add_detail(failure: _Failure, detail: Any) -> None:
    info, wait = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    resource = error_details_pb2.ResourceInfo()
    try:
        if detail.Unpack(info) and info.domain == _DOMAIN:
            failure.reason, failure.facts = info.reason, dict(info.metadata)
        elif detail.Unpack(wait):
            failure.retry_seconds = wait.retry_delay.ToTimedelta().total_seconds()
        elif detail.Unpack(resource):
            failure.resource = resource.resource_name
    except DecodeError:
        return


def _too_large(*, actual: int, limit: int, is_answer: bool) -> errors.LimitExceeded:
    if is_answer:
        message = f"the response has {actual} bytes, the limit is {limit}; raise the client's max_message_bytes"
    else:
        message = (
            f"the request has {actual} bytes, the limit is {limit}; "
            "send less, or start the server with a larger --max-message-mb"
        )
    return errors.LimitExceeded(message, limit=limit, actual=actual)
