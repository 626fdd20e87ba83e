"""Reads queries: texts, and conversations as chat APIs and frameworks write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from shortlist.schemas.arguments import check_text
from shortlist.schemas.errors import InvalidInput, nearest
from shortlist.schemas.repeats import without_repeats
from shortlist.schemas.surrogates import replace_halves

__all__ = [
    "ROLE_NAMES",
    "Message",
    "Query",
    "last_turn",
    "query_text",
    "ranked_text",
    "read_messages",
    "read_query",
    "read_role",
]

# A text, or messages. A message is a `Message`, or a mapping as chat APIs write it: `role`, and `content` as a text, a
# list of parts, or None.
Query = str | Sequence["Message | Mapping[str, Any]"]
# Of a longer earlier turn, the first and the last 200 characters are kept.
_MAX_EARLIER_CHARS = 400
# A shorter rest of a turn says nothing.
_LEAST_CHARS = 20
_MAX_NAMED = 3
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
_SILENT_KINDS = frozenset({"item_reference", "reasoning", "reasoning_text", "thinking"})
_MAX_KEYS_COMPARED = 10  # a comparison takes some 10 µs
_CONTENT_KEYS = ("content", "parts", "message", "text", "data")
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
    if message.get("type") in _SILENT_KINDS:  # what a model thinks is not said
        return None
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
    """Returns the text to rank by: the query itself, or the last user message after the turns that it continues.

    Each turn stands behind its speaker's name, if there are several. The last one is whole. Of the earlier ones, the
    latest that fit are kept, and long ones lose their middle; a warning says so. System messages and the results of
    tools are no turns. Lines that only differ in numbers and values are read once, and a warning says so.

    Raises:
        InvalidInput: the query contains only white space.
    """
    if isinstance(query, str):
        text, num_repeats = without_repeats(query)
        warnings: tuple[str, ...] = ()
    else:
        shorter = [without_repeats(message.content) for message in query]
        turns = [replace(message, content=text) for message, (text, _) in zip(query, shorter, strict=True)]
        text, warnings = _from_messages(turns, fits)
        num_repeats = sum(count for _, count in shorter)
    text = text.strip()
    if not text:
        raise InvalidInput("is empty; give the user's request as text or as messages with a user turn", field="query")
    if num_repeats:
        warnings += (f"query: {num_repeats} lines that only differ from others in numbers or values were left out",)
    return text, warnings


def _from_messages(messages: Sequence[Message], fits: Callable[[str], bool]) -> tuple[str, tuple[str, ...]]:
    said = [(place, message.role, message.content.strip()) for place, message in enumerate(messages)]
    said = [turn for turn in said if turn[2]]
    last = next((i for i in range(len(said) - 1, -1, -1) if said[i][1] == "user"), len(said) - 1)
    if last < 0:
        return "", ()
    earlier = [turn for turn in said[:last] if turn[1] in _SPOKEN_ROLES]
    kept, changed = _keep_latest(earlier, f"user: {said[last][2]}", fits)
    return ("\n".join(kept) if len(kept) > 1 else said[last][2]), _about_turns(changed, len(earlier))


def _keep_latest(
    turns: Sequence[tuple[int, str, str]], last: str, fits: Callable[[str], bool]
) -> tuple[list[str], list[int]]:
    """Returns the latest turns that fit before the last one, and the places of those that were cut or left out."""
    kept, changed = [last], []
    for at in range(len(turns) - 1, -1, -1):
        place, role, whole = turns[at]
        text = _without_middle(whole)
        if not fits("\n".join([f"{role}: {text}", *kept])):
            text = _cut(text, lambda text, role=role: fits("\n".join([f"{role}: {text}", *kept])))  # type: ignore[misc]
        if len(text) < len(whole):
            changed.append(place)
        if len(text) < min(len(whole), _LEAST_CHARS):
            return kept, changed + [turn[0] for turn in turns[:at]]
        kept.insert(0, f"{role}: {text}")
    return kept, changed


def _without_middle(turn: str) -> str:
    """Returns a turn with its beginning and its end: a long answer often ends with what the next turn answers."""
    if len(turn) <= _MAX_EARLIER_CHARS:
        return turn
    half = _MAX_EARLIER_CHARS // 2
    return f"{turn[:half].rstrip()} … {turn[-half:].lstrip()}"


def _about_turns(changed: Sequence[int], total: int) -> tuple[str, ...]:
    if not changed:
        return ()
    named = ", ".join(f"messages[{place}]" for place in sorted(changed)[:_MAX_NAMED])
    more = f" and {len(changed) - _MAX_NAMED} more" if len(changed) > _MAX_NAMED else ""
    return (f"query: {len(changed)} of {total} earlier turns were cut or left out: {named}{more}",)


def _cut(text: str, fits: Callable[[str], bool]) -> str:
    """Returns the longest beginning of the text that fits, found by bisection."""
    least, most = 0, len(text)
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(text[:middle]) else (least, middle)
    return text[:least].strip()


def last_turn(text: str) -> str:
    """Returns what the user says last in a text that `ranked_text` wrote; any other text is that itself."""
    is_conversation = text.startswith(tuple(f"{role}: " for role in _SPOKEN_ROLES))
    return text.rpartition("\nuser: ")[2] if is_conversation else text
