"""Draws a query of a judged pool with some of its documents, as pairs for the cross-encoder."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import widen
from judged import JudgedSets, Pool, Wish

from shortlist.router.engine.tokenizer import Pair, Tokenizer, join_ends

__all__ = ["JUDGED_KINDS", "MAX_WISH_TOKENS", "PoolPairs", "vary_wish"]

# How often a judged pool is of each kind.
JUDGED_KINDS = (("tools", "documents", "tables"), (0.5, 0.25, 0.25))
BUDGETS = {"tools": (72, 96, 128, 160), "tables": (72, 96, 128, 160), "documents": (160, 256, 384)}
# The weight of the loss of negatives that beat "nothing fits": passages beside the answer may answer too, unjudged.
NOTHING_SHARES = {"tools": 1.0, "tables": 1.0, "documents": 0.4}
MAX_WISH_TOKENS = 192
MAX_PAIR_TOKENS = 504  # special tokens not counted
MAX_POSITIVES = 4
# Of the nearest so many wrong documents of a pool, half of a query's negatives are drawn.
NEAR = 8
# How often the needed documents are left out, so that nothing fits; and how often acceptable ones count as right.
WITHOUT, WITH_ACCEPTABLE = 0.08, 0.5
MISSPELT, LOWER = 0.04, 0.04


class PoolPairs:
    """Pairs from judged pools; `ranks` is what `rank_pools.py` writes for these, or None.

    Without ranks, negatives are drawn evenly from a pool.
    """

    def __init__(self, sets: JudgedSets, tokenizer: Tokenizer, ranks: Path | None, num_negatives: int) -> None:
        self._sets, self._tokenizer, self._num_negatives = sets, tokenizer, num_negatives
        self._ranks: dict[str, list[int]] = {}
        if ranks:
            with ranks.open(encoding="utf-8") as lines:
                self._ranks = {f"{one['pool']} {one['wish']}": one["order"] for one in map(json.loads, lines)}

    def draw(self, rng: random.Random) -> tuple[list[Pair], int, float]:
        """Returns pairs of one query, how many of the first are relevant, and the share of NOTHING_SHARES."""
        pool = self._sets.draw(rng.choices(*JUDGED_KINDS)[0], rng)
        place = rng.randrange(len(pool.wishes))
        wish = pool.wishes[place]
        right = draw_right(wish, rng)
        wrong = draw_wrong(pool, wish, self._ranks.get(f"{pool.name} {place}"), self._num_negatives, rng)
        return self._pairs(pool, wish, [*right, *wrong], rng), len(right), NOTHING_SHARES[pool.kind]

    def _pairs(self, pool: Pool, wish: Wish, places: Sequence[int], rng: random.Random) -> list[Pair]:
        budget = rng.choice(BUDGETS[pool.kind])
        written = [pool.documents[place].write(self._tokenizer, budget) for place in places]
        query, *documents = self._tokenizer.encode([vary_wish(wish.text, rng), *written])
        query = join_ends(query, MAX_WISH_TOKENS)
        most = min(budget + 16, MAX_PAIR_TOKENS - len(query))
        return [self._tokenizer.make_pair(query, document[:most]) for document in documents]


def draw_right(wish: Wish, rng: random.Random) -> list[int]:
    """Draws the right documents that a query is shown with: the needed ones, sometimes acceptable ones, or none."""
    if not wish.needed or rng.random() < WITHOUT:
        return []
    right = rng.sample(wish.needed, min(len(wish.needed), MAX_POSITIVES))
    if wish.acceptable and rng.random() < WITH_ACCEPTABLE:
        right += rng.sample(wish.acceptable, 1)
    return right


def draw_wrong(pool: Pool, wish: Wish, order: Sequence[int] | None, count: int, rng: random.Random) -> list[int]:
    """Draws wrong documents, half from the nearest: in `order` (all places, best first), or the wish's own."""
    known = {*wish.needed, *wish.acceptable, *wish.unknown}
    wrong = [place for place in (order or wish.nearest or range(len(pool.documents))) if place not in known]
    if not order and not wish.nearest:
        return rng.sample(wrong, min(len(wrong), count))
    # Documents that say nothing were added, and have no rank.
    added = [place for place in range(len(pool.documents)) if place not in known and place not in wrong]
    near = [*added, *rng.sample(wrong[:NEAR], min(len(wrong[:NEAR]), (count + 1) // 2))]
    rest = [place for place in wrong if place not in near]
    return near + rng.sample(rest, min(len(rest), max(0, count - len(near))))


def vary_wish(text: str, rng: random.Random) -> str:
    """Returns a query, sometimes in lower case or with typing errors."""
    draw = rng.random()
    if draw < MISSPELT:
        return widen.misspell(text, rng)
    return text.lower() if draw < MISSPELT + LOWER else text
