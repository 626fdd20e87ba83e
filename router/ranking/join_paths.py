"""Tells from the joins between tables which ones a query needs besides those that it speaks of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations

__all__ = ["join_evidence"]

# Paths of joins are followed between so many of the best candidates, over at most so many joins.
_MAX_ENDS = 6
_MAX_JOINS = 4


def join_evidence(values: Sequence[float], links: Sequence[Iterable[int]]) -> list[tuple[float, float]]:
    """Returns `neighbour` and `bridge` of each candidate, as `Features` describes them.

    `values` say how well each candidate fits by itself; `links` are indices into `values`, in both directions.
    """
    joined = [[other for other in sorted(set(linked)) if other != place] for place, linked in enumerate(links)]
    known = [value for value in values if math.isfinite(value)]
    mean = sum(known) / max(len(known), 1)
    above = [value - mean if math.isfinite(value) else 0.0 for value in values]
    bridges = _bridges(above, joined)
    return [
        (max((above[other] for other in linked), default=0.0), bridge)
        for linked, bridge in zip(joined, bridges, strict=True)
    ]


def _bridges(above: Sequence[float], joined: Sequence[Sequence[int]]) -> list[float]:
    """Returns for each candidate the worse end of the best shortest path that leads through it, or 0."""
    found = [0.0] * len(above)
    ends = sorted((place for place, linked in enumerate(joined) if linked), key=lambda place: (-above[place], place))
    distances = {end: _distances(end, joined) for end in ends[:_MAX_ENDS]}
    for (start, from_start), (end, from_end) in combinations(distances.items(), 2):
        length = from_start.get(end, 0)
        worse = min(above[start], above[end])
        for place in from_start if length > 1 else ():
            if place not in (start, end) and from_start[place] + from_end.get(place, length) == length:
                found[place] = max(found[place], worse)
    return found


def _distances(start: int, joined: Sequence[Sequence[int]]) -> dict[int, int]:
    """Returns how many joins away each candidate is, for those within reach."""
    found = {start: 0}
    edge = [start]
    for steps in range(1, _MAX_JOINS + 1):
        edge = list(dict.fromkeys(other for place in edge for other in joined[place] if other not in found))
        found |= dict.fromkeys(edge, steps)
    return found
