r"""Writes checkpoints as the folder that ships: 4-bit embedding table, 8-bit layers, tokenizer, description.

python training/export.py --base build/train/base --cross-encoder build/train/cross --encoder build/train/encoder \
    --fast build/train/fast --out router/models/shortlist-small

Of several runs that were trained from one another, their mean is taken. What is not given stays as it is in the
folder, if it is there; scores and weights of features are `fit_score.py`'s.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from base import fill, load_base_encoder, read_base

from shortlist.router.checkpoints.native import (
    is_own_folder,
    read_description,
    read_folder,
    write_description,
    write_folder,
    write_layers,
)
from shortlist.router.model.encoder import CrossEncoder, TextEncoder

VERSION = "0.5.0"
DESCRIPTION: dict[str, Any] = {
    "name": "shortlist-small",
    "version": VERSION,
    "license": "MIT",
    "tokenizer": {"bos_id": 0, "eos_id": 2, "num_separators": 2},
    "defaults": {"default_query_tokens": 128, "default_pair_tokens": 512, "document_tokens": 160},
}
# Until they are fitted; 0.4.0's, so that what is mined does not hang on the model that ships today.
RETRIEVAL = {"document_tokens": 96, "lexical_weight": 0.3, "maxsim_weight": 2.0, "join_weight": 0.2}
TOKEN_WIDTH = 64
FAST_LAYERS = 6


def main() -> None:
    """Exports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("base", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("cross-encoder", "encoder", "fast"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", help="the run's folder, or runs' to average")
    parser.add_argument("--unfitted", action="store_true", help="set back how the first stage ranks")
    options = parser.parse_args()
    fitted = read_description(options.out) if is_own_folder(options.out) else {}
    if options.unfitted:
        fitted.pop("retrieval", None)
    if options.cross_encoder:
        model = load_cross_encoder(options.base, *options.cross_encoder)
        write_folder(options.out, model, model.words.codes, model.words.scales, fitted | DESCRIPTION)
        shutil.copyfile(options.base / "tokenizer.json", options.out / "tokenizer.json")
    described = read_description(options.out) | DESCRIPTION
    if options.encoder:
        encoder, _ = load_base_encoder(options.base, token_width=TOKEN_WIDTH)
        load_encoder_runs(encoder, *options.encoder)
        write_layers(options.out / "encoder.safetensors", encoder)
        described["retrieval"] = RETRIEVAL | fitted.get("retrieval", {}) | {"token_width": TOKEN_WIDTH}
    if options.fast:
        fast = load_cross_encoder(options.base, *options.fast, num_layers=FAST_LAYERS)
        write_layers(options.out / "layers-fast.safetensors", fast)
        variants = fitted.get("variants", {})
        variant = variants.get("fast", {}) | {"name": "shortlist-fast", "num_layers": FAST_LAYERS}
        described["variants"] = variants | {"fast": variant}
    write_description(options.out, described)
    print(f"wrote {options.out}: {sum(file.stat().st_size for file in options.out.iterdir()) / 1e6:.1f} MB")


def load_cross_encoder(base: Path, *runs: Path, num_layers: int | None = None) -> CrossEncoder:
    """Builds a cross-encoder from the averaged weights of a run, or of several, over the base's frozen ones."""
    config, words, weights = read_base(base)
    if num_layers:
        config = replace(config, num_layers=num_layers)
    model = CrossEncoder(config, words)
    trained = averaged(*runs)
    missing = set(model.state_dict()) - set(trained) - set(weights)
    if missing:
        raise SystemExit(f"{_named(runs)} lacks {sorted(missing)}")
    fill(model, {name: tensor for name, tensor in weights.items() if name in model.state_dict()} | trained)
    return model


def load_encoder_runs(encoder: TextEncoder, *runs: Path) -> None:
    """Loads runs' averaged weights into an encoder that has the base's frozen ones, all that it trains or none."""
    found = encoder.load_state_dict(averaged(*runs), strict=False)
    missing = [name for name in found.missing_keys if not name.startswith("words.")]
    if missing or found.unexpected_keys:
        raise SystemExit(
            f"{_named(runs)} is no encoder's run: it lacks {missing}, and has {found.unexpected_keys} too many"
        )


def cross_encoder_state(base: Path, start: Path) -> dict[str, torch.Tensor]:
    """Reads the weights, table aside, of a run or of a model folder, whose layers were rounded."""
    model = read_folder(start).model if is_own_folder(start) else load_cross_encoder(base, start)
    return {name: tensor.float() for name, tensor in model.state_dict().items() if not name.startswith("words.")}


def averaged(*runs: Path) -> dict[str, torch.Tensor]:
    """Reads a run's averaged weights, or the mean of several runs'."""
    return mean_state(
        [torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")["averaged"] for run in runs]
    )


def mean_state(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Returns the mean of the weights of models that were trained from one another (Wortsman et al. 2022)."""
    if len({frozenset(state) for state in states}) != 1:
        raise SystemExit("models of different parts have no mean")
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}


def _named(runs: Sequence[Path]) -> str:
    return " and ".join(map(str, runs))


if __name__ == "__main__":
    main()
