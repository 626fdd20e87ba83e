"""Shortens what is repeated in a request, such as the lines of a log, so that the rest of it is read."""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["without_repeats"]

# Fewer lines, or lines of fewer words, may be a list that the user wrote, each of which counts.
_MANY = 5
_MIN_WORDS = 4
_DIGIT = re.compile(r"\d")


def without_repeats(text: str) -> tuple[str, int]:
    """Returns the text without the lines that only differ from others in numbers and values, and how many those were.

    Of five or more such lines, of at least four words each, the first and the last stay.
    """
    lines = text.split("\n")
    if len(lines) < _MANY:
        return text, 0
    forms = [tuple(map(_form, line.split())) for line in lines]
    counts = Counter(form for form in forms if len(form) >= _MIN_WORDS)
    last = {form: place for place, form in enumerate(forms)}
    seen: set[tuple[str, ...]] = set()
    kept: list[str] = []
    for place, (line, form) in enumerate(zip(lines, forms, strict=True)):
        if counts[form] < _MANY or form not in seen or place == last[form]:
            kept.append(line)
        seen.add(form)
    return "\n".join(kept), len(lines) - len(kept)


def _form(word: str) -> str:
    """Returns the word without its value: one with a digit is all value, and `key=value` has one behind the sign."""
    key, sign, _ = word.partition("=")
    return "0" if _DIGIT.search(word) else key + sign
