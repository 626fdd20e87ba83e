"""Makes a model folder of multilingual-e5-small, the embedder from which the built-in model was trained."""

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
    # A plain bi-encoder ranks by the cosine alone.
    "retrieval": {"document_tokens": 128, "lexical_weight": 0},
}


def make_base_folder(base: Path, out: Path) -> Path:
    """Writes the base embedder to `out` from the folder `base`, which it fetches if it is absent; returns `out`.

    Raises:
        ModelError: the base cannot be fetched.
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
        # The script's output goes to stderr, because stdout holds the tables.
        subprocess.run([sys.executable, TRAINING / "fetch_base.py", "--out", base], check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        raise ModelError(
            f"the base embedder could not be fetched to {base}; fetching needs the network and the extra [train]. "
            "To measure without it, leave `base` out of --methods"
        ) from error


def _write(base: Path, out: Path) -> None:
    if str(TRAINING) not in sys.path:
        sys.path.append(str(TRAINING))
    from base import load_base, load_base_encoder  # training/base.py, which reads that folder

    encoder, _ = load_base_encoder(base)
    cross_encoder, _ = load_base(base)  # a model folder needs one; it is not used here
    most = cross_encoder.config.max_pair_tokens
    defaults = {name: min(value, most) for name, value in DEFAULTS.items()}
    described = DESCRIPTION | {"defaults": defaults}
    write_folder(out, cross_encoder, encoder.words.codes, encoder.words.scales, described)
    write_layers(out / "encoder.safetensors", encoder)
    shutil.copyfile(base / "tokenizer.json", out / "tokenizer.json")
