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
from pydantic import TypeAdapter

from shortlist.evaluation.ranking import METHODS, SCOPES, Evaluation
from shortlist.router.checkpoints.description import Description
from shortlist.schemas.sql.parse import DIALECTS
from shortlist.server import limits
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
_NAMES: Schema = {"maxItems": limits.MAX_NAMES}
# Limits that the service checks and the proto states only in its comments.
_RULES: Mapping[str, Schema] = {
    "min_score": _SHARE,
    "keep_columns": _SHARE,
    "score": _SHARE,
    "top_n": _NOT_NEGATIVE,
    "max_candidates": _NOT_NEGATIVE,
    "overlap_tokens": _NOT_NEGATIVE,
    "max_query_tokens": {"minimum": 1},
    "max_pair_tokens": {"minimum": 1},
    "expected_model": _NAME,
    "expected_version": _NAME,
    "dialect": _NAME,
    "namespace": _NAME,
    "always_include": _NAMES,
    "tools": {"maxItems": limits.MAX_TOOL_TEXTS},
    "documents": {"maxItems": limits.MAX_DOCUMENTS},
    "messages": {"minItems": 1, "maxItems": limits.MAX_MESSAGES},
    "text": {"maxLength": limits.MAX_QUERY_CHARS},
}
_REQUIRED = {"query", "role"}


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
        """Describes a request: either spelling of a name, numbers also as strings, null for an absent field."""
        return self._root(name, is_request=True)

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
            made |= {"minProperties": 1, "maxProperties": 1}
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
    properties["kind"] |= {"enum": ["tools", "tables", "columns"]}
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
    }
    made = _object(properties, required=("id",), is_open=True)
    described = "A line of the `corpus.jsonl` that `shortlist eval` reads: one tool or one table."
    choice = [{"required": ["tool"]}, {"required": ["ddl"]}]
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
        "relevant": {"description": "The ids of the documents that answer it.", **ids},
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


def _field(field: FieldDescriptorProto, is_request: bool) -> Schema:
    one = _value(field, is_request)
    rules = dict(_RULES.get(field.name, {}))
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        one = {"type": "array", "items": one | (_NAME if field.name == "always_include" else {})}
    elif "$ref" in one:
        return one
    elif not is_request and field.type == _Type.TYPE_INT32 and field.name != "index":
        rules = {"minimum": 0, **rules}
    made = one | rules
    return {**made, "type": [*_listed(made["type"]), "null"]} if is_request else made


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
