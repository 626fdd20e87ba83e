"""Converts between proto messages and JSON, for `/v1/tools:select`, `/v1/tables:select` and `/v1/info`.

Field names are read in snake case or camel case and written in snake case, like the command line's `--json`. In
addition to the proto's JSON mapping, a query may be a plain string or a list of messages, messages may be written as
chat APIs write them, and a tool may be its own JSON object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message as ProtoMessage

from shortlist.schemas.arguments import check_text
from shortlist.schemas.conversation import read_messages
from shortlist.schemas.errors import InvalidInput, LimitExceeded, nearest
from shortlist.schemas.surrogates import escape_halves
from shortlist.schemas.tools.jsontext import decode_at, member_starts
from shortlist.server.http.body import Body
from shortlist.server.limits import MAX_MESSAGES
from shortlist.v1 import router_pb2 as pb

__all__ = ["is_repeated", "read_tables", "read_tools", "write"]

_INTEGER = re.compile(r"-?[0-9]{1,10}\Z")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_TOOL_TEXT = set(pb.ToolText.DESCRIPTOR.fields_by_name)

MessageT = TypeVar("MessageT", bound=ProtoMessage)


def read_tools(body: Body) -> pb.SelectToolsRequest:
    """Reads a request for tools.

    Raises:
        InvalidInput: a field is missing or unknown, or has a value of the wrong type; the error's `field` names it.
    """
    fields, tools = body.fields, body.fields.get("tools")
    if isinstance(tools, list):
        pairs = enumerate(zip(tools, body.sources["tools"], strict=True))
        fields = {**fields, "tools": [_tool_text(tool, source, place) for place, (tool, source) in pairs]}
    return _read(fields, pb.SelectToolsRequest(), needed=("query", "tools"))


def read_tables(body: Body) -> pb.SelectTablesRequest:
    """Reads a request for tables; raises as `read_tools`."""
    return _read(body.fields, pb.SelectTablesRequest(), needed=("query", "ddl"))


def write(message: ProtoMessage) -> dict[str, Any]:
    """Writes a message, defaults included, with names in snake case."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field is repeated; versions of protobuf differ in how they expose this."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(getattr(field, "label", None) == FieldDescriptor.LABEL_REPEATED)


def _read(body: Mapping[str, Any], message: MessageT, *, needed: Sequence[str]) -> MessageT:
    body = {**body, "query": _read_query(body.get("query"))}
    _check_object(body, message.DESCRIPTOR, "")
    for name in needed:
        if body.get(name) is None:
            raise InvalidInput("is missing", field=name)
    try:
        return json_format.ParseDict(dict(body), message)
    except (json_format.ParseError, ValueError, TypeError, OverflowError) as error:
        raise InvalidInput("the request does not fit its schema in /openapi.json") from error


def _read_query(query: Any) -> Any:
    """Makes the proto's form of a query that is a string, or messages as chat APIs write them."""
    if isinstance(query, str):
        return {"text": query}
    if isinstance(query, list):
        read = _messages(query, "query")
        if not any(message["content"].strip() for message in read):
            raise InvalidInput("holds no text; give at least one message with content", field="query")
        return {"conversation": {"messages": read}}
    conversation = query.get("conversation") if isinstance(query, dict) else None
    messages = conversation.get("messages") if isinstance(conversation, dict) else None
    if not (isinstance(query, dict) and isinstance(conversation, dict) and isinstance(messages, list)):
        return query
    read = _messages(messages, "query.conversation.messages")
    return {**query, "conversation": {**conversation, "messages": read}}


def _messages(messages: list[Any], field: str) -> list[dict[str, str]]:
    if (actual := len(messages)) > MAX_MESSAGES:
        problem = f"has {actual} messages, but at most {MAX_MESSAGES} are allowed; leave out the oldest"
        raise LimitExceeded(problem, limit=MAX_MESSAGES, actual=actual, field=field)
    return [{"role": message.role, "content": message.content} for message in read_messages(messages, field)]


def _tool_text(tool: Any, source: str, place: int) -> Any:
    """Makes a ToolText of a tool's own JSON object or of its text; what is neither is the parser's to report."""
    if isinstance(tool, str):
        return {"json": escape_halves(tool)}
    is_tool_text = (
        isinstance(tool, dict)
        and tool
        and set(tool) <= _TOOL_TEXT
        and all(part is None or isinstance(part, str) for part in tool.values())
    )
    return _read_tool_text(source, f"tools[{place}]") if is_tool_text else {"json": source}


def _read_tool_text(source: str, field: str) -> dict[str, Any]:
    """Reads a ToolText: its own keys are the request's, while its text may hold what any tool may."""
    read: dict[str, Any] = {}
    for name, start in member_starts(source, 0):
        if name in read:
            raise InvalidInput("is given twice in one object; give it once", field=f"{field}.{name}")
        value = decode_at(source, start).value
        if name == "json" and isinstance(value, str):
            value = escape_halves(value)
        elif isinstance(value, str):
            check_text(f"{field}.{name}", value)
        read[name] = value
    return read


def _check_object(value: Any, kind: Any, path: str) -> None:
    if not isinstance(value, Mapping):
        raise InvalidInput("should be an object", field=path)
    names = {name: field for field in kind.fields for name in (field.name, field.json_name)}
    seen: dict[str, str] = {}
    for name, inner in value.items():
        field = names.get(name)
        if field is None:
            raise InvalidInput(f"is not a known field{nearest(name, names)}", field=_under(path, name[:100]))
        group = field.containing_oneof.name if field.containing_oneof else field.name
        if inner is not None:
            if group in seen:
                raise InvalidInput(f"cannot be combined with {seen[group]}; give one of them", field=_under(path, name))
            seen[group] = name
            _check_field(inner, field, _under(path, field.name))


def _check_field(value: Any, field: FieldDescriptor, path: str) -> None:
    if not is_repeated(field):
        _check_value(value, field, path)
        return
    if not isinstance(value, list):
        raise InvalidInput("should be a list", field=path)
    for place, inner in enumerate(value):
        _check_value(inner, field, f"{path}[{place}]")


def _check_value(value: Any, field: FieldDescriptor, path: str) -> None:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE:
            _check_object(value, field.message_type, path)
        case FieldDescriptor.CPPTYPE_STRING:
            if not isinstance(value, str):
                raise InvalidInput("should be a string", field=path)
        case FieldDescriptor.CPPTYPE_BOOL:
            if not isinstance(value, bool):
                raise InvalidInput("should be true or false", field=path)
        case FieldDescriptor.CPPTYPE_INT32:
            if not _is_integer(value):
                raise InvalidInput("should be a 32-bit integer", field=path)
        case _:
            if not _is_number(value):
                raise InvalidInput("should be a number", field=path)


def _is_integer(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_INTEGER.match(value)) and _is_integer(int(value))
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return is_whole and not isinstance(value, bool) and -(2**31) <= value < 2**31


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_DECIMAL.match(value)) and len(value) < 400
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
