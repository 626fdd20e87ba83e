"""Writes a conversation as one text to rank by: earlier turns with their speakers, and the last wish whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shortlist.schemas.arguments import Message

__all__ = ["conversation_text", "last_turn"]

_MAX_TURN_CHARS = 400
_SPOKEN = ("user", "assistant")


def conversation_text(messages: Sequence[Message], fits: Callable[[str], bool] = lambda text: True) -> str:
    """Returns the turns up to the last of the user, each after its speaker's name, as many of the latest as fit.

    The last turn stands whole and alone if nothing was said before it. Long earlier turns lose their middle. System
    messages and results of tools are not part of it.
    """
    spoken = [(one.role, one.content.strip()) for one in messages if one.role in _SPOKEN and one.content.strip()]
    last = max((place for place, (role, _) in enumerate(spoken) if role == "user"), default=None)
    if last is None:
        return ""
    text = spoken[last][1]
    kept: list[str] = []
    for role, content in reversed(spoken[:last]):
        longer = [f"{role}: {_shortened(content)}", *kept]
        if not fits("\n".join([*longer, f"user: {text}"])):
            break
        kept = longer
    return "\n".join([*kept, f"user: {text}"]) if kept else text


def _shortened(turn: str) -> str:
    if len(turn) <= _MAX_TURN_CHARS:
        return turn
    return f"{turn[: _MAX_TURN_CHARS // 2].rstrip()} … {turn[-_MAX_TURN_CHARS // 2 :].lstrip()}"


def last_turn(text: str) -> str:
    """Returns what the user says last in a text that `conversation_text` wrote; any other text is that itself."""
    return text.rpartition("\nuser: ")[2]
