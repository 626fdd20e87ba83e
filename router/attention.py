"""Attention over packed pairs: what a backend is, and those that run everywhere.

A backend prepares what it needs once per batch (`plan`) and is then called once per layer with
`qkv (total_tokens, 3, heads, head_dim)`; it returns `(total_tokens, heads * head_dim)`. Pairs never see each other.
The kernels that need a CUDA card are in `attention_cuda`; `attention_choice` picks one for a machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows it by)

from .packing import PackedBatch

__all__ = ["Attend", "AttentionBackend", "BucketedAttention", "PaddedAttention", "SdpaAttention"]

Attend = Callable[[torch.Tensor], torch.Tensor]


class AttentionBackend(Protocol):
    """Prepares attention for one packed batch."""

    name: str

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Returns the function that every layer of this batch calls with its qkv."""
        ...


@dataclass(frozen=True, slots=True)
class _Bucket:
    """Neighbouring pairs of like length: tokens `first:last` of the batch as a `(pairs, width)` block."""

    first: int
    last: int
    num_pairs: int
    width: int
    gather: torch.Tensor | None  # (pairs * width,) token index within the bucket; None where nothing is padded
    scatter: torch.Tensor | None  # (last - first,) place of each token within the block
    bias: torch.Tensor | None  # (pairs, 1, 1, width), -inf at padding


class BucketedAttention:
    """Pads only within groups of like length and uses plain batched products: the fast path of training on a CPU.

    `trainable` keeps what a backward pass needs, which torch's fused kernel is slow at there (docs/log.md).
    """

    name = "bucketed"

    def __init__(self, *, trainable: bool = False, max_waste: float = 0.12) -> None:
        self._kernel = _plain_attention if trainable else _inplace_attention
        self._max_waste = max_waste

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Groups neighbours so that at most `max_waste` of a block is padding."""
        buckets = _plan_buckets(batch.lengths, self._max_waste, dtype, batch.input_ids.device)
        return _attend_in_buckets(buckets, self._kernel)


class SdpaAttention:
    """Groups like `BucketedAttention` and calls torch's `scaled_dot_product_attention` on each group."""

    name = "sdpa"

    def __init__(self, *, max_waste: float = 0.12) -> None:
        self._max_waste = max_waste

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Groups neighbours so that at most `max_waste` of a block is padding."""
        buckets = _plan_buckets(batch.lengths, self._max_waste, dtype, batch.input_ids.device)
        return _attend_in_buckets(buckets, F.scaled_dot_product_attention)


class PaddedAttention:
    """Pads every pair to the longest: slow and simple, the reference that tests compare the others with."""

    name = "padded"

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Makes one block of the whole batch."""
        bucket = _make_bucket(batch.lengths, 0, dtype, batch.input_ids.device)
        return lambda qkv: _attend_bucket(qkv, bucket, _plain_attention)


def _plan_buckets(lengths: Sequence[int], max_waste: float, dtype: torch.dtype, device: torch.device) -> list[_Bucket]:
    buckets: list[_Bucket] = []
    start = first = 0
    while start < len(lengths):
        stop = _bucket_end(lengths, start, max_waste)
        bucket = _make_bucket(lengths[start:stop], first, dtype, device)
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


def _make_bucket(lengths: Sequence[int], first: int, dtype: torch.dtype, device: torch.device) -> _Bucket:
    width, total = max(lengths), sum(lengths)
    if width * len(lengths) == total:
        return _Bucket(first, first + total, len(lengths), width, None, None, None)
    sizes = torch.tensor(lengths, device=device)
    places = torch.arange(width, device=device)
    present = places < sizes[:, None]
    starts = torch.cumsum(sizes, 0) - sizes
    gather = torch.where(present, starts[:, None] + places, 0).flatten()
    bias = torch.zeros(present.shape, dtype=dtype, device=device).masked_fill_(~present, -math.inf)
    return _Bucket(
        first, first + total, len(lengths), width, gather, present.flatten().nonzero().flatten(), bias[:, None, None]
    )


def _attend_in_buckets(buckets: Sequence[_Bucket], kernel: Callable[..., torch.Tensor]) -> Attend:
    def attend(qkv: torch.Tensor) -> torch.Tensor:
        parts = [_attend_bucket(qkv[b.first : b.last], b, kernel) for b in buckets]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    return attend


def _attend_bucket(qkv: torch.Tensor, bucket: _Bucket, kernel: Callable[..., torch.Tensor]) -> torch.Tensor:
    _, _, heads, head_dim = qkv.shape
    block = qkv if bucket.gather is None else qkv.index_select(0, bucket.gather)
    query, key, value = block.view(bucket.num_pairs, bucket.width, 3, heads, head_dim).permute(2, 0, 3, 1, 4)
    mixed = kernel(query, key, value, attn_mask=bucket.bias)
    flat = mixed.transpose(1, 2).reshape(bucket.num_pairs * bucket.width, heads * head_dim)
    return flat if bucket.scatter is None else flat.index_select(0, bucket.scatter)


def _plain_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, attn_mask: torch.Tensor | None
) -> torch.Tensor:
    """Computes attention of `(pairs, heads, width, head_dim)` with batched products."""
    pairs, heads, width, head_dim = query.shape
    shape = (pairs * heads, width, head_dim)
    query, key, value = query.reshape(shape), key.reshape(shape), value.reshape(shape)
    weights = torch.bmm(query * (1 / math.sqrt(head_dim)), key.transpose(1, 2))
    if attn_mask is not None:
        weights = (weights.view(pairs, heads, width, width) + attn_mask).view(pairs * heads, width, width)
    return torch.bmm(torch.softmax(weights, -1), value).view(pairs, heads, width, head_dim)


def _inplace_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, attn_mask: torch.Tensor | None
) -> torch.Tensor:
    """Computes the same without copies of the weights, which a backward pass would need: up to a quarter faster."""
    pairs, heads, width, head_dim = query.shape
    shape = (pairs * heads, width, head_dim)
    query, key, value = query.reshape(shape), key.reshape(shape), value.reshape(shape)
    weights = torch.bmm(query * (1 / math.sqrt(head_dim)), key.transpose(1, 2))
    if attn_mask is not None:
        weights.view(pairs, heads, width, width).add_(attn_mask)
    return torch.bmm(torch.softmax(weights, -1), value).view(pairs, heads, width, head_dim)
