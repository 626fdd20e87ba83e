"""Writes a model folder whose layers are in float32 again, each weight moved at random within what it was rounded from.

A weight in 8 bits stands for all that lie up to half a step from it, and the weights it was rounded from are one draw
of those. So where they are not kept, a draw of our own differs from what ships by as much as they do, and measuring
both tells what rounding costs (`benchmarks/test_sets.py --model OUT`, then `benchmarks/paired.py`). Where the runs are
still there, `training/rounding.py` compares with the weights themselves.

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
    """Copies a folder and draws the matrices of its layers anew; the copy has a name of its own."""
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
    """Returns each int8 matrix in float32, even draws of up to half a step added; all else as it is."""
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
