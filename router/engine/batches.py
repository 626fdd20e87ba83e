"""Divides pairs into batches by their lengths: within a token budget, and among streams that run side by side."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["plan_batches", "share_out", "share_tokens"]

# Two or three documents; a batch of fewer tokens is not divided among streams. Other numbers were not tried.
_LEAST_SHARED_TOKENS = 256


def plan_batches(lengths: Sequence[int], max_batch_tokens: int) -> list[list[int]]:
    """Groups indices into batches of at most `max_batch_tokens`, longest first so that neighbours have similar lengths.

    A pair longer than the budget gets its own batch. Ties keep input order.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    used = max_batch_tokens
    for index in order:
        if not batches or used + lengths[index] > max_batch_tokens:
            batches.append([])
            used = 0
        batches[-1].append(index)
        used += lengths[index]
    return batches


def share_out(lengths: Sequence[int], max_batch_tokens: int, num_streams: int) -> list[list[int]]:
    """Groups indices into batches that as many streams run side by side; otherwise as `plan_batches`.

    Each stream gets about as many tokens as the others, so that they end together.
    """
    return plan_batches(lengths, share_tokens(sum(lengths), max(lengths, default=0), max_batch_tokens, num_streams))


def share_tokens(total: int, longest: int, max_batch_tokens: int, num_streams: int) -> int:
    """Returns the budget of a batch that is one stream's share of `total` tokens, at most `max_batch_tokens`."""
    rounds = -(-total // (max_batch_tokens * num_streams))
    share = -(-total // max(1, rounds * num_streams))
    # Pairs are not divided: without room for half a pair, what is left over would make one batch more.
    return min(max_batch_tokens, max(_LEAST_SHARED_TOKENS, share + longest // 2))
