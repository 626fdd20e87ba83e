"""Maps the tensor names of published checkpoints to those of our cross-encoder, and checks names and shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path

import torch

from shortlist.router.model.encoder import ModelConfig
from shortlist.schemas.errors import ModelError, UnsupportedModel

__all__ = ["Form", "detect_form", "publish", "rename"]

_MAX_LISTED = 5
# Old releases of transformers left these in some files; no logit depends on them.
_IGNORED_ENDS = ("embeddings.position_ids", "roberta.pooler.dense.weight", "roberta.pooler.dense.bias")

_BERT_LAYER = {
    "attention_out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "output_norm": "output.LayerNorm",
}
_JINA_LAYER = {
    "qkv": "mixer.Wqkv",
    "attention_out": "mixer.out_proj",
    "attention_norm": "norm1",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
    "output_norm": "norm2",
}


class Form(Enum):
    """The tensor naming scheme of a checkpoint."""

    BERT = "bert"
    ROBERTA = "roberta"
    JINA = "jina"


def detect_form(tensors: Mapping[str, torch.Tensor], folder: Path) -> Form:
    """Detects the form by the tensor names, since jina's config.json has no model type.

    Raises:
        UnsupportedModel: the form is unknown, or the model does not end in exactly one logit.
    """
    if "roberta.emb_ln.weight" in tensors:
        form, head = Form.JINA, "classifier.out_proj.weight"
    elif "roberta.embeddings.word_embeddings.weight" in tensors:
        form, head = Form.ROBERTA, "classifier.out_proj.weight"
    elif "bert.embeddings.word_embeddings.weight" in tensors:
        form, head = Form.BERT, "classifier.weight"
    else:
        raise UnsupportedModel(
            f"{folder} is not a BERT, RoBERTa or XLM-R model; its first tensors are {_first_few(tensors)}"
        )
    if head not in tensors:
        raise UnsupportedModel(f"{folder} has no classification head ({head}); a cross-encoder needs one")
    num_logits = tensors[head].shape[0] if tensors[head].dim() else 0
    if num_logits != 1:
        raise UnsupportedModel(f"{folder} gives {num_logits} logits per pair; only models with one logit are supported")
    return form


def rename(
    tensors: Mapping[str, torch.Tensor], form: Form, config: ModelConfig, num_token_types: int, folder: Path
) -> dict[str, torch.Tensor]:
    """Renames a checkpoint's tensors to ours, stacks query, key and value, and cuts unused position and type rows.

    Raises:
        ModelError: tensors are missing, unexpected or have a wrong shape; the first few are listed.
    """
    names = dict(_names(form, config.num_layers))
    wanted = [theirs for group in names.values() for theirs in group]
    _raise_if_any("lacks", sorted(set(wanted) - set(tensors)), folder)
    unknown = sorted(set(tensors) - set(wanted))
    _raise_if_any("holds unexpected tensors", [name for name in unknown if not name.endswith(_IGNORED_ENDS)], folder)
    shapes = _shapes(config, num_token_types)
    wrong = [
        f"{theirs} {tuple(tensors[theirs].shape)} instead of {_part(shapes[ours], len(group))}"
        for ours, group in names.items()
        for theirs in group
        if tuple(tensors[theirs].shape) != _part(shapes[ours], len(group))
    ]
    _raise_if_any("does not fit its config.json:", wrong, folder)
    weights = {ours: _join([tensors[theirs] for theirs in group]) for ours, group in names.items()}
    # Our positions count from 0, so the rows before the first token's are dropped.
    weights["positions.weight"] = weights["positions.weight"][config.position_offset :]
    weights["token_types.weight"] = weights["token_types.weight"][: config.num_token_types]
    return weights


def publish(weights: Mapping[str, torch.Tensor], form: Form, config: ModelConfig) -> dict[str, torch.Tensor]:
    """Renames a cross-encoder's tensors to those of a published form: the inverse of `rename`.

    The position rows before the first token's, which no pair uses, are zero.
    """
    offset = weights["positions.weight"].new_zeros(config.position_offset, config.hidden_size)
    positions = torch.cat([offset, weights["positions.weight"]])
    published: dict[str, torch.Tensor] = {}
    for ours, group in _names(form, config.num_layers):
        whole = positions if ours == "positions.weight" else weights[ours]
        published |= zip(group, whole.chunk(len(group)), strict=True)
    return {name: tensor.contiguous() for name, tensor in published.items()}


def _names(form: Form, num_layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields each of our names with the published tensor, or the three, that it is made of."""
    prefix = "bert." if form is Form.BERT else "roberta."
    for ours, theirs in (("words", "word"), ("positions", "position"), ("token_types", "token_type")):
        yield f"{ours}.weight", (f"{prefix}embeddings.{theirs}_embeddings.weight",)
    modules: dict[str, tuple[str, ...]] = {
        "embedding_norm": (f"{prefix}emb_ln" if form is Form.JINA else f"{prefix}embeddings.LayerNorm",),
        "head_dense": ("bert.pooler.dense" if form is Form.BERT else "classifier.dense",),
        "head_out": ("classifier" if form is Form.BERT else "classifier.out_proj",),
    }
    for layer in range(num_layers):
        if form is Form.JINA:
            own, parts = f"{prefix}encoder.layers.{layer}.", _JINA_LAYER
        else:
            own, parts = f"{prefix}encoder.layer.{layer}.", _BERT_LAYER
            modules[f"layers.{layer}.qkv"] = tuple(f"{own}attention.self.{part}" for part in ("query", "key", "value"))
        modules |= {f"layers.{layer}.{ours}": (own + theirs,) for ours, theirs in parts.items()}
    for ours, group in modules.items():
        for kind in ("weight", "bias"):
            yield f"{ours}.{kind}", tuple(f"{theirs}.{kind}" for theirs in group)


def _shapes(config: ModelConfig, num_token_types: int) -> dict[str, tuple[int, ...]]:
    """Returns the published shape of each tensor by our name, with query, key and value stacked."""
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {
        "words.weight": (config.vocabulary_size, hidden),
        "positions.weight": (config.max_pair_tokens + config.position_offset, hidden),
        "token_types.weight": (num_token_types, hidden),
        "embedding_norm.weight": (hidden,),
        "embedding_norm.bias": (hidden,),
        "head_dense.weight": (hidden, hidden),
        "head_dense.bias": (hidden,),
        "head_out.weight": (1, hidden),
        "head_out.bias": (1,),
    }
    linear = {
        "qkv": (3 * hidden, hidden),
        "attention_out": (hidden, hidden),
        "up": (inner, hidden),
        "down": (hidden, inner),
    }
    for layer in range(config.num_layers):
        for name, (rows, columns) in linear.items():
            shapes[f"layers.{layer}.{name}.weight"] = (rows, columns)
            shapes[f"layers.{layer}.{name}.bias"] = (rows,)
        for name in ("attention_norm", "output_norm"):
            shapes[f"layers.{layer}.{name}.weight"] = shapes[f"layers.{layer}.{name}.bias"] = (hidden,)
    return shapes


def _part(shape: tuple[int, ...], num_parts: int) -> tuple[int, ...]:
    return (shape[0] // num_parts, *shape[1:])


def _join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _raise_if_any(problem: str, names: Sequence[str], folder: Path) -> None:
    if names:
        raise ModelError(f"the checkpoint in {folder} {problem} {_first_few(names)}")


def _first_few(names: Sequence[str] | Mapping[str, object]) -> str:
    listed = ", ".join(list(names)[:_MAX_LISTED])
    return f"{listed} and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else listed
