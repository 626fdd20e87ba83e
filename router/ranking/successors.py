"""Finds tools that say that another one has taken their place; what fits the old one fits its successor."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from shortlist.router.catalogs.catalog import Item
from shortlist.router.ranking.mentions import Names, names_in
from shortlist.router.ranking.score import Scored
from shortlist.schemas.document import Tool

__all__ = ["find_successors", "put_successors_first"]

# A tool says so of itself at the beginning of its description or in a sentence about "this" tool.
_IS_OLD = re.compile(
    r"^\W{0,8}(?:deprecated|deprecation notice|obsolete|legacy|superseded)(?=\s*[^\w\s]|\s*$|\s+(?:by|in|since|use)\b)"
    r"|\bthis(?: \w+){0,3} (?:is|was|are|has been|have been)(?: now| also)?"
    r" (?:\*\*)?(?:deprecated|obsolete|superseded|replaced by)",
    re.IGNORECASE,
)
_REPLACED_BY = re.compile(r"\b(?:use|uses|upgrade to|replaced by|superseded by|in favou?r of|instead)\b", re.IGNORECASE)
_MAX_CHARS = 600
# The successor's name stands within so many characters of the words above.
_NEAR = 120
_VERSION = re.compile(r"[_.\-]?(?:v(\d{1,3})|deprecated|legacy|old)$", re.IGNORECASE)


def find_successors(items: Sequence[Item]) -> dict[int, int]:
    """Returns the place of each tool that is said to be replaced, with the place of its successor among the items.

    The successor is the tool that the description names, or the highest other version of the same name.
    """
    old = {place: text for place, item in enumerate(items) if (text := _says_old(item))}
    if not old:
        return {}
    names, versions = Names(items), _versions(items)
    found = {}
    for place, text in old.items():
        successor = _named(place, text, names, old)
        if successor is None:
            successor = _latest(items[place], versions[_stem(items[place])], old)
        if successor is not None:
            found[place] = successor
    return found


def put_successors_first(scored: Sequence[Scored], successors: Mapping[int, int]) -> list[Scored]:
    """Gives a successor the score of a replaced tool that is before it, and puts that one behind it."""
    if not successors:
        return list(scored)
    before = {one.place: one.score for one in scored}
    scores = dict(before)
    for old, new in successors.items():
        if old in scores and new in scores and before[old] >= before[new]:
            scores[old] = before[new] * (1 - 1e-6)
            scores[new] = max(scores[new], before[old])
    return [
        one if scores[one.place] == one.score else Scored(one.place, scores[one.place], one.is_pinned, one.is_blank)
        for one in scored
    ]


def _says_old(item: Item) -> str:
    """Returns the beginning of a description that says so, else an empty text."""
    if not isinstance(item.subject, Tool):
        return ""
    text = item.subject.description[:_MAX_CHARS]
    return text if _IS_OLD.search(text) else ""


def _named(place: int, text: str, names: Names, old: Mapping[int, str]) -> int | None:
    for found in _REPLACED_BY.finditer(text):
        near = text[max(0, found.start() - _NEAR) : found.end() + _NEAR]
        named = names.mentioned(names_in(near)) - old.keys() - {place}
        if len(named) == 1:
            return next(iter(named))
    return None


def _versions(items: Sequence[Item]) -> defaultdict[tuple[str, str], list[tuple[int, int]]]:
    """Returns the tools by name without its version, each as its version and its place."""
    found: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for place, item in enumerate(items):
        found[_stem(item)].append((_version(item), place))
    return found


def _version(item: Item) -> int:
    """Returns the number of a tool's version: 0 without one, -1 if its name says that it is old."""
    version = _VERSION.search(item.name)
    if version is None:
        return 0
    return int(version.group(1)) if version.group(1) else -1


def _stem(item: Item) -> tuple[str, str]:
    return item.namespace, _VERSION.sub("", item.name).casefold()


def _latest(item: Item, versions: Sequence[tuple[int, int]], old: Mapping[int, str]) -> int | None:
    later = [one for one in versions if one[0] > _version(item) and one[1] not in old]
    return max(later)[1] if later else None
