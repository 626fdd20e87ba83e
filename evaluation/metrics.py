"""Measures rankings: recall, hits, completeness and nDCG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set

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


_ACCEPTABLE_GAIN = 0.5


def measure(ranking: Sequence[str], relevant: Set[str], acceptable: Set[str] = frozenset()) -> dict[str, float]:
    """Measures one ranking (ids, best first) against at least one relevant id.

    recall@k is the share of the relevant ids that are in the first k, complete@k is 1 if all are, and hit@k is 1 if a
    relevant or an acceptable one is. nDCG (Järvelin and Kekäläinen 2002) counts a relevant id 1 and an acceptable 0.5.
    """
    gains = dict.fromkeys(acceptable, _ACCEPTABLE_GAIN) | dict.fromkeys(relevant, 1.0)
    return {name: _MEASURE_OF[name.partition("@")[0]](ranking, relevant, gains, _depth(name)) for name in MEASURES}


def mean_measures(measured: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each measure over queries, 0 if there are none."""
    count = max(len(measured), 1)
    return {name: round(sum(one[name] for one in measured) / count, 4) for name in MEASURES}


def _depth(name: str) -> int:
    return int(name.partition("@")[2])


def _recall(ranking: Sequence[str], relevant: Set[str], gains: Mapping[str, float], depth: int) -> float:
    return len(relevant & set(ranking[:depth])) / len(relevant)


def _complete(ranking: Sequence[str], relevant: Set[str], gains: Mapping[str, float], depth: int) -> float:
    return float(relevant <= set(ranking[:depth]))


def _hit(ranking: Sequence[str], relevant: Set[str], gains: Mapping[str, float], depth: int) -> float:
    return float(any(found in gains for found in ranking[:depth]))


def _ndcg(ranking: Sequence[str], relevant: Set[str], gains: Mapping[str, float], depth: int) -> float:
    return _gained([gains.get(found, 0.0) for found in ranking[:depth]]) / _gained(
        sorted(gains.values(), reverse=True)[:depth]
    )


def _gained(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


_MEASURE_OF = {"recall": _recall, "complete": _complete, "hit": _hit, "ndcg": _ndcg}
