"""Computes confidence intervals of means over queries by the bootstrap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RESAMPLES = 1_000
_SEED = 0


def mean_intervals(values: npt.NDArray[np.float64]) -> tuple[list[float], list[float], list[float]]:
    """Returns the means of `(queries, measures)` over queries, and the lower and upper ends of their 95 % intervals.

    Uses the percentile bootstrap over queries (Efron and Tibshirani 1993, chapter 13) with a fixed seed.
    """
    count = len(values)
    draw = np.random.default_rng(_SEED)
    resampled = np.stack([_weights(draw, count) @ values / count for _ in range(RESAMPLES)])
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    return values.mean(0).tolist(), low.tolist(), high.tolist()


def _weights(draw: np.random.Generator, count: int) -> npt.NDArray[np.intp]:
    """Counts how often a resample holds each query."""
    return np.bincount(draw.integers(0, count, count), minlength=count)
