"""Reads the files of a published checkpoint: config.json and safetensors, whole or sharded, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from shortlist.schemas.errors import ModelError, ModelNotFound, UnsupportedModel

__all__ = ["read_json", "read_tensors", "weight_files"]

_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ModelNotFound: there is no such file.
        ModelError: it does not contain a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelNotFound(f"{path.parent} holds no {path.name}; give the folder of a published checkpoint") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} is not a JSON object")
    return value


def read_tensors(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Reads every tensor of a folder; floats are converted to `dtype` one by one, to keep peak memory low.

    Raises:
        ModelNotFound: a weight file is missing.
        UnsupportedModel: the weights exist only as a pickle, or in a dtype other than 16 to 64-bit floats.
        ModelError: a file is damaged.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    tensor = file.get_tensor(name)
                    # 8-bit weights need scale factors, which each format stores elsewhere; alone they are not weights.
                    if not name.endswith("_ids") and tensor.dtype not in _FLOAT_DTYPES:
                        raise UnsupportedModel(
                            f"{path} holds {name} as {tensor.dtype}; supported are float16 to float64"
                        )
                    tensors[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} cannot be read as safetensors: {error}; fetch it again") from error
    return tensors


def weight_files(folder: Path) -> list[Path]:
    """Finds the safetensors files of a folder, in a fixed order.

    Raises:
        ModelNotFound: a file is missing.
        UnsupportedModel: the weights exist only as a pickle.
        ModelError: the index of a sharded checkpoint is damaged.
    """
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE]
    if (folder / _INDEX).is_file():
        return _shards(folder, read_json(folder / _INDEX))
    if any(next(folder.glob(pattern), None) for pattern in _PICKLES):
        raise UnsupportedModel(
            f"{folder} holds its weights only as a pickle, which can run code when it is read; if you trust it, "
            "convert it with transformers: AutoModelForSequenceClassification.from_pretrained(folder)"
            f".save_pretrained(new_folder) writes {_WHOLE}"
        )
    raise ModelNotFound(f"{folder} holds no {_WHOLE} (nor {_INDEX})")


def _shards(folder: Path, index: Mapping[str, Any]) -> list[Path]:
    weight_map = index.get("weight_map")
    names = sorted({str(name) for name in weight_map.values()}) if isinstance(weight_map, dict) else []
    if not names:
        raise ModelError(f"{folder / _INDEX} lists no files")
    for name in names:
        # The index is untrusted: it may name only safetensors files beside it.
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(f"{folder / _INDEX} lists {name!r}, which is not a safetensors file beside it")
        if not (folder / name).is_file():
            raise ModelNotFound(f"{folder} lacks {name}, which {_INDEX} lists")
    return [folder / name for name in names]
