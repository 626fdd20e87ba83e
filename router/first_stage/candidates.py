"""Readies the items of a request for scoring: the first stage's view, the narrowing, the documents within budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shortlist.router.engine.protocols import CancelToken, Embedded
from shortlist.router.engine.tokenizer import TokenIds, Tokenizer
from shortlist.router.first_stage.bm25 import Bm25
from shortlist.router.first_stage.embedder import Embedder, RetrievalSettings
from shortlist.router.first_stage.foreign_keys import find_links
from shortlist.router.first_stage.late_interaction import maxsim
from shortlist.router.items import Item, write_document
from shortlist.router.ranking.score import Features
from shortlist.schemas.results import Truncation

if TYPE_CHECKING:
    from shortlist.router.engine.protocols import TokenVectors

__all__ = ["MAX_NEW_VECTORS", "Candidates", "Encoded", "FirstStage", "Values", "features_of", "narrow", "ranked"]

Values = npt.NDArray[np.float32]

# A cold request embeds no more documents than this, those with the best words first, so that it stays a matter of
# seconds; their vectors are kept, so the next one goes further.
MAX_NEW_VECTORS = 1_024
# Comparing the tokens of a document takes hundreds of times the products of comparing its vector.
_MAX_TOKEN_COMPARED = 512
# A set keeps its encoded documents for so many budgets.
_MAX_BUDGETS = 4


@dataclass(frozen=True, slots=True)
class Encoded:
    """A document's tokens within the budget, and how many it has when written in full."""

    ids: TokenIds
    total_tokens: int


@dataclass(frozen=True, slots=True)
class FirstStage:
    """What the first stage knows of every item of a set, each array `(items,)`.

    `shares` are BM25's, as shares of the best item's; `matches` as shares of what a full match would score. `cosines`
    are None without an encoder; `num_unseen` items had no vector yet and were given the lowest cosine. Of the best by
    these, `query_maxsim` says how much of the query's tokens the item meets and `document_maxsim` the reverse;
    the rest have the lowest of these. `scores` is what the items are narrowed by.
    """

    shares: Values
    matches: Values
    scores: Values
    cosines: Values | None = None
    query_maxsim: Values | None = None
    document_maxsim: Values | None = None
    num_unseen: int = 0

    def features(self, place: int) -> Features:
        """Gathers what is known of one item; what is not known is 0, the logit among it."""

        def at(values: Values | None) -> float:
            return 0.0 if values is None else float(values[place])

        return Features(
            logit=0.0,
            cosine=at(self.cosines),
            lexical_share=at(self.shares),
            lexical_match=at(self.matches),
            query_maxsim=at(self.query_maxsim),
            document_maxsim=at(self.document_maxsim),
        )


class Candidates:
    """Items that are ranked together, with what is made of them once: BM25's index, vectors and encoded documents.

    Threads may share it: at worst two make the same thing. `encoded` may be shared between sets over the same items; it
    is keyed by `Item.index` and the budget.
    """

    def __init__(self, items: Sequence[Item], encoded: dict[tuple[int, int], Encoded] | None = None) -> None:
        self.items = items
        self._bm25: Bm25 | None = None
        self._embedded: list[Embedded | None] | None = None
        self._vectors: Values | None = None
        self._links: list[frozenset[int]] | None = None
        self._joined: npt.NDArray[np.int64] | None = None  # (links, 2): the same as pairs of places
        self._encoded: dict[tuple[int, int], Encoded] = {} if encoded is None else encoded
        self._budgets: set[int] = set()

    @property
    def places(self) -> range:
        """The places of all items."""
        return range(len(self.items))

    def first_stage(
        self,
        query: str,
        embedder: Embedder | None,
        *,
        max_new_vectors: int | None = None,
        cancel: CancelToken | None = None,
    ) -> FirstStage:
        """Matches the query's words, and its vectors where there is an embedder, with every item."""
        if self._bm25 is None:
            self._bm25 = Bm25([item.words for item in self.items])
        scores = self._bm25.scores(query)
        shares = scores / np.float32(max(float(scores.max()), 1e-9)) if len(scores) else scores
        by_words = FirstStage(shares, scores / np.float32(max(self._bm25.best_possible(query), 1e-9)), shares)
        if embedder is None or not self.items:
            return by_words
        (asked,) = embedder.embed_queries([query], cancel)
        embedded = self._embed(embedder, ranked(shares), max_new_vectors, cancel)
        return self._compare(by_words, asked, embedded, embedder.settings)

    def _compare(
        self, by_words: FirstStage, asked: Embedded, embedded: Sequence[Embedded | None], settings: RetrievalSettings
    ) -> FirstStage:
        seen = [place for place, one in enumerate(embedded) if one is not None]
        if not seen:
            return replace(by_words, num_unseen=len(embedded))
        # Another thread may have made the vectors of all meanwhile; they are of no use to who has seen but a part.
        vectors = self._vectors if len(seen) == len(embedded) else None
        if vectors is None:
            vectors = np.stack([one.vector for one in embedded if one is not None])
        if len(seen) == len(embedded):
            self._vectors = vectors
        cosines = _spread(vectors @ asked.vector, seen, len(embedded))
        scores = cosines + np.float32(settings.lexical_weight) * by_words.shares
        found = replace(by_words, cosines=cosines, scores=scores, num_unseen=len(embedded) - len(seen))
        if asked.tokens is not None:
            found = self._compare_tokens(found, asked.tokens, embedded, settings.maxsim_weight)
        joined = self.best_joined(found.scores) if settings.join_weight else None
        return found if joined is None else replace(found, scores=found.scores + settings.join_weight * joined)

    def _compare_tokens(
        self, found: FirstStage, asked: TokenVectors, embedded: Sequence[Embedded | None], weight: float
    ) -> FirstStage:
        """Compares tokens with the best so far."""
        near = [place for place in ranked(found.scores) if embedded[place] is not None][:_MAX_TOKEN_COMPARED]
        documents = [one.tokens for place in near if (one := embedded[place]) is not None and one.tokens is not None]
        of_query, of_document = (_spread(part, near, len(embedded)) for part in maxsim(asked, documents))
        scores = found.scores + np.float32(weight) * (of_query + of_document)
        return replace(found, scores=scores, query_maxsim=of_query, document_maxsim=of_document)

    def best_joined(self, scores: Values) -> Values | None:
        """Returns the best score of the tables that each one joins with, `(items,)`; None where none refers to any.

        A table that joins with none is given the mean, as if it joined with just any.
        """
        if not any(item.references for item in self.items):
            return None
        if self._joined is None:
            self._joined = np.array(
                [(place, other) for place in range(len(self.items)) for other in self.links(place)], np.int64
            ).reshape(-1, 2)
        best = np.full(len(self.items), -np.inf, np.float32)
        np.maximum.at(best, self._joined[:, 0], scores[self._joined[:, 1]])
        return np.where(np.isinf(best), scores.mean(), best)

    def links(self, place: int) -> frozenset[int]:
        """Returns the places of the tables that join with the one at `place`."""
        if self._links is None:
            self._links = find_links([item.name for item in self.items], [item.references for item in self.items])
        return self._links[place]

    def links_among(self, places: Sequence[int]) -> list[list[int]]:
        """Returns for each of `places` those it joins with, as indices into `places`."""
        if not any(item.references for item in self.items):
            return [[] for _ in places]
        at = {place: index for index, place in enumerate(places)}
        return [[at[other] for other in self.links(place) if other in at] for place in places]

    def _embed(
        self, embedder: Embedder, order: Sequence[int], max_new: int | None, cancel: CancelToken | None
    ) -> Sequence[Embedded | None]:
        """Gives each item's vectors; where not all may be computed, those with the best words come first."""
        if self._embedded is not None:
            return self._embedded
        found = embedder.embed_documents([self.items[place] for place in order], max_new=max_new, cancel=cancel)
        by_place: list[Embedded | None] = [None] * len(order)
        for place, one in zip(order, found, strict=True):
            by_place[place] = one
        if all(one is not None for one in by_place):
            self._embedded = by_place
        return by_place

    def encode(self, places: Sequence[int], tokenizer: Tokenizer, budget_tokens: int) -> list[Encoded]:
        """Gives the encoded documents at `places`, each within the budget."""
        keys = [(self.items[place].index, budget_tokens) for place in places]
        found = {key: one for key in keys if (one := self._encoded.get(key))}
        missing = [(key, self.items[place]) for key, place in zip(keys, places, strict=True) if key not in found]
        encoded = _encode_items([item for _, item in missing], tokenizer, budget_tokens)
        made = {key: one for (key, _), one in zip(missing, encoded, strict=True)}
        self._budgets.add(budget_tokens)
        if len(self._budgets) > _MAX_BUDGETS:  # each longer query leaves a model of short pairs another one
            self._encoded.clear()
            self._budgets = {budget_tokens}
        self._encoded.update(made)
        found |= made
        return [found[key] for key in keys]

    def encode_whole(self, places: Sequence[int], tokenizer: Tokenizer) -> list[TokenIds]:
        """Encodes the sources at `places` in full, which is how plain documents are read."""
        return tokenizer.encode([self.items[place].source for place in places])

    def cuts(self, places: Sequence[int], encoded: Sequence[Encoded]) -> list[Truncation]:
        """Names the documents that were cut to their budget."""
        return [
            Truncation(self.items[place].index, self.items[place].name, len(document.ids), document.total_tokens)
            for place, document in zip(places, encoded, strict=True)
            if len(document.ids) < document.total_tokens
        ]


def features_of(found: FirstStage | None, places: Sequence[int], logits: Sequence[float]) -> list[Features]:
    """Joins what both stages know of the items at `places`; without a first stage only the logits are known."""
    if found is None:
        return [Features(logit) for logit in logits]
    return [replace(found.features(place), logit=logit) for place, logit in zip(places, logits, strict=True)]


def narrow(scores: Values, max_candidates: int, kept_always: Iterable[int] = ()) -> list[int]:
    """Returns the places of the `max_candidates` best items and of those kept always, in request order; 0 keeps all."""
    if not max_candidates or len(scores) <= max_candidates:
        return list(range(len(scores)))
    return sorted({*ranked(scores)[:max_candidates], *kept_always})


def ranked(scores: Values) -> list[int]:
    """Returns all places, best first, ties by place."""
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return order


def _spread(values: Values, places: Sequence[int], total: int) -> Values:
    """Gives values to all places: those that have none get the lowest."""
    spread = np.full(total, values.min(), np.float32)
    spread[places] = values
    return spread


def _encode_items(items: Sequence[Item], tokenizer: Tokenizer, budget_tokens: int) -> list[Encoded]:
    """Writes and encodes each item's document; one over the budget is written again within it."""
    whole = tokenizer.encode([write_document(item) for item in items])
    return [
        Encoded(ids, len(ids))
        if len(ids) <= budget_tokens
        else _encode_within(item, len(ids), tokenizer, budget_tokens)
        for item, ids in zip(items, whole, strict=True)
    ]


def _encode_within(item: Item, total_tokens: int, tokenizer: Tokenizer, budget_tokens: int) -> Encoded:
    (ids,) = tokenizer.encode([write_document(item, tokenizer.count, budget_tokens)])
    return Encoded(ids[:budget_tokens], total_tokens)
