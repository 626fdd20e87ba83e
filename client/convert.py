"""Makes the messages of requests out of what callers of the client write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from google.protobuf.message import Message as ProtoMessage

from shortlist.schemas import errors
from shortlist.schemas.tools.texts import tool_texts
from shortlist.v1 import router_pb2 as pb

__all__ = [
    "DEFAULT_ADDRESS",
    "ChatMessage",
    "Query",
    "ToolText",
    "Tools",
    "make_query",
    "make_request",
    "make_tool_texts",
    "texts_of",
]

DEFAULT_ADDRESS = "127.0.0.1:50051"

# A message as chat APIs write it: role, and content as text, as a list of parts, or None.
ChatMessage = Mapping[str, Any]
Query = str | Sequence[ChatMessage]
# One tool or a container of many, as JSON text or as the object it decodes to.
ToolText = str | Mapping[str, Any]
Tools = ToolText | Sequence[ToolText]

RequestT = TypeVar("RequestT", bound=ProtoMessage)


def make_request(kind: type[RequestT], fields: Mapping[str, object]) -> RequestT:
    """Makes a message of its fields, leaving out those that are None.

    Raises:
        InvalidInput: protobuf refuses a value; the error names the field.
    """
    request = kind()
    for field, value in fields.items():
        with _naming(field):
            request.MergeFrom(kind(**{field: value}))
    return request


def make_query(query: Query) -> pb.Query:
    """Makes a query of a text or of a conversation."""
    with _naming("query"):
        if isinstance(query, str):
            return pb.Query(text=query)
        messages = [pb.ChatMessage(role=message["role"], content=_content(message)) for message in query]
        return pb.Query(conversation=pb.Conversation(messages=messages))


def _content(message: ChatMessage) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("text"))


def make_tool_texts(tools: Tools, namespaces: Sequence[str]) -> list[pb.ToolText]:
    """Makes one message per tool text, each with its namespace.

    Raises:
        InvalidInput: there are namespaces, and not as many as tool texts; or a tool cannot be written as JSON.
    """
    texts = tool_texts(tools)
    owners = texts_of("namespaces", namespaces) or [""] * len(texts)
    if len(owners) != len(texts):
        raise errors.InvalidInput(f"are {len(owners)} for {len(texts)} tool texts; give one each", field="namespaces")
    with _naming("tools"):
        return [pb.ToolText(json=text, namespace=owner) for text, owner in zip(texts, owners, strict=True)]


def texts_of(field: str, texts: Sequence[str]) -> Sequence[str]:
    """Returns the texts, and refuses one text in place of many."""
    if isinstance(texts, str):
        raise errors.InvalidInput("is one text; give a list of texts", field=field)
    return texts


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Says which field holds a value that protobuf refuses: a number too large, a lone surrogate."""
    try:
        yield
    except ValueError as error:
        raise errors.InvalidInput(str(error), field=field) from error
