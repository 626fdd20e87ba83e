"""Prepares the items of a request for scoring: the first stage, the narrowing, and documents within the budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shortlist.router.catalogs.catalog import Item, fit_document, write_document
from shortlist.router.engine.protocols import CancelToken, Embedded
from shortlist.router.engine.tokenizer import TokenIds, Tokenizer
from shortlist.router.first_stage.bm25 import Bm25
from shortlist.router.first_stage.embedder import Embedder, RetrievalSettings
from shortlist.router.first_stage.foreign_keys import find_links
from shortlist.router.first_stage.implied_keys import declares_keys, implied_keys
from shortlist.router.first_stage.parts import parts_of
from shortlist.router.ranking.blank import blank_places, blank_tools
from shortlist.router.ranking.mentions import Names, names_in
from shortlist.router.ranking.score import Features, Scored
from shortlist.router.ranking.successors import find_successors
from shortlist.schemas.conversation import last_turn
from shortlist.schemas.document import Table
from shortlist.schemas.results import Truncation

if TYPE_CHECKING:
    from shortlist.router.engine.protocols import TokenVectors
__all__ = [
    "MAX_NEW_VECTORS",
    "Candidates",
    "Encoded",
    "FirstStage",
    "Values",
    "budget_warnings",
    "features_of",
    "first_stage_order",
    "maxsim",
    "narrow",
    "narrowing_warnings",
    "ranked",
]

# A request embeds at most this many new documents, best BM25 scores first, so that even the first one takes seconds
# only. Their vectors are kept, so the next request embeds the following ones.
MAX_NEW_VECTORS = 1_024
# Comparing a document's tokens takes hundreds of times as many multiplications as comparing its vector.
_MAX_TOKEN_COMPARED = 512
# The cosines of so many tokens with those of a query are held at a time: 32 MiB for a query of 256.
_MAX_SLICE_TOKENS = 32_768
# So much of a document is tokenized to count its tokens: as much as may fit a budget of 1,024.
_MAX_COUNTED_CHARS = 65_536
# A warning names so many documents of each kind, by so many characters of their names.
_MAX_NAMED = 3
_MAX_NAME_CHARS = 80
# A set keeps its encoded documents for this many budgets.
_MAX_BUDGETS = 4
Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A document's tokens within the budget, how many it has when written in full, and the kinds of what was left out.

    `total_tokens` is an estimate for a document of more than 65,536 characters.
    """

    ids: TokenIds
    total_tokens: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FirstStage:
    """The first stage's scores of every item of a set, each array `(items,)`.

    `shares` are BM25 scores divided by the best item's; `matches` are divided by the score of a full match. `cosines`
    are None without an encoder; `num_unseen` items have no vector yet and get the lowest cosine. `part_cosines` are the
    highest over the parts of the query. `query_maxsim` says how well an item covers the query's tokens,
    `document_maxsim` the reverse; both are computed for the best items so far, and the rest get the lowest value. A
    long document counts by its best window. Narrowing keeps the items with the highest `scores`. `mentioned` are the
    places of the items that the query's last turn names exactly; they have the highest scores.
    """

    shares: Values
    matches: Values
    scores: Values
    cosines: Values | None = None
    part_cosines: Values | None = None
    query_maxsim: Values | None = None
    document_maxsim: Values | None = None
    num_unseen: int = 0
    mentioned: frozenset[int] = frozenset()

    def features(self, place: int) -> Features:
        """Gathers the features of one item; those that are unknown, such as the logit, are 0."""

        def at(values: Values | None) -> float:
            return 0.0 if values is None else float(values[place])

        return Features(
            logit=0.0,
            cosine=at(self.cosines),
            part_cosine=at(self.part_cosines),
            lexical_share=at(self.shares),
            lexical_match=at(self.matches),
            query_maxsim=at(self.query_maxsim),
            document_maxsim=at(self.document_maxsim),
            is_mentioned=place in self.mentioned,
        )

    def with_first(self, places: frozenset[int]) -> FirstStage:
        """Returns the same, but with the items at `places`, which the query names, before all others."""
        if not places:
            return self
        scores = self.scores.copy()
        scores[list(places)] += float(np.ptp(scores)) + 1
        return replace(self, scores=scores, mentioned=places)

    def with_last(self, places: Set[int]) -> FirstStage:
        """Returns the same, but with the items at `places` behind all others."""
        if not places:
            return self
        scores = self.scores.copy()
        scores[list(places)] = -np.inf
        return replace(self, scores=scores)


class Candidates:
    """Items that are ranked together, and what is computed from them once: BM25 index, vectors, encoded documents.

    Threads may share it; at worst, two compute the same thing. `encoded` may be shared between sets over the same
    items; its keys are `Item.index` and the budget.
    """

    def __init__(self, items: Sequence[Item], encoded: dict[tuple[int, int], Encoded] | None = None) -> None:
        self.items = items
        self._bm25: Bm25 | None = None
        self._names: Names | None = None
        self._blank_tools: frozenset[int] | None = None
        self._successors: dict[int, int] | None = None
        self._embedded: list[tuple[Embedded, ...]] | None = None
        self._vectors: Values | None = None
        self._links: list[frozenset[int]] | None = None
        self._joined: npt.NDArray[np.int64] | None = None  # (links, 2): the links as pairs of places
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
        """Compares every item with the query, by names, by words and, if there is an embedder, by vectors."""
        found = self._compare_texts(query, embedder, max_new_vectors, cancel)
        called = names_in(last_turn(query))
        if not called:
            return found
        if self._names is None:
            self._names = Names(self.items)
        return found.with_first(self._names.mentioned(called))

    def _compare_texts(
        self, query: str, embedder: Embedder | None, max_new_vectors: int | None, cancel: CancelToken | None
    ) -> FirstStage:
        if self._bm25 is None:
            self._bm25 = Bm25([item.words for item in self.items], [item.details for item in self.items])
        scores = self._bm25.scores(query)
        shares = scores / np.float32(max(float(scores.max()), 1e-9)) if len(scores) else scores
        by_words = FirstStage(shares, scores / np.float32(max(self._bm25.best_possible(query), 1e-9)), shares)
        if embedder is None or not self.items:
            return by_words
        query_and_parts = embedder.embed_queries([query, *parts_of(query)], cancel)
        embedded = self._embed(embedder, ranked(shares), max_new_vectors, cancel)
        return self._compare(by_words, query_and_parts, embedded, embedder.settings)

    def _compare(
        self,
        by_words: FirstStage,
        query_and_parts: Sequence[Embedded],
        embedded: Sequence[tuple[Embedded, ...]],
        settings: RetrievalSettings,
    ) -> FirstStage:
        seen = [place for place, windows in enumerate(embedded) if windows]
        if not seen:
            return replace(by_words, num_unseen=len(embedded))
        # Another thread may have computed all vectors meanwhile; they do not fit the part that this one has seen.
        vectors = self._vectors if embedded is self._embedded else None
        if vectors is None:
            vectors = np.stack([one.vector for windows in embedded for one in windows])
        if embedded is self._embedded:
            self._vectors = vectors
        query, *parts = query_and_parts
        starts = _starts([len(embedded[place]) for place in seen])
        similar = vectors @ np.stack([one.vector for one in parts or [query]]).T  # (windows, parts)
        cosines = _spread(np.maximum.reduceat(vectors @ query.vector, starts), seen, len(embedded))
        part_cosines = _spread(np.maximum.reduceat(similar.max(1), starts), seen, len(embedded))
        scores = cosines + np.float32(settings.lexical_weight) * by_words.shares
        found = replace(
            by_words,
            cosines=cosines,
            part_cosines=part_cosines,
            scores=scores,
            num_unseen=len(embedded) - len(seen),
        )
        if query.tokens is not None:
            found = self._compare_tokens(found, query.tokens, embedded, settings.maxsim_weight)
        joined = self.best_joined(found.scores) if settings.join_weight else None
        return found if joined is None else replace(found, scores=found.scores + settings.join_weight * joined)

    def _compare_tokens(
        self, found: FirstStage, query: TokenVectors, embedded: Sequence[tuple[Embedded, ...]], weight: float
    ) -> FirstStage:
        """Compares the query's tokens with those of the best items so far."""
        near = [place for place in ranked(found.scores) if embedded[place]][:_MAX_TOKEN_COMPARED]
        windows = [one.tokens for place in near for one in embedded[place] if one.tokens is not None]  # all have them
        starts = _starts([len(embedded[place]) for place in near])
        of_query, of_document = (
            _spread(np.maximum.reduceat(part, starts), near, len(embedded)) for part in maxsim(query, windows)
        )
        scores = found.scores + np.float32(weight) * (of_query + of_document)
        return replace(found, scores=scores, query_maxsim=of_query, document_maxsim=of_document)

    def best_joined(self, scores: Values) -> Values | None:
        """Returns for each table the best score of those it joins with, `(items,)`; None if the items are no tables.

        A table without joins gets the mean, as if it joined with an average table.
        """
        if not self._may_join():
            return None
        if self._joined is None:
            self._joined = np.array(
                [(place, other) for place in range(len(self.items)) for other in self.links(place)], np.int64
            ).reshape(-1, 2)
        best = np.full(len(self.items), -np.inf, np.float32)
        np.maximum.at(best, self._joined[:, 0], scores[self._joined[:, 1]])
        return np.where(np.isinf(best), scores.mean(), best)

    def blank(self, query: str) -> frozenset[int]:
        """Returns the places of the plain documents and tools with nothing to read; tables always have a name."""
        if self.items and isinstance(self.items[0].subject, str):
            return blank_places([item.source for item in self.items], query)
        if self._blank_tools is None:
            self._blank_tools = blank_tools(self.items)
        return self._blank_tools

    def successors(self, found: FirstStage | None) -> dict[int, int]:
        """Returns the places of replaced tools with those of their successors, unless the query names the old one."""
        if self._successors is None:
            self._successors = find_successors(self.items)
        mentioned = found.mentioned if found else ()
        return {old: new for old, new in self._successors.items() if old not in mentioned}

    def links(self, place: int) -> frozenset[int]:
        """Returns the places of the tables that join with the one at `place`, by keys or, if they are few, by names."""
        if self._links is None:
            self._links = self._find_links()
        return self._links[place]

    def _find_links(self) -> list[frozenset[int]]:
        declared = find_links([item.name for item in self.items], [item.references for item in self.items])
        tables = [item.subject for item in self.items if isinstance(item.subject, Table)]
        if len(tables) < len(self.items) or declares_keys(tables):
            return declared
        links = [set(linked) for linked in declared]
        for place, keys in enumerate(implied_keys(tables)):
            for key in keys:
                links[place].add(key.target)
                links[key.target].add(place)
        return [frozenset(linked) for linked in links]

    def _may_join(self) -> bool:
        return any(item.references or isinstance(item.subject, Table) for item in self.items)

    def links_among(self, places: Sequence[int]) -> list[list[int]]:
        """Returns for each of `places` the ones it joins with, as indices into `places`."""
        if not self._may_join():
            return [[] for _ in places]
        at = {place: index for index, place in enumerate(places)}
        return [[at[other] for other in self.links(place) if other in at] for place in places]

    def _embed(
        self, embedder: Embedder, order: Sequence[int], max_new: int | None, cancel: CancelToken | None
    ) -> Sequence[tuple[Embedded, ...]]:
        """Returns the vectors of each item's windows; if only some may be computed, those in front in `order` do."""
        if self._embedded is not None:
            return self._embedded
        windows = [embedder.split(self.items[place]) for place in order]
        found = embedder.embed_documents([one for own in windows for one in own], max_new=max_new, cancel=cancel)
        by_place: list[tuple[Embedded, ...]] = [()] * len(order)
        remaining = iter(found)
        for place, own in zip(order, windows, strict=True):
            by_place[place] = tuple(one for one in islice(remaining, len(own)) if one is not None)
        if all(one is not None for one in found):
            self._embedded = by_place
        return by_place

    def encode(self, places: Sequence[int], tokenizer: Tokenizer, budget_tokens: int) -> list[Encoded]:
        """Returns the encoded documents at `places`, each within the budget."""
        keys = [(self.items[place].index, budget_tokens) for place in places]
        found = {key: one for key in keys if (one := self._encoded.get(key))}
        missing = [(key, self.items[place]) for key, place in zip(keys, places, strict=True) if key not in found]
        encoded = _encode_items([item for _, item in missing], tokenizer, budget_tokens)
        made = {key: one for (key, _), one in zip(missing, encoded, strict=True)}
        self._budgets.add(budget_tokens)
        if len(self._budgets) > _MAX_BUDGETS:  # with short pairs, the budget depends on the query's length
            self._encoded.clear()
            self._budgets = {budget_tokens}
        self._encoded.update(made)
        found |= made
        return [found[key] for key in keys]

    def encode_whole(self, places: Sequence[int], tokenizer: Tokenizer) -> list[TokenIds]:
        """Encodes the sources at `places` in full; plain documents are read this way."""
        return tokenizer.encode([self.items[place].source for place in places])

    def cuts(self, places: Sequence[int], encoded: Sequence[Encoded]) -> list[Truncation]:
        """Lists the documents that were cut to their budget."""
        return [
            Truncation(self.items[place].index, self.items[place].name, len(document.ids), document.total_tokens)
            for place, document in zip(places, encoded, strict=True)
            if len(document.ids) < document.total_tokens
        ]


def budget_warnings(items: Sequence[Item], encoded: Sequence[Encoded], budget_tokens: int, noun: str) -> list[str]:
    """Returns a warning that says what was left out of documents above the budget; `noun` names items, in plural."""
    by_kind: dict[str, list[str]] = {}
    for item, one in zip(items, encoded, strict=True):
        for kind in one.left_out:
            by_kind.setdefault(kind, []).append(item.name[:_MAX_NAME_CHARS])
    num_cut = sum(bool(one.left_out) for one in encoded)
    if not num_cut:
        return []
    kinds = "; ".join(f"{kind} of {_name_some(names)}" for kind, names in by_kind.items())
    return [
        f"{num_cut} of the {len(items)} scored {noun} {'is' if num_cut == 1 else 'are'} longer than the budget of "
        f"{budget_tokens} tokens for each; left out, in full or in part: {kinds}"
    ]


def _name_some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMED])
    return f"{shown} and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else shown


def features_of(found: FirstStage | None, places: Sequence[int], logits: Sequence[float]) -> list[Features]:
    """Combines the features from both stages for the items at `places`; without a first stage, only logits."""
    if found is None:
        return [Features(logit) for logit in logits]
    return [replace(found.features(place), logit=logit) for place, logit in zip(places, logits, strict=True)]


def narrow(scores: Values, max_candidates: int, kept_always: Iterable[int] = ()) -> list[int]:
    """Returns the places of the `max_candidates` best items and of `kept_always`, in request order; 0 keeps all."""
    if not max_candidates or len(scores) <= max_candidates:
        return list(range(len(scores)))
    return sorted({*ranked(scores)[:max_candidates], *kept_always})


def ranked(scores: Values) -> list[int]:
    """Returns all places, best first, ties by place."""
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return order


def _starts(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    """Returns where each run begins in runs of these lengths, one after another."""
    ends = np.cumsum(np.fromiter(lengths, np.int64, len(lengths)))
    return ends - np.fromiter(lengths, np.int64, len(lengths))


def _spread(values: Values, places: Sequence[int], total: int) -> Values:
    """Expands `values` at `places` to all places; the others get the lowest value."""
    spread = np.full(total, values.min(), np.float32)
    spread[places] = values
    return spread


def _encode_items(items: Sequence[Item], tokenizer: Tokenizer, budget_tokens: int) -> list[Encoded]:
    """Writes and encodes each item's document; one above the budget is written again to fit it."""
    texts = [write_document(item) for item in items]
    whole = tokenizer.encode([text[:_MAX_COUNTED_CHARS] for text in texts])
    return [
        Encoded(ids, len(ids))
        if len(ids) <= budget_tokens and len(text) <= _MAX_COUNTED_CHARS
        else _encode_within(item, round(len(ids) * max(1.0, len(text) / _MAX_COUNTED_CHARS)), tokenizer, budget_tokens)
        for item, text, ids in zip(items, texts, whole, strict=True)
    ]


def _encode_within(item: Item, total_tokens: int, tokenizer: Tokenizer, budget_tokens: int) -> Encoded:
    fitted = fit_document(item, tokenizer.count, budget_tokens, total_tokens)
    (ids,) = tokenizer.encode([fitted.text])
    return Encoded(ids[:budget_tokens], max(total_tokens, len(ids)), fitted.left_out)


def maxsim(query: TokenVectors, documents: Sequence[TokenVectors]) -> tuple[Values, Values]:
    """Returns, for each document, how well it matches the query's tokens and how well the query matches its tokens.

    Each token is compared with its best match in the other text (late interaction: Khattab and Zaharia, "ColBERT",
    SIGIR 2020, arXiv:2004.12832) and counts by the weight that the encoder gave it. A query that asks for several
    things matches each of its tools well, whereas its single vector lies between them.

    Both are `(documents,)`, -1..1. Each text is `(tokens, width + 1)`: a unit vector, then the token's weight.
    """
    if not documents:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    parts = [_maxsim(query.astype(np.float32), part) for part in _slices(documents)]
    of_query, of_document = (np.concatenate(values) for values in zip(*parts, strict=True))
    return of_query, of_document


def _slices(documents: Sequence[TokenVectors]) -> Iterator[Sequence[TokenVectors]]:
    """Yields runs of documents of up to `_MAX_SLICE_TOKENS` tokens together, or of a single one."""
    start = used = 0
    for end, document in enumerate(documents):
        if end > start and used + len(document) > _MAX_SLICE_TOKENS:
            yield documents[start:end]
            start, used = end, 0
        used += len(document)
    yield documents[start:]


def _maxsim(query_tokens: Values, documents: Sequence[TokenVectors]) -> tuple[Values, Values]:
    tokens = np.concatenate(documents).astype(np.float32)
    starts = _starts([len(one) for one in documents])
    cosines = tokens[:, :-1] @ query_tokens[:, :-1].T  # (all documents' tokens, query's tokens)
    query_maxsim = np.maximum.reduceat(cosines, starts, axis=0) @ query_tokens[:, -1]
    document_maxsim = np.add.reduceat(cosines.max(1) * tokens[:, -1], starts)
    return query_maxsim, document_maxsim


def narrowing_warnings(found: FirstStage, places: Sequence[int]) -> list[str]:
    """Returns a warning where the first stage knew too little to choose the candidates well."""
    total = len(found.shares)
    if found.num_unseen:
        return [
            f"{found.num_unseen} of {total} candidates were ranked by their words alone: a request embeds at most "
            f"{MAX_NEW_VECTORS} new documents; they are kept, so the same request again covers more"
        ]
    sharing = int((found.shares > 0).sum())
    # Without an encoder, some of the kept ones are just the first of the request.
    if len(places) == total or sharing >= len(places) or found.cosines is not None:
        return []
    return [
        f"only {sharing} of {total} candidates share a word with the query, and only {len(places)} were scored; "
        "set max_candidates to 0 to score all"
    ]


def first_stage_order(
    scores: Values, max_candidates: int, pinned: Set[int], kept_always: Iterable[int] = ()
) -> list[Scored]:
    """Orders the candidates by the first stage, for a caller whose time does not suffice for the cross-encoder.

    The candidates `pinned` and `kept_always` are kept whatever their score; only the former are marked as pinned.
    A score then states the position only, 1, 1/2, 1/3 …: the first stage has none that is calibrated.
    """
    kept = set(narrow(scores, max_candidates, {*pinned, *kept_always}))
    order = [place for place in ranked(scores) if place in kept]
    return [Scored(place, 1 / rank, place in pinned) for rank, place in enumerate(order, 1)]
