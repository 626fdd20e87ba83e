r"""Writes checkpoints as a model folder: 4-bit embedding table, 8-bit layers, tokenizer and description.

python training/export.py --base build/train/base --cross-encoder build/train/cross --encoder build/train/encoder \
    --fast build/train/fast --out router/models/shortlist-small

Several runs that were trained from one another are averaged. Parts that are not given stay as they are in the folder.
`fit_first_stage.py` and `fit_score.py` write the weights of the features.
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

VERSION = "0.6.0"
DESCRIPTION: dict[str, Any] = {
    "name": "shortlist-small",
    "version": VERSION,
    "license": "MIT",
    "tokenizer": {"bos_id": 0, "eos_id": 2, "num_separators": 2},
    "defaults": {"default_query_tokens": 256, "default_pair_tokens": 512, "document_tokens": 160},
}
# Used until they are fitted: the values of 0.4.0. Fixed ones keep mining independent of the current built-in model.
RETRIEVAL = {"document_tokens": 96, "lexical_weight": 0.3, "maxsim_weight": 2.0, "join_weight": 0.2}
BUDGETS = {"passage_tokens": 256, "query_tokens": 256}
TOKEN_WIDTH = 64
FAST_LAYERS = 6


def main() -> None:
    """Exports the given runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("base", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("cross-encoder", "encoder", "fast"):
        parser.add_argument(f"--{name}", type=Path, nargs="+", help="the folder of a run, or of several to average")
    parser.add_argument("--unfitted", action="store_true", help="reset the fitted weights of the first stage")
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
        described["retrieval"] = RETRIEVAL | fitted.get("retrieval", {}) | BUDGETS | {"token_width": TOKEN_WIDTH}
    if options.fast:
        fast = load_cross_encoder(options.base, *options.fast, num_layers=FAST_LAYERS)
        write_layers(options.out / "layers-fast.safetensors", fast)
        variants = fitted.get("variants", {})
        variant = variants.get("fast", {}) | {"name": "shortlist-fast", "num_layers": FAST_LAYERS}
        described["variants"] = variants | {"fast": variant}
    write_description(options.out, described)
    print(f"wrote {options.out}: {sum(file.stat().st_size for file in options.out.iterdir()) / 1e6:.1f} MB")


def load_cross_encoder(base: Path, *runs: Path, num_layers: int | None = None) -> CrossEncoder:
    """Builds a cross-encoder from the averaged weights of one or several runs, and the base's frozen weights."""
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
    """Loads the averaged weights of runs into an encoder that has the base's frozen weights.

    Raises:
        SystemExit: the runs lack a trained weight or have one that the encoder does not.
    """
    found = encoder.load_state_dict(averaged(*runs), strict=False)
    missing = [name for name in found.missing_keys if not name.startswith("words.")]
    if missing or found.unexpected_keys:
        raise SystemExit(
            f"{_named(runs)} is not a run of an encoder: missing {missing}, unexpected {found.unexpected_keys}"
        )


def cross_encoder_state(base: Path, start: Path) -> dict[str, torch.Tensor]:
    """Reads the weights, without the embedding table, of a run or of a model folder (whose layers are rounded)."""
    model = read_folder(start).model if is_own_folder(start) else load_cross_encoder(base, start)
    return {name: tensor.float() for name, tensor in model.state_dict().items() if not name.startswith("words.")}


def student_state(base: Path, start: Path) -> dict[str, torch.Tensor]:
    """Reads the weights of a six-layer cross-encoder, as `cross_encoder_state`; of a model folder, its variant fast."""
    if is_own_folder(start):
        model = read_folder(start, variant="fast").model
    else:
        model = load_cross_encoder(base, start, num_layers=FAST_LAYERS)
    return {name: tensor.float() for name, tensor in model.state_dict().items() if not name.startswith("words.")}


def averaged(*runs: Path) -> dict[str, torch.Tensor]:
    """Reads the averaged weights of a run, or their mean over several runs."""
    return mean_state(
        [torch.load(run / "checkpoint.pt", weights_only=True, map_location="cpu")["averaged"] for run in runs]
    )


def mean_state(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Returns the mean of the weights of models that were trained from one another (Wortsman et al. 2022)."""
    if len({frozenset(state) for state in states}) != 1:
        raise SystemExit("the runs have different weights and cannot be averaged")
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}


def _named(runs: Sequence[Path]) -> str:
    return " and ".join(map(str, runs))


if __name__ == "__main__":
    main()
