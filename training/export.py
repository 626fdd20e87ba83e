r"""Writes a checkpoint as the folder that ships: 4-bit embedding table, 8-bit layers, tokenizer, description.

python training/export.py --base build/train/base --checkpoint build/train/run1/checkpoint.pt \
    --out router/models/shortlist-small
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from base import load_base

from shortlist.router.weights import write_folder

DESCRIPTION = {
    "name": "shortlist-small",
    "version": "0.1.0",
    "license": "MIT",
    "tokenizer": {"bos_id": 0, "eos_id": 2, "num_separators": 2},
    "defaults": {"default_query_tokens": 128, "default_pair_tokens": 512, "document_tokens": 160},
}


def main() -> None:
    """Exports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("base", "checkpoint", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    model, _ = load_base(options.base)
    state = torch.load(options.checkpoint, weights_only=True)
    _, unexpected = model.load_state_dict(state["model"], strict=False)
    if unexpected:
        raise SystemExit(f"the checkpoint does not fit the base: {unexpected}")
    words = model.words
    write_folder(options.out, model, words.codes, words.scales, DESCRIPTION)
    shutil.copyfile(options.base / "tokenizer.json", options.out / "tokenizer.json")
    print(f"wrote {options.out}: {sum(file.stat().st_size for file in options.out.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
