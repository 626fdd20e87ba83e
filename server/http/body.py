"""Reads an HTTP request: its JSON body, within limits of size and time, and the timeout header."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.arguments import plain_script
from shortlist.schemas.errors import InvalidInput, LimitExceeded, RequestCancelled, UnsupportedContent
from shortlist.schemas.surrogates import has_half
from shortlist.schemas.tools.jsontext import MAX_INTEGER_DIGITS, Node, decode_at, skip_whitespace
from shortlist.schemas.tools.oddities import may_hold_halves, read_value
from shortlist.server.limits import MAX_DOCUMENTS, MAX_TOOL_TEXTS

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = [
    "DEFAULT_TIMEOUT_SECONDS",
    "MAX_TIMEOUT_SECONDS",
    "MIN_TIMEOUT_SECONDS",
    "TIMEOUT_HEADER",
    "Body",
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
# The lists whose entries are read one by one, and how many entries each may have.
_MOST_ENTRIES = {"tools": MAX_TOOL_TEXTS, "documents": MAX_DOCUMENTS, "texts": MAX_DOCUMENTS}
_ADVICE = {
    "tools": "put several tools into one text",
    "documents": "send them in several requests",
    "texts": "send them in several requests",
}
_MAX_DOCUMENT_LEVELS = 32
# Far more than any request has; each is read by itself, which is slower than to decode all at once.
_MAX_FIELDS = 150_000
_MAX_SHOWN_CHARS = 100


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


@dataclass(frozen=True, slots=True)
class Body:
    """A request's JSON object.

    `fields` are its members. `sources` holds, for each list of tools or documents, the text of each entry as it was
    written. `warnings` say what was odd in documents and scripts; a tool's oddities are found when it is parsed.
    """

    fields: dict[str, Any]
    sources: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_json(body: bytes, *, read_fields: Collection[str] | None = None) -> Body:
    """Parses a JSON object: UTF-8, no duplicate names, only finite numbers, no half of a surrogate pair.

    An entry of a list of tools or documents may break these rules: it costs itself alone. Documents are read as far as
    their meaning is clear. Tools are kept as they are, for the parser of tools. A field that is not in `read_fields`,
    if these are given, may break the rules too: its value does not matter.

    Raises:
        InvalidInput: the body is not such an object; the text says where.
    """
    try:
        return _Reader(body.decode("utf-8-sig"), read_fields).read()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8: byte {error.start} is invalid") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput(f"the body is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]} at {where}") from error
    except RecursionError as error:
        raise InvalidInput("the body is nested too deeply") from error


class _Reader:
    """Reads the members of the object that a body is; `_at` is the offset of what is read next."""

    def __init__(self, text: str, read_fields: Collection[str] | None) -> None:
        self._text, self._at = text, skip_whitespace(text, 0)
        self._read_fields = read_fields
        self._body = Body({})

    def read(self) -> Body:
        if not self._text.startswith("{", self._at):
            self._decode()
            raise InvalidInput("the body should be a JSON object")
        for _ in self._parts("}"):
            self._read_member()
            if len(self._body.fields) > _MAX_FIELDS:
                raise InvalidInput(f"the body has more than {_MAX_FIELDS} fields")
        if self._at < len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, self._at)
        return self._body

    def _parts(self, closing: str) -> Iterator[None]:
        """Yields at the start of each part of an object or a list, and moves behind its end."""
        self._move(self._at + 1)
        is_first = True
        while not (is_first and self._text.startswith(closing, self._at)):
            is_first = False
            yield
            if self._text.startswith(closing, self._at):
                break
            self._expect(",")
        self._move(self._at + 1)

    def _read_member(self) -> None:
        name = self._read_name()
        if self._read_fields is not None and name not in self._read_fields:
            self._body.fields[name] = self._decode().value
            return
        if name in self._body.fields:
            raise InvalidInput("is given twice in one object; give it once", field=name[:_MAX_SHOWN_CHARS])
        if name in _MOST_ENTRIES and self._text.startswith("[", self._at):
            self._body.fields[name] = self._read_entries(name)
            return
        node = self._decode()
        if name == "ddl" and isinstance(node.value, str):
            self._body.fields[name], warnings = plain_script(node.value)
            self._body.warnings.extend(warnings)
            return
        _check_strictly(name[:_MAX_SHOWN_CHARS], self._text[node.start : node.end], node)
        self._body.fields[name] = node.value

    def _read_name(self) -> str:
        if not self._text.startswith('"', self._at):
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, self._at)
        name = str(self._decode().value)
        if has_half(name):
            raise InvalidInput("the body has a name with half of a surrogate pair, which is not a character")
        self._expect(":")
        return name

    def _read_entries(self, name: str) -> list[Any]:
        start, limit = self._at, _MOST_ENTRIES[name]
        values: list[Any] = []
        sources = self._body.sources[name] = []
        for _ in self._parts("]"):
            if len(values) == limit:
                raise self._too_many(name, start)
            node = self._decode()
            sources.append(self._text[node.start : node.end])
            values.append(node.value if name == "tools" else self._read_document(f"{name}[{len(values)}]", node))
        return values

    def _read_document(self, place: str, node: Node) -> Any:
        reading = read_value(self._text, node, max_levels=_MAX_DOCUMENT_LEVELS)
        self._body.warnings.extend(f"{place}: {oddity}" for oddity in reading.oddities)
        return reading.value

    def _too_many(self, name: str, start: int) -> LimitExceeded:
        limit, counted = _MOST_ENTRIES[name], decode_at(self._text, start).value
        actual = len(counted) if isinstance(counted, list) else limit + 1
        message = f"has {actual} entries, but at most {limit} are allowed; {_ADVICE[name]}"
        return LimitExceeded(message, limit=limit, actual=actual, field=name)

    def _decode(self) -> Node:
        node = decode_at(self._text, self._at)
        if node.error:
            raise json.JSONDecodeError(node.error, self._text, node.error_at)
        self._move(node.end)
        return node

    def _expect(self, character: str) -> None:
        if not self._text.startswith(character, self._at):
            raise json.JSONDecodeError(f"Expecting {character!r} delimiter", self._text, self._at)
        self._move(self._at + 1)

    def _move(self, at: int) -> None:
        self._at = skip_whitespace(self._text, at)


def _check_strictly(name: str, text: str, node: Node) -> None:
    """Rejects what JSON's grammar allows, but a member of a request must not contain; `text` is that of the member.

    Raises:
        InvalidInput: the member contains such a value; the error's `field` says where.
    """
    if node.is_plain and not may_hold_halves(text):
        return
    try:
        value = json.loads(text, object_pairs_hook=partial(_without_duplicates, name), parse_int=_read_integer)
        found = next(_invalid_values(value, name), None)
    except RecursionError as error:
        raise InvalidInput("is nested too deeply", field=name) from error
    except OverflowError as error:
        raise InvalidInput("contains a number with too many digits", field=name) from error
    if found is not None:
        raise InvalidInput(found[1], field=found[0])


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


def _without_duplicates(name: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                shown = json.dumps(key[:_MAX_SHOWN_CHARS])
                raise InvalidInput(f"has the key {shown} twice in one object; give it once", field=name)
            seen.add(key)
    return made


def _read_integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise OverflowError
    return int(digits)


def _invalid_values(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yields the path and the problem of each value that JSON's grammar allows but a request must not contain."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, "should be a finite number"
    elif isinstance(value, str):
        if has_half(value):
            yield path, "contains half of a surrogate pair, which is not a character"
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _invalid_values(inner, f"{path}[{place}]")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if has_half(name):
                yield path, "has a name with half of a surrogate pair, which is not a character"
            yield from _invalid_values(inner, f"{path}.{name[:_MAX_SHOWN_CHARS]}" if path else name[:_MAX_SHOWN_CHARS])
