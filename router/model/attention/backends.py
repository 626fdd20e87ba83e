"""Defines the interface of attention backends over packed pairs.

A backend prepares what it needs once per batch (`plan`) and is then called once per layer with
`qkv (total_tokens, 3, heads, head_dim)`; it returns `(total_tokens, heads * head_dim)`. Tokens attend only to tokens of
their own pair. `blocks` holds the backends that run everywhere, `training` the one with gradients and `cuda` the
kernels that need a CUDA GPU; `choice` picks a backend for a machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from shortlist.router.engine.packing import PackedBatch

__all__ = [
    "Attend",
    "AttentionBackend",
    "attend_to_all",
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


def attend_to_all(batch: PackedBatch, kernel: Callable[[torch.Tensor], torch.Tensor]) -> Attend:
    """Turns a kernel that always computes all tokens into an `Attend`."""
    firsts = batch.cu_seqlens[:-1]

    def attend(qkv: torch.Tensor, *, first_only: bool = False) -> torch.Tensor:
        mixed = kernel(qkv)
        return mixed.index_select(0, firsts) if first_only else mixed

    return attend
