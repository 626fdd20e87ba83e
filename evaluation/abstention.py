"""Measures how well the score of the first document tells queries that something fits from those that nothing fits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["KEPT_SHARE", "measure_abstention"]

KEPT_SHARE = 0.95
"""The share of answerable queries that the threshold keeps."""


def measure_abstention(answerable: Sequence[float], nothing_fits: Sequence[float]) -> dict[str, float]:
    """Compares the top scores of both kinds of queries; neither may be empty.

    `auc` is the probability that an answerable query has the higher top score, ties counted half. `threshold` is the
    score that `KEPT_SHARE` of the answerable queries reach, and `under_threshold` the share of the others below it.
    """
    some, none = np.asarray(answerable, np.float64), np.sort(np.asarray(nothing_fits, np.float64))
    below = np.searchsorted(none, some, "left"), np.searchsorted(none, some, "right")
    threshold = float(np.quantile(some, 1 - KEPT_SHARE, method="lower"))
    return {
        "queries": float(len(none)),
        "auc": round(float(sum(one.sum() for one in below) / (2 * len(some) * len(none))), 4),
        "threshold": round(threshold, 4),
        "under_threshold": round(float((none < threshold).mean()), 4),
    }
