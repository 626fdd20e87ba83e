"""Reads the query of a request as callers write it: a text, or the messages of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shortlist.schemas.errors import InvalidInput

__all__ = ["Message", "Query", "read_query"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is ``system``, ``developer``, ``user``, ``assistant`` or ``tool``."""

    role: str
    content: str


# A text, or messages: ours, or mappings as chat APIs write them (`role`, and `content` as text, as parts, or None).
Query = str | Sequence[Message | Mapping[str, Any]]


def read_query(query: Query) -> str | tuple[Message, ...]:
    """Returns the query as a text or as messages; of a message's parts those with a text count.

    Raises:
        InvalidInput: it is neither, or a message has no role or no text where one should be; the error names the place.
    """
    if isinstance(query, str):
        return query
    if isinstance(query, Mapping | bytes) or not isinstance(query, Sequence):
        raise InvalidInput(f"is {type(query).__name__}; give a text or a list of messages", field="query")
    return tuple(_read_message(message, f"query[{place}]") for place, message in enumerate(query))


def _read_message(message: Any, field: str) -> Message:
    if isinstance(message, Message):
        return message
    if not isinstance(message, Mapping):
        raise InvalidInput(f"is {type(message).__name__}; give a mapping with role and content", field=field)
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise InvalidInput("is missing; use system, user, assistant or tool", field=f"{field}.role")
    return Message(role, _read_content(message.get("content"), f"{field}.content"))


def _read_content(content: Any, field: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping | bytes) or not isinstance(content, Sequence):
        raise InvalidInput(f"is {type(content).__name__}; give a text, a list of parts, or None", field=field)
    texts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str) and text)
