"""Readies the items of a request for scoring: the first stage's view, the narrowing, the documents within budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shortlist.schemas.document import Table, Tool
from shortlist.schemas.serialise import CountTokens, lexical_text, table_document, tool_document

from .encoding import TokenIds, Tokenizer
from .retrieval import Bm25

__all__ = ["Encoded", "Item", "ItemSet", "first_stage_order", "item_of_table", "item_of_tool", "narrow"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that may be selected; `write` gives its document, within a budget where there is one."""

    name: str
    index: int
    source: str
    namespace: str
    words: str
    write: Callable[[CountTokens | None, int | None], str]


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
    )


class ItemSet:
    """Items that are ranked together, with what is made of them once: BM25's index and the encoded documents.

    `encoded` may be shared between sets over the same items; it is keyed by `Item.index`.
    """

    def __init__(self, items: Sequence[Item], encoded: dict[int, Encoded] | None = None) -> None:
        self.items = items
        self._bm25: Bm25 | None = None
        self._encoded: dict[int, Encoded] = {} if encoded is None else encoded

    def lexical_shares(self, query: str) -> list[float]:
        """Scores the words of every item by BM25, each as a share (0..1) of the best item's; all 0 without a match."""
        if self._bm25 is None:
            self._bm25 = Bm25([item.words for item in self.items])
        scores = self._bm25.scores(query)
        best = max(float(scores.max()), 1e-9) if len(scores) else 1.0
        shares: list[float] = (scores / np.float32(best)).tolist()
        return shares

    def encode(self, places: Sequence[int], tokenizer: Tokenizer, budget_tokens: int) -> list[Encoded]:
        """Gives the encoded documents at `places`, each within the budget."""
        missing = [self.items[place] for place in places if self.items[place].index not in self._encoded]
        made = _encode_items(missing, tokenizer, budget_tokens)
        self._encoded.update((item.index, encoded) for item, encoded in zip(missing, made, strict=True))
        return [self._encoded[self.items[place].index] for place in places]


def narrow(shares: Sequence[float], max_candidates: int, kept_always: Sequence[int] = ()) -> list[int]:
    """Returns the places of the `max_candidates` best items and of those kept always, in request order; 0 keeps all."""
    if not max_candidates or len(shares) <= max_candidates:
        return list(range(len(shares)))
    return sorted({*first_stage_order(shares)[:max_candidates], *kept_always})


def first_stage_order(shares: Sequence[float]) -> list[int]:
    """Returns all places, best by BM25 first, ties by place."""
    return sorted(range(len(shares)), key=lambda place: (-shares[place], place))


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
