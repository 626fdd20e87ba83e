"""Groups neighbouring pairs of similar length, so that batched matrix products need little padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = ["MAX_WASTE", "Bucket", "make_bucket", "plan_buckets"]

MAX_WASTE = 0.12  # share of padding in a block; up to about this, the saving in blocks outweighs the padding
# Widths up to 64 are multiples of 16, wider ones of 32.
_NARROW_STEP, _WIDE_STEP, _WIDE = 16, 32, 64


@dataclass(frozen=True, slots=True)
class Bucket:
    """Neighbouring pairs of similar length: tokens `first:last` of the batch as a `(pairs, width)` block."""

    first: int
    last: int
    num_pairs: int
    width: int
    gather: torch.Tensor | None  # (pairs * width,) token index within the bucket; None if nothing is padded
    scatter: torch.Tensor | None  # (last - first,) position of each token within the block
    bias: torch.Tensor | None  # (pairs, 1, 1, width), -inf at padding
    present: torch.Tensor | None  # (pairs, 1, width, 1), 0 at padding, else 1


def plan_buckets(lengths: Sequence[int], max_waste: float, dtype: torch.dtype, device: torch.device) -> list[Bucket]:
    """Groups neighbouring pairs so that at most `max_waste` of a block is padding."""
    buckets: list[Bucket] = []
    start = first = 0
    while start < len(lengths):
        stop = _bucket_end(lengths, start, max_waste)
        bucket = make_bucket(lengths[start:stop], first, dtype, device)
        buckets.append(bucket)
        start, first = stop, bucket.last
    return buckets


def _bucket_end(lengths: Sequence[int], start: int, max_waste: float) -> int:
    width = total = 0
    for index in range(start, len(lengths)):
        width = max(width, lengths[index])
        total += lengths[index]
        block = width * (index - start + 1)
        if block - total > max_waste * block:
            return index
    return len(lengths)


def _round_width(longest: int) -> int:
    """Rounds up so that few distinct shapes occur, for the reason given in `packing.round_up`."""
    step = _WIDE_STEP if longest > _WIDE else _NARROW_STEP
    return -(-longest // step) * step


def make_bucket(lengths: Sequence[int], first: int, dtype: torch.dtype, device: torch.device) -> Bucket:
    """Makes one block of the pairs that begin at token `first` of the batch."""
    longest, total = max(lengths), sum(lengths)
    width = _round_width(longest) if device.type == "cpu" else longest
    if width * len(lengths) == total:
        return Bucket(first, first + total, len(lengths), width, None, None, None, None)
    sizes = torch.tensor(lengths, device=device)
    places = torch.arange(width, device=device)
    present = places < sizes[:, None]
    starts = torch.cumsum(sizes, 0) - sizes
    gather = torch.where(present, starts[:, None] + places, 0).flatten()
    bias = torch.zeros(present.shape, dtype=dtype, device=device).masked_fill_(~present, -math.inf)
    return Bucket(
        first=first,
        last=first + total,
        num_pairs=len(lengths),
        width=width,
        gather=gather,
        scatter=present.flatten().nonzero().flatten(),
        bias=bias[:, None, None],
        present=present[:, None, :, None].to(dtype),
    )
