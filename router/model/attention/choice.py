"""Picks an attention backend that the machine can run, or says why the requested one cannot run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from shortlist.router.model.attention.backends import AttentionBackend
from shortlist.router.model.attention.blocks import BucketedAttention, PaddedAttention, SdpaAttention
from shortlist.router.model.attention.cuda import FlashAttention, VarlenAttention
from shortlist.schemas.errors import InvalidInput

__all__ = ["ATTENTION_NAMES", "choose_attention"]

_BACKENDS: Mapping[str, Callable[[], AttentionBackend]] = MappingProxyType(
    {
        "flash": FlashAttention,
        "varlen": VarlenAttention,
        "sdpa": SdpaAttention,
        "bucketed": BucketedAttention,
        "padded": PaddedAttention,
    }
)
ATTENTION_NAMES = ("auto", *_BACKENDS)

_PACKED_KERNELS = ("flash", "varlen")
_MIN_CAPABILITY = (8, 0)  # Ampere; flash-attn 2 and torch's own kernel do not support anything older
_MAX_HEAD_DIM = 256


def choose_attention(name: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> AttentionBackend:
    """Makes the backend called `name`.

    ``auto`` is the first of flash, varlen and sdpa that can run on a CUDA GPU, and bucketed on a CPU (sdpa in float16).

    Raises:
        InvalidInput: there is no backend of that name, or it cannot run here.
    """
    if name == "auto":
        return _first_that_runs(device, dtype, head_dim)
    if name not in _BACKENDS:
        raise InvalidInput(f"unknown backend {name!r}; use one of {', '.join(ATTENTION_NAMES)}", field="attention")
    try:
        return _make(name, device, dtype, head_dim)
    except _CannotRunError as error:
        raise InvalidInput(f"{name!r} cannot run here: {error}; use 'auto' or 'sdpa'", field="attention") from error


class _CannotRunError(Exception):
    """Says what the machine lacks for a backend."""


def _first_that_runs(device: torch.device, dtype: torch.dtype, head_dim: int) -> AttentionBackend:
    for name in _PACKED_KERNELS if device.type == "cuda" else ():
        try:
            return _make(name, device, dtype, head_dim)
        except _CannotRunError:
            continue
    # BucketedAttention computes softmax without a maximum; the range of float16 is too small for that.
    return BucketedAttention() if device.type == "cpu" and dtype != torch.float16 else SdpaAttention()


def _make(name: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> AttentionBackend:
    if name in _PACKED_KERNELS:
        _check_card(device, dtype, head_dim)
    try:
        return _BACKENDS[name]()
    except (ImportError, OSError, AttributeError) as error:
        # A flash-attn built for another torch has an undefined symbol: an ImportError or OSError.
        raise _CannotRunError(f"it cannot be imported ({error})") from error


def _check_card(device: torch.device, dtype: torch.dtype, head_dim: int) -> None:
    if device.type != "cuda":
        raise _CannotRunError(f"it needs a CUDA GPU; the device is {device}")
    if dtype not in (torch.float16, torch.bfloat16):
        raise _CannotRunError(f"it computes in float16 or bfloat16; the dtype is {str(dtype).removeprefix('torch.')}")
    capability = torch.cuda.get_device_capability(device)
    if capability < _MIN_CAPABILITY:
        raise _CannotRunError(f"it needs compute capability 8.0; the GPU has {capability[0]}.{capability[1]}")
    if head_dim > _MAX_HEAD_DIM or head_dim % 8:
        raise _CannotRunError(
            f"it needs a head dimension of at most 256 that is a multiple of 8; the model's is {head_dim}"
        )
