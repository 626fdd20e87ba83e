"""Packs the pairs of a training step into batches of recurring sizes, restores their order, and picks the attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from shortlist.router.engine.packing import PackedBatch, filler, pack
from shortlist.router.engine.tokenizer import Pair
from shortlist.router.model.attention.backends import AttentionBackend
from shortlist.router.model.attention.choice import choose_attention
from shortlist.router.model.attention.training import TrainableAttention
from shortlist.router.model.encoder import ModelConfig

__all__ = ["choose_trainable", "in_order", "pack_longest_first"]


def pack_longest_first(pairs: Sequence[Pair], max_pair_tokens: int) -> tuple[PackedBatch, list[int]]:
    """Packs pairs, longest first, and pads the batch with a filler pair; returns the batch and the pairs' old places.

    The filler makes the number of tokens a recurring one. oneDNN builds a kernel for each new size, so the first
    product of a size takes some five times as long as later ones (docs/log.md).
    """
    order = sorted(range(len(pairs)), key=lambda index: -len(pairs[index]))
    last = filler(pairs, max_pair_tokens)
    return pack([pairs[index] for index in order] + ([last] if last else [])), order


def in_order(values: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """Restores the original order of a batch's results, and drops the result of the filler pair."""
    return torch.empty_like(values[: len(order)]).index_copy(
        0, torch.tensor(order, device=values.device), values[: len(order)]
    )


def choose_trainable(device: torch.device, config: ModelConfig) -> AttentionBackend:
    """Picks the attention for training: our own backward pass on a CPU, the packed kernels on a GPU."""
    if device.type == "cpu":
        return TrainableAttention()
    return choose_attention("auto", device, torch.bfloat16, config.hidden_size // config.num_heads)
