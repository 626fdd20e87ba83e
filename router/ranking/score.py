"""Turns the features about each candidate into one score, and applies the caller's rules to the scored candidates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

from shortlist.router.ranking.join_paths import join_evidence

__all__ = [
    "ColumnFeatures",
    "ColumnWeights",
    "Features",
    "ScoreWeights",
    "Scored",
    "choose",
    "combine",
    "final_scores",
    "sigmoid",
    "with_joins",
]

FEW = 5
"""The contrast acts fully only on many more candidates than these: of one or two, no rest is known to compare with."""
MENTIONED = 6.0
"""How much being named exactly adds to a candidate's logit: a score of 0.5 becomes one of 0.998."""


@dataclass(frozen=True, slots=True)
class Features:
    """What one candidate is scored by; `logit` is the cross-encoder's and `cosine` the encoder's.

    `part_cosine` is the highest cosine of a part of the query, or that of the whole if it has only one part.
    `lexical_share` is the BM25 score divided by the best candidate's, `lexical_match` the same score divided by that of
    a full match (0..1). `query_maxsim` says how well the candidate covers the query's tokens, `document_maxsim` the
    reverse (-1..1). `neighbour` is the best value of the candidates that it joins with, minus the mean of all values,
    where a value is the weighted sum of the other features; it is 0 for a candidate that joins with none. `bridge` is
    the value of the worse of two likely candidates between which it is on a shortest path of joins, for the best two,
    minus the mean; it is 0 for one on no such path. `is_mentioned` says that the query names the candidate exactly.
    """

    logit: float
    cosine: float = 0.0
    lexical_share: float = 0.0
    lexical_match: float = 0.0
    query_maxsim: float = 0.0
    document_maxsim: float = 0.0
    neighbour: float = 0.0
    bridge: float = 0.0
    part_cosine: float = 0.0
    is_mentioned: bool = False


@dataclass(frozen=True, slots=True)
class ScoreWeights:
    """A logistic combination of features, fitted on queries held out of training.

    `contrast` (0..1) is how much of what the candidates' mean value is above `usual` is subtracted from each: a
    candidate that is hardly better than the rest hardly fits. `usual` is the mean value over the queries of the fit.
    `best_logit` times the highest logit and `best_value` (>= -1) times the highest value are added to each: they tell
    how likely it is that anything fits at all. None of these changes the order.
    """

    bias: float
    logit: float
    cosine: float = 0.0
    lexical_share: float = 0.0
    lexical_match: float = 0.0
    query_maxsim: float = 0.0
    document_maxsim: float = 0.0
    neighbour: float = 0.0
    bridge: float = 0.0
    part_cosine: float = 0.0
    contrast: float = 0.0
    usual: float = 0.0
    best_logit: float = 0.0
    best_value: float = 0.0


@dataclass(frozen=True, slots=True)
class ColumnFeatures:
    """What one column is scored by: its logit, the lexical match (0..1), and how much joins need it.

    `join_need` comes from `join_needs`; it is 0 for a column that is in no join.
    """

    logit: float
    lexical_match: float
    join_need: float


@dataclass(frozen=True, slots=True)
class ColumnWeights:
    """A logistic combination of the features, fitted on questions over databases held out of training."""

    bias: float = 0.0
    logit: float = 1.0
    lexical_match: float = 0.0
    join_need: float = 0.0

    def score(self, features: ColumnFeatures) -> float:
        """Returns a score in 0..1."""
        return sigmoid(
            self.bias
            + self.logit * features.logit
            + self.lexical_match * features.lexical_match
            + self.join_need * features.join_need
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """One candidate with its score; `place` is its position in the request's list of parsed items.

    `is_blank` marks a document with nothing to read.
    """

    place: int
    score: float
    is_pinned: bool = False
    is_blank: bool = False


def combine(
    features: Sequence[Features],
    places: Sequence[int],
    weights: ScoreWeights | None,
    links: Sequence[Sequence[int]],
    pinned: Set[int] = frozenset(),
) -> list[Scored]:
    """Scores the candidates at `places` by their features; `links` are indices into `places`."""
    if weights and (weights.neighbour or weights.bridge):
        features = with_joins(features, weights, links)
    scores = final_scores(features, weights)
    return [Scored(place, score, place in pinned) for place, score in zip(places, scores, strict=True)]


def final_scores(features: Sequence[Features], weights: ScoreWeights | None) -> list[float]:
    """Returns the scores (0..1): the sigmoids of the weighted sums, or of the logits alone without weights."""
    values = [one.logit if weights is None else _weighted(one, weights) for one in features]
    shift = 0.0 if weights is None else _shift(features, values, weights)
    named = [MENTIONED if one.is_mentioned else 0.0 for one in features]
    return [sigmoid(value + shift + extra) for value, extra in zip(values, named, strict=True)]


def _shift(features: Sequence[Features], values: Sequence[float], weights: ScoreWeights) -> float:
    """Returns what is added to every value: the bias, and what all candidates together say of whether anything fits."""
    logits = [one.logit for one in features if math.isfinite(one.logit)]
    known = [value for value in values if math.isfinite(value)]
    excess = sum(value - weights.usual for value in known) / (len(known) + FEW)
    return (
        weights.bias
        + weights.best_logit * max(logits, default=0.0)
        + weights.best_value * max(known, default=0.0)
        - weights.contrast * excess
    )


def _weighted(features: Features, weights: ScoreWeights) -> float:
    return (
        weights.logit * features.logit
        + weights.cosine * features.cosine
        + weights.lexical_share * features.lexical_share
        + weights.lexical_match * features.lexical_match
        + weights.query_maxsim * features.query_maxsim
        + weights.document_maxsim * features.document_maxsim
        + weights.neighbour * features.neighbour
        + weights.bridge * features.bridge
        + weights.part_cosine * features.part_cosine
    )


def with_joins(features: Sequence[Features], weights: ScoreWeights, links: Sequence[Iterable[int]]) -> list[Features]:
    """Adds to each candidate what its joins tell; `links` are indices into `features`, in both directions."""
    values = [_weighted(replace(one, neighbour=0.0, bridge=0.0), weights) for one in features]
    return [
        replace(one, neighbour=neighbour, bridge=bridge)
        for one, (neighbour, bridge) in zip(features, join_evidence(values, links), strict=True)
    ]


def choose(scored: Sequence[Scored], top_n: int, min_score: float) -> list[Scored]:
    """Returns all pinned candidates and the `top_n` best others of at least `min_score`, best first, ties by place.

    A `top_n` of 0 returns all others. Blank documents are behind all others, even those whose score rounds to 0.
    """
    ranked = sorted(scored, key=lambda item: (item.is_blank, -item.score, item.place))
    others = [item for item in ranked if not item.is_pinned and item.score >= min_score]
    if top_n:
        others = others[:top_n]
    kept = {item.place for item in others}
    return [item for item in ranked if item.is_pinned or item.place in kept]


def sigmoid(value: float) -> float:
    """Maps a logit to 0..1, without overflow at either end."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))
