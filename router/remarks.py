"""Notes what a caller should know of how a request was answered: names not found, texts cut, candidates left out."""

from __future__ import annotations

from collections.abc import Sequence

from shortlist.router.first_stage.candidates import Encoded, FirstStage, Item
from shortlist.schemas.results import Truncation

__all__ = ["MAX_NEW_VECTORS", "narrowing_warnings", "pinned_places", "truncations"]

# A cold request embeds no more documents than this, those with the best words first, so that it stays a matter of
# seconds; their vectors are kept, so the next one goes further.
MAX_NEW_VECTORS = 1_024


def pinned_places(items: Sequence[Item], names: Sequence[str], warnings: list[str]) -> set[int]:
    """Finds the items of these names; one that is not there is warned of."""
    wanted = set(names)
    pinned = {place for place, item in enumerate(items) if item.name in wanted or _bare(item) in wanted}
    found = {name for place in pinned for name in (items[place].name, _bare(items[place]))}
    warnings += [
        f"always_include: no candidate is named {name!r}" for name in dict.fromkeys(names) if name not in found
    ]
    return pinned


def _bare(item: Item) -> str:
    """The name without its namespace, by which a table may be asked for as well."""
    return item.name.removeprefix(item.namespace + ".") if item.namespace else item.name


def truncations(items: Sequence[Item], places: Sequence[int], encoded: Sequence[Encoded]) -> list[Truncation]:
    """Names the documents that were cut to their budget."""
    return [
        Truncation(items[place].index, items[place].name, len(document.ids), document.total_tokens)
        for place, document in zip(places, encoded, strict=True)
        if len(document.ids) < document.total_tokens
    ]


def narrowing_warnings(found: FirstStage, places: Sequence[int]) -> list[str]:
    """Says so when the first stage had too little to go by."""
    total = len(found.shares)
    if found.num_unseen:
        return [
            f"{found.num_unseen} of {total} candidates were ranked by their words alone: a request embeds at most "
            f"{MAX_NEW_VECTORS} new documents; they are kept, so the same request again covers more"
        ]
    sharing = int((found.shares > 0).sum())
    # Without an encoder the kept ones are then partly just the first of the request.
    if len(places) == total or sharing >= len(places) or found.cosines is not None:
        return []
    return [
        f"only {sharing} of {total} candidates share a word with the query, and only {len(places)} were scored; "
        "set max_candidates to 0 to score all"
    ]
