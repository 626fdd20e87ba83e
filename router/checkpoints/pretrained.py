"""Loads published checkpoints into the packed cross-encoder, without running any of their code.

Three forms are supported: Hugging Face's BERT and RoBERTa/XLM-R sequence classification, and the tensor names of
jina-reranker-v2-base-multilingual, whose layers stack query, key and value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as FastTokenizer

from shortlist.router.checkpoints.description import check_sizes
from shortlist.router.checkpoints.files import read_json, read_tensors, weight_files
from shortlist.router.checkpoints.tensor_names import Form, detect_form, rename
from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.model.encoder import CrossEncoder, ModelConfig
from shortlist.schemas.errors import ModelError, ModelNotFound, UnsupportedModel

__all__ = ["ForeignModel", "load_foreign", "load_tokenizer"]

_MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
_MAX_DEFAULT_PAIR_TOKENS = 1_024
_VERSION_DIGITS = 12
_SAMPLE = "a b c e i o t 1 2 的 一 の я и ا"
_VOCABULARIES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.txt", "vocab.json")


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """A published model with its tokenizer and metadata; the default window sizes include special tokens.

    `version` is the commit in the hub's cache, else the start of the weights' SHA-256. `license` is what the model card
    states, or ``unknown``.
    """

    model: CrossEncoder
    tokenizer: Tokenizer
    name: str
    version: str
    license: str
    default_query_tokens: int
    default_pair_tokens: int


def load_foreign(folder: Path, *, name: str | None = None, dtype: torch.dtype = torch.float32) -> ForeignModel:
    """Loads a folder onto the CPU in `dtype`; `name` defaults to the name on the hub, else to that of the folder.

    Raises:
        ModelNotFound: the folder or a file in it is missing.
        UnsupportedModel: this kind of model is not supported.
        ModelError: the files are damaged or contradict each other.
    """
    if not folder.is_dir():
        raise ModelNotFound(f"there is no folder {folder}")
    fields = read_json(folder / "config.json")
    _check_kind(fields, folder)
    tensors = read_tensors(folder, dtype)
    form = detect_form(tensors, folder)
    tokenizer, has_types = load_tokenizer(folder)
    config = _read_config(fields, form, uses_types=has_types and form is Form.BERT, folder=folder)
    if tokenizer.vocabulary_size > config.vocabulary_size:
        raise ModelError(
            f"the tokenizer in {folder} has {tokenizer.vocabulary_size} tokens, the model {config.vocabulary_size}; "
            "they do not belong together"
        )
    pair_tokens = min(config.max_pair_tokens, _MAX_DEFAULT_PAIR_TOKENS)
    return ForeignModel(
        model=_fill(config, rename(tensors, form, config, _num_token_types(fields, folder), folder)),
        tokenizer=tokenizer,
        name=name or _read_name(folder.resolve()),
        version=_read_version(folder.resolve()),
        license=_read_license(folder / "README.md"),
        default_query_tokens=pair_tokens // 2,
        default_pair_tokens=pair_tokens,
    )


def _check_kind(fields: Mapping[str, Any], folder: Path) -> None:
    model_type = fields.get("model_type")
    if model_type is not None and model_type not in _MODEL_TYPES:
        raise UnsupportedModel(
            f"{folder} is a model of type {model_type!r}; supported are {', '.join(_MODEL_TYPES)} with one logit"
        )
    architectures = fields.get("architectures") or []
    if not isinstance(architectures, list):
        raise ModelError(f"{folder / 'config.json'}: architectures is {architectures!r}, which should be a list")
    if architectures and not any(str(known).endswith("ForSequenceClassification") for known in architectures):
        raise UnsupportedModel(
            f"{folder} is a {architectures[0]}; a cross-encoder must be a …ForSequenceClassification"
        )
    activation = fields.get("hidden_act", "gelu")
    if activation != "gelu":
        raise UnsupportedModel(f"{folder} uses the activation {activation!r}; only the exact 'gelu' is supported")
    positions = fields.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise UnsupportedModel(f"{folder} uses {positions!r} position embeddings; only 'absolute' ones are supported")


def load_tokenizer(folder: Path) -> tuple[Tokenizer, bool]:
    """Loads a folder's tokenizer, and returns with it whether the second segment has its own token type.

    Raises:
        ModelNotFound: there is none, or only in a form that needs transformers, which is not installed.
        ModelError: it cannot be read, or has no tokens for ordinary text.
        UnsupportedModel: its pairs read neither ``<s> q </s></s> d </s>`` nor ``[CLS] q [SEP] d [SEP]``.
    """
    fast = _read_fast(folder)
    fast.no_padding()
    fast.no_truncation()
    # Take the layout from the tokenizer, not from the model type: some BERT encoders use XLM-R's vocabulary.
    pair = fast.encode("a", "b")
    segments = pair.sequence_ids
    if 0 not in segments or 1 not in segments:
        raise UnsupportedModel(f"the tokenizer in {folder} makes no tokens from plain letters")
    second = segments.index(1)
    first_end = second - next(i for i, segment in enumerate(reversed(segments[:second])) if segment == 0)
    second_end = len(segments) - segments[::-1].index(1)
    prefix, separator, suffix = pair.ids[: segments.index(0)], pair.ids[first_end:second], pair.ids[second_end:]
    if len(prefix) != 1 or len(suffix) != 1 or not separator or set(separator) != set(suffix):
        raise UnsupportedModel(
            f"the tokenizer in {folder} lays a pair out as {' '.join(pair.tokens)}; "
            "supported are <s> a </s></s> b </s> and [CLS] a [SEP] b [SEP]"
        )
    # From a damaged vocabulary, transformers makes a tokenizer that gives every text the same tokens.
    unknown = {fast.token_to_id(token) for token in ("<unk>", "[UNK]")} | {pair.ids[0], pair.ids[-1]}
    if set(fast.encode(_SAMPLE, add_special_tokens=False).ids) <= unknown:
        raise ModelError(f"the tokenizer in {folder} has no tokens for ordinary text; fetch its files again")
    wrapped = Tokenizer(fast, bos_id=prefix[0], eos_id=suffix[0], num_separators=len(separator))
    return wrapped, 1 in pair.type_ids


def _read_fast(folder: Path) -> FastTokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        return _convert(folder)
    try:
        return FastTokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"{path} cannot be read as a tokenizer: {error}") from error


def _convert(folder: Path) -> FastTokenizer:
    """Makes a fast tokenizer from a vocabulary file, with transformers, which is slow to import."""
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        # From a folder without any, transformers makes a tokenizer that gives every text the same tokens.
        raise ModelNotFound(f"{folder} holds no tokenizer.json, nor any of {', '.join(_VOCABULARIES)}; fetch it again")
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ModelNotFound(
            f"{folder} holds no tokenizer.json; to read older formats, install transformers (the extra [hub])"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged file can cause any exception
        raise ModelNotFound(f"{folder} holds no tokenizer.json, and transformers cannot make one: {error}") from error
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(fast, FastTokenizer):
        raise UnsupportedModel(f"the tokenizer in {folder} cannot be converted to a fast one (tokenizer.json)")
    return fast


def _read_config(fields: Mapping[str, Any], form: Form, *, uses_types: bool, folder: Path) -> ModelConfig:
    try:
        offset = 0 if form is Form.BERT else int(fields.get("pad_token_id", 1)) + 1
        config = ModelConfig(
            num_layers=int(fields["num_hidden_layers"]),
            hidden_size=int(fields["hidden_size"]),
            num_heads=int(fields["num_attention_heads"]),
            intermediate_size=int(fields["intermediate_size"]),
            vocabulary_size=int(fields["vocab_size"]),
            max_pair_tokens=int(fields["max_position_embeddings"]) - offset,
            position_offset=offset,
            num_token_types=_num_token_types(fields, folder) if uses_types else 1,
            layer_norm_eps=float(fields.get("layer_norm_eps", 1e-12)),
        )
    except KeyError as error:
        raise ModelError(f"{folder / 'config.json'} lacks {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{folder / 'config.json'} holds a value that is not a number: {error}") from error
    try:
        check_sizes(config)
    except ValueError as error:
        raise ModelError(f"{folder / 'config.json'} does not describe a valid model: {error}") from error
    return config


def _num_token_types(fields: Mapping[str, Any], folder: Path) -> int:
    """Reads the number of token types in the checkpoint, used or not."""
    found = fields.get("type_vocab_size", 2)
    if not isinstance(found, int) or not 1 <= found <= 1_024:
        raise ModelError(f"{folder / 'config.json'}: type_vocab_size is {found!r}, which should be 1 to 1024")
    return found


def _fill(config: ModelConfig, weights: dict[str, torch.Tensor]) -> CrossEncoder:
    with torch.device("meta"):  # allocates nothing: all weights are replaced at once
        model = CrossEncoder(config)
    model.load_state_dict(weights, assign=True)
    return model.requires_grad_(False).eval()


def _read_name(folder: Path) -> str:
    """Reads ``owner/model`` from a folder of the hub's cache, ``models--owner--model/snapshots/commit``."""
    cached = folder.parts[-3] if _is_snapshot(folder) else ""
    return cached.removeprefix("models--").replace("--", "/") or folder.name


def _read_version(folder: Path) -> str:
    if _is_snapshot(folder):
        return folder.name[:_VERSION_DIGITS]
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:_VERSION_DIGITS]


def _is_snapshot(folder: Path) -> bool:
    return len(folder.parts) > 3 and folder.parent.name == "snapshots" and folder.parts[-3].startswith("models--")


def _read_license(card: Path) -> str:
    """Reads the `license:` line of a model card's front matter."""
    if not card.is_file():
        return "unknown"
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return "unknown"
    for line in lines[1:]:
        if line.strip() == "---":
            break
        if line.startswith("license:"):
            return line.removeprefix("license:").strip(" \"'") or "unknown"
    return "unknown"
