"""Reads the arguments of a Router or a client: queries and conversations, tools, and lists of texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shortlist.schemas.errors import InvalidInput

__all__ = [
    "Message",
    "Query",
    "ToolText",
    "Tools",
    "check_timeout",
    "query_text",
    "read_query",
    "texts_of",
    "tool_texts",
]

# A text, or messages. A message is a `Message`, or a mapping as chat APIs write it: `role`, and `content` as a text, a
# list of parts, or None.
Query = str | Sequence["Message | Mapping[str, Any]"]
# A shorter last message ("do it", "yes, the second one") means little alone, so earlier turns are put before it.
_ENOUGH_WORDS = 6
_MAX_EARLIER_CHARS = 600
_SPOKEN_ROLES = ("user", "assistant")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is ``system``, ``developer``, ``user``, ``assistant`` or ``tool``."""

    role: str
    content: str


def read_query(query: Query) -> str | tuple[Message, ...]:
    """Returns the query as a text or as messages; a message's content is the text of its parts, joined by newlines.

    Raises:
        InvalidInput: the query is neither a text nor messages, or a message has no role or a wrong content; the error's
            `field` says which.
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
    """Returns the text to rank by: the query itself, or the last user message, with earlier turns before it if short.

    Only earlier turns are cut to make the text fit; the last message is not.

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
    """Returns the longest beginning of the text that fits, found by bisection."""
    if fits(text):
        return text
    least, most = 0, len(text)
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(text[:middle]) else (least, middle)
    return text[:least].strip()


def _says_enough(parts: Sequence[str]) -> bool:
    text = " ".join(parts)
    # Some scripts do not separate words by spaces, so long enough non-ASCII texts count by characters.
    return len(text.split()) >= _ENOUGH_WORDS or (not text.isascii() and len(text) >= 2 * _ENOUGH_WORDS)


# One tool or a container of many, as JSON text or as the object it decodes to.
ToolText = str | Mapping[str, Any]
Tools = ToolText | Sequence[ToolText]


def tool_texts(tools: Tools) -> list[str]:
    """Returns tools as a list of JSON texts: texts are kept as they are, mappings are written as JSON.

    Raises:
        InvalidInput: a tool is neither a text nor a mapping, or a mapping cannot be written as JSON; the error's
            `field` says which.
    """
    if isinstance(tools, bytes) or not isinstance(tools, str | Mapping | Sequence):
        raise InvalidInput(f"is {type(tools).__name__}; give JSON texts or mappings", field="tools")
    listed = [tools] if isinstance(tools, str | Mapping) else tools
    return [_text(tool, f"tools[{place}]") for place, tool in enumerate(listed)]


def _text(tool: object, field: str) -> str:
    if isinstance(tool, str):
        return tool
    if not isinstance(tool, Mapping | list):  # a list is a container of many
        raise InvalidInput(f"is {type(tool).__name__}; give a JSON text or a mapping", field=field)
    try:
        return _encodable(json.dumps(tool, ensure_ascii=False, default=_as_known))
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput(f"cannot be written as JSON: {reason}", field=field) from error


def _encodable(text: str) -> str:
    """Escapes lone surrogates: JSON can escape them, but UTF-8 cannot encode them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text))
    return text


def _as_known(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def texts_of(field: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Returns a list of texts as a tuple.

    Raises:
        InvalidInput: `texts` is a single text or not a list, or an entry is not a text; the error's `field` says which.
    """
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        kind = "one text" if isinstance(texts, str) else type(texts).__name__
        raise InvalidInput(f"is {kind}; give a list of texts", field=field)
    listed = tuple(texts)
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise InvalidInput(f"is {type(text).__name__}; give a text", field=f"{field}[{place}]")
    return listed


def check_timeout(timeout_seconds: float | None) -> None:
    """Checks how many seconds a caller waits; None sets no limit.

    Raises:
        InvalidInput: the timeout is not a number, or not above 0.
    """
    if timeout_seconds is None:
        return
    if isinstance(timeout_seconds, bool) or not isinstance(timeout_seconds, int | float):
        raise InvalidInput(f"is {timeout_seconds!r:.60}; give seconds as a number", field="timeout_seconds")
    if not timeout_seconds > 0:
        raise InvalidInput(f"is {timeout_seconds}; give more than 0 seconds", field="timeout_seconds")
