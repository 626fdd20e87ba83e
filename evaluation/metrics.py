"""Measures rankings: recall, hits, completeness and nDCG."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

__all__ = ["MEASURES", "mean_measures", "measure"]

MEASURES = (
    "recall@1",
    "recall@3",
    "recall@5",
    "recall@10",
    "recall@50",
    "hit@1",
    "complete@3",
    "complete@5",
    "complete@10",
    "ndcg@10",
)


def measure(ranking: Sequence[str], relevant: Set[str]) -> dict[str, float]:
    """Measures one ranking (ids, best first) against at least one relevant id.

    recall@k is the share of the relevant ids that are in the first k, complete@k is 1 if all are, hit@k is 1 if any is.
    nDCG gives every relevant id the same gain (Järvelin and Kekäläinen 2002).
    """
    return {name: _MEASURE_OF[name.partition("@")[0]](ranking, relevant, _depth(name)) for name in MEASURES}


def mean_measures(measured: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each measure over queries, 0 if there are none."""
    count = max(len(measured), 1)
    return {name: round(sum(one[name] for one in measured) / count, 4) for name in MEASURES}


def _depth(name: str) -> int:
    return int(name.partition("@")[2])


def _recall(ranking: Sequence[str], relevant: Set[str], depth: int) -> float:
    return len(relevant & set(ranking[:depth])) / len(relevant)


def _complete(ranking: Sequence[str], relevant: Set[str], depth: int) -> float:
    return float(relevant <= set(ranking[:depth]))


def _hit(ranking: Sequence[str], relevant: Set[str], depth: int) -> float:
    return float(not relevant.isdisjoint(ranking[:depth]))


def _ndcg(ranking: Sequence[str], relevant: Set[str], depth: int) -> float:
    gained = sum(1 / math.log2(place + 2) for place, found in enumerate(ranking[:depth]) if found in relevant)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(len(relevant), depth)))
    return gained / ideal


_MEASURE_OF = {"recall": _recall, "complete": _complete, "hit": _hit, "ndcg": _ndcg}
