"""Writes a model folder with float32 layers, drawing each weight at random from the values that round to it.

An 8-bit weight represents all values up to half a step away, and the trained weight was one of them. A random draw
differs from the 8-bit weights as much as the trained weights do. So if the trained weights are not kept, comparing both
folders measures the cost of rounding (`benchmarks/test_sets.py --model OUT`, then `benchmarks/paired.py`). If the runs
are kept, `training/rounding.py` compares with the trained weights themselves.

    python training/unround.py --model router/models/shortlist-small --out build/unrounded [--seed 1]
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from shortlist.router.checkpoints.native import SCALE, read_description, save_tensors, write_description


def main() -> None:
    """Writes the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.out.resolve() == options.model.resolve():
        parser.error("--out is the model itself; name another folder")
    write_unrounded(options.model, options.out, options.seed)
    print(f"wrote {options.out}")


def write_unrounded(model: Path, out: Path, seed: int) -> None:
    """Copies a folder and draws the matrices of its layers; the copy gets another name."""
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    for path in sorted(model.iterdir()):
        if path.suffix == ".safetensors" and not path.stem.startswith("words-"):
            save_tensors(out / path.name, unrounded(load_file(path), generator))
        else:
            shutil.copyfile(path, out / path.name)
    described = read_description(out)
    described["name"] += f"-unrounded-{seed}"
    for variant in described.get("variants", {}).values():
        variant["name"] += f"-unrounded-{seed}"
    write_description(out, described)


def unrounded(stored: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Returns int8 matrices in float32 with a uniform draw of up to half a step added; other tensors unchanged."""
    found = {}
    for name, tensor in stored.items():
        if tensor.dtype == torch.int8:
            moved = tensor + torch.rand(tensor.shape, generator=generator) - 0.5
            found[name] = moved * stored[name + SCALE][:, None]
        elif not name.endswith(SCALE):
            found[name] = tensor
    return found


if __name__ == "__main__":
    main()
