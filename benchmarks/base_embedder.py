"""Makes a model folder of the untrained base embedder, the model that the built-in weights grew from."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from shortlist.router.checkpoints.native import is_own_folder, write_folder, write_layers
from shortlist.schemas.errors import ModelError

TRAINING = Path(__file__).resolve().parent.parent / "training"
DEFAULTS = {"default_query_tokens": 128, "default_pair_tokens": 512, "document_tokens": 160}
DESCRIPTION = {
    "name": "multilingual-e5-small",
    "version": "base",
    "license": "MIT",
    "tokenizer": {"bos_id": 0, "eos_id": 2, "num_separators": 2},
    # As a plain bi-encoder: the cosine is all there is.
    "retrieval": {"document_tokens": 128, "lexical_weight": 0},
}


def make_base_folder(base: Path, out: Path) -> Path:
    """Returns `out` with the base embedder in it, made of the folder `base`, which is fetched where it is absent.

    Raises:
        ModelError: it cannot be fetched.
    """
    if not is_own_folder(out):
        if not (base / "config.json").is_file():
            _fetch(base)
        part = out.with_name(out.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        _write(base, part)
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    return out


def _fetch(base: Path) -> None:
    try:
        # Its own output would stand among the tables.
        subprocess.run([sys.executable, TRAINING / "fetch_base.py", "--out", base], check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        raise ModelError(
            f"the base embedder could not be fetched to {base}; it takes the network once and the extra [train]. "
            "Leave `base` out of the methods to do without"
        ) from error


def _write(base: Path, out: Path) -> None:
    if str(TRAINING) not in sys.path:
        sys.path.append(str(TRAINING))
    from base import load_base, load_base_encoder  # training's own reader of that folder

    encoder, _ = load_base_encoder(base)
    cross_encoder, _ = load_base(base)  # a folder has one; nothing asks it here
    most = cross_encoder.config.max_pair_tokens
    defaults = {name: min(value, most) for name, value in DEFAULTS.items()}
    described = DESCRIPTION | {"defaults": defaults}
    write_folder(out, cross_encoder, encoder.words.codes, encoder.words.scales, described)
    write_layers(out / "encoder.safetensors", encoder)
    shutil.copyfile(base / "tokenizer.json", out / "tokenizer.json")
