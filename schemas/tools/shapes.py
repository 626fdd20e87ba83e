"""Judges what a value is: a JSON Schema, a list or a bare map of parameters, or neither.

Tools write their parameters in three ways: as a JSON Schema, as a list (`[{"name": "city", "type": "string"}]`), or
as a bare map (`{"city": {"type": "string"}}`, `{"city": "string"}`). A key alone does not tell a schema from a map:
"items" or "type" may be a keyword or the name of a parameter. So a map is judged by all of its members.
"""

from __future__ import annotations

import json
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = [
    "COMBINATOR_KEYS",
    "JSON_TYPES",
    "REFERENCE_KEYS",
    "ROOT_KEYS",
    "TYPE_ALIASES",
    "as_parameter",
    "as_root",
    "definitions_of",
    "description_of",
    "has_own_names",
    "has_parameters",
    "in_one_language",
    "is_json_schema",
    "is_list_of_parameters",
    "is_parameter",
    "is_typed",
    "layered_definitions",
    "looks_like_parameters",
    "merged_definitions",
    "schema_of_type",
    "unwrapped",
]

TYPE_ALIASES: Mapping[str, str] = {
    "any": "",
    "bool": "boolean",
    "dict": "object",
    "double": "number",
    "float": "number",
    "int": "integer",
    "list": "array",
    "long": "integer",
    "map": "object",
    "none": "null",
    "str": "string",
    "tuple": "array",
    "type_unspecified": "",
}
"""Types that tools use although JSON Schema does not have them, and what they mean; empty means any type."""
JSON_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
REFERENCE_KEYS = ("$ref", "$dynamicRef", "$recursiveRef")
COMBINATOR_KEYS = ("allOf", "anyOf", "oneOf", "then", "else", "dependentSchemas")
ROOT_KEYS = frozenset(
    {"type", "properties", "items", "prefixItems", "patternProperties", "additionalProperties", "enum", "const"}
).union(REFERENCE_KEYS, COMBINATOR_KEYS)
"""Keywords that make an object a JSON Schema, unless its members show that they are names of parameters."""

_TEXT_KEYS = frozenset({"description", "title", "format", "default", "pattern", "comment", "example"})
_OTHER_KEYWORDS = frozenset(
    {
        "additionalItems", "components", "contains", "definitions", "dependencies", "dependentRequired", "deprecated",
        "examples", "exclusiveMaximum", "exclusiveMinimum", "if", "maxItems", "maxLength", "maxProperties", "maximum",
        "minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "nullable", "propertyNames",
        "propertyOrdering", "readOnly", "required", "strict", "unevaluatedItems", "unevaluatedProperties",
        "uniqueItems", "writeOnly",
    }
)  # fmt: skip
_DEFINITION_KEYS = frozenset({"$defs", "definitions", "components"})
# Other names with a dollar are those of parameters, such as OData's $filter.
_DOLLAR_KEYWORDS = frozenset(
    {
        "$anchor", "$comment", "$defs", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef",
        "$ref", "$schema", "$vocabulary",
    }
)  # fmt: skip
# Bedrock: inputSchema.json, AI SDK: inputSchema.jsonSchema
_WRAPPER_KEYS = ("json", "jsonSchema", "json_schema", "schema")

_KEYS_BESIDE_JSON = frozenset({"type", "strict", "description", "$schema"})
_FUNCTION_NAME = re.compile(r"[\w.-]{1,128}")
_ZOD_KEYS = frozenset({"_def", "_zod", "~standard"})
_MAX_WRAPPER_MEMBERS = 4
_MAX_TYPE_CHARS = 200
_MAX_TYPE_LEVELS = 4
_MAX_BARE_LEVELS = 6
_GENERIC = re.compile(r"(?:typing\.)?(\w+)\s*(?:\[(.*)\]|<(.*)>)", re.DOTALL)
_TYPE_AND_TEXT = re.compile(r"\s*(\w+(?:\[\w*\])?)\s*(?:[:,(\u2013\u2014]|-\s)(.+)", re.DOTALL)
_LIST_TYPES = frozenset({"array", "frozenset", "iterable", "list", "sequence", "set", "tuple"})
_MAP_TYPES = frozenset({"dict", "map", "mapping", "object", "record"})

_INNER_SCHEMA_KEYS = ("schema", "schema_data", "schemaData", "json_schema")
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "type": ("type_", "dtype", "data_type", "dataType"),
    "description": ("llm_description", "human_description", "desc", "summary", "label"),
    "default": ("default_value", "defaultValue"),
    "enum": ("choices", "allowed_values", "allowedValues", "enum_values"),
}
# A condition on the parameters of a tool has some of these; a parameter with the name "then" has a type alone.
_CONDITION_KEYS = frozenset({"properties", "required", "not", "if", *REFERENCE_KEYS, *COMBINATOR_KEYS})
_LOCALES = ("llm", "en", "en_US", "en-US", "human")


def is_json_schema(schema: Mapping[str, object]) -> bool:
    """Returns whether an object is a JSON Schema; otherwise it is a bare map of parameters."""
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        return True
    roots = [key for key in schema if key in ROOT_KEYS]
    if not roots:
        return False
    if "$schema" in schema:
        return True
    own = [key for key in schema if _is_own_name(key)]
    if own and all(isinstance(value, str) for value in schema.values()) and not _names_object(schema.get("type")):
        return "$ref" in schema
    is_typed_map = isinstance(schema.get("type"), (str, list))
    has_names = any(is_parameter(schema[key]) and not (is_typed_map and _is_described_only(schema[key])) for key in own)
    if any(not _may_be_name(key, schema[key], has_names=has_names) for key in roots):
        return True
    return not (has_names or any(is_parameter(schema[key]) and key != "additionalProperties" for key in roots))


def _may_be_name(key: str, value: object, *, has_names: bool) -> bool:
    """Returns whether a keyword may be the name of a parameter, or says nothing that a bare map could not have."""
    if key == "type" and isinstance(value, (str, list)):
        return has_names and _names_object(value)  # {"type": "object", "city": {…}}: "properties" was forgotten
    if key == "additionalProperties":
        return has_names
    if key == "properties":
        is_one = isinstance(value, dict) and is_typed(value) and not any(map(_is_own_name, value))
        return is_one and (has_names or _is_titled_text(value))
    if key in ("patternProperties", "dependentSchemas"):
        return isinstance(value, dict) and is_typed(value)
    if key in ("then", "else"):
        return isinstance(value, dict) and is_typed(value) and _CONDITION_KEYS.isdisjoint(value)
    return key not in REFERENCE_KEYS and is_parameter(value)


def _is_titled_text(schema: object) -> bool:
    """Returns whether a title or a description is a text of its own, not the name of a type."""
    texts = [schema.get(key) for key in ("title", "description")] if isinstance(schema, dict) else []
    return any(isinstance(text, str) and schema_of_type(text) is None for text in texts)


def _names_object(declared: object) -> bool:
    names = declared if isinstance(declared, list) else [declared]
    return any(isinstance(name, str) and name.lower() in _MAP_TYPES for name in names)


def _is_own_name(key: str) -> bool:
    is_keyword = key in ROOT_KEYS or key in _TEXT_KEYS or key in _OTHER_KEYWORDS
    return not (is_keyword or key.startswith(("$", "x-")))


def is_parameter(value: object) -> bool:
    """Returns whether a value describes one parameter: a schema, or the name of a type."""
    if isinstance(value, str):
        return schema_of_type(value) is not None
    if not isinstance(value, dict):
        return False
    return (
        is_typed(value)
        or isinstance(value.get("description"), str)
        or isinstance(value.get("enum"), list)
        or any(isinstance(value.get(key), list) for key in ("anyOf", "oneOf", "allOf"))
        or isinstance(value.get("$ref"), str)
        or any(isinstance(value.get(key), dict) for key in ("properties", *_INNER_SCHEMA_KEYS))
    )


def has_own_names(schema: object) -> bool:
    """Returns whether an object has members other than the keywords of JSON Schema."""
    return isinstance(schema, dict) and not is_json_schema(schema) and any(map(_is_own_name, schema))


def is_typed(schema: Mapping[str, object]) -> bool:
    """Returns whether a schema names a type that is known."""
    declared = schema.get("type")
    names = declared if isinstance(declared, list) else [declared]
    return any(isinstance(name, str) and schema_of_type(name) is not None for name in names)


def looks_like_parameters(value: object, *, is_sure: bool = True) -> bool:
    """Returns whether a value is a schema, a list or a map of parameters, whatever key it is under.

    Objects with nothing but descriptions may be parameters, but are not surely so.
    """
    if isinstance(value, list):
        return bool(value) and all(_is_listed(part) for part in value)
    value = unwrapped(value)[1]
    if not isinstance(value, dict) or not value:
        return False
    if is_json_schema(value):
        properties = value.get("properties")
        if isinstance(properties, dict) and properties:
            return all(isinstance(part, (dict, bool)) for part in properties.values())
        return isinstance(value.get("$ref"), str) or any(isinstance(value.get(k), list) for k in ("allOf", "anyOf"))
    members = [part for _, part in _members(value)]
    if is_sure:
        return bool(members) and all(is_parameter(part) and not _is_described_only(part) for part in members)
    return bool(members) and all(is_parameter(part) or _is_map(part) for part in members)


def _is_map(part: object) -> bool:
    """Returns whether a value is an object of parameters by their names."""
    return isinstance(part, dict) and bool(part) and all(isinstance(p, dict) and is_parameter(p) for p in part.values())


def is_list_of_parameters(value: object) -> bool:
    """Returns whether a value is a list whose entries are all names, or objects with a name."""
    return isinstance(value, list) and all(
        isinstance(part, str) or (isinstance(part, dict) and isinstance(part.get("name"), str)) for part in value
    )


def _is_listed(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("name"), str) and is_parameter(part)


def _is_described_only(part: object) -> bool:
    return isinstance(part, dict) and part.keys() <= _TEXT_KEYS


def has_parameters(value: object) -> bool:
    """Returns whether a value that should hold parameters has any, or anything else that may lead to some."""
    if isinstance(value, dict) and value.get("properties") and isinstance(value["properties"], (dict, list)):
        return True
    root = as_root(unwrapped(value)[1])
    if not isinstance(root, dict):
        return False
    return bool(root.get("properties")) or any(
        isinstance(root.get(key), (dict, list, str)) for key in ROOT_KEYS - {"type", "properties"}
    )


def unwrapped(schema: object, *, is_input_schema: bool = False) -> tuple[str, object]:
    """Returns the schema that Bedrock and the AI SDK put into an object of its own, and its key; else the value.

    They do so under the key `inputSchema`; elsewhere `json` may be the name of a parameter. Letta's schemas are whole
    functions, with a name and parameters.
    """
    if not isinstance(schema, dict) or "properties" in schema:
        return "", schema
    if _is_function(schema):
        return "parameters", schema["parameters"]
    if len(schema) > _MAX_WRAPPER_MEMBERS:
        return "", schema
    for key in _WRAPPER_KEYS:
        inner = schema.get(key)
        if len(schema) == 1 and key != "schema" and (inner == {} or _is_json_text(inner)):
            return key, json.loads(str(inner)) if inner else inner
        beside = schema.keys() - _DEFINITION_KEYS - {key}
        if not isinstance(inner, dict) or any(isinstance(schema[other], dict) for other in beside):
            continue
        is_sure = is_input_schema and key in ("json", "jsonSchema") and not (beside - _KEYS_BESIDE_JSON)
        if (is_sure and not _is_titled_like(key, inner)) or _is_wrapped_schema(key, inner):
            return key, inner
    return "", schema


def _is_wrapped_schema(key: str, inner: Mapping[str, object]) -> bool:
    has_properties = isinstance(inner.get("properties"), dict)
    if not has_properties and _is_titled_like(key, inner):
        return False
    is_object = _names_object(inner.get("type")) and "description" not in inner
    is_described = key == "schema" and "description" in inner and "$schema" not in inner  # more likely a parameter
    is_schema = is_object or (has_properties and not is_described)
    return is_schema or any(name in inner for name in ("$schema", "$ref", "anyOf", "oneOf", "allOf"))


def _is_titled_like(key: str, inner: Mapping[str, object]) -> bool:
    """Returns whether a title is made of the key, as Pydantic does for each parameter."""
    title = inner.get("title")
    return isinstance(title, str) and title.replace(" ", "").lower() == key.replace("_", "").lower()


def _is_function(schema: Mapping[str, object]) -> bool:
    name, parameters = schema.get("name"), schema.get("parameters")
    if not isinstance(name, str) or not isinstance(parameters, dict) or schema_of_type(name) is not None:
        return False
    is_schema = parameters == {} or isinstance(parameters.get("properties"), dict)
    return is_schema and _FUNCTION_NAME.fullmatch(name) is not None


def _is_json_text(value: object) -> bool:
    """Returns whether a value is the JSON text of an object."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def definitions_of(schema: object) -> dict[str, Any]:
    """Returns the members of an object that references lead to."""
    if not isinstance(schema, dict) or _DEFINITION_KEYS.isdisjoint(schema):
        return {}
    return {key: schema[key] for key in schema if key in _DEFINITION_KEYS and isinstance(schema[key], dict)}


def merged_definitions(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the definitions of both; of those with the same name, the inner one counts."""
    return {**outer, **{key: {**outer.get(key, {}), **part} for key, part in inner.items()}}


def layered_definitions(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the definitions of both as `merged_definitions`, without copying those that many tools share."""
    return {**outer, **{key: ChainMap(part, outer[key]) if key in outer else part for key, part in inner.items()}}


def description_of(schema: object) -> object:
    """Returns the description of a schema; "description" may also be the name of a parameter."""
    if not isinstance(schema, dict) or not schema.get("description"):
        return None
    is_name = not is_json_schema(schema) and any(name == "description" for name, _ in _members(schema))
    return None if is_name else schema["description"]


def as_root(schema: object) -> object:
    """Reads a list or a bare map of parameters as the `properties` of a JSON Schema."""
    if isinstance(schema, list):
        return {"properties": [as_parameter(part) if isinstance(part, dict) else part for part in schema]}
    if not isinstance(schema, dict) or is_json_schema(schema):
        return schema
    required = schema.get("required")
    root: dict[str, object] = {"properties": {name: as_parameter(part) for name, part in _members(schema)}}
    return {**root, "required": required} if isinstance(required, list) else root


def _members(schema: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yields the parameters of a bare map; none of a schema of Zod, which must be converted to a JSON Schema first."""
    if not _ZOD_KEYS.isdisjoint(schema):
        return
    is_all_text = all(isinstance(value, str) for value in schema.values()) and any(map(_is_own_name, schema))
    is_inline = "type" in schema and _names_object(schema["type"]) and not is_all_text
    for name, value in schema.items():
        is_own = _is_own_name(name)
        is_other = (name == "additionalProperties" or name in _DEFINITION_KEYS) and not is_parameter(value)
        is_keyword = name.startswith("$") and (name in _DOLLAR_KEYWORDS or not is_parameter(value))
        if is_keyword or is_other:
            continue
        if isinstance(value, dict):
            is_member = is_own or is_parameter(value)
        elif isinstance(value, list):
            is_member = is_own and all(isinstance(part, str) for part in value)
        else:
            is_type = isinstance(value, str) and schema_of_type(value) is not None
            is_member = isinstance(value, str) and (is_all_text or is_own or is_type) and name != "$schema"
        if is_member and not (is_inline and name == "type"):
            yield name, value


def as_parameter(part: object, level: int = 0) -> object:
    """Reads one parameter of a list or a bare map, whose keys and types are often not those of JSON Schema."""
    if isinstance(part, str):
        return _read_text(part)
    if isinstance(part, list):
        return {"enum": part}
    if not isinstance(part, dict):
        return part
    if part and level < _MAX_BARE_LEVELS and not is_parameter(part) and all(map(is_parameter, part.values())):
        return {"type": "object", "properties": {name: as_parameter(inner, level + 1) for name, inner in part.items()}}
    schema = dict(part)
    inner = next((part[key] for key in _INNER_SCHEMA_KEYS if isinstance(part.get(key), dict)), None)
    if inner is not None and not isinstance(part.get("properties"), dict):
        schema = {**inner, **schema}
    if isinstance(listed := part.get("attributes"), list) and level < _MAX_BARE_LEVELS:  # CopilotKit
        _read_attributes(schema, [as_parameter(inner, level + 1) for inner in listed if isinstance(inner, dict)])
    for key, others in _SYNONYMS.items():
        if schema.get(key) is None:
            schema[key] = next((schema[other] for other in others if schema.get(other) is not None), None)
    schema["description"] = in_one_language(schema["description"])
    if schema["enum"] is None:
        del schema["enum"]
        _read_options(schema)
    if isinstance(schema["type"], str) and (typed := schema_of_type(schema["type"])) is not None:
        schema = {**schema, "type": None, **typed} | ({"items": schema["items"]} if "items" in schema else {})
    if any(schema.get(key) in (True, "true", "True") for key in ("required", "is_required", "isRequired")):
        schema["required"] = True
    return schema


def _read_attributes(schema: dict[str, object], attributes: list[object]) -> None:
    """Reads the parameters of an object (`object`), or of the objects in a list (`object[]`)."""
    is_list = isinstance(declared := schema.get("type"), str) and declared.endswith("[]")
    if is_list:
        schema.setdefault("items", {"type": "object", "properties": attributes})
    else:
        schema.setdefault("properties", attributes)


def _read_text(text: str) -> dict[str, Any]:
    """Reads a type, a description, or both: ``int``, ``how many``, ``int: how many``, ``int (required)``."""
    schema = schema_of_type(text)
    if schema is not None:
        return schema
    both = _TYPE_AND_TEXT.fullmatch(text)
    schema = schema_of_type(both[1]) if both else None
    if both is None or schema is None:
        return {"description": text}
    rest = both[2].strip(" ()")
    if rest.lower() in ("required", "optional"):
        return {**schema, "required": True} if rest.lower() == "required" else schema
    return {**schema, "description": rest}


def in_one_language(description: object) -> object:
    """Chooses one text of `{"en_US": …, "zh_Hans": …}`."""
    if not isinstance(description, dict):
        return description
    for key in _LOCALES:
        if isinstance(description.get(key), (str, dict)):
            chosen = description[key]
            return in_one_language(chosen) if isinstance(chosen, str) else next(_texts_of(chosen), None)
    return next(_texts_of(description), None)


def _texts_of(texts: Mapping[str, object]) -> Iterator[str]:
    chosen = sorted(texts, key=lambda key: key not in _LOCALES)
    return (text for key in chosen if isinstance(text := texts[key], str))


def _read_options(schema: dict[str, object]) -> None:
    """Reads `options`, which are plain values or objects with a value and a label."""
    options = schema.get("options")
    if not isinstance(options, list) or not options or "oneOf" in schema:
        return
    schema["oneOf"] = [
        {"const": option["value"], "title": in_one_language(option.get("label"))}
        if isinstance(option, dict) and "value" in option
        else {"const": option}
        for option in options
    ]


def schema_of_type(text: str, level: int = 0) -> dict[str, Any] | None:
    """Returns a type that is written as text (`str`, `List[int]`, `string | null`) as a schema; None if it is none."""
    text = text.strip()
    if not text or len(text) > _MAX_TYPE_CHARS or level > _MAX_TYPE_LEVELS:
        return None
    lowered = text.lower()
    if lowered in JSON_TYPES:
        return {"type": lowered}
    if lowered in TYPE_ALIASES:
        return {"type": TYPE_ALIASES[lowered]} if TYPE_ALIASES[lowered] else {}
    if text.endswith("[]"):
        items = schema_of_type(text[:-2], level + 1)
        return None if items is None else {"type": "array", "items": items}
    if "|" in text:
        return _any_of(_split(text, "|"), level)
    generic = _GENERIC.fullmatch(text)
    return _schema_of_generic(generic[1].lower(), generic[2] or generic[3] or "", level) if generic else None


def _schema_of_generic(name: str, arguments: str, level: int) -> dict[str, Any] | None:
    parts = _split(arguments, ",")
    if name in _LIST_TYPES:
        return {"type": "array", "items": schema_of_type(parts[0], level + 1) or {}}
    if name in _MAP_TYPES:
        return {"type": "object"}
    if name == "optional":
        return _any_of([arguments, "null"], level)
    if name == "union":
        return _any_of(parts, level)
    if name == "annotated":
        return schema_of_type(parts[0], level + 1)
    return {"enum": [part.strip().strip("\"'") for part in parts]} if name == "literal" else None


def _any_of(parts: list[str], level: int) -> dict[str, Any] | None:
    schemas = [schema_of_type(part, level + 1) for part in parts]
    known = [schema for schema in schemas if schema is not None]
    return {"anyOf": known} if len(known) == len(schemas) > 1 else None


def _split(text: str, separator: str) -> list[str]:
    """Splits a text at the separators that are in no brackets."""
    if separator not in text:
        return [text]
    parts, depth, began = [], 0, 0
    for at, sign in enumerate(text):
        depth += (sign in "[<") - (sign in "]>")
        if sign == separator and depth == 0:
            parts.append(text[began:at])
            began = at + 1
    return [*parts, text[began:]]
