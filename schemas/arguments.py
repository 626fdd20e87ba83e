"""Reads the arguments of a Router or a client: queries and conversations, tools, and lists of texts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from shortlist.schemas.errors import InvalidInput, nearest
from shortlist.schemas.surrogates import describe_halves, escape_halves, halves_in, has_half, replace_halves
from shortlist.schemas.tools.jsontext import MAX_INTEGER_DIGITS, MAX_NESTING

__all__ = [
    "ROLE_NAMES",
    "Message",
    "Query",
    "ToolText",
    "Tools",
    "check_text",
    "check_timeout",
    "checked_texts",
    "plain_script",
    "plain_texts",
    "query_text",
    "ranked_text",
    "read_messages",
    "read_query",
    "read_role",
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


# What APIs and frameworks call the four speakers, in lower case.
_ROLES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "human"),
    "assistant": ("assistant", "ai", "model", "bot", "chatbot"),
    "system": ("system", "developer"),
    "tool": ("tool", "function"),
}
ROLE_NAMES = tuple(name for names in _ROLES.values() for name in names)
"""All names of roles, in lower case."""
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}
_KNOWN_ROLES = ", ".join(f"{names[0]} (or {', '.join(names[1:])})" for names in _ROLES.values())
_SILENT_KINDS = frozenset({"item_reference", "reasoning", "thinking"})
_MAX_KEYS_COMPARED = 10  # a comparison takes some 10 µs
_CONTENT_KEYS = ("content", "parts", "message", "data")
_WITHOUT_TEXT = frozenset({*_CONTENT_KEYS, "tool_calls", "function_call", "tool_results"})


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is ``user``, ``assistant``, ``system``, ``tool``, or another name of these.

    Other names are those of LangChain (``human``, ``ai``), Gemini (``model``), Cohere (``chatbot``) and OpenAI
    (``developer``, ``function``), in capitals or not.
    """

    role: str
    content: str


def read_query(query: Query) -> str | tuple[Message, ...]:
    """Returns the query as a text or as messages with one of four roles.

    A message's content is the text of its parts, joined by newlines.

    Raises:
        InvalidInput: the query is neither a text nor messages, or a message has no known role or a wrong content; the
            error's `field` says which.
    """
    if isinstance(query, str):
        return check_text("query", query)
    if isinstance(query, Mapping | bytes) or not isinstance(query, Sequence):
        raise InvalidInput(f"is {type(query).__name__}; give a text or a list of messages", field="query")
    return read_messages(query, "query")


def read_messages(messages: Sequence[Any], field: str) -> tuple[Message, ...]:
    """Reads messages as chat APIs write them; `field` names the list in errors. Raises as `read_query`."""
    return tuple(_read_message(message, f"{field}[{place}]") for place, message in enumerate(messages))


def read_role(role: object, field: str) -> str:
    """Returns which of the four roles a name means: ``user``, ``assistant``, ``system`` or ``tool``.

    Raises:
        InvalidInput: it is missing or unknown; the text lists the known names.
    """
    if role is None or role == "":
        raise InvalidInput(f"is missing; use {_KNOWN_ROLES}", field=field)
    # LangChain also writes the name of its class: HumanMessage, AIMessageChunk.
    name = role.strip().lower().removesuffix("chunk").removesuffix("message") if isinstance(role, str) else ""
    if name not in _ROLE_OF:
        shown = repr(replace_halves(role[:40])) if isinstance(role, str) else type(role).__name__
        raise InvalidInput(f"is {shown}; use {_KNOWN_ROLES}", field=field)
    return _ROLE_OF[name]


def _read_message(message: Any, field: str) -> Message:
    if isinstance(message, Message):
        message = {"role": message.role, "content": message.content}
    elif isinstance(message, tuple | list) and len(message) == 2 and isinstance(message[0], str):
        message = {"role": message[0], "content": message[1]}  # LangChain's shorthand: ("human", "…")
    read = _as_mapping(message)
    if read is None:
        raise InvalidInput(f"is {type(message).__name__}; give a mapping with role and content", field=field)
    role = read_role(_role_in(read), f"{field}.role")
    text = _read_content(_content_in(read, field), f"{field}.content")
    return Message(role, check_text(f"{field}.content", text))


def _as_mapping(value: Any) -> Mapping[str, Any] | None:
    """Returns a mapping, or what an object of a library (OpenAI, Anthropic, LangChain) says that it holds."""
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    dumped = dump() if callable(dump) and not isinstance(value, type) else None
    return dumped if isinstance(dumped, Mapping) else None


def _role_in(message: Mapping[str, Any]) -> object:
    role, kind = message.get("role"), message.get("type")
    if role is not None:
        return role
    if not isinstance(kind, str):
        return "user" if "parts" in message else None  # Gemini's only message needs no role
    if kind.endswith("_call_output"):  # items of OpenAI's Responses API have no role
        return "tool"
    return "assistant" if kind.endswith("_call") or kind.startswith("mcp_") or kind in _SILENT_KINDS else kind


def _content_in(message: Mapping[str, Any], field: str) -> object:
    """Returns what a message says: its `content`, or what Gemini, Cohere and LangChain have in place of it."""
    key = next((key for key in _CONTENT_KEYS if message.get(key) is not None), None)
    if key is None:
        _reject_misspelt(message, field)
        return None
    data = message[key]
    return data.get("content") if key == "data" and isinstance(data, Mapping) else data


def _reject_misspelt(message: Mapping[str, Any], field: str) -> None:
    """Rejects a message without content if one of its first keys looks like it: the text would be lost."""
    if not _WITHOUT_TEXT.isdisjoint(message):
        return
    for key in islice(message, _MAX_KEYS_COMPARED):
        if isinstance(key, str) and (hint := nearest(key, _CONTENT_KEYS[:2])):
            raise InvalidInput(f"is not a known key{hint}", field=f"{field}.{replace_halves(key[:40])}")


def _read_content(content: Any, field: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) and not isinstance(content, bytes) else [content]
    texts = [_read_part(part, f"{field}[{place}]" if parts is content else field) for place, part in enumerate(parts)]
    return "\n".join(text for text in texts if text)


def _read_part(part: Any, field: str) -> str:
    """Returns the text of a part; empty for an image, a tool call and whatever else is not text."""
    if part is None or isinstance(part, str):
        return part or ""
    read = _as_mapping(part)
    if read is None:
        raise InvalidInput(f"is {type(part).__name__}; give a text, a list of parts, or None", field=field)
    if read.get("thought") is True or read.get("type") in _SILENT_KINDS:  # what a model thinks is not said
        return ""
    text = read.get("text")
    if isinstance(text, Mapping):  # OpenAI's threads: {"text": {"value": …}}
        text = text.get("value")
    return text if isinstance(text, str) else ""


def query_text(query: str | Sequence[Message], fits: Callable[[str], bool] = lambda text: True) -> str:
    """Returns the text to rank by, without warnings; raises as `ranked_text`."""
    return ranked_text(query, fits)[0]


def ranked_text(
    query: str | Sequence[Message], fits: Callable[[str], bool] = lambda text: True
) -> tuple[str, tuple[str, ...]]:
    """Returns the text to rank by: the query itself, or the last user message, with earlier turns before it if short.

    Only earlier turns are cut to make the text fit, each with a warning; the last message is not.

    Raises:
        InvalidInput: the query contains only white space.
    """
    text, warnings = (query, []) if isinstance(query, str) else _from_messages(query, fits)
    text = text.strip()
    if not text:
        raise InvalidInput("is empty; give the user's request as text or as messages with a user turn", field="query")
    return text, tuple(warnings)


def _from_messages(messages: Sequence[Message], fits: Callable[[str], bool]) -> tuple[str, list[str]]:
    spoken = [(place, message) for place, message in enumerate(messages) if message.content.strip()]
    last = next((i for i in range(len(spoken) - 1, -1, -1) if spoken[i][1].role == "user"), len(spoken) - 1)
    if last < 0:
        return "", []
    parts, warnings = [spoken[last][1].content.strip()], []
    for place, message in reversed(spoken[:last]):
        if message.role not in _SPOKEN_ROLES:
            continue
        if _says_enough(parts):
            break
        whole = message.content.strip()
        earlier = _cut(whole[:_MAX_EARLIER_CHARS], lambda text: fits("\n".join([text, *parts])))
        if len(earlier) < len(whole):
            kept = f"was cut from {len(whole):,} to {len(earlier):,} characters" if earlier else "was left out"
            warnings.append(f"query: messages[{place}], an earlier turn, {kept}")
        if not earlier:
            break
        parts.insert(0, earlier)
    return "\n".join(parts), warnings


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


# A mapping that is nested more deeply is cut off here, so that the reader, which keeps fewer levels, warns of it.
_MAX_LEVELS = MAX_NESTING + 50
_MAX_INTEGER_BITS = math.ceil(MAX_INTEGER_DIGITS * math.log2(10))

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
        return escape_halves(tool)
    if not isinstance(tool, Mapping | list):  # a list is a container of many
        raise InvalidInput(f"is {type(tool).__name__}; give a JSON text or a mapping", field=field)
    try:
        try:
            written = json.dumps(tool, ensure_ascii=False, default=_as_known)
        except (ValueError, RecursionError):  # a long integer, or many levels
            written = json.dumps(_as_writable(tool, _MAX_LEVELS, frozenset()), ensure_ascii=False, default=_as_known)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInput(f"cannot be written as JSON: {reason}", field=field) from error
    return escape_halves(written)


def _as_writable(value: object, levels_left: int, outer: frozenset[int]) -> object:
    """Cuts off levels that are too deep and replaces integers that are too long; the text's reader warns of both."""
    if isinstance(value, int):
        return value if value.bit_length() <= _MAX_INTEGER_BITS else math.inf if value > 0 else -math.inf
    if not isinstance(value, Mapping | list | tuple):
        return value
    if id(value) in outer:
        raise ValueError("it contains itself")
    if not levels_left:
        return None
    inner = outer | {id(value)}
    if isinstance(value, Mapping):
        return {key: _as_writable(part, levels_left - 1, inner) for key, part in value.items()}
    return [_as_writable(part, levels_left - 1, inner) for part in value]


def _as_known(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def plain_texts(field: str, texts: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns a list of texts without halves of surrogate pairs, and a warning for each text that had some.

    Raises as `texts_of`.
    """
    plain, warnings = [], []
    for place, text in enumerate(texts_of(field, texts)):
        if has_half(text):
            if halves := halves_in(text):
                warnings.append(f"{field}[{place}]: {describe_halves(halves)}")
            text = replace_halves(text)
        plain.append(text)
    return tuple(plain), tuple(warnings)


def plain_script(ddl: object) -> tuple[str, tuple[str, ...]]:
    """Returns a script without halves of surrogate pairs, and a warning if it had some.

    Raises:
        InvalidInput: the script is not a text.
    """
    if not isinstance(ddl, str):
        raise InvalidInput(f"is {type(ddl).__name__}; give a text", field="ddl")
    halves = halves_in(ddl) if has_half(ddl) else {}
    return replace_halves(ddl), ((f"ddl: {describe_halves(halves)}",) if halves else ())


def check_text(field: str, text: object) -> str:
    """Returns a text that UTF-8, and so a request, can hold.

    Raises:
        InvalidInput: it is not a text, or it contains half of a surrogate pair.
    """
    if not isinstance(text, str):
        raise InvalidInput(f"is {type(text).__name__}; give a text", field=field)
    if has_half(text):
        raise InvalidInput("contains half of a surrogate pair, which is not a character", field=field)
    return text


def checked_texts(field: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Returns a list of texts as a tuple; raises as `texts_of` and, for each text, as `check_text`."""
    return tuple(check_text(f"{field}[{place}]", text) for place, text in enumerate(texts_of(field, texts)))


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
