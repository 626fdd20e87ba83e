"""Linear layers with the operation that follows them, plain or with weights laid out for the CPU's matrix units."""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's usual alias)
from torch import nn

from shortlist.router.engine.packing import round_up

__all__ = ["Linear", "PackedLinear", "can_pack", "pack_linears"]


class Linear(nn.Linear):
    """A linear layer that can also apply GELU to its output, or add its output to a residual."""

    def gelu(self, states: torch.Tensor) -> torch.Tensor:
        """Computes the exact GELU (with the error function) of the layer's output."""
        return F.gelu(self(states))

    def add_to(self, residual: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Computes `residual` plus the layer's output."""
        return residual + self(states)  # type: ignore[no-any-return]


class PackedLinear(nn.Module):
    """Does the same with oneDNN, for inference on a CPU.

    The weights are reordered once instead of at every call, and the operation that follows is fused; in bfloat16 it
    runs before the output is rounded. docs/log.md has the measured gain. The operators are those that torch.compile
    generates calls to.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        # A plain attribute, not a buffer: the reordered tensor is opaque and can be neither saved nor cast.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self._bias = linear.bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Computes the layer's output of `(tokens, in)`."""
        return self._run(states, "none", "")

    def gelu(self, states: torch.Tensor) -> torch.Tensor:
        """Computes the exact GELU (with the error function) of the layer's output."""
        return self._run(states, "gelu", "none")

    def add_to(self, residual: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Computes `residual` plus the layer's output."""
        summed: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            _pad_rows(states), _pad_rows(residual), self._weight, self._bias, "add"
        )
        return summed[: len(states)]

    def _run(self, states: torch.Tensor, function: str, algorithm: str) -> torch.Tensor:
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            _pad_rows(states), self._weight, self._bias, function, [], algorithm
        )
        return output[: len(states)]


def _pad_rows(rows: torch.Tensor) -> torch.Tensor:
    """Adds rows of zeros up to a rounded number, for the reason given in `round_up`; whole batches have one already."""
    missing = round_up(len(rows)) - len(rows)
    return F.pad(rows, (0, 0, 0, missing)) if missing else rows


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Returns whether this torch and this machine can run `PackedLinear`; where it runs, it is faster."""
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
    """Replaces every `Linear` in a module by its packed form; afterwards the module supports inference only."""
    for name, child in module.named_children():
        if isinstance(child, Linear):
            setattr(module, name, PackedLinear(child))
        else:
            pack_linears(child)
