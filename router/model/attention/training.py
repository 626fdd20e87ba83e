"""Attention that gradients flow through, on a CPU: its own backward pass, in blocks that stay in the caches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shortlist.router.engine.packing import PackedBatch
from shortlist.router.model.attention.backends import Attend, attend_to_all
from shortlist.router.model.attention.buckets import MAX_WASTE, Bucket, plan_buckets
from shortlist.router.model.attention.cpu import parts

__all__ = ["TrainableAttention"]

# As many bytes of weights are computed at a time.
_WEIGHTS_BYTES = 4 << 20


class TrainableAttention:
    """Pads only within groups of like length; the softmax's weights are kept for the backward pass.

    Left to autograd, each group's slice of the queries, keys and values gets a gradient as large as the whole batch's,
    and oneDNN builds a kernel for every new number of pairs (docs/log.md).
    """

    name = "trainable"

    def __init__(self, *, max_waste: float = MAX_WASTE) -> None:
        self._max_waste = max_waste

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Groups neighbours so that at most `max_waste` of a block is padding."""
        buckets = plan_buckets(batch.lengths, self._max_waste, dtype, batch.input_ids.device)
        return attend_to_all(batch, lambda qkv: _Attention.apply(qkv, buckets))  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the backward pass needs of a bucket: `(pairs * heads, width, …)`; queries are scaled."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    weights: torch.Tensor


class _Attention(torch.autograd.Function):
    """Maps `qkv (tokens, 3, heads, head_dim)` to `(tokens, heads * head_dim)`."""

    @staticmethod
    def forward(ctx: Any, qkv: torch.Tensor, buckets: Sequence[Bucket]) -> torch.Tensor:
        """Mixes each bucket's values."""
        tokens, _, heads, head_dim = qkv.shape
        output = qkv.new_empty(tokens, heads * head_dim)
        ctx.buckets, ctx.shape = buckets, qkv.shape
        ctx.kept = []
        for bucket in buckets:
            mixed, kept = _mix(qkv[bucket.first : bucket.last], bucket)
            rows = mixed.transpose(1, 2).reshape(bucket.num_pairs * bucket.width, -1)
            output[bucket.first : bucket.last] = (
                rows if bucket.scatter is None else rows.index_select(0, bucket.scatter)
            )
            ctx.kept.append(kept)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Returns the gradient of `qkv`."""
        (grad,) = grads
        of_qkv = grad.new_empty(ctx.shape)
        for bucket, kept in zip(ctx.buckets, ctx.kept, strict=True):
            own = _unmix(_as_block(grad[bucket.first : bucket.last], bucket, ctx.shape[2]), kept, ctx.shape[2])
            rows = own.permute(1, 3, 0, 2, 4).reshape(bucket.num_pairs * bucket.width, *ctx.shape[1:])
            of_qkv[bucket.first : bucket.last] = (
                rows if bucket.scatter is None else rows.index_select(0, bucket.scatter)
            )
        ctx.kept = None
        return of_qkv, None


def _mix(qkv: torch.Tensor, bucket: Bucket) -> tuple[torch.Tensor, _Kept]:
    """Returns `(pairs, heads, width, head_dim)` and what it is made of."""
    _, _, heads, head_dim = qkv.shape
    pairs, width = bucket.num_pairs, bucket.width
    rows = qkv if bucket.gather is None else qkv.index_select(0, bucket.gather)
    block = rows.view(pairs, width, 3, heads, head_dim).permute(2, 0, 3, 1, 4).contiguous().flatten(1, 2)
    query, key, value = block
    query *= 1 / math.sqrt(head_dim)
    weights = qkv.new_empty(pairs * heads, width, width)
    mixed = torch.empty_like(value)
    for part in _parts(pairs, heads, weights):
        scores = torch.bmm(query[part], key[part].transpose(1, 2))
        if bucket.bias is not None:
            bias = bucket.bias[part.start // heads : -(-part.stop // heads)]
            scores.view(len(bias), -1, width, width).add_(bias)
        torch.softmax(scores, -1, out=weights[part])
        torch.bmm(weights[part], value[part], out=mixed[part])
    return mixed.view(pairs, heads, width, head_dim), _Kept(query, key, value, weights)


def _unmix(grad: torch.Tensor, kept: _Kept, heads: int) -> torch.Tensor:
    """Returns the gradients of queries, keys and values, `(3, pairs, heads, width, head_dim)`."""
    products, width, head_dim = grad.shape
    found = grad.new_empty(3, products, width, head_dim)
    of_query, of_key, of_value = found
    for part in _parts(products // heads, heads, kept.weights):
        weights = kept.weights[part]
        torch.bmm(weights.transpose(1, 2), grad[part], out=of_value[part])
        of_weights = torch.bmm(grad[part], kept.value[part].transpose(1, 2))
        of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        torch.bmm(of_scores, kept.key[part], out=of_query[part])
        torch.bmm(of_scores.transpose(1, 2), kept.query[part], out=of_key[part])
    of_query *= 1 / math.sqrt(head_dim)
    return found.view(3, -1, heads, width, head_dim)


def _as_block(grad: torch.Tensor, bucket: Bucket, heads: int) -> torch.Tensor:
    """Lays `(tokens, heads * head_dim)` out as `(pairs * heads, width, head_dim)`, with zeros where nothing is."""
    if bucket.scatter is not None:
        rows = grad.new_zeros(bucket.num_pairs * bucket.width, grad.shape[1])
        grad = rows.index_copy_(0, bucket.scatter, grad)
    return grad.view(bucket.num_pairs, bucket.width, heads, -1).transpose(1, 2).contiguous().flatten(0, 1)


def _parts(pairs: int, heads: int, weights: torch.Tensor) -> Sequence[slice]:
    _, width, _ = weights.shape
    return list(parts(pairs, heads, max(1, _WEIGHTS_BYTES // (width * width * weights.element_size()))))
