"""Exports a cross-encoder to formats that other programs run: a Hugging Face folder, ONNX, and OpenVINO."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from shortlist.router.checkpoints.native import LoadedModel, save_tensors
from shortlist.router.checkpoints.tensor_names import Form, publish
from shortlist.router.model.encoder import ModelConfig, QuantizedEmbedding
from shortlist.schemas.errors import InvalidInput, UnsupportedModel

__all__ = ["FORMATS", "export"]

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_EXAMPLE_SHAPE = (2, 16)  # pairs, tokens: the exported graph accepts any number of both


def export(loaded: LoadedModel, format_name: str, folder: Path) -> list[Path]:
    """Writes the cross-encoder of `loaded`, in float32, to an empty or new folder; returns the files.

    `format_name` is one of `FORMATS`. Each has a config and a tokenizer as transformers reads them; ``hf`` adds
    model.safetensors, ``onnx`` model.onnx, and ``openvino`` model.xml and model.bin. The latter two take int64
    `input_ids` and `attention_mask` of `(pairs, tokens)`, and `token_type_ids` if the model has several token types;
    they return `logits` of `(pairs, 1)`.

    Raises:
        InvalidInput: the format is unknown, a package it needs is missing, or the folder is not empty.
        UnsupportedModel: the installed transformers uses other tensor names for this model.
    """
    if format_name not in FORMATS:
        raise InvalidInput(f"unknown format {format_name!r}; use one of {', '.join(FORMATS)}", field="to")
    _check_packages(format_name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} is not an empty folder; name a new one", field="out")
    folder.mkdir(parents=True, exist_ok=True)
    FORMATS[format_name](loaded, folder)
    _write_json(folder / "config.json", _config(loaded.model.config, _form(loaded), loaded))
    _write_tokenizer(loaded, folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _check_packages(format_name: str) -> None:
    missing = [name for name in _PACKAGES[format_name] if not find_spec(name)]
    if missing:
        raise InvalidInput(f"{format_name!r} needs {' and '.join(missing)}; install the extra [export]", field="to")


def _export_huggingface(loaded: LoadedModel, folder: Path) -> None:
    config = loaded.model.config
    form = _form(loaded)
    tensors = publish(_weights(loaded), form, config)
    save_tensors(folder / "model.safetensors", tensors, {"format": "pt"})


def _export_onnx(loaded: LoadedModel, folder: Path) -> None:
    model, example = _stock_model(loaded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        torch.onnx.export(
            model,
            example,
            str(folder / "model.onnx"),
            input_names=_INPUTS[: len(example)],
            output_names=["logits"],
            dynamic_shapes=tuple({0: "pairs", 1: "tokens"} for _ in example),
            external_data=False,
            verbose=False,
        )


def _export_openvino(loaded: LoadedModel, folder: Path) -> None:
    import openvino

    model, example = _stock_model(loaded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = openvino.convert_model(model, example_input=example)
    for port, name in zip(converted.inputs, _INPUTS, strict=False):
        port.get_tensor().set_names({name})
    converted.outputs[0].get_tensor().set_names({"logits"})
    openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)


FORMATS: Mapping[str, Callable[[LoadedModel, Path], None]] = MappingProxyType(
    {"hf": _export_huggingface, "onnx": _export_onnx, "openvino": _export_openvino}
)
_PACKAGES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"hf": (), "onnx": ("transformers", "onnx", "onnxscript"), "openvino": ("transformers", "openvino")}
)


def _stock_model(loaded: LoadedModel) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """Builds transformers' own model, whose graph other runtimes know how to fuse, and example inputs for it."""
    import transformers

    form, config = _form(loaded), loaded.model.config
    fields = _config(config, form, loaded)
    kind = transformers.BertConfig if form is Form.BERT else transformers.XLMRobertaConfig
    stock = transformers.AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
        kind(**fields, return_dict=False), attn_implementation="eager"
    )
    missing, unexpected = stock.load_state_dict(publish(_weights(loaded), form, config), strict=False)
    unknown = [name for name in (*missing, *unexpected) if not name.endswith(("position_ids", "token_type_ids"))]
    if unknown:
        raise UnsupportedModel(f"the installed transformers uses other tensor names: {', '.join(unknown[:5])}")
    ids, mask = torch.full(_EXAMPLE_SHAPE, 5, dtype=torch.int64), torch.ones(_EXAMPLE_SHAPE, dtype=torch.int64)
    types = (torch.zeros_like(ids),) if config.num_token_types > 1 else ()
    return _Logits(stock.eval()), (ids, mask, *types)


class _Logits(torch.nn.Module):
    """Returns only the logits, so that the graph has one output."""

    def __init__(self, stock: torch.nn.Module) -> None:
        super().__init__()
        self.stock = stock

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        logits: torch.Tensor = self.stock(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        )[0]
        return logits


def _form(loaded: LoadedModel) -> Form:
    return Form.BERT if loaded.model.config.position_offset == 0 else Form.ROBERTA


def _weights(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    """Returns all tensors of the cross-encoder in float32; a 4-bit embedding table is decoded."""
    words, config = loaded.model.words, loaded.model.config
    weights = {name: tensor.float() for name, tensor in loaded.model.state_dict().items()}
    if isinstance(words, QuantizedEmbedding):
        weights["words.weight"] = words(torch.arange(config.vocabulary_size))
    return weights


def _config(config: ModelConfig, form: Form, loaded: LoadedModel) -> dict[str, Any]:
    is_bert = form is Form.BERT
    return {
        "architectures": ["BertForSequenceClassification" if is_bert else "XLMRobertaForSequenceClassification"],
        "model_type": "bert" if is_bert else "xlm-roberta",
        "num_labels": 1,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.intermediate_size,
        "vocab_size": config.vocabulary_size,
        "max_position_embeddings": config.max_pair_tokens + config.position_offset,
        "type_vocab_size": config.num_token_types,
        "layer_norm_eps": config.layer_norm_eps,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        **_special_ids(loaded),
        # RoBERTa's position ids begin after this one.
        **({} if is_bert else {"pad_token_id": config.position_offset - 1}),
    }


def _special_ids(loaded: LoadedModel) -> dict[str, int]:
    tokens = loaded.tokenizer.special_tokens()
    return {
        f"{name}_token_id": loaded.tokenizer.id_of(tokens[f"{name}_token"])
        for name in ("bos", "eos", "pad")
        if f"{name}_token" in tokens
    }


def _write_tokenizer(loaded: LoadedModel, folder: Path) -> None:
    config = loaded.model.config
    loaded.tokenizer.save(folder / "tokenizer.json", num_token_types=config.num_token_types)
    fields = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_pair_tokens,
        "model_input_names": [
            "input_ids",
            *(["token_type_ids"] if config.num_token_types > 1 else []),
            "attention_mask",
        ],
        **loaded.tokenizer.special_tokens(),
    }
    _write_json(folder / "tokenizer_config.json", fields)
    _write_json(folder / "special_tokens_map.json", loaded.tokenizer.special_tokens())


def _write_json(path: Path, fields: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
