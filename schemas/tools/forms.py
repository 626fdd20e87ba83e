"""Tells by its shape which published form a tool is written in, and finds its name, texts and parameters there.

The forms: OpenAI chat completions (``{"type": "function", "function": {…}}``), OpenAI responses (the same, flat),
Anthropic (``input_schema``), MCP (``inputSchema``), Gemini (``functionDeclarations``), the neutral
``{"name", "description", "parameters"}``, and a bare JSON Schema with a title.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shortlist.schemas.errors import InvalidTool

__all__ = ["ACCEPTED", "Shape", "as_json", "as_text", "clean_text", "detect_shape", "shorten"]

ACCEPTED = (
    'write {"name": …, "description": …, "parameters": {…}}, a tool of OpenAI, Anthropic, MCP or Gemini, '
    "or a JSON Schema with a title"
)

_WRAPPERS = ("function", "custom")
_SCHEMA_KEYS = ("parameters", "inputSchema", "input_schema", "parametersJsonSchema", "parameters_json_schema")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a tool says of itself; `schema` is its parameters as decoded, `pointer` where in the tool they stand."""

    name: str
    description: str
    title: str
    schema: object
    pointer: str


def detect_shape(value: object) -> Shape:
    """Finds name, description, title and parameters of one tool.

    Raises: InvalidTool where there is no name, saying what was found instead.
    """
    if not isinstance(value, dict):
        raise InvalidTool(f"a tool is a JSON object, this is {_describe(value)}; {ACCEPTED}")
    for wrapper in _WRAPPERS:
        inner = value.get(wrapper)
        if isinstance(inner, dict):
            return _read_named(inner, f"/{wrapper}")
    if "name" not in value and "title" in value and not any(key in value for key in _SCHEMA_KEYS):
        return Shape(_read_name(value, "title"), as_text(value.get("description")), "", value, "")
    return _read_named(value, "")


def as_text(value: object) -> str:
    """Gives a text for any decoded value: strings as they are, null as nothing, the rest as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return clean_text("\n".join(value))
    return as_json(value)


def as_json(value: object) -> str:
    """Gives the compact JSON of a decoded value, an ellipsis if it is nested too deeply to be written."""
    try:
        return clean_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    except RecursionError:
        return "…"


def clean_text(text: str) -> str:
    """Replaces lone surrogates, which JSON can write but neither UTF-8 nor a tokenizer can carry."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def shorten(text: str, max_chars: int = 80) -> str:
    """Cuts a text for a message."""
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def _read_named(value: Mapping[str, Any], pointer: str) -> Shape:
    name = _read_name(value, "name")
    key = next((key for key in _SCHEMA_KEYS if value.get(key) is not None), "")
    schema = value[key] if key else None
    if not key and isinstance(value.get("properties"), dict):
        schema = value  # a JSON Schema that carries its name itself
    return Shape(
        name, _find_description(value, schema), _find_title(value), schema, f"{pointer}/{key}" if key else pointer
    )


def _read_name(value: Mapping[str, Any], key: str) -> str:
    name = value.get(key)
    if isinstance(name, str) and name.strip():
        return clean_text(name)
    if key in value:
        raise InvalidTool(f'its "{key}" is {_describe(name)}; write a text that is not blank')
    raise InvalidTool(f"it has no name, only {_list_keys(value)}; {ACCEPTED}")


def _find_description(value: Mapping[str, Any], schema: object) -> str:
    description = as_text(value.get("description"))
    if not description and isinstance(schema, dict):
        description = as_text(schema.get("description"))
    return description


def _find_title(value: Mapping[str, Any]) -> str:
    title = value.get("title")
    annotations = value.get("annotations")
    if not title and isinstance(annotations, dict):
        title = annotations.get("title")
    return clean_text(title) if isinstance(title, str) else ""


def _list_keys(value: Mapping[str, Any]) -> str:
    if not value:
        return "an empty object"
    keys = ", ".join(json.dumps(clean_text(shorten(key, 30)), ensure_ascii=False) for key in list(value)[:5])
    return f"{keys} and {len(value) - 5} more" if len(value) > 5 else keys


def _describe(value: object) -> str:
    if isinstance(value, str):
        looks_encoded = value.lstrip()[:1] in ("{", "[")
        blank = "blank" if not value.strip() else "a text"
        return "a text that itself holds JSON (it was encoded twice: decode it once)" if looks_encoded else blank
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return "a number"
    return "an object" if isinstance(value, dict) else "a list"
