"""Finds the plain documents that hold nothing to read: no score of a model would mean anything for them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set
from dataclasses import replace

from shortlist.router.ranking.score import Scored

__all__ = ["blank_places", "put_blank_last"]

# A letter or digit of any script. Four fillers of Korean syllables are letters to Unicode, but nothing is drawn.
_LETTER_OR_DIGIT = re.compile("[^\\W_\u115f\u1160\u3164\uffa0]")
_BLANK_SYMBOL = "\u2800"  # the Braille pattern without dots


def blank_places(documents: Sequence[str], query: str) -> frozenset[int]:
    """Returns the places of the documents without a letter or digit.

    If the query has none either (``->``, ``©``), a document of symbols is text, and only one without symbols is blank.
    """
    blank = (place for place, text in enumerate(documents) if not _LETTER_OR_DIGIT.search(text))
    if _LETTER_OR_DIGIT.search(query):
        return frozenset(blank)
    return frozenset(place for place in blank if not any(map(_is_symbol, documents[place])))


def put_blank_last(scored: Sequence[Scored], blank: Set[int]) -> list[Scored]:
    """Gives the documents at the places `blank` a score of 0, and puts them after all others, by place."""
    with_text = [one for one in scored if one.place not in blank]
    rest = [replace(one, score=0.0, is_blank=True) for one in scored if one.place in blank]
    return with_text + sorted(rest, key=lambda one: one.place)


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS" and character != _BLANK_SYMBOL
