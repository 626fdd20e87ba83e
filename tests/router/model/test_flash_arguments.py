"""The CUDA kernels are replaced by stand-ins that record their arguments and compute the same on the CPU."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from checkpoints import random_pairs

from shortlist.router.engine.packing import PackedBatch, pack
from shortlist.router.model.attention.backends import AttentionBackend
from shortlist.router.model.attention.blocks import PaddedAttention
from shortlist.router.model.attention.choice import choose_attention
from shortlist.router.model.attention.cuda import FlashAttention, VarlenAttention
from shortlist.schemas.errors import InvalidInput

CUDA = torch.device("cuda", 0)
LENGTHS = [7, 30, 4, 12]


class StandIn:
    """A kernel that records its arguments and attends pair by pair."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.given: dict[str, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.given = dict(zip(self.names, args, strict=False)) | kwargs
        query, key, value = args[:3]
        sizes = torch.diff(self.given[self.names[3]]).tolist()
        parts = zip(query.split(sizes), key.split(sizes), value.split(sizes), strict=True)
        return torch.cat([_attend(*part) for part in parts])


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    kernel = StandIn(("q", "k", "v", "cu_seqlens_q", "cu_seqlens_k"))
    module = ModuleType("flash_attn")
    module.flash_attn_varlen_func = kernel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    return kernel


@pytest.fixture
def varlen(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    kernel = StandIn(("query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"))
    module = ModuleType("torch.nn.attention.varlen")
    module.varlen_attn = kernel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", module)
    return kernel


@pytest.fixture
def no_packed_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)


@pytest.fixture
def ampere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (8, 6))


def test_flash_attention_receives_the_boundaries_the_scale_and_no_causal_mask(flash: StandIn) -> None:
    batch, qkv = _batch(), _qkv()

    FlashAttention().plan(batch, torch.float32)(qkv)

    assert flash.given["cu_seqlens_q"].tolist() == flash.given["cu_seqlens_k"].tolist() == [0, 7, 37, 41, 53]
    assert flash.given["cu_seqlens_q"].dtype is flash.given["cu_seqlens_k"].dtype is torch.int32
    assert (flash.given["max_seqlen_q"], flash.given["max_seqlen_k"]) == (30, 30)
    assert flash.given["softmax_scale"] == pytest.approx(16**-0.5)
    assert flash.given["causal"] is False
    assert flash.given["dropout_p"] == 0.0


def test_flash_attention_receives_queries_keys_and_values_separately(flash: StandIn) -> None:
    qkv = _qkv()

    FlashAttention().plan(_batch(), torch.float32)(qkv)

    assert torch.equal(torch.stack([flash.given[name] for name in "qkv"], 1), qkv)
    assert all(flash.given[name].stride(-1) == 1 for name in "qkv")


def test_varlen_attention_receives_the_boundaries_and_no_other_options(varlen: StandIn) -> None:
    VarlenAttention().plan(_batch(), torch.float32)(_qkv())

    assert set(varlen.given) == {"query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"}
    assert varlen.given["cu_seq_q"].tolist() == varlen.given["cu_seq_k"].tolist() == [0, 7, 37, 41, 53]
    assert (varlen.given["max_q"], varlen.given["max_k"]) == (30, 30)


@pytest.mark.usefixtures("flash", "varlen")
@pytest.mark.parametrize("backend", [FlashAttention, VarlenAttention])
def test_packed_kernels_match_the_padded_reference(backend: type[AttentionBackend]) -> None:
    batch, qkv = _batch(), _qkv()

    mixed = backend().plan(batch, torch.float32)(qkv)

    torch.testing.assert_close(mixed, PaddedAttention().plan(batch, torch.float32)(qkv), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("flash", "varlen", "ampere")
def test_auto_prefers_flash_attention_on_a_gpu_that_has_it() -> None:
    assert choose_attention("auto", CUDA, torch.bfloat16, 32).name == "flash"


@pytest.mark.usefixtures("no_packed_kernels", "ampere")
def test_auto_falls_back_to_sdpa_on_a_gpu_without_packed_kernels() -> None:
    assert choose_attention("auto", CUDA, torch.bfloat16, 32).name == "sdpa"


@pytest.mark.usefixtures("ampere")
def test_auto_takes_torchs_own_kernel_where_flash_attention_is_missing(
    varlen: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)

    assert choose_attention("auto", CUDA, torch.float16, 64).name == "varlen"


@pytest.mark.usefixtures("flash", "varlen", "ampere")
@pytest.mark.parametrize(
    ("dtype", "head_dim"),
    [pytest.param(torch.float32, 64, id="float32"), pytest.param(torch.float16, 320, id="wide heads")],
)
def test_auto_skips_kernels_that_cannot_run_the_model(dtype: torch.dtype, head_dim: int) -> None:
    assert choose_attention("auto", CUDA, dtype, head_dim).name == "sdpa"


@pytest.mark.usefixtures("flash", "varlen")
def test_auto_skips_kernels_that_an_older_gpu_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))

    assert choose_attention("auto", CUDA, torch.float16, 64).name == "sdpa"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_auto_is_bucketed_on_a_cpu(dtype: torch.dtype) -> None:
    assert choose_attention("auto", torch.device("cpu"), dtype, 64).name == "bucketed"


def test_auto_on_a_cpu_uses_sdpa_for_float16() -> None:
    assert choose_attention("auto", torch.device("cpu"), torch.float16, 64).name == "sdpa"


@pytest.mark.parametrize("name", ["sdpa", "bucketed", "padded"])
def test_the_plain_backends_can_be_requested_anywhere(name: str) -> None:
    assert choose_attention(name, torch.device("cpu"), torch.float32, 64).name == name


@pytest.mark.usefixtures("flash", "varlen", "ampere")
@pytest.mark.parametrize(
    ("name", "device", "dtype", "head_dim", "reason"),
    [
        pytest.param("flash", "cpu", torch.bfloat16, 64, "needs a CUDA GPU; the device is cpu", id="cpu"),
        pytest.param("varlen", "cuda", torch.float32, 64, "the dtype is float32", id="dtype"),
        pytest.param("flash", "cuda", torch.float16, 264, "at most 256 that", id="head too wide"),
        pytest.param("varlen", "cuda", torch.float16, 12, "a multiple of 8", id="head not a multiple of 8"),
    ],
)
def test_a_backend_that_cannot_run_says_why_and_what_to_use(
    name: str, device: str, dtype: torch.dtype, head_dim: int, reason: str
) -> None:
    with pytest.raises(InvalidInput, match=f"{name}.*{reason}.*use 'auto' or 'sdpa'"):
        choose_attention(name, torch.device(device), dtype, head_dim)


@pytest.mark.usefixtures("no_packed_kernels", "ampere")
def test_a_kernel_that_is_not_installed_is_an_error_when_requested_by_name() -> None:
    with pytest.raises(InvalidInput, match="'flash' cannot run here: it cannot be imported"):
        choose_attention("flash", CUDA, torch.float16, 64)


def test_an_unknown_backend_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="auto, flash, varlen, sdpa, bucketed, padded") as caught:
        choose_attention("quick", torch.device("cpu"), torch.float32, 64)
    assert caught.value.field == "attention"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", ["flash", "varlen", "sdpa", "bucketed"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_the_real_kernels_match_the_padded_reference(name: str, dtype: torch.dtype) -> None:
    pytest.importorskip({"flash": "flash_attn", "varlen": "torch.nn.attention.varlen"}.get(name, "torch"))
    batch = pack(random_pairs([512, 3, 77, 200])).to(CUDA)
    qkv = torch.randn(792, 3, 12, 32, generator=torch.Generator().manual_seed(3)).to(CUDA)

    mixed = choose_attention(name, CUDA, dtype, 32).plan(batch, dtype)(qkv.to(dtype))

    expected = PaddedAttention().plan(batch, torch.float32)(qkv)
    torch.testing.assert_close(mixed.float(), expected, atol=2e-2, rtol=0)


def _batch() -> PackedBatch:
    return pack(random_pairs(LENGTHS))


def _qkv() -> torch.Tensor:
    return torch.randn(sum(LENGTHS), 3, 4, 16, generator=torch.Generator().manual_seed(0))


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    weights = torch.softmax(torch.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5, -1)
    return torch.einsum("hqk,khd->qhd", weights, value)
