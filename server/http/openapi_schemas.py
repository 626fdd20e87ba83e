"""Writes the schemas of the OpenAPI document, out of what reads the requests itself.

Those of the vendors' contracts come from the models of `rerank.py`, the others from the proto and its comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from pydantic import BaseModel

from shortlist.schemas.sql.parse import DIALECTS
from shortlist.server import limits
from shortlist.server.http.proto_json import is_repeated
from shortlist.server.http.rerank import RerankV1, RerankV2, TeiRerank
from shortlist.v1 import router_pb2 as pb

__all__ = ["REF", "Json", "schemas"]

Json = dict[str, Any]

REF = "#/components/schemas/"
_MODELS: tuple[type[BaseModel], ...] = (RerankV1, RerankV2, TeiRerank)
_MESSAGES = (pb.SelectToolsRequest, pb.SelectToolsResponse, pb.SelectTablesRequest, pb.SelectTablesResponse)
_INT32_MAX = 2**31 - 1
_SHARE: Json = {"minimum": 0, "maximum": 1, "pattern": r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$"}
# What the proto says of a field in words only.
_RULES: dict[str, Json] = {
    "Query.text": {"pattern": limits.NOT_BLANK, "minLength": 1, "maxLength": limits.MAX_QUERY_CHARS},
    "Conversation.messages": {
        "minItems": 1,
        "maxItems": limits.MAX_MESSAGES,
        "contains": {
            "type": "object",
            "required": ["content"],
            "properties": {"content": {"type": "string", "pattern": limits.NOT_BLANK}},
        },
    },
    "ChatMessage.role": {"minLength": 1, "maxLength": limits.MAX_NAME_CHARS},
    "ToolText.namespace": {"maxLength": limits.MAX_NAME_CHARS},
    "dialect": {"enum": ["", *DIALECTS, None]},
    "top_n": {"minimum": 0},
    "max_candidates": {"minimum": 0},
    "min_score": _SHARE,
    "keep_columns": _SHARE,
    "expected_model": {"maxLength": limits.MAX_NAME_CHARS},
    "expected_version": {"maxLength": limits.MAX_NAME_CHARS},
    "tools": {"maxItems": limits.MAX_TOOL_TEXTS},
}
_NAMES: Json = {"maxItems": limits.MAX_NAMES, "items": {"type": "string", "maxLength": limits.MAX_NAME_CHARS}}
_REQUIRED = {"Query": [], "ChatMessage": ["role"], "Conversation": ["messages"]}


_RESULT: Json = {
    "index": {"type": "integer", "minimum": 0, "description": "The document's place in the request, from 0."}
}
_ANSWERS: Json = {
    "ToolObject": {
        "type": "object",
        "description": "A tool as OpenAI, Anthropic, MCP or Gemini writes it, a JSON Schema, or a container of many.",
        "minProperties": 1,
        "not": {"propertyNames": {"enum": ["json", "namespace"]}},
    },
    "RerankResults": {
        "type": "object",
        "required": ["id", "object", "model", "usage", "results", "meta"],
        "properties": {
            "id": {"type": "string", "description": "The request's id."},
            "object": {"const": "list"},
            "model": {"type": "string", "description": "The name of the model that scored."},
            "usage": {
                "type": "object",
                "required": ["total_tokens"],
                "properties": {
                    "total_tokens": {"type": "integer", "description": "Tokens read, the query's once per pair."}
                },
            },
            "results": {
                "type": "array",
                "description": "The best documents, best first.",
                "items": {
                    "type": "object",
                    "required": ["index", "relevance_score"],
                    "properties": {
                        **_RESULT,
                        "relevance_score": {"type": "number", "minimum": 0, "maximum": 1},
                        "document": {
                            "type": "object",
                            "required": ["text"],
                            "properties": {"text": {"type": "string"}},
                            "description": "The document: what was given where that was an object, and its text.",
                        },
                    },
                },
            },
            "meta": {
                "type": "object",
                "required": ["api_version", "billed_units"],
                "properties": {
                    "api_version": {
                        "type": "object", "required": ["version"], "properties": {"version": {"enum": ["1", "2"]}},
                    },
                    "billed_units": {
                        "type": "object",
                        "required": ["search_units"],
                        "properties": {"search_units": {"type": "integer", "description": "One per 100 documents."}},
                    },
                    "warnings": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "What was odd but usable.",
                    },
                },
            },
        },
    },
    "TeiResults": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["index", "score"],
            "properties": {**_RESULT, "score": {"type": "number"}, "text": {"type": "string"}},
        },
    },
    "Error": {
        "type": "object",
        "required": ["error", "message"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "status", "message", "details"],
                "properties": {
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "status": {"type": "string", "description": "The gRPC code's name."},
                    "message": {"type": "string", "description": "What is wrong, where, and how to mend it."},
                    "details": {
                        "type": "array",
                        "description": "`google.rpc` details: ErrorInfo with a stable `reason`, BadRequest …",
                        "items": {"type": "object", "required": ["@type"], "properties": {"@type": {"type": "string"}}},
                    },
                },
            },
            "message": {"type": "string", "description": "The same text, where client libraries look for it."},
        },
    },
}  # fmt: skip


def schemas() -> Json:
    """Writes all of them, by name."""
    made: Json = {model.__name__: _of_model(model) for model in _MODELS}
    comments = _comments()
    for message in (*_MESSAGES, pb.GetInfoResponse):
        for descriptor in _reached(message.DESCRIPTOR):
            made[descriptor.name] = _of_message(descriptor, comments)
    tools = made["SelectToolsRequest"]["properties"]["tools"]
    tools["items"] = {"anyOf": [{"$ref": REF + "ToolText"}, {"$ref": REF + "ToolObject"}]}
    tools["description"] += " A tool may stand as its own object too; it is ranked as the JSON written of it."
    return {**made, **_ANSWERS}


def _of_model(model: type[BaseModel]) -> Json:
    schema: Json = _without_titles(model.model_json_schema())
    return schema


def _without_titles(schema: Any) -> Any:
    """Drops the titles that pydantic makes of names, and defaults of null, which say nothing."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {name for name, value in schema.items() if name in ("title", "default") and not isinstance(value, dict)}
    return {name: _without_titles(value) for name, value in schema.items() if name not in dropped}


def _reached(descriptor: Any) -> Iterator[Any]:
    yield descriptor
    for field in descriptor.fields:
        if field.message_type is not None:
            yield from _reached(field.message_type)


def _of_message(descriptor: Any, comments: Mapping[str, str]) -> Json:
    is_asked = descriptor.name.endswith("Request") or descriptor.name in (
        "Query",
        "Conversation",
        "ChatMessage",
        "ToolText",
    )
    schema: Json = {
        "type": "object",
        "description": comments.get(descriptor.name, ""),
        "properties": {field.name: _of_field(field, comments, is_asked=is_asked) for field in descriptor.fields},
        "additionalProperties": False,
    }
    if is_asked:
        schema["required"] = _REQUIRED.get(descriptor.name, ["query"] if "query" in descriptor.fields_by_name else [])
    else:
        schema["required"] = [field.name for field in descriptor.fields]
    if descriptor.name == "Query":
        schema["oneOf"] = [
            {"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in ("text", "conversation")
        ]
        schema = {"anyOf": [{"type": "string", **_RULES["Query.text"], "description": "The text alone."}, schema]}
    return schema


def _of_field(field: Any, comments: Mapping[str, str], *, is_asked: bool) -> Json:
    full = f"{field.containing_type.name}.{field.name}"
    schema = _of_type(field, is_asked=is_asked)
    if is_repeated(field):
        schema = {"type": "array", "items": schema}
    if is_asked:
        rules = _NAMES if field.name == "always_include" else _RULES.get(full) or _RULES.get(field.name) or {}
        schema = {**schema, **rules}
        # Null means the same as absence, but for what must be there.
        is_needed = field.name in _REQUIRED.get(field.containing_type.name, ["query"])
        if not is_needed and "$ref" in schema:
            schema = {"anyOf": [schema, {"type": "null"}]}
        elif not is_needed:
            kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            schema = {**schema, "type": [*kinds, "null"]}
    return {**schema, "description": comments.get(full, "")}


def _of_type(field: Any, *, is_asked: bool) -> Json:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE:
            return {"$ref": REF + field.message_type.name}
        case FieldDescriptor.CPPTYPE_STRING:
            return {"type": "string"}
        case FieldDescriptor.CPPTYPE_BOOL:
            return {"type": "boolean"}
        case FieldDescriptor.CPPTYPE_INT32 if is_asked:  # the mapping takes numbers as strings too
            return {"type": ["integer", "string"], "maximum": _INT32_MAX, "pattern": "^[0-9]{1,9}$"}
        case FieldDescriptor.CPPTYPE_INT32:
            return {"type": "integer"}
        case FieldDescriptor.CPPTYPE_INT64:
            return {"type": "string", "pattern": "^-?[0-9]+$"}  # 64 bits are more than a double holds
        case _:
            return {"type": ["number", "string"] if is_asked else "number"}


def _comments() -> dict[str, str]:
    """Reads what the proto says of its messages and fields, by `Message` and `Message.field`."""
    found: dict[str, str] = {}
    message, comment = "", list[str]()
    for line in resources.files("shortlist.v1").joinpath("router.proto").read_text("utf-8").splitlines():
        text = line.strip()
        if text.startswith("//"):
            comment.append(text.removeprefix("//").strip())
            continue
        if opened := re.match(r"message (\w+)", text):
            message = opened[1]
            found[message] = " ".join(comment)
        elif declared := re.match(r"(?:optional |repeated )?[\w.]+ (\w+) = \d+;", text):
            found[f"{message}.{declared[1]}"] = " ".join(comment)
        comment = []
    return found
