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
# What is shorter, in bytes of UTF-8, belongs to the sentence before it: "Hi!", "No. 5", "Thanks."
_LEAST_BYTES = 12
# Sentences are looked for in so much of each end of a turn.
_MAX_END_CHARS = 4_000
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
    if len(text) > 2 * _MAX_END_CHARS:
        text = f"{text[:_MAX_END_CHARS]}\n{text[-_MAX_END_CHARS:]}"
    found: list[str] = []
    for sentence in filter(None, map(str.strip, _SENTENCE_END.split(text))):
        if found and min(len(found[-1].encode()), len(sentence.encode())) < _LEAST_BYTES:
            found[-1] = f"{found[-1]} {sentence}"
        else:
            found.append(sentence)
    return found


def split_text(text: str, most_chars: int) -> list[str]:
    """Splits a text into windows of about the same length, at most `most_chars`, between words where there are any."""
    size = -(-len(text) // max(1, -(-len(text) // most_chars)))
    windows: list[str] = []
    start = 0
    while len(text) - start > most_chars:
        end = start + size
        gap = max(text.rfind(space, start + 1 + size // 2, end) for space in " \n\t")
        end = gap if gap > start else end
        windows.append(text[start:end])
        start = end
    return [*windows, text[start:]]
