"""Finds the tools and tables that a query calls by their exact name, as people and models do who know them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from shortlist.router.catalogs.catalog import Item

__all__ = ["Names", "names_in"]

# A name in a text: letters, digits and underscores, with what joins the parts of a name between them. Where words are
# written without spaces, only a name in ASCII ends before them.
_NAMES = (re.compile(r"\w+(?:[./:-]{1,2}\w+)*"), re.compile(r"\w+(?:[./:-]{1,2}\w+)*", re.ASCII))
_MAX_PARTS = 4
# Names are looked for in so much of each end of a query; the models read less.
_MAX_END_CHARS = 8_000
_QUOTED = re.compile(r"`([^`\n]{1,200})`|\b(\w{1,200})\(\)")
_JOINTS = re.compile(r"__|::|[./:]")
_AFTER_NAMESPACE = ("__", "::", "_", ".", "/", ":", "-")
_LOOKS_LIKE_NAME = re.compile(r"\w[_\d]|[_\d]\w|\w[./:-]\w")
# The last part of a joined name is no name if it is a version or as short as `s3`.
_VERSION = re.compile(r"v?\d+", re.IGNORECASE)
_TOO_SHORT = re.compile(r"v?\d+|\w{1,2}", re.IGNORECASE)
_CAMEL = re.compile(r"[a-z][A-Z]")


class Names:
    """The names by which a query may call items: whole, without the namespace, or the last part of a joined name.

    Words of everyday language are names only where a query marks them as such: `search` or search().
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        for place, item in enumerate(items):
            for name in _names_of(item):
                self._places[_key(name)].append(place)

    def mentioned(self, called: Sequence[Sequence[str]]) -> frozenset[int]:
        """Returns the places of the items that `names_in` found called; of a joined name, the longest part counts."""
        found: set[int] = set()
        for names in called:
            by_length = (self._places.get(_key(name)) for name in names)
            found.update(next((places for places in by_length if places), ()))
        return frozenset(found)


def _key(name: str) -> str:
    """Returns what names are compared by: camel case counts, because only it tells such a name from words."""
    return name if _CAMEL.search(name) and not _LOOKS_LIKE_NAME.search(name) else name.casefold()


def _names_of(item: Item) -> set[str]:
    name = item.name
    if not name:
        return set()
    last = _JOINTS.split(name)[-1]
    names = {name} if _TOO_SHORT.fullmatch(last) else {name, last}
    if item.namespace:
        bare = names | {name.removeprefix(item.namespace + joint) for joint in _AFTER_NAMESPACE}
        names = bare | {item.namespace + joint + one for joint in _AFTER_NAMESPACE for one in bare}
    return names - {""}


def names_in(query: str) -> list[list[str]]:
    """Returns what may be a name in a query, each with its parts, the longest first; mostly nothing."""
    if len(query) > 2 * _MAX_END_CHARS:
        query = f"{query[:_MAX_END_CHARS]} {query[-_MAX_END_CHARS:]}"
    called = [[found.group(1) or found.group(2)] for found in _QUOTED.finditer(query)]
    for pattern in _NAMES:
        for found in pattern.finditer(query):
            spans = filter(_is_telling, _spans(re.split(r"([./:-]+|__)", found.group())))
            called.append(sorted(spans, key=len, reverse=True))
    return [names for names in called if names]


def _spans(parts: Sequence[str]) -> Iterator[str]:
    """Yields the joined runs of up to `_MAX_PARTS` parts; every second one joins its neighbours."""
    for start in range(0, len(parts), 2):
        for end in range(start + 1, min(len(parts), start + 2 * _MAX_PARTS) + 1, 2):
            yield "".join(parts[start:end])


def _is_telling(name: str) -> bool:
    return not _VERSION.fullmatch(name) and bool(_LOOKS_LIKE_NAME.search(name) or _CAMEL.search(name))
