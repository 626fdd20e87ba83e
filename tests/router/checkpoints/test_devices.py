from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shortlist.router.checkpoints import devices
from shortlist.router.checkpoints.devices import resolve_device, resolve_dtype
from shortlist.schemas.errors import InvalidInput

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize(
    ("name", "expected"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_a_device_is_found_by_name(name: str, expected: str) -> None:
    assert str(resolve_device(name)) == expected


@pytest.mark.usefixtures("no_card")
def test_auto_is_the_cpu_without_a_gpu() -> None:
    assert resolve_device("auto") == CPU


@pytest.mark.usefixtures("no_card")
def test_a_missing_gpu_is_an_error_that_names_the_other_choices() -> None:
    with pytest.raises(InvalidInput, match=r"device: .*CUDA.*use cpu or auto"):
        resolve_device("cuda")


@pytest.mark.usefixtures("two_cards")
def test_a_gpu_number_too_high_is_an_error_that_lists_the_gpus() -> None:
    with pytest.raises(InvalidInput, match="no cuda:2; the GPUs are cuda:0 to cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "CPU", "", "cuda:1; x"])
def test_an_unknown_device_is_an_error(name: str) -> None:
    with pytest.raises(InvalidInput, match="unknown device"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param({"avx2"}, torch.float32, id="avx2"),
        pytest.param({"avx2", "avx512_f"}, torch.float32, id="avx512 without bf16"),
        pytest.param({"avx512_bf16"}, torch.bfloat16, id="avx512-bf16"),
        pytest.param({"amx_tile", "amx_bf16"}, torch.bfloat16, id="amx"),
        pytest.param({"amx_tile", "amx_int8"}, torch.float32, id="amx without bf16"),
    ],
)
def test_auto_on_a_cpu_is_bfloat16_only_where_that_is_fast(
    flags: set[str], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cpu_flags", lambda: flags)

    assert resolve_dtype("auto", CPU) is expected


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)], ids=str
)
def test_auto_on_a_gpu_is_bfloat16_from_capability_eight(
    capability: tuple[int, int], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)

    assert resolve_dtype("auto", CUDA) is expected


def test_bfloat16_on_an_older_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))

    with pytest.raises(InvalidInput, match="use float16 or float32"):
        resolve_dtype("bfloat16", CUDA)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_dtype_can_be_requested_by_name(name: str) -> None:
    assert resolve_dtype(name, CPU) is getattr(torch, name)


def test_an_unknown_dtype_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="unknown dtype 'fp8'; use one of auto, float32, bfloat16, float16"):
        resolve_dtype("fp8", CPU)


def test_cpu_flags_are_read_from_cpuinfo_if_torch_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_tile\nbugs\t\t: x\n")
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)

    assert devices.cpu_flags(cpuinfo) == {"fpu", "avx512_bf16", "amx_tile"}


def test_cpu_flags_are_empty_without_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)

    assert devices.cpu_flags(tmp_path / "missing") == set()
