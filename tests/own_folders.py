"""Writes tiny random folders in the project's own format, with an encoder and a variant where they are wanted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from checkpoints import (
    BERT_POSITIONS,
    HEADS,
    HIDDEN,
    INNER,
    LAYERS,
    random_encoder,
    random_model,
    random_weights,
    unigram_tokenizer,
)
from safetensors.torch import save_file

from shortlist.router.checkpoints.native import read_description, write_description, write_folder, write_layers
from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.model.encoder import CrossEncoder, QuantizedEmbedding, TextEncoder

DESCRIPTION = {
    "name": "tiny-own",
    "version": "1.2.3",
    "license": "MIT",
    "tokenizer": {"bos_id": 0, "eos_id": 2, "num_separators": 2},
    "defaults": {"default_query_tokens": 24, "default_pair_tokens": 80, "document_tokens": 40},
}
TOKEN_WIDTH = 8
RETRIEVAL = {"document_tokens": 32, "lexical_weight": 0.5, "token_width": TOKEN_WIDTH, "maxsim_weight": 0.5}
FAST = {"name": "tiny-fast", "num_layers": 1, "score_weights": {"tools": {"bias": 0.25, "logit": 1.5}}}


@dataclass(frozen=True, slots=True)
class Written:
    """A folder and the models that were written to it, over the folder's own table."""

    folder: Path
    model: CrossEncoder
    encoder: TextEncoder
    fast: CrossEncoder


def random_table(num_rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws the codes and factors of a table in 4 bits."""
    generator = torch.Generator().manual_seed(3)
    codes = torch.randint(0, 256, (num_rows, width // 2), generator=generator, dtype=torch.uint8)
    scales = torch.rand((num_rows, width // 32), generator=generator).to(torch.float16) / 16
    return codes, scales


def write(folder: Path, model: CrossEncoder, *, num_word_files: int = 2, **described: object) -> Path:
    """Writes a folder of one model alone; `described` is added to its description."""
    codes, scales = random_table(model.config.vocabulary_size, HIDDEN)
    write_folder(folder, model, codes, scales, DESCRIPTION | described, num_word_files=num_word_files)
    unigram_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def write_whole(folder: Path, **described: object) -> Written:
    """Writes a folder with an encoder and the variant ``fast``."""
    model, encoder, fast = random_model(), random_encoder(token_width=TOKEN_WIDTH), random_model(num_layers=1)
    write(folder, model, **described)
    write_layers(folder / "encoder.safetensors", encoder)
    write_layers(folder / "layers-fast.safetensors", fast)
    write_description(folder, {"retrieval": RETRIEVAL, "variants": {"fast": FAST}} | read_description(folder))
    for one in (model, encoder, fast):
        one.words = QuantizedEmbedding(*random_table(one.config.vocabulary_size, HIDDEN))
    return Written(folder, model, encoder, fast)


def own_tokenizer() -> Tokenizer:
    """Wraps the tokenizer that these folders hold."""
    return Tokenizer(unigram_tokenizer(), bos_id=0, eos_id=2, num_separators=2)


def write_base(folder: Path) -> None:
    """Writes a tiny random base as `training/fetch_base.py` writes the real one."""
    rows = unigram_tokenizer().get_vocab_size()
    folder.mkdir()
    codes, scales = random_table(rows, HIDDEN)
    save_file({"codes": codes, "scales": scales}, folder / "words.safetensors")
    weights = {
        name.removeprefix("bert."): tensor
        for name, tensor in random_weights("bert", rows, BERT_POSITIONS, 2, 0).items()
        if "word_embeddings" not in name and name.startswith(("bert.embeddings", "bert.encoder"))
    }
    save_file(weights, folder / "model.safetensors")
    shape = {"num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "num_attention_heads": HEADS}
    sizes = {"intermediate_size": INNER, "vocab_size": rows, "max_position_embeddings": BERT_POSITIONS}
    (folder / "config.json").write_text(json.dumps(shape | sizes))
    unigram_tokenizer().save(str(folder / "tokenizer.json"))
