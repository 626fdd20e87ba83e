"""Lists the published forms of tools, and reads each tool by the first form that recognises it.

These forms are read: OpenAI (chat completions, responses, custom tools, namespaces), Anthropic, MCP, Gemini and Vertex,
Bedrock (Converse) and Strands, Cohere (v1 and v2), the AI SDK, one operation of OpenAPI, a JSON Schema with a title or
a name, and a plain object with a name. A tool may be wrapped under any key that frameworks use (`function`, `toolSpec`,
`tool`, `data`, …). Its parameters may be under the keys of LangChain, LangGraph, LlamaIndex, CrewAI, Haystack,
smolagents, Semantic Kernel and Dify, as a JSON Schema, a list, a map by name, or JSON text. Not read are whole OpenAPI
documents, schemas of Zod or Pydantic that were not converted to JSON Schema, configurations of MCP servers, and
providers' own tools without a name (`{"type": "web_search"}`); each is left out, or ranked without parameters, with a
reason.

To support another form, add one `ToolForm` to `FORMS`: how to recognise it, and the keys of its parts. If keys cannot
describe it, add an instance of a subclass that overrides `read`. Nothing else changes: `containers.py` finds the lists
and envelopes of a form by its keys, and the schemas of all forms are checked and flattened alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shortlist.schemas.errors import InvalidTool
from shortlist.schemas.tools.jsontext import decode_at, skip_whitespace
from shortlist.schemas.tools.operations import read_operation
from shortlist.schemas.tools.shapes import (
    definitions_of,
    description_of,
    has_parameters,
    in_one_language,
    is_json_schema,
    looks_like_parameters,
    merged_definitions,
    unwrapped,
)

__all__ = [
    "ACCEPTED",
    "FORMS",
    "WRAPPER_KEYS",
    "ToolForm",
    "ToolParts",
    "as_json",
    "as_text",
    "clean_text",
    "description_text",
    "find_unread_parameters",
    "has_name",
    "has_object",
    "has_schema",
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
    """The parts of one tool; `schema` describes its parameters, and `pointer` is where `schema` is in the tool.

    `namespace` is the one that the tool names itself. `is_json_schema` says whether `schema` should be a JSON Schema;
    otherwise a list or a map of parameters is as good, and it is not checked. `root` is the object that references in
    the schema start from, None if that is the schema itself. `notes` are warnings for the caller.
    """

    name: str
    description: str
    title: str
    schema: object
    pointer: str
    namespace: str = ""
    is_json_schema: bool = True
    root: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


class _Found(NamedTuple):
    """A value that may hold the parameters of a tool."""

    pointer: str
    schema: object
    is_json_schema: bool = True
    root: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolForm:
    """One published form of a tool: how to recognise it, and the keys of its parts.

    Attributes:
        label: The name of the form, for people.
        recognises: Returns whether an object is a tool of this form.
        wrapper: The key of the object that holds all parts; empty if the tool itself holds them.
        name_key: The key of the name. A form that names tools by their title has no other title.
        description_key: The key of the description; without one, the description of the schema is used.
        parameters_keys: Keys that may hold the schema of the parameters. The first that has parameters counts. Without
            one, an object that has `properties` is itself the schema, and then the keys of all other forms are read.
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
        return self._read_from(tool, self.wrapper)

    def _read_from(self, tool: Mapping[str, Any], wrapper: str) -> ToolParts:
        holder = tool[wrapper] if wrapper else tool
        name = _read_name(holder, self.name_key)
        found = self._find_schema(holder, tool, wrapper)
        return ToolParts(
            name=name,
            description=self._describe(holder, tool) or as_text(description_of(found.schema)),
            title="" if self.name_key == "title" else _find_title(holder),
            schema=found.schema,
            pointer=found.pointer,
            namespace=_find_namespace(holder) or (_find_namespace(tool) if wrapper else ""),
            is_json_schema=found.is_json_schema,
            root=found.root,
            notes=found.notes,
        )

    def _describe(self, holder: Mapping[str, Any], tool: Mapping[str, Any]) -> str:
        if text := description_text(holder.get(self.description_key)):
            return text
        for place in (holder, tool, *_named_wrappers(tool)):
            for key in (self.description_key, *_DESCRIPTION_KEYS):
                if text := description_text(place.get(key)):
                    return text
        return ""

    def _find_schema(self, holder: Mapping[str, Any], tool: Mapping[str, Any], wrapper: str) -> _Found:
        first = None
        for key in self.parameters_keys:  # the usual case, without trying the others
            schema = holder.get(key)
            if isinstance(schema, dict) and isinstance(properties := schema.get("properties"), dict) and properties:
                pointer = f"/{wrapper}/{key}" if wrapper else f"/{key}"
                return _with_definitions(_Found(pointer, schema, key not in _MAP_KEYS), holder, tool)
            if schema is not None:
                break
        for found in self._candidates(holder, tool, wrapper):
            if has_parameters(found.schema):
                return _with_definitions(found, holder, tool)
            first = first or found
        return first or _Found(f"/{wrapper}" if wrapper else "", holder if self.is_schema else None)

    def _candidates(self, holder: Mapping[str, Any], tool: Mapping[str, Any], wrapper: str) -> Iterator[_Found]:
        """Yields what may hold the parameters, the likeliest first."""
        pointer = f"/{wrapper}" if wrapper else ""
        yield from _values_under(holder, self.parameters_keys, pointer)
        if isinstance(holder.get("properties"), dict):  # a JSON Schema that carries its own name
            yield _Found(pointer, holder)
        yield from _values_under(holder, _SCHEMA_KEYS, pointer)
        yield from _values_under(holder, _LIST_KEYS, pointer, is_json_schema=False)
        if wrapper:  # {"type": "function", "function": {"name": …}, "parameters": {…}}
            yield from _values_under(tool, _SCHEMA_KEYS, "")
        else:  # {"name": …, "function": {"parameters": {…}}}
            for key in WRAPPER_KEYS:
                if isinstance(tool.get(key), dict):
                    yield from _values_under(tool[key], _SCHEMA_KEYS, f"/{key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _WrappedForm(ToolForm):
    """A tool in an object of its own under any key, beside which there may be other members."""

    def read(self, tool: Mapping[str, Any]) -> ToolParts:
        return self._read_from(tool, _find_wrapper(tool))


@dataclass(frozen=True, slots=True, kw_only=True)
class _OperationForm(ToolForm):
    """An operation of OpenAPI: its parameters are a list, and those of its body are a schema."""

    def read(self, tool: Mapping[str, Any]) -> ToolParts:
        schema, notes = read_operation(tool)
        return ToolParts(
            name=_read_name(tool, self.name_key),
            description=self._describe(tool, tool),
            title="",
            schema=schema,
            pointer="",
            is_json_schema=False,
            root=tool,
            notes=notes,
        )


def has_object(key: str) -> Callable[[Mapping[str, Any]], bool]:
    """Returns a rule that recognises a tool by an object under `key`."""
    return lambda tool: isinstance(tool.get(key), dict)


def has_value(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    """Returns a rule that recognises a tool by a value other than null under one of `keys`."""
    if len(keys) == 1:
        key = keys[0]
        return lambda tool: tool.get(key) is not None
    return lambda tool: any(tool.get(key) is not None for key in keys)


def has_wrapped(key: str) -> Callable[[Mapping[str, Any]], bool]:
    """Returns a rule that recognises a tool by an object under `key`, unless the members beside it are the tool.

    A tool's own name and schema outweigh a member that is only metadata (`{"name": …, "inputSchema": …, "custom": …}`).
    """
    return lambda tool: isinstance(tool.get(key), dict) and _is_wrapped(tool, key)


def _is_wrapped(tool: Mapping[str, Any], key: str) -> bool:
    inner = tool[key]
    if not has_name(tool):
        if isinstance(tool.get("title"), str) and isinstance(tool.get("properties"), dict):
            return has_name(inner) and has_schema(inner)
        return "name" in inner or not any(isinstance(part, dict) and has_name(part) for part in tool.values())
    if not has_name(inner) or not has_schema(inner):
        if not has_name(inner) or has_schema(tool) or tool.get("type") != key:
            return False
        says_more = bool(description_text(inner.get("description"))) and not description_text(tool.get("description"))
        return says_more or inner.get("name") == tool.get("name")
    return not has_schema(tool) or inner.get("name") == tool.get("name")


def _find_wrapper(tool: Mapping[str, Any]) -> str:
    """Returns the key of the object that is the tool; empty if there is none, or more than one."""
    is_disjoint = _WRAPPER_SET.isdisjoint(tool)
    if is_disjoint and "name" in tool:
        return ""
    for key in () if is_disjoint else WRAPPER_KEYS:
        inner = tool.get(key)
        if isinstance(inner, dict) and has_name(inner) and _is_wrapped(tool, key):
            return key
    if has_name(tool) or "name" in tool or "properties" in tool:
        return ""
    named = [key for key, part in tool.items() if isinstance(part, dict) and has_name(part)]
    if len(named) != 1:
        return ""
    inner = tool[named[0]]
    return named[0] if has_schema(inner) or description_text(inner.get("description")) else ""


def has_name(tool: Mapping[str, Any]) -> bool:
    """Returns whether an object has a name that can be used."""
    name = tool.get("name")
    if isinstance(name, str) and name.strip():
        return True
    return any(isinstance(name := tool.get(key), str) and bool(name.strip()) for key in _NAME_KEYS)


def has_schema(tool: Mapping[str, Any]) -> bool:
    """Returns whether an object has a schema of its own, which makes it a tool rather than a list of tools.

    Settings of a model under "parameters" (`{"temperature": 0.2}`) are none.
    """
    for key in _SCHEMA_KEYS:
        value = tool.get(key)
        if value is not None and (not isinstance(value, dict) or not value or has_parameters(value)):
            return True
        if isinstance(value, dict) and is_json_schema(value):
            return True
    if isinstance(tool.get("properties"), dict):
        return True
    return any(looks_like_parameters(tool.get(key)) for key in _LIST_KEYS)


def _is_titled_schema(tool: Mapping[str, Any]) -> bool:
    return "title" in tool and "name" not in tool and tool.keys().isdisjoint(_ALL_PARAMETERS_KEYS)


_INPUT_SCHEMA_KEYS = ("inputSchema", "input_schema")
_GEMINI_SCHEMA_KEYS = ("parametersJsonSchema", "parameters_json_schema")
# A wrapped tool may have been converted from another form and have kept that form's key.
_ALL_PARAMETERS_KEYS = ("parameters", *_INPUT_SCHEMA_KEYS, *_GEMINI_SCHEMA_KEYS)
# Other keys of frameworks: LangChain, CrewAI (args_schema), LlamaIndex (fn_schema), …
_SCHEMA_KEYS = (
    *_ALL_PARAMETERS_KEYS,
    "parameter_definitions", "parameterDefinitions", "args_schema", "argsSchema", "fn_schema", "tool_call_schema",
    "parameters_schema", "parametersSchema", "json_schema", "jsonSchema",
)  # fmt: skip
# Keys that mean other things too (the arguments of a command), and are read only if their value looks like parameters.
_LIST_KEYS = ("schema", "inputs", "input", "params", "args", "arguments")
_MAP_KEYS = ("parameter_definitions", "parameterDefinitions")
WRAPPER_KEYS = (
    "function", "custom", "toolSpec", "tool_spec", "systemTool", "tool", "toolDefinition", "tool_definition",
    "definition", "functionDeclaration", "function_declaration",
)  # fmt: skip
_WRAPPER_SET = frozenset(WRAPPER_KEYS)
_NAME_KEYS = ("tool_name", "toolName", "function_name", "functionName")
_DESCRIPTION_KEYS = ("summary", "docstring")
_NAMESPACE_KEYS = ("namespace", "plugin_name", "pluginName", "server_name", "serverName", "server_label")
_NAMESPACE_SET = frozenset(_NAMESPACE_KEYS)
# Members that describe what a tool returns, or how it behaves.
_NO_PARAMETERS = re.compile("output|return|response|result|example|annotation|meta|format|error", re.IGNORECASE)
_PROVIDER_KEYS = frozenset(
    {
        "codeExecution", "code_execution", "computerUse", "computer_use", "enterpriseWebSearch", "fileSearch",
        "file_search", "googleMaps", "google_maps", "googleSearch", "googleSearchRetrieval", "google_search",
        "google_search_retrieval", "retrieval", "urlContext", "url_context",
    }
)  # fmt: skip
_PROVIDER_HINT = (
    "it looks like a tool that the provider runs itself, which has nothing to rank it by; "
    "add it to the selected tools yourself"
)

FORMS: tuple[ToolForm, ...] = (
    # {"type": "function", "function": {"name": …, "parameters": {…}}}
    ToolForm(
        label="OpenAI chat completions",
        recognises=has_wrapped("function"),
        wrapper="function",
        parameters_keys=_ALL_PARAMETERS_KEYS,
    ),
    # {"type": "custom", "custom": {"name": …}}
    ToolForm(
        label="OpenAI custom tools",
        recognises=has_wrapped("custom"),
        wrapper="custom",
        parameters_keys=_ALL_PARAMETERS_KEYS,
    ),
    # {"toolSpec": {"name": …, "inputSchema": {"json": {…}}}}, {"tool": {…}}, {"type": …, "data": {…}}
    _WrappedForm(
        label="Bedrock, or a tool under any other key",
        recognises=lambda tool: bool(_find_wrapper(tool)),
        parameters_keys=_ALL_PARAMETERS_KEYS,
    ),
    # {"operationId": …, "parameters": [{"name": …, "in": "query", "schema": {…}}], "requestBody": {…}}
    _OperationForm(
        label="OpenAPI operation",
        recognises=lambda tool: isinstance(tool.get("operationId"), str) and "name" not in tool,
        name_key="operationId",
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
    # {"name": …, "parameter_definitions": {"city": {"type": "str", "required": true}}}
    ToolForm(
        label="Cohere",
        recognises=has_value("parameter_definitions", "parameterDefinitions"),
        parameters_keys=("parameter_definitions", "parameterDefinitions"),
    ),
    # {"title": …, "type": "object", "properties": {…}}
    ToolForm(
        label="JSON Schema with a title",
        recognises=_is_titled_schema,
        name_key="title",
        is_schema=True,
    ),
    # {"name": …}, {"name": …, "properties": {…}}, and parameters under another key (`args_schema`, `inputs`, `args`, …)
    ToolForm(
        label="name alone, or JSON Schema with a name",
        recognises=lambda tool: "name" in tool or has_name(tool),
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
    if tool.get("type") == "namespace" and not has_schema(tool):
        raise InvalidTool('a namespace must have a list "tools" of the tools in it')
    form = next((form for form in forms if form.recognises(tool)), None)
    if form is None:
        raise _nameless(tool)
    return form.read(tool)


def find_unread_parameters(tool: Mapping[str, Any]) -> str:
    """Returns the key of a member that looks like parameters although none were read; empty if there is none."""
    for place in (tool, *_named_wrappers(tool)):
        for key, value in place.items():
            if key in _SCHEMA_KEYS or key in ("properties", "tools", "functions") or _NO_PARAMETERS.search(key):
                continue
            if looks_like_parameters(_decoded(value)[0]):
                return key
    return ""


def _read_name(holder: Mapping[str, Any], key: str) -> str:
    keys = [key] if key in holder else [other for other in _NAME_KEYS if other in holder]
    for found in keys[:1]:
        name = holder[found]
        if isinstance(name, str) and name.strip():
            return clean_text(name)
        raise InvalidTool(f'its "{found}" is {_describe(name)}; it must be a string that is not blank')
    raise _nameless(holder)


def _nameless(holder: Mapping[str, Any]) -> InvalidTool:
    return InvalidTool(f"it has no name, only {_list_keys(holder)}; {_hint(holder) or ACCEPTED}")


def _hint(holder: Mapping[str, Any]) -> str:
    """Returns what to do about an object without a name, if its members say what it is."""
    encoded = next((key for key in (*WRAPPER_KEYS, "tools", "functions") if _decoded(holder.get(key))[1]), "")
    if encoded:
        return f'its "{encoded}" is {_describe(holder[encoded])}'
    if isinstance(holder.get("paths"), dict) and ("openapi" in holder or "swagger" in holder):
        return (
            'an OpenAPI document is not read as a whole; give each operation (an object with "operationId") by itself'
        )
    kind = holder.get("type")
    if kind == "mcp" or "mcpServers" in holder:
        return "an MCP server is not a tool; ask it for its tools (tools/list) and give those"
    is_kind_of_tool = isinstance(kind, str) and kind not in ("function", "custom", "object", "namespace", "tool")
    is_provided = is_kind_of_tool and "properties" not in holder and "lc" not in holder
    return _PROVIDER_HINT if is_provided or not _PROVIDER_KEYS.isdisjoint(holder) else ""


def _named_wrappers(tool: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (tool[key] for key in WRAPPER_KEYS if isinstance(tool.get(key), dict))


def _values_under(
    place: Mapping[str, Any], keys: Sequence[str], pointer: str, *, is_json_schema: bool = True
) -> Iterator[_Found]:
    for key in keys:
        value = place.get(key)
        if value is None:
            continue
        at = f"{pointer}/{key}"
        value, is_text = _decoded(value)
        notes = (f"{at}: is JSON that was encoded twice; it is read, but send it as an object",) if is_text else ()
        outer = value
        inner_key, value = unwrapped(outer, is_input_schema=key in _INPUT_SCHEMA_KEYS)
        if inner_key and isinstance(value, dict) and (definitions := definitions_of(outer)):
            value = {**value, **merged_definitions(definitions, definitions_of(value))}
        if is_json_schema or looks_like_parameters(value, is_sure=False):
            is_loose = isinstance(value, list) and key not in _ALL_PARAMETERS_KEYS
            at = f"{at}/{inner_key}" if inner_key else at
            yield _Found(at, value, is_json_schema=not is_loose and key not in _MAP_KEYS, notes=notes)


def _decoded(value: object) -> tuple[object, bool]:
    """Returns the object or list that a text holds, and whether it is such a text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        node = decode_at(value, skip_whitespace(value, 0))
        if not node.error and skip_whitespace(value, node.end) == len(value):
            return node.value, True
    return value, False


def _with_definitions(found: _Found, holder: Mapping[str, Any], tool: Mapping[str, Any]) -> _Found:
    """Adds the definitions that are beside the schema and not in it."""
    schema = found.schema
    if not isinstance(schema, (dict, list)) or schema is holder:
        return found
    definitions = definitions_of(holder)
    if holder is not tool:
        definitions = merged_definitions(definitions_of(tool), definitions)
    if not definitions:
        return found
    if isinstance(schema, list):
        return found._replace(root=definitions)
    return found._replace(schema={**schema, **merged_definitions(definitions, definitions_of(schema))})


def _find_namespace(holder: Mapping[str, Any]) -> str:
    if _NAMESPACE_SET.isdisjoint(holder):
        return ""
    for key in _NAMESPACE_KEYS:
        name = holder.get(key)
        if isinstance(name, str) and name.strip():
            return clean_text(name.strip())
    return ""


def description_text(description: object) -> str:
    """Returns a description as text; of one in several languages, the English one."""
    if isinstance(description, str):
        return clean_text(description)
    return as_text(in_one_language(description)) or as_text(description)


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
