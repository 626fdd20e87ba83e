"""Writes tools that come as mappings as JSON texts, for the Router and the client alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shortlist.schemas.errors import InvalidInput

__all__ = ["ToolText", "Tools", "tool_texts"]

# One tool or a container of many, as JSON text or as the object it decodes to.
ToolText = str | Mapping[str, Any]
Tools = ToolText | Sequence[ToolText]


def tool_texts(tools: Tools) -> list[str]:
    """Returns tools as JSON texts: texts as they are, mappings written out, one of either as a list of one.

    Raises:
        InvalidInput: something is neither text nor mapping, or a mapping cannot be written as JSON; the error's `field`
            says which.
    """
    if isinstance(tools, bytes) or not isinstance(tools, str | Mapping | Sequence):
        raise InvalidInput(f"is {type(tools).__name__}; give JSON texts or mappings", field="tools")
    listed = [tools] if isinstance(tools, str | Mapping) else tools
    return [_text(tool, f"tools[{place}]") for place, tool in enumerate(listed)]


def _text(tool: object, field: str) -> str:
    if isinstance(tool, str):
        return tool
    if not isinstance(tool, Mapping | list):  # a list is a container of many
        raise InvalidInput(f"is {type(tool).__name__}; give a JSON text or a mapping", field=field)
    try:
        return _encodable(json.dumps(tool, ensure_ascii=False, default=_as_known))
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput(f"cannot be written as JSON: {reason}", field=field) from error


def _encodable(text: str) -> str:
    """Escapes a lone surrogate, which JSON can spell and UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text))
    return text


def _as_known(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")
