"""Finds which tables can be joined, by their foreign keys."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

__all__ = ["find_links", "find_targets", "nearest"]

_UNQUOTED = str.maketrans("", "", '"`[]')


def find_links(names: Sequence[str], references: Sequence[Sequence[str]]) -> list[frozenset[int]]:
    """Returns, for each table, the indices of the other tables that it references or that reference it."""
    links: list[set[int]] = [set() for _ in names]
    for place, targets in enumerate(find_targets(names, references)):
        for target in targets:
            if target is not None and target != place:
                links[place].add(target)
                links[target].add(place)
    return [frozenset(one) for one in links]


def find_targets(names: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[int | None]]:
    """Returns, for each table, the indices of the tables that it references, in order; None for an unknown one.

    `names` are full names, `references` each table's target tables as written. A target without a namespace is looked
    up in the table's own namespace first. A shorter name matches a longer one that ends in it. If several tables match
    (databases pasted one after the other), the nearest in the script is taken. Case and quotes are ignored.
    """
    plain = [_plain(name) for name in names]
    by_name: dict[str, list[int]] = {}
    by_ending: dict[str, list[int]] = {}
    for place, name in enumerate(plain):
        by_name.setdefault(name, []).append(place)
        for ending in _endings(name):
            by_ending.setdefault(ending, []).append(place)
    return [
        [_find(place, plain[place].rpartition(".")[0], target, by_name, by_ending) for target in map(_plain, targets)]
        for place, targets in enumerate(references)
    ]


def _find(
    place: int, namespace: str, target: str, by_name: dict[str, list[int]], by_ending: dict[str, list[int]]
) -> int | None:
    beside = by_name.get(f"{namespace}.{target}") if namespace and "." not in target else None
    if found := beside or by_name.get(target) or by_ending.get(target):
        return nearest(place, found)
    shorter = (by_name.get(ending) for ending in _endings(target))
    return nearest(place, next(filter(None, shorter), []))


def nearest(place: int, candidates: Sequence[int]) -> int | None:
    """Returns the candidate nearest to `place`, the earlier one on a tie; `candidates` must ascend."""
    at = bisect_left(candidates, place)
    return min(candidates[max(0, at - 1) : at + 1], key=lambda other: (abs(other - place), other), default=None)


def _endings(name: str) -> Iterator[str]:
    """Yields the name without its first part, without its first two, and so on."""
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _plain(name: str) -> str:
    return name.translate(_UNQUOTED).lower()
