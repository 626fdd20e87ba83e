"""Turns the evidence about each candidate into one score, and applies the caller's rules to the scored candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Evidence", "Rules", "ScoreWeights", "Scored", "choose", "final_score", "sigmoid"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one candidate: the cross-encoder's logit, and BM25 as a share (0..1) of the best candidate's."""

    logit: float
    lexical_share: float = 0.0


@dataclass(frozen=True, slots=True)
class ScoreWeights:
    """A logistic combination of evidence, fitted on queries held out of training."""

    bias: float
    logit: float
    lexical_share: float


@dataclass(frozen=True, slots=True)
class Rules:
    """What the caller wants: `top_n` 0 is all, `min_score` lies in 0..1; pinned candidates heed neither."""

    top_n: int = 5
    min_score: float = 0.0


@dataclass(frozen=True, slots=True)
class Scored:
    """One candidate with its score; `place` is its position in the request's list of parsed items."""

    place: int
    score: float
    is_pinned: bool = False


def final_score(evidence: Evidence, weights: ScoreWeights | None) -> float:
    """Returns the score (0..1): the sigmoid of the logit, or of the weighted sum where there are weights."""
    if weights is None:
        return sigmoid(evidence.logit)
    return sigmoid(weights.bias + weights.logit * evidence.logit + weights.lexical_share * evidence.lexical_share)


def choose(scored: Sequence[Scored], rules: Rules) -> list[Scored]:
    """Returns the pinned and the `top_n` best of the others at or above `min_score`, best first, ties by place."""
    ranked = sorted(scored, key=lambda item: (-item.score, item.place))
    others = [item for item in ranked if not item.is_pinned and item.score >= rules.min_score]
    if rules.top_n:
        others = others[: rules.top_n]
    kept = {item.place for item in others}
    return [item for item in ranked if item.is_pinned or item.place in kept]


def sigmoid(value: float) -> float:
    """Maps a logit to 0..1, without overflow at either end."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))
