"""Finds which tables join with which, by their foreign keys."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["find_links"]


def find_links(names: Sequence[str], references: Sequence[Sequence[str]]) -> list[frozenset[int]]:
    """Returns for each table the places of those it refers to or that refer to it.

    `names` are full names, `references` each table's target tables as written. A target that several tables could be
    (databases pasted one after the other) is the one nearest in the script; comparison ignores case and quotes.
    """
    by_bare: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        by_bare.setdefault(_bare(name), []).append(place)
    links: list[set[int]] = [set() for _ in names]
    for place, targets in enumerate(references):
        for target in targets:
            found = _nearest(place, target, names, by_bare.get(_bare(target), []))
            if found is not None and found != place:
                links[place].add(found)
                links[found].add(place)
    return [frozenset(one) for one in links]


def _nearest(place: int, target: str, names: Sequence[str], candidates: Sequence[int]) -> int | None:
    exact = [other for other in candidates if _plain(names[other]) == _plain(target)]
    return min(exact or candidates, key=lambda other: (abs(other - place), other), default=None)


def _plain(name: str) -> str:
    return "".join(letter for letter in name if letter not in '"`[]').lower()


def _bare(name: str) -> str:
    return _plain(name).rpartition(".")[2]
