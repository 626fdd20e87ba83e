"""Reads the query of a request as callers write it: a text, or the messages of a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shortlist.schemas.errors import InvalidInput

__all__ = [
    "Message",
    "Query",
    "query_text",
    "read_query",
]

# A text, or messages: ours, or mappings as chat APIs write them (`role`, and `content` as text, as parts, or None).
Query = str | Sequence["Message | Mapping[str, Any]"]
# A last message of fewer words ("do it", "yes, the second one") means little alone, so earlier turns are put before it.
_ENOUGH_WORDS = 6
_MAX_EARLIER_CHARS = 600
_SPOKEN_ROLES = ("user", "assistant")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is ``system``, ``developer``, ``user``, ``assistant`` or ``tool``."""

    role: str
    content: str


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


def query_text(query: str | Sequence[Message], fits: Callable[[str], bool] = lambda text: True) -> str:
    """Returns the text to rank by: the query itself, or the last user message, after earlier turns if it is short.

    Earlier turns are cut if the whole would not fit, so that the last message is never cut for them.

    Raises:
        InvalidInput: the query contains only white space.
    """
    text = query if isinstance(query, str) else _from_messages(query, fits)
    text = text.strip()
    if not text:
        raise InvalidInput("is empty; give the user's request as text or as messages with a user turn", field="query")
    return text


def _from_messages(messages: Sequence[Message], fits: Callable[[str], bool]) -> str:
    spoken = [message for message in messages if message.content.strip()]
    last = next((i for i in range(len(spoken) - 1, -1, -1) if spoken[i].role == "user"), len(spoken) - 1)
    if last < 0:
        return ""
    parts = [spoken[last].content.strip()]
    for message in reversed(spoken[:last]):
        if message.role not in _SPOKEN_ROLES:
            continue
        if _says_enough(parts):
            break
        earlier = _cut(message.content.strip()[:_MAX_EARLIER_CHARS], lambda text: fits("\n".join([text, *parts])))
        if not earlier:
            break
        parts.insert(0, earlier)
    return "\n".join(parts)


def _cut(text: str, fits: Callable[[str], bool]) -> str:
    """Returns as much of the beginning of the text as fits, found by bisection."""
    if fits(text):
        return text
    least, most = 0, len(text)
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(text[:middle]) else (least, middle)
    return text[:least].strip()


def _says_enough(parts: Sequence[str]) -> bool:
    text = " ".join(parts)
    # Scripts without spaces are counted in characters, since their words are not separated.
    return len(text.split()) >= _ENOUGH_WORDS or (not text.isascii() and len(text) >= 2 * _ENOUGH_WORDS)
