"""Reads an HTTP request: its JSON body, within limits of size and time, and the timeout header."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.errors import InvalidInput, LimitExceeded, RequestCancelled, UnsupportedContent

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = [
    "DEFAULT_TIMEOUT_SECONDS",
    "MAX_TIMEOUT_SECONDS",
    "MIN_TIMEOUT_SECONDS",
    "TIMEOUT_HEADER",
    "read_json",
    "read_timeout",
    "receive",
]

TIMEOUT_HEADER = "X-Request-Timeout"
DEFAULT_TIMEOUT_SECONDS = 60.0
MIN_TIMEOUT_SECONDS = 0.001
MAX_TIMEOUT_SECONDS = 3600.0
# Applies even if the caller allows more time: a body that trickles in must not occupy the server for longer.
_BODY_SECONDS = 60.0
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?\Z")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_timeout(headers: Mapping[str, str]) -> float:
    """Reads how many seconds the caller waits for its answer.

    Raises:
        InvalidInput: it is not a decimal number, or out of range.
    """
    text = headers.get(TIMEOUT_HEADER.lower())
    if text is None:
        return DEFAULT_TIMEOUT_SECONDS
    seconds = float(text) if _NUMBER.match(text) else 0.0
    if not MIN_TIMEOUT_SECONDS <= seconds <= MAX_TIMEOUT_SECONDS:
        message = f"should be a decimal number of seconds, {MIN_TIMEOUT_SECONDS} to {MAX_TIMEOUT_SECONDS:.0f}"
        raise InvalidInput(message, field=TIMEOUT_HEADER)
    return seconds


async def receive(request: Request, max_bytes: int, cancel: CancelToken) -> bytes:
    """Receives the body, keeping no more than `max_bytes` of it.

    Raises:
        UnsupportedContent: the headers do not declare plain JSON.
        LimitExceeded: the body is larger.
        RequestCancelled: the body did not arrive in time.
        ClientDisconnect: Starlette's; the caller closed the connection.
    """
    _check_type(request.headers)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(int(length), max_bytes)
    left = cancel.remaining_seconds
    try:
        async with asyncio.timeout(_BODY_SECONDS if left is None else min(left, _BODY_SECONDS)):
            return await _collect(request, max_bytes)
    except TimeoutError as error:
        cancel.cancel()
        raise RequestCancelled("the request's body did not arrive in time") from error


def read_json(body: bytes) -> dict[str, Any]:
    """Parses a JSON object strictly: UTF-8, no duplicate names, only finite numbers.

    Raises:
        InvalidInput: the body is not such an object; the text says where.
    """
    not_finite: list[str] = []  # found while parsing; their place is searched for only if there are any
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_without_duplicates,
            parse_float=lambda text: _read_number(text, not_finite),
            parse_constant=lambda text: _read_number(text, not_finite),
        )
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8: byte {error.start} is invalid") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput(f"the body is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]} at {where}") from error
    except ValueError as error:  # Python refuses very long integers, because parsing them is slow
        raise InvalidInput("the body contains a number with too many digits") from error
    except RecursionError as error:
        raise InvalidInput("the body is nested too deeply") from error
    if not isinstance(value, dict):
        raise InvalidInput("the body should be a JSON object")
    if not_finite or _SURROGATE.search(body):
        _reject_invalid_values(value)
    return value


async def _collect(request: Request, max_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise _too_large(size, max_bytes)
        parts.append(part)
    return b"".join(parts)


def _check_type(headers: Mapping[str, str]) -> None:
    # A missing Content-Type is rejected too: browsers send such requests from any page without a preflight.
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0].strip('" ').lower()
    if kind.strip().lower() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise UnsupportedContent("should be application/json in UTF-8", field="Content-Type")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedContent("is not supported; send the body uncompressed", field="Content-Encoding")


def _too_large(actual: int, limit: int) -> LimitExceeded:
    message = (
        f"the request has at least {actual} bytes, the limit is {limit}; "
        "send less, or start the server with a larger --max-message-mb"
    )
    return LimitExceeded(message, limit=limit, actual=actual)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidInput("is given twice in one object; give it once", field=name[:100])
            seen.add(name)
    return made


def _read_number(text: str, not_finite: list[str]) -> float:
    number = float(text)
    if not math.isfinite(number):
        not_finite.append(text)
    return number


def _reject_invalid_values(value: Any) -> None:
    try:
        found = next(_invalid_values(value, ""), None)
    except RecursionError as error:
        raise InvalidInput("the body is nested too deeply") from error
    if found is not None:
        raise InvalidInput(found[1], field=found[0])


def _invalid_values(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yields the path and the problem of each value that JSON's grammar allows but a request must not contain."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, "should be a finite number"
    elif isinstance(value, str):
        if not value.isascii() and _has_surrogate(value):
            yield path, "contains half of a surrogate pair, which is not a character"
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _invalid_values(inner, f"{path}[{place}]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if _has_surrogate(name):
                yield path, "has a name with half of a surrogate pair, which is not a character"
            yield from _invalid_values(inner, f"{path}.{name[:100]}" if path else name[:100])


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
