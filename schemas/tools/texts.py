"""Writes tools that come as mappings as JSON texts, for the service and its clients alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shortlist.schemas.errors import InvalidInput

__all__ = ["tool_texts"]


def tool_texts(tools: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]) -> list[str]:
    """Returns tools as JSON texts: texts as they are, mappings written out, one of either as a list of one.

    Raises:
        InvalidInput: a mapping holds what JSON cannot say, or itself.
    """
    listed = [tools] if isinstance(tools, str | Mapping) else tools
    return [tool if isinstance(tool, str) else _written(tool, place) for place, tool in enumerate(listed)]


def _written(tool: object, place: int) -> str:
    try:
        return json.dumps(tool, ensure_ascii=False, default=_as_known)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput(f"cannot be written as JSON: {reason}", field=f"tools[{place}]") from error


def _as_known(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")
