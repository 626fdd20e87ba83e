"""Reads JSON values that programs understand differently, always in the same way, and says what was odd about them.

Numbers that are not finite or have too many digits are left out, of keys that are written twice the last counts, halves
of surrogate pairs become U+FFFD, and levels that are nested too deeply become null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shortlist.schemas.surrogates import describe_halves, halves_in, has_half, replace_halves
from shortlist.schemas.tools.jsontext import MAX_INTEGER_DIGITS, MAX_NESTING, Node, nests_deeper, prune

__all__ = ["Reading", "may_hold_halves", "read_value"]

_MAX_SHOWN = 3
_MAX_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Reading:
    """A value as it is read, and a sentence for each kind of oddity in it."""

    value: Any
    oddities: tuple[str, ...] = ()


def read_value(text: str, node: Node, *, max_levels: int = MAX_NESTING) -> Reading:
    """Reads a value that was decoded without an error, and keeps `max_levels` levels of its objects and lists.

    Raises:
        RecursionError: the caller's own stack leaves too little room.
    """
    is_deep = nests_deeper(text, node.start, node.end, max_levels)
    if node.is_plain and not is_deep and not may_hold_halves(text[node.start : node.end]):
        return Reading(node.value)
    plain = text[node.start : node.end]
    if is_deep:
        plain = node.pruned if max_levels == MAX_NESTING and node.pruned else prune(text, node.start, max_levels)[0]
    notes = _Notes()
    value = notes.clean(notes.decode(plain))
    deep = [f"nested more than {max_levels} levels deep; deeper levels are not read"] if is_deep else []
    return Reading(value, (*deep, *notes.sentences()))


def may_hold_halves(text: str) -> bool:
    """Returns whether a JSON text holds half of a surrogate pair, or escapes that may be one."""
    return "\\ud" in text or "\\uD" in text or has_half(text)


# Stands for a number that is left out, until the object or list that holds it is made.
_LEFT_OUT = float("nan")


@dataclass(slots=True)
class _Notes:
    """Collects the oddities of one value; each dict is an ordered set of what was written."""

    repeated: dict[str, None] = field(default_factory=dict)
    not_finite: dict[str, None] = field(default_factory=dict)
    too_long: dict[str, None] = field(default_factory=dict)
    halves: dict[str, None] = field(default_factory=dict)

    def decode(self, text: str) -> Any:
        return json.JSONDecoder(
            object_pairs_hook=self.read_object,
            parse_float=self.read_number,
            parse_constant=self.read_number,
            parse_int=self.read_integer,
        ).decode(text)

    def sentences(self) -> list[str]:
        sentences = []
        if self.repeated:
            keys = {json.dumps(replace_halves(key), ensure_ascii=False): None for key in self.repeated}
            sentences.append(f"a key is written twice in one object, and the last one counts: {_shown(keys)}")
        if self.not_finite:
            sentences.append(f"a number that is not finite is left out: {_shown(self.not_finite)}")
        if self.too_long:
            limit = MAX_INTEGER_DIGITS
            sentences.append(f"a number of more than {limit} digits is left out: {_shown(self.too_long)}")
        if self.halves:
            sentences.append(describe_halves(self.halves))
        return sentences

    def read_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    self.repeated[key] = None
                seen.add(key)
        return {key: value for key, value in made.items() if value is not _LEFT_OUT}

    def read_number(self, text: str) -> float:
        number = float(text)
        if math.isfinite(number):
            return number
        self.not_finite[text] = None
        return _LEFT_OUT

    def read_integer(self, digits: str) -> int | float:
        if len(digits) <= MAX_INTEGER_DIGITS:
            return int(digits)
        self.too_long[f"{digits[:12]}… ({len(digits.lstrip('-'))} digits)"] = None
        return _LEFT_OUT

    def clean(self, value: Any) -> Any:
        """Replaces the halves in a value, and leaves the odd numbers out of its lists."""
        if isinstance(value, str):
            return self._clean_text(value)
        if isinstance(value, list):
            return [self.clean(part) for part in value if part is not _LEFT_OUT]
        if isinstance(value, dict):
            return {self._clean_text(key): self.clean(part) for key, part in value.items()}
        return value

    def _clean_text(self, text: str) -> str:
        if not has_half(text):
            return text
        self.halves |= halves_in(text)
        return replace_halves(text)


def _shown(written: Mapping[str, None]) -> str:
    listed = [text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…" for text in written]
    return ", ".join(listed[:_MAX_SHOWN]) + (", …" if len(listed) > _MAX_SHOWN else "")
