"""Splits texts for the encoder: long requests into their sentences, long documents into windows.

One vector of a long text is a mean of all that it says. A wish that is one sentence of many, or one of two wishes,
shows better in the vectors of the sentences.
"""

from __future__ import annotations

import re

from shortlist.schemas.conversation import last_turn

__all__ = ["parts_of", "split_text"]

# Sentences end at these signs before white space, or at those of scripts without spaces, or with the line.
_SENTENCE_END = re.compile(r"(?<=[.!?…;؟।])[\"'»”)\]]*\s+|(?<=[。！？；])|\n+")
# What is shorter belongs to the sentence before it: "Hi!", "No. 5", "Thanks."
_LEAST_CHARS = 12
# Of more parts, as many from the beginning as from the end.
_MAX_PARTS = 16


def parts_of(query: str) -> list[str]:
    """Returns the sentences of a query's last turn, and that turn if there are earlier ones; nothing for one sentence.

    Of more than 16 parts, the first and the last 8 are returned.
    """
    turn = last_turn(query)
    found = [turn] if turn != query else []
    sentences = _sentences(turn)
    if len(sentences) > 1:
        found += sentences
    if len(found) > _MAX_PARTS:
        found = found[: _MAX_PARTS // 2] + found[-_MAX_PARTS // 2 :]
    return found


def _sentences(text: str) -> list[str]:
    found: list[str] = []
    for sentence in filter(None, map(str.strip, _SENTENCE_END.split(text))):
        if found and min(len(found[-1]), len(sentence)) < _LEAST_CHARS:
            found[-1] = f"{found[-1]} {sentence}"
        else:
            found.append(sentence)
    return found


def split_text(text: str, most_chars: int) -> list[str]:
    """Splits a text into windows of about the same length, at most `most_chars`, between words where there are any."""
    windows: list[str] = []
    start = 0
    while len(text) - start > most_chars:
        end = start + most_chars
        gap = text.rfind(" ", start + most_chars // 2, end)
        end = gap if gap > 0 else end
        windows.append(text[start:end])
        start = end
    return [*windows, text[start:]]
