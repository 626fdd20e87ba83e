"""Writes a model folder of ours as a Hugging Face checkpoint that loads as XLMRobertaForSequenceClassification.

python training/export_hf.py --model router/models/shortlist-small --out build/shortlist-small-hf
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, processors

from shortlist.router.model import CrossEncoder, QuantizedEmbedding
from shortlist.router.weights import read_folder


def main() -> None:
    """Decodes and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    loaded = read_folder(options.model)
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(published(loaded.model), options.out / "model.safetensors", metadata={"format": "pt"})
    (options.out / "config.json").write_text(json.dumps(config_of(loaded.model), indent=2))
    write_tokenizer(options.model, options.out)
    print(f"wrote {options.out}")


def write_tokenizer(model: Path, out: Path) -> None:
    """Adds what our own engine does without: the template that puts special tokens around a text or a pair."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(out / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>"}
    special |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **special}
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2))


def published(model: CrossEncoder) -> dict[str, torch.Tensor]:
    """Maps our tensors to Hugging Face's names; positions move up by two, as XLM-R counts."""
    config, words = model.config, model.words
    assert isinstance(words, QuantizedEmbedding)
    shift = torch.zeros(config.position_offset, config.hidden_size)
    theirs = {
        "roberta.embeddings.word_embeddings.weight": words(torch.arange(config.vocabulary_size)),
        "roberta.embeddings.position_embeddings.weight": torch.cat([shift, model.positions.weight]),
        "roberta.embeddings.token_type_embeddings.weight": model.token_types.weight,
    }
    names = {
        "embedding_norm": "roberta.embeddings.LayerNorm",
        "head_dense": "classifier.dense",
        "head_out": "classifier.out_proj",
    }
    state = model.state_dict()
    for layer in range(config.num_layers):
        ours, prefix = f"layers.{layer}.", f"roberta.encoder.layer.{layer}."
        names[ours + "attention_out"] = prefix + "attention.output.dense"
        names[ours + "attention_norm"] = prefix + "attention.output.LayerNorm"
        names[ours + "up"] = prefix + "intermediate.dense"
        names[ours + "down"] = prefix + "output.dense"
        names[ours + "output_norm"] = prefix + "output.LayerNorm"
        for kind in ("weight", "bias"):
            for part, rows in zip(("query", "key", "value"), state[f"{ours}qkv.{kind}"].chunk(3), strict=True):
                theirs[f"{prefix}attention.self.{part}.{kind}"] = rows.contiguous()
    for ours, name in names.items():
        for kind in ("weight", "bias"):
            theirs[f"{name}.{kind}"] = state[f"{ours}.{kind}"]
    return {name: tensor.detach().contiguous() for name, tensor in theirs.items()}


def config_of(model: CrossEncoder) -> dict[str, object]:
    """Describes the shape as Hugging Face does."""
    config = model.config
    return {
        "model_type": "xlm-roberta", "architectures": ["XLMRobertaForSequenceClassification"], "num_labels": 1,
        "hidden_size": config.hidden_size, "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads, "intermediate_size": config.intermediate_size,
        "vocab_size": config.vocabulary_size, "type_vocab_size": config.num_token_types,
        "max_position_embeddings": config.max_pair_tokens + config.position_offset, "hidden_act": "gelu",
        "layer_norm_eps": config.layer_norm_eps, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
    }  # fmt: skip


if __name__ == "__main__":
    main()
