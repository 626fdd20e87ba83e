"""Readies the items of a request for scoring: the first stage's view, the narrowing, the documents within budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.schemas.document import Table, Tool
from shortlist.schemas.serialise import CountTokens, lexical_text, table_document, tool_document

from .dense import Embedder
from .encoding import TokenIds, Tokenizer
from .joins import find_links
from .retrieval import Bm25
from .scoring import CancelToken

__all__ = ["Encoded", "FirstStage", "Item", "ItemSet", "item_of_table", "item_of_tool", "narrow", "ranked"]

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that may be selected; `write` gives its document, within a budget where there is one.

    `references` are the tables it refers to by foreign keys, as written.
    """

    name: str
    index: int
    source: str
    namespace: str
    words: str
    write: Callable[[CountTokens | None, int | None], str]
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A document's tokens within the budget, and how many it has when written in full."""

    ids: TokenIds
    total_tokens: int


def item_of_tool(tool: Tool) -> Item:
    """Wraps a tool."""
    return Item(
        tool.name,
        tool.index,
        tool.source,
        tool.namespace,
        lexical_text(tool),
        lambda count, budget: tool_document(tool, count_tokens=count, budget_tokens=budget),
    )


def item_of_table(table: Table) -> Item:
    """Wraps a table."""
    return Item(
        table.full_name,
        table.index,
        table.source,
        table.namespace,
        lexical_text(table),
        lambda count, budget: table_document(table, count_tokens=count, budget_tokens=budget),
        tuple(key.target_table for key in table.foreign_keys),
    )


@dataclass(frozen=True, slots=True)
class FirstStage:
    """What the first stage knows of every item of a set, each array `(items,)`.

    `shares` are BM25's, as shares of the best item's; `matches` as shares of what a full match would score. `cosines`
    are None without an encoder; `num_unseen` items had no vector yet and were given the lowest cosine.
    """

    shares: Values
    matches: Values
    cosines: Values | None = None
    lexical_weight: float = 1.0
    num_unseen: int = 0

    @property
    def scores(self) -> Values:
        """What the items are narrowed by."""
        return self.shares if self.cosines is None else self.cosines + np.float32(self.lexical_weight) * self.shares


class ItemSet:
    """Items that are ranked together, with what is made of them once: BM25's index, vectors and encoded documents.

    `encoded` may be shared between sets over the same items; it is keyed by `Item.index`.
    """

    def __init__(self, items: Sequence[Item], encoded: dict[int, Encoded] | None = None) -> None:
        self.items = items
        self._bm25: Bm25 | None = None
        self._vectors: Values | None = None
        self._links: list[frozenset[int]] | None = None
        self._encoded: dict[int, Encoded] = {} if encoded is None else encoded

    def first_stage(
        self,
        query: str,
        embedder: Embedder | None,
        *,
        max_new_vectors: int | None = None,
        cancel: CancelToken | None = None,
    ) -> FirstStage:
        """Matches the query's words, and its vector where there is an embedder, with every item."""
        if self._bm25 is None:
            self._bm25 = Bm25([item.words for item in self.items])
        scores = self._bm25.scores(query)
        shares = scores / np.float32(max(float(scores.max()), 1e-9)) if len(scores) else scores
        matches = scores / np.float32(max(self._bm25.best_possible(query), 1e-9))
        if embedder is None or not self.items:
            return FirstStage(shares, matches)
        weight = embedder.settings.lexical_weight
        (query_vector,) = embedder.query_vectors([query], cancel)
        if self._vectors is None:
            found = self._embed(embedder, ranked(shares), max_new_vectors, cancel)
            seen = [(place, vector) for place, vector in enumerate(found) if vector is not None]
            if not seen:
                return FirstStage(shares, matches, num_unseen=len(found))
            if len(seen) < len(found):
                some = np.stack([vector for _, vector in seen]) @ query_vector
                cosines = np.full(len(found), some.min(), np.float32)
                cosines[[place for place, _ in seen]] = some
                return FirstStage(shares, matches, cosines, weight, len(found) - len(seen))
            self._vectors = np.stack([vector for _, vector in seen])
        return FirstStage(shares, matches, self._vectors @ query_vector, weight)

    def links(self, place: int) -> frozenset[int]:
        """Returns the places of the tables that join with the one at `place`."""
        if self._links is None:
            self._links = find_links([item.name for item in self.items], [item.references for item in self.items])
        return self._links[place]

    def _embed(
        self, embedder: Embedder, order: Sequence[int], max_new: int | None, cancel: CancelToken | None
    ) -> list[Values | None]:
        """Gives a vector to each item; where not all may be computed, those with the best words come first."""
        vectors = embedder.document_vectors([self.items[place] for place in order], max_new=max_new, cancel=cancel)
        by_place: list[Values | None] = [None] * len(order)
        for place, vector in zip(order, vectors, strict=True):
            by_place[place] = vector
        return by_place

    def encode(self, places: Sequence[int], tokenizer: Tokenizer, budget_tokens: int) -> list[Encoded]:
        """Gives the encoded documents at `places`, each within the budget."""
        missing = [self.items[place] for place in places if self.items[place].index not in self._encoded]
        made = _encode_items(missing, tokenizer, budget_tokens)
        self._encoded.update((item.index, encoded) for item, encoded in zip(missing, made, strict=True))
        return [self._encoded[self.items[place].index] for place in places]


def narrow(scores: Values, max_candidates: int, kept_always: Sequence[int] = ()) -> list[int]:
    """Returns the places of the `max_candidates` best items and of those kept always, in request order; 0 keeps all."""
    if not max_candidates or len(scores) <= max_candidates:
        return list(range(len(scores)))
    return sorted({*ranked(scores)[:max_candidates], *kept_always})


def ranked(scores: Values) -> list[int]:
    """Returns all places, best first, ties by place."""
    order: list[int] = np.argsort(-scores, kind="stable").tolist()
    return order


def _encode_items(items: Sequence[Item], tokenizer: Tokenizer, budget_tokens: int) -> list[Encoded]:
    """Writes and encodes each item's document; one over the budget is written again within it."""
    whole = tokenizer.encode([item.write(None, None) for item in items])
    return [
        Encoded(ids, len(ids))
        if len(ids) <= budget_tokens
        else _encode_within(item, len(ids), tokenizer, budget_tokens)
        for item, ids in zip(items, whole, strict=True)
    ]


def _encode_within(item: Item, total_tokens: int, tokenizer: Tokenizer, budget_tokens: int) -> Encoded:
    (ids,) = tokenizer.encode([item.write(tokenizer.count, budget_tokens)])
    return Encoded(ids[:budget_tokens], total_tokens)
