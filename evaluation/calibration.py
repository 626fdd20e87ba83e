"""Compares the score of the top-ranked document with how often that document is relevant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """A reliability diagram in bins of equal count (give or take one query), and the expected calibration error.

    `scores` are the mean top scores of the bins, and `shares` the shares of queries whose top document is relevant.
    `ece` is the mean distance between the two, weighted by the number of queries in each bin (Naeini et al. 2015;
    bins of equal count: Nguyen and O'Connor 2015).
    """

    scores: tuple[float, ...]
    shares: tuple[float, ...]
    counts: tuple[int, ...]
    ece: float


def calibrate(queries: Sequence[Mapping[str, Any]]) -> Calibration | None:
    """Computes the diagram of the queries that have a `top_score`; None if no query has one."""
    scored = sorted((query["top_score"], float(query["is_right"])) for query in queries if "top_score" in query)
    if not scored:
        return None
    bins = np.array_split(np.array(scored, np.float64), min(NUM_BINS, len(scored)))
    counts = tuple(len(one) for one in bins)
    scores, shares = np.array([one.mean(0) for one in bins]).T
    ece = float(np.abs(scores - shares) @ np.array(counts) / len(scored))
    return Calibration(tuple(scores.tolist()), tuple(shares.tolist()), counts, ece)
