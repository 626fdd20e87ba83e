"""Writes `schemas/json/*.schema.json`: a JSON Schema (2020-12) for each kind of JSON that the project reads or prints.

    python proto/json_schemas.py [FOLDER]

Schemas of requests and answers are generated from the proto and its comments, with `buf`. Those of settings and model
files are generated from the classes that read them. Only the lines of a test set for `shortlist eval` are written here.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from pydantic import BaseModel, TypeAdapter

from shortlist.evaluation.ranking import METHODS, SCOPES, Evaluation
from shortlist.router.checkpoints.description import Description
from shortlist.schemas.conversation import ROLE_NAMES
from shortlist.schemas.options import OPTIONS, Option
from shortlist.schemas.sql.parse import DIALECTS
from shortlist.server import limits
from shortlist.server.http.rerank import RerankV1, RerankV2, TeiRerank
from shortlist.server.settings import Settings

PROTO = Path(__file__).parent
FOLDER = PROTO.parent / "schemas" / "json"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
URN = "urn:shortlist:v1:"

Schema = dict[str, Any]
_Type = FieldDescriptorProto.Type
_REQUESTS = ("SelectToolsRequest", "SelectTablesRequest", "RerankRequest")
_ANSWERS = ("SelectToolsResponse", "SelectTablesResponse", "RerankResponse", "GetInfoResponse")

_SHARE: Schema = {"minimum": 0, "maximum": 1}
_NOT_NEGATIVE: Schema = {"minimum": 0}
_NAME: Schema = {"maxLength": limits.MAX_NAME_CHARS}
_NOT_BLANK: Schema = {"pattern": limits.NOT_BLANK, "minLength": 1, "maxLength": limits.MAX_QUERY_CHARS}
# Limits that the service checks and the proto states only in its comments, besides those of the options.
_RULES: Mapping[str, Schema] = {
    "score": _SHARE,
    "dialect": {**_NAME, "examples": [*DIALECTS]},
    "role": {"enum": [*ROLE_NAMES]},
    "namespace": _NAME,
    "tools": {"maxItems": limits.MAX_TOOL_TEXTS},
    "documents": {"maxItems": limits.MAX_DOCUMENTS},
    "messages": {
        "minItems": 1,
        "maxItems": limits.MAX_MESSAGES,
        "contains": {
            "type": "object",
            "required": ["content"],
            "properties": {"content": {"type": "string", "pattern": limits.NOT_BLANK}},
        },
    },
    "text": _NOT_BLANK,
}
_REQUIRED = {"query", "role", "messages", "tools", "ddl"}
# What a request may hold over REST besides the proto's own JSON mapping.
_PLAIN_QUERY: Schema = {"type": "string", **_NOT_BLANK, "description": "The text alone."}
_MESSAGES: Schema = {
    "type": "array",
    "items": {"$ref": "#/$defs/ChatMessage"},
    "description": "The messages of a conversation alone.",
    **_RULES["messages"],
}
# Chat APIs put more into a message than a role and a text.
_PARTS: Schema = {
    "type": ["string", "array", "null"],
    "items": {"type": ["string", "object"], "properties": {"text": {"type": "string"}}},
    "description": "The message as a text, or as parts; those that are not text are ignored.",
}
_TOOL_OBJECT: Schema = {
    "type": "object",
    "description": "A tool as OpenAI, Anthropic, MCP or Gemini writes it, a JSON Schema, or a container of many.",
    "minProperties": 1,
    "not": {"propertyNames": {"enum": ["json", "namespace"]}},
}


def main(arguments: Sequence[str]) -> None:
    """Writes the files."""
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in all_schemas().items():
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        (folder / f"{name}.schema.json").write_text(text, encoding="utf-8")


def all_schemas() -> dict[str, Schema]:
    """Makes every schema, keyed by the name of its file."""
    contract = Contract()
    made = {_snake(name): contract.request(name) for name in _REQUESTS}
    made |= {_snake(name): contract.answer(name) for name in _ANSWERS}
    made |= {"config": config(), "evaluation": evaluation(), "model": model()}
    made |= {"corpus_line": corpus_line(), "query_line": query_line()}
    made |= {_snake(kind.__name__): _of_model(kind) for kind in (RerankV1, RerankV2, TeiRerank)}
    made |= {"rerank_results": rerank_results(), "infinity_results": infinity_results(), "tei_results": tei_results()}
    made |= {"error": error()}
    return {name: {"$schema": DRAFT, "$id": URN + name, **schema} for name, schema in sorted(made.items())}


class Contract:
    """Holds the proto's messages and their comments."""

    def __init__(self) -> None:
        command = shutil.which("buf", path=str(Path(sys.executable).parent)) or "buf"
        image = subprocess.run([command, "build", str(PROTO), "-o", "-"], capture_output=True, check=True).stdout
        file = descriptor_pb2.FileDescriptorSet.FromString(image).file[0]
        self._messages = {message.name: message for message in file.message_type}
        self._comments = {
            tuple(place.path): " ".join(place.leading_comments.split()) for place in file.source_code_info.location
        }
        self._places = {message.name: place for place, message in enumerate(file.message_type)}

    def request(self, name: str) -> Schema:
        """Describes a request: either spelling of a name, numbers also as strings, null for an absent field.

        A query may be a plain string or a list of messages, messages may be as chat APIs write them, and a tool may be
        the object that it is.
        """
        made = self._root(name, is_request=True)
        properties = made["properties"]
        query = properties["query"]
        properties["query"] = {**query, "anyOf": [_PLAIN_QUERY, _MESSAGES, {"$ref": query["$ref"]}]}
        del properties["query"]["$ref"]
        message = made["$defs"]["ChatMessage"]
        message["properties"] |= {"content": _PARTS, "parts": {**_PARTS, "description": "Gemini's name of `content`."}}
        message["additionalProperties"] = True
        if "tools" in properties:
            made["$defs"]["ToolObject"] = _TOOL_OBJECT
            properties["tools"]["items"] = {
                "anyOf": [{"$ref": f"#/$defs/{kind}"} for kind in ("ToolText", "ToolObject")]
            }
            properties["tools"]["description"] += (
                " A tool may also be the object itself; its text in the body is then its source."
            )
        return made

    def answer(self, name: str) -> Schema:
        """Describes an answer: names as in the proto; fields without presence are always printed."""
        return self._root(name, is_request=False)

    def _root(self, name: str, *, is_request: bool) -> Schema:
        needed = {each: self._object(self._messages[each], is_request) for each in sorted(self._reached(name))}
        root = needed.pop(name)
        return {"title": name, **root} | ({"$defs": needed} if needed else {})

    def _reached(self, name: str) -> set[str]:
        reached, waiting = {name}, [name]
        while waiting:
            for field in self._messages[waiting.pop()].field:
                kind = field.type_name.rpartition(".")[2]
                if kind and kind not in reached:
                    reached.add(kind)
                    waiting.append(kind)
        return reached

    def _object(self, message: DescriptorProto, is_request: bool) -> Schema:
        place = (4, self._places[message.name])
        properties: Schema = {}
        for number, field in enumerate(message.field):
            schema = _field(field, is_request)
            described = self._comments.get((*place, 2, number), "")
            for spelling in dict.fromkeys((field.name, field.json_name) if is_request else (field.name,)):
                properties[spelling] = {"description": described, **schema} if described else schema
        made: Schema = {"description": self._comments.get(place, ""), "type": "object", "properties": properties}
        required = [field.name for field in message.field if _is_required(field, is_request)]
        if required:
            made["required"] = required
        if len(message.oneof_decl) == 1 and all(_is_choice(field) for field in message.field):
            names = [field.name for field in message.field]
            made["oneOf"] = [{"required": [one], "properties": {one: {"not": {"type": "null"}}}} for one in names]
        twice = [[field.name, field.json_name] for field in message.field if field.name != field.json_name]
        if is_request and twice:
            made["not"] = {"anyOf": [{"required": names} for names in twice]}
        return {**made, "additionalProperties": False}


def config() -> Schema:
    """Describes the output of `shortlist config --json`."""
    settings = Settings.model_json_schema(mode="serialization")["properties"]
    return {
        "title": "Config",
        "description": "What `shortlist config --json` prints: every setting, its value, and where that was set.",
        "type": "object",
        "properties": {name: _setting(schema) for name, schema in settings.items()},
        "required": list(settings),
        "additionalProperties": False,
    }


def evaluation() -> Schema:
    """Describes the output of `shortlist eval --json`."""
    made = _of_class(Evaluation)
    properties = made["properties"]
    properties["kind"] |= {"enum": ["tools", "tables", "documents", "columns"]}
    properties["method"] |= {"enum": list(METHODS)}
    properties["scope"] |= {"enum": list(SCOPES)}
    for name in ("candidates", "queries", "documents", "seconds"):
        properties[name] |= _NOT_NEGATIVE
    properties["metrics"]["additionalProperties"] |= _SHARE
    return {**made, "title": "Evaluation", "description": "What `shortlist eval --json` prints."}


def model() -> Schema:
    """Describes the `shortlist.json` of a model folder."""
    made = Description.model_json_schema()
    for part in (made, *made["$defs"].values()):
        for schema in part["properties"].values():
            schema.pop("title", None)  # pydantic's, made of the field's name
    return made


def corpus_line() -> Schema:
    """Describes a line of `corpus.jsonl`."""
    properties: Schema = {
        "id": {"type": ["string", "integer"]},
        "group": {"description": "The server, category or database it belongs to.", "type": ["string", "null"]},
        "tool": {"description": "One tool, in any form that SelectTools takes.", "type": "object"},
        "ddl": {"description": "The CREATE statement of one table.", "type": "string"},
        "dialect": {"description": "Detected where it is absent.", "enum": [*DIALECTS, "", None]},
        "text": {"description": "A plain document.", "type": "string"},
    }
    made = _object(properties, required=("id",), is_open=True)
    described = "A line of the `corpus.jsonl` that `shortlist eval` reads: one tool, one table or one plain document."
    choice = [{"required": ["tool"]}, {"required": ["ddl"]}, {"required": ["text"]}]
    return {"title": "CorpusLine", "description": described, **made, "oneOf": choice}


def query_line() -> Schema:
    """Describes a line of `queries.jsonl`."""
    ids: Schema = {"type": "array", "items": {"type": "string"}}
    properties: Schema = {
        "id": {"type": ["string", "integer"]},
        "query": {"type": "string"},
        "lang": {"type": ["string", "null"]},
        "group": {
            "description": "The database it asks about: needed for --scope group and --kind columns.",
            "type": ["string", "null"],
        },
        "relevant": {
            "description": "The ids of all documents that it needs; empty if nothing fits.",
            **ids,
        },
        "acceptable": {"description": "The ids of documents that would do as well as one of them.", **ids},
        "messages": {
            "description": "The conversation that ends with the query; each has `role` and `content`.",
            "anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "null"}],
        },
        "src": {"description": "The style or source of the query, for the measures by style.", "type": "string"},
        "candidates": {
            "description": "The ids it is ranked against; null or absent means by --scope.",
            "anyOf": [ids, {"type": "null"}],
        },
        "columns": {
            "description": "The columns it needs, as GROUP.TABLE.COLUMN, for --kind columns.",
            "anyOf": [ids, {"type": "null"}],
        },
        "split": {"type": "string"},
    }
    made = _object(properties, required=("id", "query", "relevant", "split"), is_open=True)
    return {"title": "QueryLine", "description": "A line of the `queries.jsonl` that `shortlist eval` reads.", **made}


# A result of a rerank API: which document, by its place.
_RESULT: Schema = {
    "index": {"type": "integer", "minimum": 0, "description": "The document's place in the request, from 0."}
}


def rerank_results() -> Schema:
    """Describes what `/v1/rerank`, `/v2/rerank` and, given `documents`, `/rerank` answer."""
    document: Schema = {
        "type": "object",
        "required": ["text"],
        "properties": {"text": {"type": "string"}},
        "description": "The document: what was given where that was an object, and its text. Absent if not wanted.",
    }
    return _rerank_results("RerankResults", document)


def infinity_results() -> Schema:
    """Describes what `/infinity/rerank` answers."""
    document: Schema = {"type": "string", "description": "The document's text. Absent if it is not wanted."}
    return _rerank_results("InfinityResults", document)


def _rerank_results(title: str, document: Schema) -> Schema:
    made: Schema = {
        "type": "object",
        "required": ["id", "object", "model", "usage", "results", "meta"],
        "properties": {
            "id": {"type": "string", "description": "The request's id."},
            "object": {"const": "rerank"},
            "model": {"type": "string", "description": "The name of the model that scored."},
            "usage": {
                "type": "object",
                "required": ["prompt_tokens", "total_tokens"],
                "properties": {
                    "prompt_tokens": {"type": "integer", "description": "Tokens read, the query's once per pair."},
                    "total_tokens": {"type": "integer", "description": "The same number."},
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
                        "document": document,
                    },
                },
            },
            "meta": {
                "type": "object",
                "required": ["api_version", "billed_units", "tokens"],
                "properties": {
                    "api_version": {
                        "type": "object",
                        "required": ["version"],
                        "properties": {"version": {"enum": ["1", "2"]}},
                    },
                    "billed_units": {
                        "type": "object",
                        "required": ["search_units"],
                        "properties": {"search_units": {"type": "integer", "description": "One per 100 documents."}},
                    },
                    "tokens": {
                        "type": "object",
                        "required": ["input_tokens", "output_tokens"],
                        "properties": {
                            "input_tokens": {"type": "integer", "description": "As in `usage`."},
                            "output_tokens": {"const": 0},
                        },
                    },
                    "warnings": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "What was cut because it did not fit the model, and what is odd but usable.",
                    },
                },
            },
        },
    }
    return {"title": title, **made}


def tei_results() -> Schema:
    """Describes what `/rerank` answers, given `texts`."""
    made: Schema = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["index", "score"],
            "properties": {**_RESULT, "score": {"type": "number"}, "text": {"type": "string"}},
        },
    }
    return {"title": "TeiResults", **made}


def error() -> Schema:
    """Describes what every route answers when it fails."""
    made: Schema = {
        "type": "object",
        "required": ["error", "message", "detail"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "status", "message", "details"],
                "properties": {
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "status": {"type": "string", "description": "The gRPC code's name."},
                    "message": {"type": "string", "description": "What is wrong, where, and how to fix it."},
                    "details": {
                        "type": "array",
                        "description": "`google.rpc` details: ErrorInfo with a stable `reason`, BadRequest …",
                        "items": {"type": "object", "required": ["@type"], "properties": {"@type": {"type": "string"}}},
                    },
                },
            },
            "message": {"type": "string", "description": "The same text, where Cohere's clients look for it."},
            "detail": {"type": "string", "description": "The same text, where Jina's clients look for it."},
        },
    }
    return {"title": "Error", **made}


def _field(field: FieldDescriptorProto, is_request: bool) -> Schema:
    one = _value(field, is_request)
    if "$ref" in one and field.label != FieldDescriptorProto.LABEL_REPEATED:
        return one
    rules = dict(_RULES.get(field.name, {})) if is_request or field.name == "score" else {}
    if is_request and (option := OPTIONS.get(field.name)):
        rules |= _of_option(option)
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        one = {"type": "array", "items": one | (_NAME if field.name in OPTIONS else {})}
    elif not is_request and field.type == _Type.TYPE_INT32 and field.name != "index":
        rules = {"minimum": 0, **rules}
    made = one | rules
    is_optional = is_request and field.name not in _REQUIRED
    return {**made, "type": [*_listed(made["type"]), "null"]} if is_optional else made


def _of_option(option: Option) -> Schema:
    """Describes the range of an option; a number may also be written as a string."""
    match option.default:
        case bool():
            return {}
        case str():
            return _NAME
        case tuple():
            return {"maxItems": limits.MAX_NAMES}
        case float():
            share = {"pattern": r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$"}
            return {"minimum": option.least, "maximum": option.most, **share}
        case _:
            return {"minimum": option.least, "pattern": "^[0-9]{1,9}$"}


def _value(field: FieldDescriptorProto, is_request: bool) -> Schema:
    match field.type:
        case _Type.TYPE_MESSAGE:
            return {"$ref": f"#/$defs/{field.type_name.rpartition('.')[2]}"}
        case _Type.TYPE_STRING:
            return {"type": "string"}
        case _Type.TYPE_BOOL:
            return {"type": "boolean"}
        case _Type.TYPE_DOUBLE:
            return {"type": ["number", "string"]} if is_request else {"type": "number"}
        case _Type.TYPE_INT32 if is_request:
            return {"type": ["integer", "string"], "pattern": "^-?[0-9]+$", "maximum": 2**31 - 1}
        case _Type.TYPE_INT32:
            return {"type": "integer", "maximum": 2**31 - 1}
        case _Type.TYPE_INT64:
            return {"type": "string", "pattern": "^-?[0-9]+$"}
    raise ValueError(f"{field.name}: no rule for a field of type {field.type}")


def _is_required(field: FieldDescriptorProto, is_request: bool) -> bool:
    if is_request:
        return field.name in _REQUIRED
    # Answers print a field without presence even if it is empty, and message fields because the server sets them all.
    return not field.HasField("oneof_index")


def _is_choice(field: FieldDescriptorProto) -> bool:
    return field.HasField("oneof_index") and not field.proto3_optional


def _of_model(kind: type[BaseModel]) -> Schema:
    """Describes the request of a rerank API by the model that reads it."""
    return {**_without_titles(kind.model_json_schema()), "title": kind.__name__}


def _without_titles(schema: Any) -> Any:
    """Drops the titles that pydantic makes of names, and defaults of null, which say nothing."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {name for name, value in schema.items() if name in ("title", "default") and not isinstance(value, dict)}
    return {name: _without_titles(value) for name, value in schema.items() if name not in dropped}


def _setting(schema: Schema) -> Schema:
    value = {key: part for key, part in schema.items() if key not in ("title", "default", "description")}
    source = {"description": "`default`, a flag, a variable or a file.", "type": "string"}
    return {"description": schema["description"], **_object({"value": value, "source": source})}


def _of_class(kind: type[Any]) -> Schema:
    made = {key: part for key, part in TypeAdapter(kind).json_schema().items() if key != "description"}
    for schema in made["properties"].values():
        del schema["title"]
    assert dataclasses.is_dataclass(kind)
    return {**made, "additionalProperties": False}


def _object(properties: Schema, *, required: Sequence[str] | None = None, is_open: bool = False) -> Schema:
    needed = list(properties if required is None else required)
    made: Schema = {"type": "object", "properties": properties, "required": needed}
    return made if is_open else {**made, "additionalProperties": False}


def _listed(kind: str | list[str]) -> Iterator[str]:
    yield from [kind] if isinstance(kind, str) else kind


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


if __name__ == "__main__":
    main(sys.argv[1:])
