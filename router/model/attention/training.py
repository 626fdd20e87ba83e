"""Attention for training on a CPU: its own backward pass, in blocks that stay in the CPU's caches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shortlist.router.engine.packing import PackedBatch
from shortlist.router.model.attention.backends import Attend, attend_to_all
from shortlist.router.model.attention.blocks import MAX_WASTE, Bucket, plan_buckets, split_products

__all__ = ["TrainableAttention"]

# Attention weights are computed in parts of this many bytes.
_WEIGHTS_BYTES = 4 << 20


class TrainableAttention:
    """Pads only within groups of similar length, and keeps the softmax weights for the backward pass.

    Under autograd, each group's slice of the queries, keys and values would get a gradient as large as the whole
    batch's, and oneDNN would build a kernel for every new number of pairs (docs/log.md).
    """

    name = "trainable"

    def __init__(self, *, max_waste: float = MAX_WASTE) -> None:
        self._max_waste = max_waste

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Groups neighbouring pairs so that at most `max_waste` of a block is padding."""
        buckets = plan_buckets(batch.lengths, self._max_waste, dtype, batch.input_ids.device)
        return attend_to_all(batch, lambda qkv: _Attention.apply(qkv, buckets))  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class _Saved:
    """The tensors of one bucket for the backward pass, `(pairs * heads, width, …)`; queries are scaled."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    weights: torch.Tensor


class _Attention(torch.autograd.Function):
    """Computes `(tokens, heads * head_dim)` from `qkv (tokens, 3, heads, head_dim)`."""

    @staticmethod
    def forward(ctx: Any, qkv: torch.Tensor, buckets: Sequence[Bucket]) -> torch.Tensor:
        """Returns the attention of all tokens, computed bucket by bucket."""
        tokens, _, heads, head_dim = qkv.shape
        output = qkv.new_empty(tokens, heads * head_dim)
        ctx.buckets, ctx.shape = buckets, qkv.shape
        ctx.saved = []
        for bucket in buckets:
            mixed, saved = _attend_bucket(qkv[bucket.first : bucket.last], bucket)
            rows = mixed.transpose(1, 2).reshape(bucket.num_pairs * bucket.width, -1)
            output[bucket.first : bucket.last] = (
                rows if bucket.scatter is None else rows.index_select(0, bucket.scatter)
            )
            ctx.saved.append(saved)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Returns the gradient of `qkv`."""
        (grad,) = grads
        heads = ctx.shape[2]
        qkv_grad = grad.new_empty(ctx.shape)
        for bucket, saved in zip(ctx.buckets, ctx.saved, strict=True):
            block = _bucket_gradients(_as_block(grad[bucket.first : bucket.last], bucket, heads), saved, heads)
            rows = block.permute(1, 3, 0, 2, 4).reshape(bucket.num_pairs * bucket.width, *ctx.shape[1:])
            qkv_grad[bucket.first : bucket.last] = (
                rows if bucket.scatter is None else rows.index_select(0, bucket.scatter)
            )
        ctx.saved = None
        return qkv_grad, None


def _attend_bucket(qkv: torch.Tensor, bucket: Bucket) -> tuple[torch.Tensor, _Saved]:
    """Returns the attention `(pairs, heads, width, head_dim)`, and the tensors its backward pass needs."""
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
    return mixed.view(pairs, heads, width, head_dim), _Saved(query, key, value, weights)


def _bucket_gradients(grad: torch.Tensor, saved: _Saved, heads: int) -> torch.Tensor:
    """Returns the gradients of queries, keys and values, `(3, pairs, heads, width, head_dim)`."""
    products, width, head_dim = grad.shape
    gradients = grad.new_empty(3, products, width, head_dim)
    query_grad, key_grad, value_grad = gradients
    for part in _parts(products // heads, heads, saved.weights):
        weights = saved.weights[part]
        torch.bmm(weights.transpose(1, 2), grad[part], out=value_grad[part])
        weights_grad = torch.bmm(grad[part], saved.value[part].transpose(1, 2))
        scores_grad = torch.ops.aten._softmax_backward_data(weights_grad, weights, -1, weights.dtype)
        torch.bmm(scores_grad, saved.key[part], out=query_grad[part])
        torch.bmm(scores_grad.transpose(1, 2), saved.query[part], out=key_grad[part])
    query_grad *= 1 / math.sqrt(head_dim)
    return gradients.view(3, -1, heads, width, head_dim)


def _as_block(grad: torch.Tensor, bucket: Bucket, heads: int) -> torch.Tensor:
    """Reshapes `(tokens, heads * head_dim)` to `(pairs * heads, width, head_dim)`, with zeros at padding."""
    if bucket.scatter is not None:
        rows = grad.new_zeros(bucket.num_pairs * bucket.width, grad.shape[1])
        grad = rows.index_copy_(0, bucket.scatter, grad)
    return grad.view(bucket.num_pairs, bucket.width, heads, -1).transpose(1, 2).contiguous().flatten(0, 1)


def _parts(pairs: int, heads: int, weights: torch.Tensor) -> Sequence[slice]:
    _, width, _ = weights.shape
    return list(split_products(pairs, heads, max(1, _WEIGHTS_BYTES // (width * width * weights.element_size()))))
