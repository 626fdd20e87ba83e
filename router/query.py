"""Makes the query text from what a caller sends: a text, or the messages of a conversation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.query import Message

__all__ = ["query_text"]

# A last message of fewer words ("do it", "yes, the second one") means little alone, so earlier turns are put before it.
_ENOUGH_WORDS = 6
_MAX_EARLIER_CHARS = 600
_SPOKEN_ROLES = ("user", "assistant")


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
