"""Finds the documents and tools that hold nothing to read: no score of a model would mean anything for them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set
from dataclasses import replace

from shortlist.router.catalogs.catalog import Item
from shortlist.router.ranking.score import Scored
from shortlist.schemas.document import Tool

__all__ = ["blank_places", "blank_tools", "put_blank_last"]

# A letter or digit of any script. Four fillers of Korean syllables are letters to Unicode, but nothing is drawn.
_LETTER_OR_DIGIT = re.compile("[^\\W_\u115f\u1160\u3164\uffa0]")
_BLANK_SYMBOL = "\u2800"  # the Braille pattern without dots
# What people and programs write where there is nothing, in lower case and without punctuation.
_PLACEHOLDERS = frozenset({
    "na", "n a", "none", "null", "nil", "nan", "undefined", "tbd", "tba", "tbc", "todo", "fixme", "not available",
    "not applicable", "no data", "no content", "no description", "to be done", "to be defined", "to be determined",
})  # fmt: skip
_NO_WORD = re.compile(r"[\W_]+")
_LONGEST = 40
# Among documents that are all shorter, "none" may be a label like the others.
_WORDS_OF_A_TEXT = 4


def blank_tools(items: Sequence[Item]) -> frozenset[int]:
    """Returns the places of the tools with nothing to read; one may be called "todo", so that placeholders are text."""
    return frozenset(
        place
        for place, item in enumerate(items)
        if isinstance(item.subject, Tool) and not _LETTER_OR_DIGIT.search(f"{item.words} {item.details}")
    )


def blank_places(documents: Sequence[str], query: str) -> frozenset[int]:
    """Returns the places of the documents without a letter or digit, and of placeholders such as ``TBD``.

    If the query has none either (``->``, ``©``), a document of symbols is text, and only one without symbols is blank.
    A placeholder is text if the query has it, or if no other document has four words: then all may be labels.
    """
    blank = [place for place, text in enumerate(documents) if not _LETTER_OR_DIGIT.search(text)]
    if _LETTER_OR_DIGIT.search(query):
        return frozenset(blank) | _placeholders(documents, query)
    return frozenset(place for place in blank if not any(map(_is_symbol, documents[place])))


def put_blank_last(scored: Sequence[Scored], blank: Set[int]) -> list[Scored]:
    """Gives the documents at the places `blank` a score of 0, and puts them after all others, by place."""
    with_text = [one for one in scored if one.place not in blank]
    rest = [replace(one, score=0.0, is_blank=True) for one in scored if one.place in blank]
    return with_text + sorted(rest, key=lambda one: one.place)


def _placeholders(documents: Sequence[str], query: str) -> frozenset[int]:
    short = {place: _plain(text) for place, text in enumerate(documents) if len(text) <= _LONGEST}
    found = {place: text for place, text in short.items() if text in _PLACEHOLDERS}
    if not found or not any(len(text.split()) >= _WORDS_OF_A_TEXT for text in documents):
        return frozenset()
    asked = f" {_plain(query)} "
    return frozenset(place for place, text in found.items() if f" {text} " not in asked)


def _plain(text: str) -> str:
    return " ".join(_NO_WORD.sub(" ", text.lower()).split())


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS" and character != _BLANK_SYMBOL
