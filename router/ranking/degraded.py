"""Makes an answer of what the first stage knows, for a caller who would rather have that than none."""

from __future__ import annotations

from collections.abc import Set

from shortlist.router.first_stage.candidates import FirstStage, ItemSet, narrow, ranked
from shortlist.router.ranking.score import Rules, Scored
from shortlist.router.ranking.windows import DocumentScores
from shortlist.router.run import Run
from shortlist.schemas.errors import DeadlineTooShort, RequestCancelled

__all__ = ["NO_SCORES", "OUT_OF_TIME", "first_stage_order", "raise_unless_degraded"]

# What a request that runs out of time ends with.
OUT_OF_TIME = (RequestCancelled, DeadlineTooShort)
NO_SCORES = DocumentScores([], 0, 0, 0.0, 0.0)


def raise_unless_degraded(run: Run, error: Exception) -> None:
    """Raises `error` unless the caller is still there and takes a degraded answer."""
    if not run.allow_degraded or (run.cancel is not None and run.cancel.caller_left):
        raise error


def first_stage_order(run: Run, items: ItemSet, pinned: Set[int]) -> list[Scored]:
    """Orders the best items by the first stage, as far as it came: by words alone where its vectors were not ready.

    As many are kept as the cross-encoder would have been given.
    A score says the position only, 1, 1/2, 1/3 …: without the cross-encoder there is none that is calibrated.
    """
    found: FirstStage = run.found or items.first_stage(run.query, None, max_new_vectors=None, cancel=None)
    run.rules = Rules(run.rules.top_n, 0.0)
    run.is_degraded = True
    kept = set(narrow(found.scores, run.max_candidates, sorted(pinned)))
    order = [place for place in ranked(found.scores) if place in kept]
    return [Scored(place, 1 / rank, place in pinned) for rank, place in enumerate(order, 1)]
