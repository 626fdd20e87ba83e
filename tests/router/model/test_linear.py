"""Packed linear layers compute the same as plain ones, and are used only where the machine supports them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from checkpoints import random_model, random_pairs

from shortlist.router.engine.packing import pack
from shortlist.router.model.attention.blocks import PaddedAttention
from shortlist.router.model.encoder import Linear, PackedLinear, can_pack, pack_linears

CPU = torch.device("cpu")
DTYPES = [
    pytest.param(torch.float32, 1e-5, id="float32"),
    pytest.param(torch.bfloat16, 2e-2, id="bfloat16"),
]
OPERATIONS = [
    pytest.param(lambda layer, states, residual: layer(states), id="alone"),
    pytest.param(lambda layer, states, residual: layer.gelu(states), id="with GELU"),
    pytest.param(lambda layer, states, residual: layer.add_to(residual, states), id="with a residual"),
]
Operation = Callable[[Linear | PackedLinear, torch.Tensor, torch.Tensor], torch.Tensor]


def needs_packing(dtype: torch.dtype) -> None:
    if not can_pack(CPU, dtype):
        pytest.skip(f"this machine does not pack {dtype}")


@pytest.mark.parametrize("tokens", [1, 7, 300])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@torch.inference_mode()
def test_a_packed_layer_matches_the_plain_one_in_float32(
    dtype: torch.dtype, tolerance: float, operation: Operation, tokens: int
) -> None:
    needs_packing(dtype)
    generator = torch.Generator().manual_seed(3)
    plain = Linear(48, 32)
    states, residual = (torch.randn(tokens, width, generator=generator) for width in (48, 32))
    packed = PackedLinear(_copied(plain).to(dtype))

    output = operation(packed, states.to(dtype), residual.to(dtype))

    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), operation(plain, states, residual), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@torch.inference_mode()
def test_a_packed_model_scores_as_before(dtype: torch.dtype, tolerance: float) -> None:
    needs_packing(dtype)
    batch = pack(random_pairs([5, 40, 40, 96]))
    model = random_model(dtype)
    before = model(batch, PaddedAttention())

    pack_linears(model)

    torch.testing.assert_close(model(batch, PaddedAttention()), before, atol=4 * tolerance, rtol=0)
    assert (before.max() - before.min()).item() > 0.2  # else the tolerance would prove nothing


def test_packing_replaces_every_linear_layer() -> None:
    needs_packing(torch.float32)
    model = random_model()

    pack_linears(model)

    kinds = {type(module) for module in model.modules()}
    assert PackedLinear in kinds
    assert Linear not in kinds


@pytest.mark.parametrize(
    ("device", "dtype"), [("cuda", torch.bfloat16), ("cpu", torch.float16)], ids=["another device", "another dtype"]
)
def test_other_devices_and_dtypes_cannot_be_packed(device: str, dtype: torch.dtype) -> None:
    assert not can_pack(torch.device(device), dtype)


def test_other_processors_cannot_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")

    assert not can_pack(CPU, torch.float32)


def _copied(layer: Linear) -> Linear:
    copy = Linear(layer.in_features, layer.out_features).requires_grad_(False)
    copy.load_state_dict(layer.state_dict())
    return copy
