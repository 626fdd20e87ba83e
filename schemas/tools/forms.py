"""Lists the published forms of tools, and reads each tool by the first form that recognises it.

To support another form, add one `ToolForm` to `FORMS`: how to recognise it, and the keys of its parts. If keys cannot
describe it, add an instance of a subclass that overrides `read`. Nothing else changes: `parse.py` finds the lists
and envelopes of a form by its keys, and the schemas of all forms are checked and flattened alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shortlist.schemas.errors import InvalidTool

__all__ = [
    "ACCEPTED",
    "FORMS",
    "ToolForm",
    "ToolParts",
    "as_json",
    "as_text",
    "clean_text",
    "has_object",
    "has_value",
    "read_tool",
    "shorten",
]

ACCEPTED = (
    'write {"name": …, "description": …, "parameters": {…}}, a tool in the form of OpenAI, Anthropic, MCP or Gemini, '
    "or a JSON Schema with a title"
)

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ToolParts:
    """The parts of one tool; `schema` describes its parameters, and `pointer` is where `schema` is in the tool."""

    name: str
    description: str
    title: str
    schema: object
    pointer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolForm:
    """One published form of a tool: how to recognise it, and the keys of its parts.

    Attributes:
        label: The name of the form, for people.
        recognises: Returns whether an object is a tool of this form.
        wrapper: The key of the object that holds all parts; empty if the tool itself holds them.
        name_key: The key of the name. A form that names tools by their title has no other title.
        description_key: The key of the description; without one, the description of the schema is used.
        parameters_keys: Keys that may hold the schema of the parameters. The first with a value other than null counts;
            without one, an object that has `properties` is itself the schema.
        is_schema: The object that holds the parts is always itself the schema.
        list_keys: Keys of lists that hold only tools of this form. The keys "tools" and "functions" may hold any form.
        envelope_keys: Keys of objects that hold such lists.
        has_text_counts: In the form's own lists, counts such as `minItems` may be written as texts of digits.
    """

    label: str
    recognises: Callable[[Mapping[str, Any]], bool]
    wrapper: str = ""
    name_key: str = "name"
    description_key: str = "description"
    parameters_keys: tuple[str, ...] = ()
    is_schema: bool = False
    list_keys: tuple[str, ...] = ()
    envelope_keys: tuple[str, ...] = ()
    has_text_counts: bool = False

    def read(self, tool: Mapping[str, Any]) -> ToolParts:
        """Finds the parts of a tool of this form.

        Raises:
            InvalidTool: it has no name.
        """
        holder = tool[self.wrapper] if self.wrapper else tool
        name = _read_name(holder, self.name_key)
        key, schema = self._find_schema(holder)
        return ToolParts(
            name=name,
            description=as_text(holder.get(self.description_key)) or _description_of(schema),
            title="" if self.name_key == "title" else _find_title(holder),
            schema=schema,
            pointer="".join(f"/{part}" for part in (self.wrapper, key) if part),
        )

    def _find_schema(self, holder: Mapping[str, Any]) -> tuple[str, object]:
        for key in self.parameters_keys:
            if holder.get(key) is not None:
                return key, holder[key]
        has_properties = isinstance(holder.get("properties"), dict)  # a JSON Schema that carries its own name
        return "", holder if self.is_schema or has_properties else None


def has_object(key: str) -> Callable[[Mapping[str, Any]], bool]:
    """Returns a rule that recognises a tool by an object under `key`."""
    return lambda tool: isinstance(tool.get(key), dict)


def has_value(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    """Returns a rule that recognises a tool by a value other than null under one of `keys`."""
    return lambda tool: any(tool.get(key) is not None for key in keys)


def _is_titled_schema(tool: Mapping[str, Any]) -> bool:
    return "title" in tool and "name" not in tool and tool.keys().isdisjoint(_ALL_PARAMETERS_KEYS)


_GEMINI_SCHEMA_KEYS = ("parametersJsonSchema", "parameters_json_schema")
# A wrapped tool may have been converted from another form and have kept that form's key.
_ALL_PARAMETERS_KEYS = ("parameters", "inputSchema", "input_schema", *_GEMINI_SCHEMA_KEYS)

FORMS: tuple[ToolForm, ...] = (
    # {"type": "function", "function": {"name": …, "parameters": {…}}}
    ToolForm(
        label="OpenAI chat completions",
        recognises=has_object("function"),
        wrapper="function",
        parameters_keys=_ALL_PARAMETERS_KEYS,
    ),
    # {"type": "custom", "custom": {"name": …}}
    ToolForm(
        label="OpenAI custom tools",
        recognises=has_object("custom"),
        wrapper="custom",
        parameters_keys=_ALL_PARAMETERS_KEYS,
    ),
    # {"name": …, "parameters": {…}}; OpenAI responses adds "type": "function"
    ToolForm(
        label="neutral, OpenAI responses, Gemini",
        recognises=has_value("parameters"),
        parameters_keys=("parameters",),
    ),
    # {"name": …, "inputSchema": {…}}; a server answers {"result": {"tools": […]}}
    ToolForm(
        label="MCP",
        recognises=has_value("inputSchema"),
        parameters_keys=("inputSchema",),
        envelope_keys=("result",),
    ),
    # {"name": …, "input_schema": {…}}
    ToolForm(
        label="Anthropic",
        recognises=has_value("input_schema"),
        parameters_keys=("input_schema",),
    ),
    # {"functionDeclarations": [{"name": …, "parametersJsonSchema": {…}}]}, or "parameters" as in the neutral form
    ToolForm(
        label="Gemini",
        recognises=has_value(*_GEMINI_SCHEMA_KEYS),
        parameters_keys=_GEMINI_SCHEMA_KEYS,
        list_keys=("functionDeclarations", "function_declarations"),
        has_text_counts=True,
    ),
    # {"title": …, "type": "object", "properties": {…}}
    ToolForm(
        label="JSON Schema with a title",
        recognises=_is_titled_schema,
        name_key="title",
        is_schema=True,
    ),
    # {"name": …}, and {"name": …, "properties": {…}}
    ToolForm(
        label="name alone, or JSON Schema with a name",
        recognises=lambda tool: "name" in tool,
    ),
)
"""All forms, in the order in which they are tried. The first that recognises a tool reads it, so put a form before any
other that would recognise its tools; the last one recognises every object that has a name."""


def read_tool(tool: object, forms: Sequence[ToolForm] = FORMS) -> ToolParts:
    """Finds the parts of one decoded tool by the first of `forms` that recognises it.

    Raises:
        InvalidTool: it is not an object, or it has no name; the message says what was found instead.
    """
    if not isinstance(tool, dict):
        raise InvalidTool(f"a tool must be a JSON object, this is {_describe(tool)}; {ACCEPTED}")
    form = next((form for form in forms if form.recognises(tool)), None)
    if form is None:
        raise _nameless(tool)
    return form.read(tool)


def _read_name(holder: Mapping[str, Any], key: str) -> str:
    name = holder.get(key)
    if isinstance(name, str) and name.strip():
        return clean_text(name)
    if key in holder:
        raise InvalidTool(f'its "{key}" is {_describe(name)}; it must be a string that is not blank')
    raise _nameless(holder)


def _nameless(holder: Mapping[str, Any]) -> InvalidTool:
    return InvalidTool(f"it has no name, only {_list_keys(holder)}; {ACCEPTED}")


def _description_of(schema: object) -> str:
    return as_text(schema.get("description")) if isinstance(schema, dict) else ""


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
        blank = "blank" if not value.strip() else "a string"
        return "a string that holds JSON (it was encoded twice; decode it once)" if looks_encoded else blank
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return "a number"
    return "an object" if isinstance(value, dict) else "a list"


def as_text(value: object) -> str:
    """Returns a decoded value as text: a string unchanged, null as "", a list of strings as lines, others as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return clean_text("\n".join(value))
    return as_json(value)


def as_json(value: object) -> str:
    """Returns a decoded value as compact JSON, or as an ellipsis if it is nested too deeply to be encoded."""
    try:
        return clean_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    except RecursionError:
        return "…"


def clean_text(text: str) -> str:
    """Replaces lone surrogates: JSON can express them, but UTF-8 and tokenizers cannot."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def shorten(text: str, max_chars: int = 80) -> str:
    """Cuts a text to at most `max_chars` characters, for use in a message."""
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"
