"""Converts tools given as Python mappings to JSON texts. The Router and the clients use it; its imports are light."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shortlist.schemas.errors import InvalidInput

__all__ = ["tool_texts"]


def tool_texts(tools: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]) -> list[str]:
    """Returns tools as JSON texts: texts unchanged, mappings encoded. A single tool gives a list of one.

    Raises:
        InvalidInput: a mapping holds a value that JSON cannot express, or contains itself.
    """
    listed = [tools] if isinstance(tools, str | Mapping) else tools
    return [tool if isinstance(tool, str) else _encode(tool, position) for position, tool in enumerate(listed)]


def _encode(tool: object, position: int) -> str:
    try:
        return json.dumps(tool, ensure_ascii=False, default=_encode_mapping)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput(f"cannot be written as JSON: {reason}", field=f"tools[{position}]") from error


def _encode_mapping(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")
