"""Holds the scores of first places against how often they are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """A reliability diagram in bins of (nearly) as many queries each, and the expected calibration error.

    `scores` are the bins' mean scores, `shares` their shares of right first places, `ece` the mean distance between
    the two, bins weighing by their queries (Naeini et al. 2015; bins of equal count: Nguyen and O'Connor 2015).
    """

    scores: tuple[float, ...]
    shares: tuple[float, ...]
    counts: tuple[int, ...]
    ece: float


def calibrate(queries: Sequence[Mapping[str, Any]]) -> Calibration | None:
    """Calibrates over the queries that have a `top_score`; None where there are none."""
    scored = sorted((query["top_score"], float(query["is_right"])) for query in queries if "top_score" in query)
    if not scored:
        return None
    bins = np.array_split(np.array(scored, np.float64), min(NUM_BINS, len(scored)))
    counts = tuple(len(one) for one in bins)
    scores, shares = np.array([one.mean(0) for one in bins]).T
    ece = float(np.abs(scores - shares) @ np.array(counts) / len(scored))
    return Calibration(tuple(scores.tolist()), tuple(shares.tolist()), counts, ece)
