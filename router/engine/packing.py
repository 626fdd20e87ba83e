"""Packs pairs of different lengths into one flat batch without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from shortlist.router.engine.tokenizer import Pair

__all__ = ["PackedBatch", "filler", "pack", "round_up"]

_MIN_STEP, _MAX_STEP = 16, 128


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Pairs concatenated into one flat batch.

    `input_ids`, `positions` and `token_types` are int64 `(total_tokens,)`; `positions` count from 0 in each pair.
    `cu_seqlens` is int32 `(pairs + 1,)`, on the same device; `lengths` holds each pair's length, on the host;
    `max_seqlen` is the largest of them.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    token_types: torch.Tensor
    cu_seqlens: torch.Tensor
    lengths: tuple[int, ...]
    max_seqlen: int

    @property
    def num_pairs(self) -> int:
        """The number of pairs."""
        return len(self.lengths)

    def to(self, device: torch.device) -> PackedBatch:
        """Copies the tensors to `device`."""
        return PackedBatch(
            self.input_ids.to(device, non_blocking=True),
            self.positions.to(device, non_blocking=True),
            self.token_types.to(device, non_blocking=True),
            self.cu_seqlens.to(device, non_blocking=True),
            self.lengths,
            self.max_seqlen,
        )


def pack(pairs: Sequence[Pair]) -> PackedBatch:
    """Concatenates the pairs in the given order; at least one is required."""
    lengths = np.fromiter((len(pair.input_ids) for pair in pairs), dtype=np.int64, count=len(pairs))
    ends = np.cumsum(lengths)
    starts = np.repeat(ends - lengths, lengths)
    positions = np.arange(ends[-1]) - starts
    seconds = np.repeat(np.fromiter((pair.second_start for pair in pairs), np.int64, len(pairs)), lengths)
    cu_seqlens = np.zeros(len(pairs) + 1, np.int32)
    cu_seqlens[1:] = ends
    return PackedBatch(
        input_ids=torch.from_numpy(np.concatenate([pair.input_ids for pair in pairs]).astype(np.int64)),
        positions=torch.from_numpy(positions),
        token_types=torch.from_numpy((positions >= seconds).astype(np.int64)),
        cu_seqlens=torch.from_numpy(cu_seqlens),
        lengths=tuple(lengths.tolist()),
        max_seqlen=int(lengths.max()),
    )


def round_up(count: int) -> int:
    """Rounds up to a multiple of 16, 32, 64 or 128, so that few distinct sizes occur.

    From 128 on, the result is at most an eighth larger than `count`. oneDNN builds a kernel for each new product size
    and keeps it: with varied traffic, that cost 6 % of the time and hundreds of MiB (docs/log.md).
    """
    step = min(max(_MIN_STEP, 1 << max(count.bit_length() - 4, 0)), _MAX_STEP)
    return -(-count // step) * step


def filler(pairs: Sequence[Pair], max_pair_tokens: int) -> Pair | None:
    """Makes a dummy pair that brings the batch to a rounded size (`round_up`); None if it already has one."""
    total = sum(map(len, pairs))
    missing = min(round_up(total) - total, max_pair_tokens)
    return Pair(np.repeat(pairs[0].input_ids[:1], missing), missing) if missing else None
