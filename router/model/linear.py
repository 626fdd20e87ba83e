"""Linear layers with what follows them, plain and with weights laid out for the CPU's matrix units."""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone knows it by)
from torch import nn

from shortlist.router.engine.packing import round_up

__all__ = ["Linear", "PackedLinear", "can_pack", "pack_linears"]


class Linear(nn.Linear):
    """A linear layer that can be asked for its GELU, or for its sum with a residual."""

    def gelu(self, states: torch.Tensor) -> torch.Tensor:
        """Computes GELU of the layer's output, by the error function."""
        return F.gelu(self(states))

    def add_to(self, residual: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Computes `residual` plus the layer's output."""
        return residual + self(states)  # type: ignore[no-any-return]


class PackedLinear(nn.Module):
    """The same by oneDNN, for inference on a CPU: weights re-laid once instead of at every call, passes fused.

    In bfloat16 what follows is computed before the output is rounded. docs/log.md has what it gains; the operators are
    those that torch.compile generates calls to.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        # A plain attribute: an opaque tensor can neither be saved nor cast.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self._bias = linear.bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Computes the layer's output of `(tokens, in)`."""
        return self._run(states, "none", "")

    def gelu(self, states: torch.Tensor) -> torch.Tensor:
        """Computes GELU of the layer's output, by the error function."""
        return self._run(states, "gelu", "none")

    def add_to(self, residual: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Computes `residual` plus the layer's output."""
        summed: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            _recurring(states), _recurring(residual), self._weight, self._bias, "add"
        )
        return summed[: len(states)]

    def _run(self, states: torch.Tensor, function: str, algorithm: str) -> torch.Tensor:
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            _recurring(states), self._weight, self._bias, function, [], algorithm
        )
        return output[: len(states)]


def _recurring(rows: torch.Tensor) -> torch.Tensor:
    """Adds rows of zeros up to a number that recurs, for the reason of `packing.round_up`; a batch has one already."""
    missing = round_up(len(rows)) - len(rows)
    return F.pad(rows, (0, 0, 0, missing)) if missing else rows


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Tells whether this torch and this machine run `PackedLinear` at all; it is then faster too."""
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def pack_linears(module: nn.Module) -> None:
    """Replaces every `Linear` within a module by its packed form; afterwards it can only infer."""
    for name, child in module.named_children():
        if isinstance(child, Linear):
            setattr(module, name, PackedLinear(child))
        else:
            pack_linears(child)
