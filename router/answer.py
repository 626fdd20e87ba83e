"""Makes the answer of a request: finds the pinned items, orders without the cross-encoder, writes the selection."""

from __future__ import annotations

from collections.abc import Sequence, Set

from shortlist.router.catalogs.catalog import Catalog
from shortlist.router.first_stage.candidates import MAX_NEW_VECTORS, FirstStage, Values, narrow, ranked
from shortlist.router.items import Item
from shortlist.router.ranking.score import Scored
from shortlist.router.ranking.windows import DocumentScores
from shortlist.schemas.results import ModelInfo, Selected, Selection, Timings, Truncation

__all__ = ["find_pinned", "first_stage_order", "make_selection", "narrowing_warnings"]


def find_pinned(items: Sequence[Item], names: Sequence[str]) -> tuple[frozenset[int], list[str]]:
    """Returns the places of the items with these names, and a warning for each name that no item has.

    A name matches with its namespace and without.
    """
    wanted = set(names)
    pinned = frozenset(place for place, item in enumerate(items) if item.name in wanted or _bare(item) in wanted)
    found = {name for place in pinned for name in (items[place].name, _bare(items[place]))}
    unknown = [name for name in dict.fromkeys(names) if name not in found]
    return pinned, [f"always_include: no candidate is named {name!r}" for name in unknown]


def _bare(item: Item) -> str:
    return item.name.removeprefix(item.namespace + ".") if item.namespace else item.name


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


def first_stage_order(scores: Values, max_candidates: int, pinned: Set[int]) -> list[Scored]:
    """Orders the candidates by the first stage, for a caller whose time does not suffice for the cross-encoder.

    A score then states the position only, 1, 1/2, 1/3 …: the first stage has none that is calibrated.
    """
    kept = set(narrow(scores, max_candidates, pinned))
    order = [place for place in ranked(scores) if place in kept]
    return [Scored(place, 1 / rank, place in pinned) for rank, place in enumerate(order, 1)]


def make_selection(
    catalog: Catalog,
    chosen: Sequence[Scored],
    *,
    num_considered: int,
    scores: DocumentScores,
    warnings: Sequence[str],
    truncated: Sequence[Truncation],
    info: ModelInfo,
    timings: Timings,
    return_sources: bool,
    is_degraded: bool,
) -> Selection:
    """Writes the selection; `num_considered` items were left after the first stage."""
    return Selection(
        items=tuple(
            _selected(catalog.items[one.place], one, rank, return_sources) for rank, one in enumerate(chosen, 1)
        ),
        num_candidates=len(catalog.items),
        num_scored=len(scores.logits),
        num_dropped=len(catalog.items) - num_considered,
        unparsed=catalog.unparsed,
        warnings=tuple(warnings),
        truncated=tuple(truncated),
        model_name=info.name,
        model_version=info.version,
        num_tokens=scores.num_tokens,
        timings=timings,
        is_degraded=is_degraded,
    )


def _selected(item: Item, scored: Scored, rank: int, return_source: bool) -> Selected:
    source = item.source if return_source else ""
    return Selected(item.name, item.index, rank, scored.score, source, item.namespace, scored.is_pinned)
