"""Checks the arguments of a Router or a client: tools, scripts, and lists of texts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.surrogates import describe_halves, escape_halves, halves_in, has_half, replace_halves
from shortlist.schemas.tools.jsontext import MAX_INTEGER_DIGITS, MAX_NESTING

__all__ = [
    "ToolText",
    "Tools",
    "check_text",
    "check_timeout",
    "checked_texts",
    "plain_script",
    "plain_texts",
    "texts_of",
    "tool_texts",
]

# A mapping that is nested more deeply is cut off here, so that the reader, which keeps fewer levels, warns of it.
_MAX_LEVELS = MAX_NESTING + 50
_MAX_INTEGER_BITS = math.ceil(MAX_INTEGER_DIGITS * math.log2(10))

# One tool or a container of many, as JSON text or as the object it decodes to.
ToolText = str | Mapping[str, Any]
Tools = ToolText | Sequence[ToolText]


def tool_texts(tools: Tools) -> list[str]:
    """Returns tools as a list of JSON texts: texts are kept as they are, mappings are written as JSON.

    Raises:
        InvalidInput: a tool is neither a text nor a mapping, or a mapping cannot be written as JSON; the error's
            `field` says which.
    """
    if isinstance(tools, bytes) or not isinstance(tools, str | Mapping | Sequence):
        raise InvalidInput(f"is {type(tools).__name__}; give JSON texts or mappings", field="tools")
    listed = [tools] if isinstance(tools, str | Mapping) else tools
    return [_text(tool, f"tools[{place}]") for place, tool in enumerate(listed)]


def _text(tool: object, field: str) -> str:
    if isinstance(tool, str):
        return escape_halves(tool)
    if not isinstance(tool, Mapping | list):  # a list is a container of many
        raise InvalidInput(f"is {type(tool).__name__}; give a JSON text or a mapping", field=field)
    try:
        try:
            written = json.dumps(tool, ensure_ascii=False, default=_as_known)
        except (ValueError, RecursionError):  # a long integer, or many levels
            written = json.dumps(_as_writable(tool, _MAX_LEVELS, frozenset()), ensure_ascii=False, default=_as_known)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput(f"cannot be written as JSON: {reason}", field=field) from error
    return escape_halves(written)


def _as_writable(value: object, levels_left: int, outer: frozenset[int]) -> object:
    """Cuts off levels that are too deep and replaces integers that are too long; the text's reader warns of both."""
    if isinstance(value, int):
        return value if value.bit_length() <= _MAX_INTEGER_BITS else math.inf if value > 0 else -math.inf
    if not isinstance(value, Mapping | list | tuple):
        return value
    if id(value) in outer:
        raise ValueError("it contains itself")
    if not levels_left:
        return None
    inner = outer | {id(value)}
    if isinstance(value, Mapping):
        return {key: _as_writable(part, levels_left - 1, inner) for key, part in value.items()}
    return [_as_writable(part, levels_left - 1, inner) for part in value]


def _as_known(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def plain_texts(field: str, texts: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns a list of texts without halves of surrogate pairs, and a warning for each text that had some.

    Raises as `texts_of`.
    """
    plain, warnings = [], []
    for place, text in enumerate(texts_of(field, texts)):
        if has_half(text):
            if halves := halves_in(text):
                warnings.append(f"{field}[{place}]: {describe_halves(halves)}")
            text = replace_halves(text)
        plain.append(text)
    return tuple(plain), tuple(warnings)


def plain_script(ddl: object) -> tuple[str, tuple[str, ...]]:
    """Returns a script without halves of surrogate pairs, and a warning if it had some.

    Raises:
        InvalidInput: the script is not a text.
    """
    if not isinstance(ddl, str):
        raise InvalidInput(f"is {type(ddl).__name__}; give a text", field="ddl")
    halves = halves_in(ddl) if has_half(ddl) else {}
    return replace_halves(ddl), ((f"ddl: {describe_halves(halves)}",) if halves else ())


def check_text(field: str, text: object) -> str:
    """Returns a text that UTF-8, and so a request, can hold.

    Raises:
        InvalidInput: it is not a text, or it contains half of a surrogate pair.
    """
    if not isinstance(text, str):
        raise InvalidInput(f"is {type(text).__name__}; give a text", field=field)
    if has_half(text):
        raise InvalidInput("contains half of a surrogate pair, which is not a character", field=field)
    return text


def checked_texts(field: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Returns a list of texts as a tuple; raises as `texts_of` and, for each text, as `check_text`."""
    return tuple(check_text(f"{field}[{place}]", text) for place, text in enumerate(texts_of(field, texts)))


def texts_of(field: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Returns a list of texts as a tuple.

    Raises:
        InvalidInput: `texts` is a single text or not a list, or an entry is not a text; the error's `field` says which.
    """
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        kind = "one text" if isinstance(texts, str) else type(texts).__name__
        raise InvalidInput(f"is {kind}; give a list of texts", field=field)
    listed = tuple(texts)
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise InvalidInput(f"is {type(text).__name__}; give a text", field=f"{field}[{place}]")
    return listed


def check_timeout(timeout_seconds: float | None) -> None:
    """Checks how many seconds a caller waits; None sets no limit.

    Raises:
        InvalidInput: the timeout is not a number, or not above 0.
    """
    if timeout_seconds is None:
        return
    if isinstance(timeout_seconds, bool) or not isinstance(timeout_seconds, int | float):
        raise InvalidInput(f"is {timeout_seconds!r:.60}; give seconds as a number", field="timeout_seconds")
    if not timeout_seconds > 0:
        raise InvalidInput(f"is {timeout_seconds}; give more than 0 seconds", field="timeout_seconds")
