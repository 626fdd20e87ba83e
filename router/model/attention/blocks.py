"""Attention in padded blocks: the fast path for CPUs, torch's own, and the slow reference.

Neighbouring pairs of similar length form a block, so that batched matrix products pad little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's usual alias)

from shortlist.router.engine.packing import PackedBatch
from shortlist.router.model.attention.backends import Attend, attend_to_all

__all__ = [
    "MAX_WASTE",
    "Bucket",
    "BucketedAttention",
    "PaddedAttention",
    "SdpaAttention",
    "make_bucket",
    "plain_attention",
    "plan_buckets",
    "split_products",
]

MAX_WASTE = 0.12  # share of padding in a block; up to about this, the saving in blocks outweighs the padding
# Widths up to 64 are multiples of 16, wider ones of 32.
_NARROW_STEP, _WIDE_STEP, _WIDE = 16, 32, 64
# Attention weights are computed in parts of this many bytes, to stay in the CPU's caches between the two products that
# need them.
_WEIGHTS_BYTES = 4 << 20
# Values are padded to a multiple of this many columns. The padding is ones: its product is the sum of the weights.
_VECTOR = 16
# A sum of weights in this range proves that no weight overflowed and no significant one underflowed.
_SMALLEST_SUM, _LARGEST_SUM = 2.0**-100, 2.0**110


class BucketedAttention:
    """Pads only within groups of similar length, and computes softmax without its maximum; not thread-safe.

    `softmax(s) v` is `2^(s log2 e) [v, 1]` divided by its last column, the sum of the weights. This saves the two
    slowest passes over the weights. If a sum shows that a weight left the range of the dtype, the block is computed
    again with an ordinary softmax. Padding has no effect because its rows of `[v, 1]` are zero.
    """

    name = "bucketed"

    def __init__(self, *, max_waste: float = MAX_WASTE) -> None:
        self._max_waste = max_waste
        self._buffers = _Buffers()

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Groups neighbouring pairs so that at most `max_waste` of a block is padding."""
        buckets = plan_buckets(batch.lengths, self._max_waste, dtype, batch.input_ids.device)

        def attend(qkv: torch.Tensor, *, first_only: bool = False) -> torch.Tensor:
            mixed = [_attend_in_place(qkv[b.first : b.last], b, self._buffers, first_only) for b in buckets]
            return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

        return attend


class _Buffers:
    """Reuses one buffer for each name: fresh memory pages cost more than the work done in them."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, torch.dtype], torch.Tensor] = {}

    def take(self, name: str, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """Returns an uninitialised tensor of `shape`, which overwrites the last one of this name."""
        size, key = math.prod(shape), (name, like.dtype)
        block = self._blocks.get(key)
        if block is None or block.numel() < size or block.device != like.device:
            block = self._blocks[key] = like.new_empty(size)
        return block[:size].view(shape)


def _attend_in_place(qkv: torch.Tensor, bucket: Bucket, buffers: _Buffers, first_only: bool) -> torch.Tensor:
    """Returns the attention of a bucket's tokens, or of its pairs' first tokens, `(tokens, heads * head_dim)`."""
    _, _, heads, head_dim = qkv.shape
    rows = qkv if bucket.gather is None else qkv.index_select(0, bucket.gather)
    block = rows.view(bucket.num_pairs, bucket.width, 3, heads, head_dim).permute(2, 0, 3, 1, 4)
    num_queries = 1 if first_only else bucket.width
    summed = _weighted_sums(block, bucket, buffers, num_queries)
    sums = summed[..., head_dim : head_dim + 1]
    lowest, highest = torch.aminmax(sums)
    if lowest.item() > _SMALLEST_SUM and highest.item() < _LARGEST_SUM:
        blockwise = torch.div(summed[..., :head_dim], sums)
    else:
        blockwise = plain_attention(*block.unbind(0), attn_mask=bucket.bias)[:, :, :num_queries]
    flat = blockwise.transpose(1, 2).reshape(bucket.num_pairs * num_queries, heads * head_dim)
    return flat if bucket.scatter is None or first_only else flat.index_select(0, bucket.scatter)


def _weighted_sums(block: torch.Tensor, bucket: Bucket, buffers: _Buffers, num_queries: int) -> torch.Tensor:
    """Returns `(pairs, heads, num_queries, head_dim + padding)`: sums of weighted values, then sums of weights."""
    _, pairs, heads, width, _ = block.shape
    query, key, value = _lay_out(block, bucket, buffers, num_queries)
    summed = buffers.take("summed", block, pairs * heads, num_queries, value.shape[-1])
    max_products = max(1, _WEIGHTS_BYTES // (width * width * block.element_size()))
    for part in split_products(pairs, heads, max_products):
        if num_queries == 1:
            # In float32, because its library keeps no kernel for each size, unlike that of bfloat16 (`split_products`).
            first_weights = torch.bmm(query[part].float(), key[part].float().transpose(1, 2)).exp2_()
            summed[part] = torch.bmm(first_weights, value[part].float())
            continue
        weights = buffers.take("weights", block, part.stop - part.start, width, width)
        torch.bmm(query[part], key[part].transpose(1, 2), out=weights)
        torch.bmm(weights.exp2_(), value[part], out=summed[part])
    return summed.view(pairs, heads, num_queries, -1)


def split_products(pairs: int, heads: int, max_products: int) -> Iterator[slice]:
    """Splits `pairs * heads` products into parts of at most `max_products` products.

    A part holds 1, 2, 4, ... pairs, or an equal share of one pair's heads. oneDNN keeps a kernel of half a MiB for
    every number of products, so there must be few different ones (docs/log.md).
    """
    first, last = 0, pairs * heads
    while first < last:
        if max_products < heads:
            size = max(size for size in range(1, max_products + 1) if heads % size == 0)
        else:
            size = heads << (min(max_products, last - first) // heads).bit_length() - 1
        yield slice(first, first + size)
        first += size


def _lay_out(
    block: torch.Tensor, bucket: Bucket, buffers: _Buffers, num_queries: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Copies `(3, pairs, heads, width, head_dim)` into scaled queries, keys, and values with columns of ones."""
    _, pairs, heads, width, head_dim = block.shape
    query = buffers.take("query", block, pairs, heads, num_queries, head_dim)
    torch.mul(block[0, :, :, :num_queries], math.log2(math.e) / math.sqrt(head_dim), out=query)
    key = buffers.take("key", block, pairs, heads, width, head_dim)
    # Subtracting the mean key leaves softmax unchanged and keeps scores small (SageAttention, arXiv 2410.02367).
    torch.sub(block[1], block[1].mean(2, keepdim=True), out=key)
    padded_dim = (head_dim // _VECTOR + 1) * _VECTOR
    value = buffers.take("value", block, pairs, heads, width, padded_dim)
    if bucket.present is None:
        value[..., :head_dim] = block[2]
        value[..., head_dim:] = 1
    else:
        torch.mul(block[2], bucket.present, out=value[..., :head_dim])
        value[..., head_dim:] = bucket.present
    return query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)


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
