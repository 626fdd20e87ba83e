"""Attention kernels that read packed pairs in place and need a CUDA GPU: flash-attn, and torch's own varlen."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module

import torch

from shortlist.router.engine.packing import PackedBatch
from shortlist.router.model.attention.backends import Attend, attend_to_all

__all__ = ["FlashAttention", "VarlenAttention"]

_Kernel = Callable[..., torch.Tensor]


class FlashAttention:
    """Calls `flash_attn_varlen_func` of the flash-attn package, which only this class imports.

    Raises:
        ImportError: flash-attn is not installed, or was built for another torch.
    """

    name = "flash"

    def __init__(self) -> None:
        self._kernel: _Kernel = import_module("flash_attn").flash_attn_varlen_func

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Uses the batch's boundaries as they are, for both queries and keys."""
        kernel, cu_seqlens, max_seqlen = self._kernel, batch.cu_seqlens, batch.max_seqlen

        def attend(qkv: torch.Tensor) -> torch.Tensor:
            query, key, value = qkv.unbind(1)
            mixed = kernel(
                query,
                key,
                value,
                cu_seqlens_q=cu_seqlens,
                cu_seqlens_k=cu_seqlens,
                max_seqlen_q=max_seqlen,
                max_seqlen_k=max_seqlen,
                dropout_p=0.0,
                softmax_scale=1 / math.sqrt(qkv.shape[-1]),
                causal=False,
            )
            return mixed.reshape(len(qkv), -1)

        return attend_to_all(batch, attend)


class VarlenAttention:
    """Calls `varlen_attn`, which torch has from 2.10 on.

    Raises:
        ImportError: this torch is older.
    """

    name = "varlen"

    def __init__(self) -> None:
        self._kernel: _Kernel = import_module("torch.nn.attention.varlen").varlen_attn

    def plan(self, batch: PackedBatch, dtype: torch.dtype) -> Attend:
        """Uses the batch's boundaries as they are, for both queries and keys."""
        kernel, cu_seqlens, max_seqlen = self._kernel, batch.cu_seqlens, batch.max_seqlen

        def attend(qkv: torch.Tensor) -> torch.Tensor:
            query, key, value = qkv.unbind(1)
            # By position: the keywords differ between releases. By default there is no causal mask, and the scale is
            # 1/sqrt(head_dim).
            mixed = kernel(query, key, value, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen)
            return mixed.reshape(len(qkv), -1)

        return attend_to_all(batch, attend)
