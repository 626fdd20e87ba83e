"""Reads the parameters of one operation of OpenAPI, or of Swagger 2: those that it lists, and those of its body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from shortlist.schemas.tools.shapes import as_parameter

__all__ = ["read_operation"]

_MAX_FOLLOWED = 8  # references that lead to references


def read_operation(operation: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the parameters of an operation as a schema, and a note on those that cannot be read.

    References of whole parameters and bodies are followed within `operation`; those in schemas are left as they are.
    """
    listed = operation.get("parameters")
    listed = listed if isinstance(listed, list) else []
    found = [_with_schema(_follow(operation, part)) for part in listed]
    named = [part for part in found if isinstance(part.get("name"), str)]
    properties = {part["name"]: as_parameter(part) for part in named}
    body = _body_of(operation)
    is_object = isinstance(body.get("properties"), dict)
    properties.update(body["properties"] if is_object else {"body": body} if body else {})
    notes = []
    if num_unread := len(listed) - len(named):
        reason = "have no name, or are references that do not resolve"
        notes.append(f"{num_unread} of its parameters {reason}; they are left out")
    if _follow(operation, operation.get("requestBody")) is None and operation.get("requestBody") is not None:
        notes.append("its body is a reference that does not resolve; it is left out")
    return {"properties": properties, "required": body.get("required") if is_object else []}, tuple(notes)


def _with_schema(part: object) -> dict[str, Any]:
    """Returns a listed parameter; its schema may be that of its content."""
    if not isinstance(part, dict):
        return {}
    schema = None if isinstance(part.get("schema"), dict) else _schema_in(part.get("content"))
    return part if schema is None else {**part, "schema": schema}


def _body_of(operation: Mapping[str, Any]) -> dict[str, Any]:
    body = _follow(operation, operation.get("requestBody"))
    schema = _schema_in(body.get("content")) if isinstance(body, dict) else None
    target = _follow(operation, schema)
    is_object = isinstance(target, dict) and isinstance(target.get("properties"), dict)
    return dict(target) if is_object else schema or {}


def _schema_in(content: object) -> dict[str, Any] | None:
    for media in content.values() if isinstance(content, dict) else ():
        if isinstance(media, dict) and isinstance(media.get("schema"), dict):
            return dict(media["schema"])
    return None


def _follow(document: Mapping[str, Any], value: Any) -> Any:
    """Returns what a value refers to if it is a reference; None if nothing is at that place."""
    for _ in range(_MAX_FOLLOWED):
        reference = value.get("$ref") if isinstance(value, dict) else None
        if not isinstance(reference, str):
            return value
        value = _at(document, reference)
    return None


def _at(document: Mapping[str, Any], reference: str) -> Any:
    if not reference.startswith("#/"):
        return None
    found: Any = document
    for token in reference[2:].split("/"):
        found = found.get(unquote(token).replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found
