"""Reads and writes the project's own model folders: a 4-bit embedding table, 8-bit layers, a tokenizer, a description.

A folder holds `shortlist.json` (see `description.py`), `layers.safetensors`, `words-*.safetensors` (row ranges of the
embedding table, so that no file grows large) and `tokenizer.json`. It may also hold the layers of a retrieval encoder
(`encoder.safetensors`) and of other cross-encoders (`layers-NAME.safetensors`) that use the same table. An 8-bit matrix
is stored as int8 rows ``NAME`` with one float32 factor per row, ``NAME.scale``; everything else is float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as FastTokenizer

from shortlist.router.checkpoints.description import (
    FORMAT,
    Description,
    Variant,
    check_belong_together,
    parse_description,
)
from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.first_stage.embedder import RetrievalSettings
from shortlist.router.model.encoder import CrossEncoder, QuantizedEmbedding, TextEncoder
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

_DESCRIPTION = "shortlist.json"
SCALE = ".scale"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on the CPU, its tokenizer and its settings.

    `document_tokens` is the most tokens that a tool's or table's document may have. `score_weights` is keyed by
    ``tools`` and ``tables``; without weights the score is the cross-encoder's alone. `encoder` and `retrieval` are None
    if the first stage uses words only. `fingerprint` is a hash of the encoder's files; empty for a model without one.
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
    fingerprint: str = ""


def is_own_folder(folder: Path) -> bool:
    """Says whether the folder holds a model in the project's own format."""
    return (folder / _DESCRIPTION).is_file()


def read_folder(folder: Path, *, variant: str | None = None) -> LoadedModel:
    """Loads a folder in the project's own format, layers decoded to float32; `variant` names another cross-encoder.

    Raises:
        ModelNotFound: a file is missing.
        ModelError: a file is damaged.
        UnsupportedModel: it was written by another version, its description is wrong, or its tensors do not fit it.
    """
    path = folder / _DESCRIPTION
    read_description(folder)  # its format first: another one has other fields
    try:
        return _build(folder, parse_description(path.read_bytes()), variant)
    except ValueError as error:
        raise UnsupportedModel(f"{path} does not describe a model that can be loaded: {error}") from error


def _build(folder: Path, described: Description, variant: str | None) -> LoadedModel:
    config = described.shape
    chosen, num_layers = _choose(folder, described, variant)
    # Building the tokenizer takes most of a second, during which it holds Python's lock; files are read beside it.
    with ThreadPoolExecutor(max_workers=2) as beside:
        path = str(_existing(folder / "tokenizer.json"))
        tokenizer = beside.submit(_read_tokenizer, path)
        fingerprint = beside.submit(_fingerprint, folder) if described.retrieval else None
        words = _read_words(folder, config.vocabulary_size)
        layers = f"layers-{variant}.safetensors" if variant else "layers.safetensors"
        with torch.device("meta"):
            model = CrossEncoder(replace(config, num_layers=num_layers), torch.nn.Identity())
        _fill(model, words, folder / layers)
        encoder = None
        if described.retrieval:
            with torch.device("meta"):
                encoder = TextEncoder(config, torch.nn.Identity(), token_width=described.retrieval.token_width)
            _fill(encoder, words, folder / "encoder.safetensors")
        wrapped = Tokenizer(tokenizer.result(), **described.tokenizer.model_dump())
    check_belong_together(wrapped, words, config)
    return LoadedModel(
        model=model,
        tokenizer=wrapped,
        name=chosen.name,
        version=described.version,
        license=described.license,
        score_weights={str(kind): weights for kind, weights in chosen.score_weights.items()},
        column_weights=chosen.column_weights,
        encoder=encoder,
        retrieval=described.retrieval,
        fingerprint=fingerprint.result() if fingerprint else "",
        **described.defaults.model_dump(),
    )


def _choose(folder: Path, described: Description, name: str | None) -> tuple[Description | Variant, int]:
    """Returns the cross-encoder that was asked for and how many layers it has."""
    if name is None:
        return described, described.shape.num_layers
    if name not in described.variants:
        raise UnsupportedModel(f"{folder} has no variant {name!r}; it has: {', '.join(described.variants) or 'none'}")
    variant = described.variants[name]
    return variant, variant.num_layers or described.shape.num_layers


def _fingerprint(folder: Path) -> str:
    """Hashes the files that the encoder's vectors depend on."""
    made = blake2b(digest_size=16)
    others = [folder / "encoder.safetensors", folder / "tokenizer.json"]
    for path in [*sorted(folder.glob("words-*.safetensors")), *others]:
        with suppress(OSError), path.open("rb") as file:  # what is missing is told where it is read
            while part := file.read(1 << 22):
                made.update(part)
    return made.hexdigest()


def _read_tokenizer(path: str) -> FastTokenizer:
    try:
        return FastTokenizer.from_file(path)
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"{path} cannot be read as a tokenizer: {error}; fetch it again") from error


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
    """Writes a model without its embedding table; the matrices of its layers in 8 bits."""
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
    """Writes a file of tensors with the usual permissions; safetensors 0.8 makes it readable for its owner only."""
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
