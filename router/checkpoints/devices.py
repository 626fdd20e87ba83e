"""Resolves the names of devices and dtypes, and picks those that suit the machine."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from shortlist.schemas.errors import InvalidInput

__all__ = ["DTYPES", "cpu_flags", "resolve_device", "resolve_dtype"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Resolves ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` is the first CUDA GPU if there is one, else the CPU.

    Raises:
        InvalidInput: the name is none of these, or there is no such GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d{1,3}))?", name)
    if match is None:
        raise InvalidInput(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N", field="device")
    return _cuda_device(int(match[1] or 0))


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Resolves ``auto``, ``float32``, ``bfloat16`` or ``float16``.

    ``auto`` is bfloat16 where the hardware multiplies in it (CUDA from compute capability 8.0, CPUs with AMX or
    AVX512-bf16), float16 on older GPUs and float32 on other CPUs.

    Raises:
        InvalidInput: the name is none of these, or the GPU does not compute in bfloat16.
    """
    has_bf16 = _cpu_has_bf16() if device.type == "cpu" else torch.cuda.get_device_capability(device) >= (8, 0)
    if name == "auto":
        fallback = torch.float32 if device.type == "cpu" else torch.float16
        return torch.bfloat16 if has_bf16 else fallback
    if name not in DTYPES:
        raise InvalidInput(f"unknown dtype {name!r}; use one of auto, {', '.join(DTYPES)}", field="dtype")
    if name == "bfloat16" and device.type == "cuda" and not has_bf16:
        raise InvalidInput(f"{device} does not compute in bfloat16; use float16 or float32", field="dtype")
    return DTYPES[name]


def _cuda_device(index: int) -> torch.device:
    if not torch.cuda.is_available():
        reason = "this torch was built without CUDA" if torch.version.cuda is None else "torch finds no CUDA GPU"
        raise InvalidInput(f"{reason}; use cpu or auto", field="device")
    count = torch.cuda.device_count()
    if index >= count:
        raise InvalidInput(f"there is no cuda:{index}; the GPUs are cuda:0 to cuda:{count - 1}", field="device")
    return torch.device("cuda", index)


def _cpu_has_bf16() -> bool:
    """Tells whether the CPU multiplies in bfloat16; elsewhere torch emulates it, several times slower than float32."""
    flags = cpu_flags()
    return "avx512_bf16" in flags or {"amx_tile", "amx_bf16"} <= flags


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Returns the CPU's instruction sets by their Linux names; empty where neither torch nor `cpuinfo` lists them."""
    # torch.cpu.get_capabilities came after the oldest torch supported; its names are those of Linux.
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        return {name for name, present in capabilities().items() if present is True}
    try:
        text = cpuinfo.read_text()
    except OSError:
        return set()
    match = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return set(match[1].split()) if match else set()
