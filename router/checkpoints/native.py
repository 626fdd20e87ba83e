"""Reads and writes the project's own model folders: a 4-bit embedding table, layers in 8 bits, a tokenizer, a config.

A folder holds `shortlist.json` (what the model is, and its defaults), `layers.safetensors`, `words-*.safetensors`
(row ranges of the table, so that no file grows large) and `tokenizer.json`; beside them there may be the layers of a
retrieval encoder (`encoder.safetensors`) and of variants of the cross-encoder (`layers-NAME.safetensors`), over the
same table. A matrix in 8 bits is stored as int8 rows ``NAME`` with one float32 factor per row ``NAME.scale``;
everything else as float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as FastTokenizer

from shortlist.router.checkpoints.description import check_belong_together, check_numbers, check_settings, check_sizes
from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.first_stage.embedder import RetrievalSettings
from shortlist.router.model.encoder import CrossEncoder, ModelConfig, QuantizedEmbedding, TextEncoder
from shortlist.router.ranking.score import ColumnWeights, ScoreWeights
from shortlist.schemas.errors import ModelError, ModelNotFound, UnsupportedModel

__all__ = [
    "FORMAT",
    "LoadedModel",
    "is_own_folder",
    "quantize_rows",
    "read_description",
    "read_folder",
    "save_tensors",
    "write_description",
    "write_folder",
    "write_layers",
]

FORMAT = 2
_DESCRIPTION = "shortlist.json"
SCALE = ".scale"
_MOST_SEPARATORS = 8


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on the CPU with what belongs to it.

    `document_tokens` is the budget of a tool's or table's document. `score_weights` has those of ``tools`` and
    ``tables``; where one is absent, the score is that of the cross-encoder alone. `encoder` and `retrieval` are None
    where the first stage goes by words alone.
    """

    model: CrossEncoder
    tokenizer: Tokenizer
    name: str
    version: str
    license: str
    default_query_tokens: int
    default_pair_tokens: int
    document_tokens: int
    score_weights: Mapping[str, ScoreWeights] = field(default_factory=dict)
    column_weights: ColumnWeights = field(default_factory=ColumnWeights)
    encoder: TextEncoder | None = None
    retrieval: RetrievalSettings | None = None


def is_own_folder(folder: Path) -> bool:
    """Says whether the folder holds a model in the project's own format."""
    return (folder / _DESCRIPTION).is_file()


def read_folder(folder: Path, *, variant: str | None = None) -> LoadedModel:
    """Loads a folder in the project's own format, layers decoded to float32; `variant` names another cross-encoder.

    Raises:
        ModelNotFound: a file is missing.
        ModelError: a file is damaged.
        UnsupportedModel: it was written by a later version, or its tensors do not fit its description.
    """
    described = read_description(folder)
    try:
        check_numbers(described)
        return _build(folder, described, variant)
    except (KeyError, TypeError, AttributeError) as error:
        raise UnsupportedModel(f"{folder / _DESCRIPTION} lacks a field, or has one too many: {error}") from error
    except ValueError as error:
        raise UnsupportedModel(f"{folder / _DESCRIPTION} does not describe what is there: {error}") from error


def _build(folder: Path, described: Mapping[str, Any], variant: str | None) -> LoadedModel:
    config = ModelConfig(**described["shape"])
    chosen = _variant(folder, described, variant)
    layered = replace(config, num_layers=chosen.get("num_layers", config.num_layers))
    check_sizes(layered)
    _check_settings(described, chosen)
    # The tokenizer takes a second of one core to build and needs no lock of Python's, so the weights load beside it.
    with ThreadPoolExecutor(max_workers=1) as beside:
        path = str(_existing(folder / "tokenizer.json"))
        tokenizer = beside.submit(_read_tokenizer, path)
        words = _read_words(folder, config.vocabulary_size)
        layers = f"layers-{variant}.safetensors" if variant else "layers.safetensors"
        with torch.device("meta"):
            model = CrossEncoder(layered, torch.nn.Identity())
        _fill(model, words, folder / layers)
        encoder = None
        if "retrieval" in described:
            with torch.device("meta"):
                width = described["retrieval"].get("token_width", 0)
                encoder = TextEncoder(config, torch.nn.Identity(), token_width=width)
            _fill(encoder, words, folder / "encoder.safetensors")
        wrapped = Tokenizer(tokenizer.result(), **described["tokenizer"])
    check_belong_together(wrapped, words, config)
    return LoadedModel(
        model=model,
        tokenizer=wrapped,
        name=chosen["name"],
        version=described["version"],
        license=described["license"],
        score_weights={kind: ScoreWeights(**one) for kind, one in chosen.get("score_weights", {}).items()},
        column_weights=ColumnWeights(**chosen.get("column_weights", {})),
        encoder=encoder,
        retrieval=RetrievalSettings(**described["retrieval"]) if encoder else None,
        **described["defaults"],
    )


def _check_settings(described: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
    for name, text in (("name", chosen["name"]), ("version", described["version"]), ("license", described["license"])):
        if not isinstance(text, str) or not (text or name == "license"):
            raise ValueError(f"{name} is {text!r}, which should be a text")
    check_settings(described["tokenizer"], "tokenizer")
    check_settings(described["defaults"], "defaults", least=1)
    check_settings(described.get("retrieval", {}), "retrieval", RetrievalSettings)
    check_settings(chosen.get("column_weights", {}), "column_weights", ColumnWeights)
    for kind, weights in chosen.get("score_weights", {}).items():
        check_settings(weights, f"score_weights.{kind}", ScoreWeights)
    pair, most = described["defaults"]["default_pair_tokens"], described["shape"]["max_pair_tokens"]
    if pair > most:
        raise ValueError(f"defaults.default_pair_tokens is {pair}, and the model takes {most}")
    if not 1 <= described["tokenizer"]["num_separators"] <= _MOST_SEPARATORS:
        raise ValueError(f"tokenizer.num_separators should be 1 to {_MOST_SEPARATORS}")


def _read_tokenizer(path: str) -> FastTokenizer:
    try:
        return FastTokenizer.from_file(path)
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"{path} cannot be read as a tokenizer: {error}; fetch it again") from error


def _variant(folder: Path, described: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    if name is None:
        return described
    variants: Mapping[str, Mapping[str, Any]] = described.get("variants", {})
    if name not in variants:
        raise UnsupportedModel(f"{folder} has no variant {name!r}; it has: {', '.join(variants) or 'none'}")
    return variants[name]


def _fill(model: CrossEncoder | TextEncoder, words: QuantizedEmbedding, path: Path) -> None:
    try:
        tensors = _dequantize(_load_tensors(path))
        model.load_state_dict(tensors, assign=True)
    except (RuntimeError, KeyError) as error:
        raise UnsupportedModel(f"{path}: the tensors do not fit the description: {error}") from error
    model.words = words
    model.eval().requires_grad_(False)


def write_folder(
    folder: Path,
    model: CrossEncoder,
    codes: torch.Tensor,
    scales: torch.Tensor,
    description: Mapping[str, Any],
    *,
    num_word_files: int = 2,
) -> None:
    """Writes everything but `tokenizer.json`; `codes` and `scales` are the table as QuantizedEmbedding takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_layers(folder / "layers.safetensors", model)
    parts = zip(codes.chunk(num_word_files), scales.chunk(num_word_files), strict=True)
    for number, (code_rows, scale_rows) in enumerate(parts, 1):
        rows = {"codes": code_rows.contiguous(), "scales": scale_rows.contiguous()}
        save_tensors(folder / f"words-{number}.safetensors", rows)
    write_description(folder, {"format": FORMAT, **description, "shape": asdict(model.config)})


def write_layers(path: Path, model: CrossEncoder | TextEncoder) -> None:
    """Writes everything of a model but the table, the matrices of its layers in 8 bits."""
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("words."):
            continue
        if tensor.dim() == 2 and name.startswith("layers."):
            tensors[name], tensors[name + SCALE] = quantize_rows(tensor)
        else:
            tensors[name] = tensor.float().contiguous()
    save_tensors(path, tensors)


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes a file of tensors that is as readable as any other: safetensors 0.8 makes it its owner's alone."""
    path.touch()
    mode = path.stat().st_mode & 0o777
    save_file(dict(tensors), path, metadata)
    path.chmod(mode)


def write_description(folder: Path, described: Mapping[str, Any]) -> None:
    """Writes `shortlist.json`."""
    part = folder / f"{_DESCRIPTION}.part"
    part.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    part.replace(folder / _DESCRIPTION)


def quantize_rows(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounds rows to int8 by their largest magnitude; returns `(rows, columns)` int8 and `(rows,)` float32 factors."""
    factors = (matrix.float().abs().amax(1) / 127).clamp(min=1e-12)
    return (matrix.float() / factors[:, None]).round().to(torch.int8), factors


def _dequantize(stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, tensor in stored.items():
        if name.endswith(SCALE):
            continue
        if tensor.dtype == torch.int8:
            factors = stored[name + SCALE]
            if factors.shape != tensor.shape[:1] or factors.dtype != torch.float32:
                raise RuntimeError(f"{name}{SCALE} is {tuple(factors.shape)} {factors.dtype}")
            found[name] = tensor.float().mul_(factors[:, None])
        elif tensor.dtype == torch.float32:
            found[name] = tensor
        else:
            raise RuntimeError(f"{name} is {tensor.dtype}")
    return found


def read_description(folder: Path) -> dict[str, Any]:
    """Reads `shortlist.json`; raises as `read_folder`."""
    path = _existing(folder / _DESCRIPTION)
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged ({error}); fetch it again") from error
    if not isinstance(described, dict):
        raise ModelError(f"{path} is damaged: it holds no JSON object; fetch it again")
    if described.get("format") != FORMAT:
        raise UnsupportedModel(
            f"{folder} is in format {described.get('format')}, this version reads format {FORMAT}; "
            "install the version it was made for"
        )
    return described


def _read_words(folder: Path, num_rows: int) -> QuantizedEmbedding:
    # By number: in the order of text, part 10 would come before part 2.
    found = (file for file in folder.glob("words-*.safetensors") if file.stem.removeprefix("words-").isdecimal())
    files = sorted(found, key=lambda file: int(file.stem.removeprefix("words-")))
    parts = [_load_tensors(file) for file in files or [folder / "words-1.safetensors"]]
    try:
        codes, scales = (torch.cat([part[name] for part in parts]) for name in ("codes", "scales"))
    except (KeyError, RuntimeError) as error:
        raise UnsupportedModel(f"{folder}: the words-*.safetensors are parts of no table: {error}") from error
    if len(codes) != num_rows:
        raise ModelNotFound(
            f"{folder} holds {len(codes)} of {num_rows} rows of the embedding table: a words-*.safetensors is missing; "
            "fetch the folder again"
        )
    return QuantizedEmbedding(codes, scales)


def _load_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(_existing(path))
    except SafetensorError as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}; fetch it again") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ModelNotFound(f"{path.parent} lacks {path.name}; the folder is incomplete, fetch it again")
    return path
