"""Loads the base model from the folder that `fetch_base.py` writes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer as FastTokenizer
from word_tokenizer import WordTokenizer

from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.model.encoder import CrossEncoder, ModelConfig, QuantizedEmbedding, TextEncoder


def load_base(folder: Path) -> tuple[CrossEncoder, Tokenizer]:
    """Loads a cross-encoder with the base's layers and a new head; positions are BERT's (export shifts them by two)."""
    config, words, weights = read_base(folder)
    model = CrossEncoder(config, words)
    fill(model, weights, absent="head_")
    return model, load_tokenizer(folder)


def load_base_encoder(folder: Path, *, token_width: int = 0) -> tuple[TextEncoder, Tokenizer]:
    """Loads the base as a bi-encoder, which it was trained as; the head for token vectors is new."""
    config, words, weights = read_base(folder)
    model = TextEncoder(config, words, token_width=token_width)
    fill(model, weights, absent="token_out")
    if model.token_out is not None:
        with torch.no_grad():
            torch.nn.init.orthogonal_(model.token_out.weight)
            model.token_out.weight[-1].zero_()  # all tokens start with the same weight
            model.token_out.bias.zero_()
    return model, load_tokenizer(folder)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Loads the base's tokenizer."""
    fast = FastTokenizer.from_file(str(folder / "tokenizer.json"))
    return WordTokenizer(fast, bos_id=0, eos_id=2, num_separators=2)


def read_base(folder: Path) -> tuple[ModelConfig, QuantizedEmbedding, dict[str, torch.Tensor]]:
    """Reads the shape, the embedding table and the other weights, renamed to ours."""
    fields = json.loads((folder / "config.json").read_text())
    config = ModelConfig(
        num_layers=fields["num_hidden_layers"],
        hidden_size=fields["hidden_size"],
        num_heads=fields["num_attention_heads"],
        intermediate_size=fields["intermediate_size"],
        vocabulary_size=fields["vocab_size"],
        max_pair_tokens=fields["max_position_embeddings"],
        position_offset=2,
        num_token_types=1,
        layer_norm_eps=1e-12,
    )
    table = load_file(folder / "words.safetensors")
    words = QuantizedEmbedding(table["codes"], table["scales"])
    return config, words, rename(load_file(folder / "model.safetensors"), config)


def fill(model: CrossEncoder | TextEncoder, weights: dict[str, torch.Tensor], absent: str = "-") -> None:
    """Loads weights into a model; only names that begin with `absent` may be missing."""
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any(not name.startswith(absent) for name in missing):
        raise SystemExit(f"the base does not fit: missing {missing}, unexpected {unexpected}")


def rename(weights: dict[str, torch.Tensor], config: ModelConfig) -> dict[str, torch.Tensor]:
    """Renames BERT's weights to ours, and stacks query, key and value."""
    ours = {
        "positions.weight": weights["embeddings.position_embeddings.weight"],
        "token_types.weight": weights["embeddings.token_type_embeddings.weight"][:1],
    }
    names = {"embedding_norm": "embeddings.LayerNorm"}
    for layer in range(config.num_layers):
        theirs, mine = f"encoder.layer.{layer}.", f"layers.{layer}."
        names[mine + "attention_out"] = theirs + "attention.output.dense"
        names[mine + "attention_norm"] = theirs + "attention.output.LayerNorm"
        names[mine + "up"] = theirs + "intermediate.dense"
        names[mine + "down"] = theirs + "output.dense"
        names[mine + "output_norm"] = theirs + "output.LayerNorm"
        for kind in ("weight", "bias"):
            parts = [weights[f"{theirs}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            ours[f"{mine}qkv.{kind}"] = torch.cat(parts)
    for mine, theirs in names.items():
        for kind in ("weight", "bias"):
            ours[f"{mine}.{kind}"] = weights[f"{theirs}.{kind}"]
    return ours
