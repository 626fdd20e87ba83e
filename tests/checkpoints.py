"""Writes tiny random checkpoints in every published form, without transformers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from shortlist.router.engine.tokenizer import Pair
from shortlist.router.model.encoder import CrossEncoder, ModelConfig, TextEncoder

HIDDEN, LAYERS, HEADS, INNER = 32, 2, 4, 48
XLM_POSITIONS = 130  # 128 tokens, the first at 2
BERT_POSITIONS = 128
_M = TypeVar("_M", CrossEncoder, TextEncoder)

_CORPUS = (
    "send an email to a customer and attach the invoice",
    "list the open orders of a customer by date, newest first",
    "create table orders (id int primary key, customer_id int, total numeric)",
    "which city has the most warehouses? Paris is the capital of France",
    "wie viele Bestellungen gab es im letzten Monat, und wer hat sie bezahlt",
    "get_weather_forecast search_flights book-hotel sendMessage",
)


@dataclass(frozen=True, slots=True)
class Tiny:
    """A folder, and the weights in it under the names of Hugging Face."""

    folder: Path
    weights: dict[str, torch.Tensor]


def write_xlm_roberta(folder: Path, *, model_type: str = "xlm-roberta", seed: int = 0) -> Tiny:
    tokenizer = unigram_tokenizer()
    weights = random_weights("roberta", tokenizer.get_vocab_size(), XLM_POSITIONS, 1, seed)
    architecture = {"xlm-roberta": "XLMRoberta", "roberta": "Roberta"}[model_type]
    config = config_fields(tokenizer.get_vocab_size(), XLM_POSITIONS, 1) | {
        "model_type": model_type,
        "architectures": [f"{architecture}ForSequenceClassification"],
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    return _write(folder, config, weights, tokenizer, weights)


def write_jina(folder: Path, *, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> Tiny:
    """Writes the names, the dtype and the config.json (no model type) in which jina-reranker-v2 is published."""
    tokenizer = unigram_tokenizer()
    weights = random_weights("roberta", tokenizer.get_vocab_size(), XLM_POSITIONS, 1, seed)
    published = {name: tensor.to(dtype) for name, tensor in jina_names(weights)}
    config = config_fields(tokenizer.get_vocab_size(), XLM_POSITIONS, 1) | {
        "architectures": ["XLMRobertaForSequenceClassification"],
        "auto_map": {"AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig"},
        "position_embedding_type": "absolute",
        "pad_token_id": 1,
        "num_labels": 1,
    }
    return _write(folder, config, published, tokenizer, {n: t.to(dtype).float() for n, t in weights.items()})


def write_bert(folder: Path, *, seed: int = 0) -> Tiny:
    tokenizer = wordpiece_tokenizer()
    weights = random_weights("bert", tokenizer.get_vocab_size(), BERT_POSITIONS, 2, seed)
    config = config_fields(tokenizer.get_vocab_size(), BERT_POSITIONS, 2) | {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "pad_token_id": 0,
    }
    return _write(folder, config, weights, tokenizer, weights)


def config_fields(vocabulary_size: int, num_positions: int, num_types: int) -> dict[str, object]:
    return {
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "vocab_size": vocabulary_size,
        "max_position_embeddings": num_positions,
        "type_vocab_size": num_types,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }


def random_weights(prefix: str, vocabulary: int, positions: int, types: int, seed: int) -> dict[str, torch.Tensor]:
    """Draws weights under the names of Hugging Face."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(size, generator=generator) * 0.15 + (1.0 if "LayerNorm.weight" in name else 0.0)
        for name, size in _sizes(prefix, vocabulary, positions, types)
    }


def random_model(
    dtype: torch.dtype = torch.float32, *, max_pair_tokens: int = 96, num_layers: int = LAYERS
) -> CrossEncoder:
    """Makes a model of 100 pieces with the same weights every time."""
    return _randomize(CrossEncoder(_random_config(max_pair_tokens, num_layers)), dtype, seed=7)


def random_encoder(
    dtype: torch.dtype = torch.float32, *, max_pair_tokens: int = 96, token_width: int = 0
) -> TextEncoder:
    """Makes an encoder of 100 pieces with the same weights every time."""
    return _randomize(TextEncoder(_random_config(max_pair_tokens, LAYERS), token_width=token_width), dtype, seed=8)


def _random_config(max_pair_tokens: int, num_layers: int) -> ModelConfig:
    return ModelConfig(num_layers, HIDDEN, HEADS, INNER, 100, max_pair_tokens, 2, 2, 1e-5)


def _randomize(model: _M, dtype: torch.dtype, *, seed: int) -> _M:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.15 + (
            1.0 if "norm.weight" in name else 0.0
        )
    return model.to(dtype).requires_grad_(False).eval()


def random_pairs(lengths: Sequence[int], *, seed: int = 0) -> list[Pair]:
    """Draws pairs of the given lengths (>= 4) over 100 pieces."""
    draw = np.random.default_rng(seed)
    return [Pair(draw.integers(0, 100, length).astype(np.int32), second_start=length // 3 + 1) for length in lengths]


def random_texts(lengths: Sequence[int], *, seed: int = 0) -> list[Pair]:
    """Draws framed single texts of the given lengths over 100 pieces."""
    return [replace(pair, second_start=len(pair)) for pair in random_pairs(lengths, seed=seed)]


def _sizes(prefix: str, vocabulary: int, positions: int, types: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{prefix}.embeddings.word_embeddings.weight", (vocabulary, HIDDEN)
    yield f"{prefix}.embeddings.position_embeddings.weight", (positions, HIDDEN)
    yield f"{prefix}.embeddings.token_type_embeddings.weight", (types, HIDDEN)
    yield f"{prefix}.embeddings.LayerNorm.weight", (HIDDEN,)
    yield f"{prefix}.embeddings.LayerNorm.bias", (HIDDEN,)
    linear = {
        "attention.self.query": (HIDDEN, HIDDEN),
        "attention.self.key": (HIDDEN, HIDDEN),
        "attention.self.value": (HIDDEN, HIDDEN),
        "attention.output.dense": (HIDDEN, HIDDEN),
        "intermediate.dense": (INNER, HIDDEN),
        "output.dense": (HIDDEN, INNER),
    }
    for layer in range(LAYERS):
        own = f"{prefix}.encoder.layer.{layer}."
        for name, size in linear.items():
            yield f"{own}{name}.weight", size
            yield f"{own}{name}.bias", size[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            yield f"{own}{name}.weight", (HIDDEN,)
            yield f"{own}{name}.bias", (HIDDEN,)
    dense, out = (
        ("bert.pooler.dense", "classifier") if prefix == "bert" else ("classifier.dense", "classifier.out_proj")
    )
    for name, size in ((dense, (HIDDEN, HIDDEN)), (out, (1, HIDDEN))):
        yield f"{name}.weight", size
        yield f"{name}.bias", size[:1]


def jina_names(weights: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Gives Hugging Face's tensors the names jina publishes; written apart from the loader's map, to check it."""
    replacements = (
        ("embeddings.LayerNorm", "emb_ln"),
        ("encoder.layer.", "encoder.layers."),
        ("attention.output.dense", "mixer.out_proj"),
        ("attention.output.LayerNorm", "norm1"),
        ("output.LayerNorm", "norm2"),
        ("intermediate.dense", "mlp.fc1"),
        ("output.dense", "mlp.fc2"),
    )
    for name, tensor in weights.items():
        if ".attention.self." in name:
            if ".query." in name:
                parts = [weights[name.replace("query", part)] for part in ("query", "key", "value")]
                stacked = name.replace("attention.self.query", "mixer.Wqkv").replace(
                    "encoder.layer.", "encoder.layers."
                )
                yield stacked, torch.cat(parts)
            continue
        for old, new in replacements:
            name = name.replace(old, new)
        yield name, tensor


def unigram_tokenizer() -> Tokenizer:
    """Makes a small Unigram vocabulary that lays pairs out as XLM-R does; like XLM-R's, it lists its special tokens."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = [f"▁{word}" for word in _words(" ".join(_CORPUS))]
    pieces = [(token, 0.0) for token in special] + [(word, -5.0) for word in words]
    tokenizer = Tokenizer(models.Unigram(pieces + [(letter, -9.0) for letter in ("▁", *_letters())], unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def wordpiece_tokenizer() -> Tokenizer:
    """Makes a small WordPiece vocabulary that lays pairs out as BERT does."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted(set("".join(_letters()).lower()))
    words = _words(" ".join(_CORPUS).lower())
    pieces = dict.fromkeys([*special, *words, *letters, *(f"##{letter}" for letter in letters)])
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"[^\W_]{2,}", text)))


def _letters() -> list[str]:
    return sorted(set("".join(_CORPUS)) - {" "})


def _write(
    folder: Path,
    config: dict[str, object],
    tensors: dict[str, torch.Tensor],
    tokenizer: Tokenizer,
    weights: dict[str, torch.Tensor],
) -> Tiny:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return Tiny(folder, weights)
