"""Defines the interface of attention backends over packed pairs, and the backends that run everywhere.

A backend prepares what it needs once per batch (`plan`) and is then called once per layer with
`qkv (total_tokens, 3, heads, head_dim)`; it returns `(total_tokens, heads * head_dim)`. Tokens attend only to tokens of
their own pair. Beside this module, `cpu` holds the fast path for CPUs, `training` the one with gradients and `cuda` the
kernels that need a CUDA GPU; `choice` picks a backend for a machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's usual alias)

from shortlist.router.engine.packing import PackedBatch
from shortlist.router.model.attention.buckets import MAX_WASTE, Bucket, make_bucket, plan_buckets

__all__ = [
    "Attend",
    "AttentionBackend",
    "PaddedAttention",
    "SdpaAttention",
    "attend_to_all",
    "plain_attention",
]


class Attend(Protocol):
    """Computes the attention of one batch."""

    def __call__(self, qkv: torch.Tensor, *, first_only: bool = False) -> torch.Tensor:
        """Returns `(total_tokens, heads * head_dim)`, or `(pairs, …)` if only each pair's first token is wanted."""
        ...


class AttentionBackend(Protocol):
    """Prepares attention for one packed batch."""

    name: str

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Returns the function that every layer of this batch calls with its qkv."""
        ...


class SdpaAttention:
    """Pads only within groups of similar length and calls torch's `scaled_dot_product_attention` on each group."""

    name = "sdpa"

    def __init__(self, *, max_waste: float = MAX_WASTE) -> None:
        self._max_waste = max_waste

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Groups neighbouring pairs so that at most `max_waste` of a block is padding."""
        buckets = plan_buckets(batch.lengths, self._max_waste, dtype, batch.input_ids.device)
        return attend_to_all(batch, _attend_in_buckets(buckets, F.scaled_dot_product_attention))


class PaddedAttention:
    """Pads every pair to the longest: slow and simple, the reference that tests compare the others to."""

    name = "padded"

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Turns the whole batch into one block."""
        bucket = make_bucket(batch.lengths, 0, dtype, batch.input_ids.device)
        return attend_to_all(batch, lambda qkv: _attend_bucket(qkv, bucket, plain_attention))


def attend_to_all(batch: PackedBatch, kernel: Callable[[torch.Tensor], torch.Tensor]) -> Attend:
    """Turns a kernel that always computes all tokens into an `Attend`."""
    firsts = batch.cu_seqlens[:-1]

    def attend(qkv: torch.Tensor, *, first_only: bool = False) -> torch.Tensor:
        mixed = kernel(qkv)
        return mixed.index_select(0, firsts) if first_only else mixed

    return attend


def _attend_in_buckets(
    buckets: Sequence[Bucket], kernel: Callable[..., torch.Tensor]
) -> Callable[[torch.Tensor], torch.Tensor]:
    def attend(qkv: torch.Tensor) -> torch.Tensor:
        parts = [_attend_bucket(qkv[b.first : b.last], b, kernel) for b in buckets]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    return attend


def _attend_bucket(qkv: torch.Tensor, bucket: Bucket, kernel: Callable[..., torch.Tensor]) -> torch.Tensor:
    _, _, heads, head_dim = qkv.shape
    block = qkv if bucket.gather is None else qkv.index_select(0, bucket.gather)
    query, key, value = block.view(bucket.num_pairs, bucket.width, 3, heads, head_dim).permute(2, 0, 3, 1, 4)
    mixed = kernel(query, key, value, attn_mask=bucket.bias)
    flat = mixed.transpose(1, 2).reshape(bucket.num_pairs * bucket.width, heads * head_dim)
    return flat if bucket.scatter is None else flat.index_select(0, bucket.scatter)


def plain_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, attn_mask: torch.Tensor | None
) -> torch.Tensor:
    """Computes the attention of `(pairs, heads, width, head_dim)` with batched matrix products."""
    pairs, heads, width, head_dim = query.shape
    shape = (pairs * heads, width, head_dim)
    query, key, value = query.reshape(shape), key.reshape(shape), value.reshape(shape)
    weights = torch.bmm(query * (1 / math.sqrt(head_dim)), key.transpose(1, 2))
    if attn_mask is not None:
        weights = (weights.view(pairs, heads, width, width) + attn_mask).view(pairs * heads, width, width)
    return torch.bmm(torch.softmax(weights, -1), value).view(pairs, heads, width, head_dim)
