"""Attention on a CPU: batched products, an exponential and nothing else, in memory that is used again."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from shortlist.router.engine.packing import PackedBatch
from shortlist.router.model.attention.backends import Attend, plain_attention
from shortlist.router.model.attention.buckets import MAX_WASTE, Bucket, plan_buckets

__all__ = ["BucketedAttention", "parts"]

# Weights of this many bytes at a time: they stay in the caches between the two products that need them.
_WEIGHTS_BYTES = 4 << 20
# Values are padded to whole vectors of this many, the first of the padding being the sum of the weights.
_VECTOR = 16
# Sums of weights within these prove that no weight overflowed and none that matters vanished.
_SMALLEST_SUM, _LARGEST_SUM = 2.0**-100, 2.0**110


class BucketedAttention:
    """Pads only within groups of like length; softmax without its maximum, its sum taken by the second product.

    `softmax(s) v` is `2^(s log2 e) [v, 1]`, its last column dividing the others. That saves the two slowest passes over
    the weights; where a sum shows that a weight left the range of the dtype, the block is computed again in the
    ordinary way. Padding counts for nothing because its rows of `[v, 1]` are zero. Not safe to share between threads.
    """

    name = "bucketed"

    def __init__(self, *, max_waste: float = MAX_WASTE) -> None:
        self._max_waste = max_waste
        self._memory = _Memory()

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Groups neighbours so that at most `max_waste` of a block is padding."""
        buckets = plan_buckets(batch.lengths, self._max_waste, dtype, batch.input_ids.device)

        def attend(qkv: torch.Tensor, *, first_only: bool = False) -> torch.Tensor:
            mixed = [_attend_bucket(qkv[b.first : b.last], b, self._memory, first_only) for b in buckets]
            return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

        return attend


class _Memory:
    """Lends the same memory under the same name again: fresh pages cost more than the work done in them."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, torch.dtype], torch.Tensor] = {}

    def take(self, name: str, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """Gives an uninitialised tensor of `shape`; what was lent under `name` before is gone."""
        size, key = math.prod(shape), (name, like.dtype)
        block = self._blocks.get(key)
        if block is None or block.numel() < size or block.device != like.device:
            block = self._blocks[key] = like.new_empty(size)
        return block[:size].view(shape)


def _attend_bucket(qkv: torch.Tensor, bucket: Bucket, memory: _Memory, first_only: bool) -> torch.Tensor:
    """Returns the attention of a bucket's tokens, or of its pairs' first ones, `(tokens, heads * head_dim)`."""
    _, _, heads, head_dim = qkv.shape
    rows = qkv if bucket.gather is None else qkv.index_select(0, bucket.gather)
    block = rows.view(bucket.num_pairs, bucket.width, 3, heads, head_dim).permute(2, 0, 3, 1, 4)
    num_queries = 1 if first_only else bucket.width
    summed = _weighted_sums(block, bucket, memory, num_queries)
    sums = summed[..., head_dim : head_dim + 1]
    lowest, highest = torch.aminmax(sums)
    if lowest.item() > _SMALLEST_SUM and highest.item() < _LARGEST_SUM:
        blockwise = torch.div(summed[..., :head_dim], sums)
    else:
        blockwise = plain_attention(*block.unbind(0), attn_mask=bucket.bias)[:, :, :num_queries]
    flat = blockwise.transpose(1, 2).reshape(bucket.num_pairs * num_queries, heads * head_dim)
    return flat if bucket.scatter is None or first_only else flat.index_select(0, bucket.scatter)


def _weighted_sums(block: torch.Tensor, bucket: Bucket, memory: _Memory, num_queries: int) -> torch.Tensor:
    """Returns `(pairs, heads, num_queries, head_dim + padding)`: sums of weighted values, then of the weights alone."""
    _, pairs, heads, width, _ = block.shape
    query, key, value = _lay_out(block, bucket, memory, num_queries)
    summed = memory.take("summed", block, pairs * heads, num_queries, value.shape[-1])
    most = max(1, _WEIGHTS_BYTES // (width * width * block.element_size()))
    for part in parts(pairs, heads, most):
        if num_queries == 1:
            # In float32, by a library that keeps nothing for each size of a product, unlike bfloat16's (`parts`).
            raised = torch.bmm(query[part].float(), key[part].float().transpose(1, 2)).exp2_()
            summed[part] = torch.bmm(raised, value[part].float())
            continue
        weights = memory.take("weights", block, part.stop - part.start, width, width)
        torch.bmm(query[part], key[part].transpose(1, 2), out=weights)
        torch.bmm(weights.exp2_(), value[part], out=summed[part])
    return summed.view(pairs, heads, num_queries, -1)


def parts(pairs: int, heads: int, most: int) -> Iterator[slice]:
    """Divides `pairs * heads` products into parts of at most `most`: of 1, 2, 4, ... pairs, or equal parts of one pair.

    oneDNN keeps a kernel of half a MiB for every number of products, so there must be few (docs/log.md).
    """
    first, last = 0, pairs * heads
    while first < last:
        if most < heads:
            size = max(size for size in range(1, most + 1) if heads % size == 0)
        else:
            size = heads << (min(most, last - first) // heads).bit_length() - 1
        yield slice(first, first + size)
        first += size


def _lay_out(
    block: torch.Tensor, bucket: Bucket, memory: _Memory, num_queries: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Copies `(3, pairs, heads, width, head_dim)` to scaled queries, keys, and values with a column of ones."""
    _, pairs, heads, width, head_dim = block.shape
    query = memory.take("query", block, pairs, heads, num_queries, head_dim)
    torch.mul(block[0, :, :, :num_queries], math.log2(math.e) / math.sqrt(head_dim), out=query)
    key = memory.take("key", block, pairs, heads, width, head_dim)
    # Softmax does not see what all keys have in common; without it scores stay small (SageAttention, arXiv 2410.02367).
    torch.sub(block[1], block[1].mean(2, keepdim=True), out=key)
    padded_dim = (head_dim // _VECTOR + 1) * _VECTOR
    value = memory.take("value", block, pairs, heads, width, padded_dim)
    if bucket.present is None:
        value[..., :head_dim] = block[2]
        value[..., head_dim:] = 1
    else:
        torch.mul(block[2], bucket.present, out=value[..., :head_dim])
        value[..., head_dim:] = bucket.present
    return query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)
