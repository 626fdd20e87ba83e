"""Describes a model folder's `shortlist.json` and checks it before anything is built from it."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.first_stage.embedder import RetrievalSettings
from shortlist.router.model.encoder import ModelConfig, QuantizedEmbedding
from shortlist.router.ranking.score import ColumnWeights, ScoreWeights
from shortlist.schemas.options import Kind

__all__ = ["FORMAT", "Description", "Variant", "check_belong_together", "check_sizes", "parse_description"]

FORMAT: Final = 2

# Far above any model of this kind: a damaged or crafted size must not keep the loader busy for hours.
_MAX_SIZES = {
    "num_layers": 512,
    "hidden_size": 65_536,
    "num_heads": 1_024,
    "intermediate_size": 1_048_576,
    "vocabulary_size": 16_777_216,
    "max_pair_tokens": 16_777_216,
    "num_token_types": 1_024,
}
_MAX_POSITION_OFFSET = 1_024


def check_sizes(config: ModelConfig) -> ModelConfig:
    """Returns the shape of an encoder if such an encoder can exist.

    Raises:
        ValueError: it cannot; the text names the size.
    """
    for name, most in _MAX_SIZES.items():
        size = getattr(config, name)
        if not 1 <= size <= most:
            raise ValueError(f"{name} is {size}, which should be a whole number from 1 to {most}")
    if not 0 <= config.position_offset <= _MAX_POSITION_OFFSET:
        raise ValueError(
            f"position_offset is {config.position_offset}, which should be a whole number from 0 to "
            f"{_MAX_POSITION_OFFSET}"
        )
    if config.hidden_size % config.num_heads:
        raise ValueError(f"hidden_size {config.hidden_size} is not a multiple of num_heads {config.num_heads}")
    if not 0 <= config.layer_norm_eps < 1:
        raise ValueError(f"layer_norm_eps is {config.layer_norm_eps}, which should be at least 0 and less than 1")
    return config


def _check_retrieval(settings: RetrievalSettings) -> RetrievalSettings:
    for name in ("document_tokens", "passage_tokens", "query_tokens", "token_width"):
        if not 0 <= getattr(settings, name) < 2**31:
            raise ValueError(f"{name} is {getattr(settings, name)}, which should be a whole number from 0 on")
    return settings


_Text = Annotated[str, Field(min_length=1)]
_Id = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Length = Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Part(BaseModel):
    # The dataclasses among the fields inherit this: no field more than they have, no text for a number, no NaN.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class TokenizerSettings(_Part):
    """The special tokens that frame a text, and how many separators stand between query and document."""

    bos_id: _Id
    eos_id: _Id
    num_separators: Annotated[int, Field(ge=1, le=8)]


class Defaults(_Part):
    """Default lengths in tokens: of a query, of a pair, and of a tool's or table's document."""

    default_query_tokens: _Length
    default_pair_tokens: _Length
    document_tokens: _Length


class _CrossEncoder(_Part):
    name: _Text
    score_weights: dict[Kind, ScoreWeights] = {}
    column_weights: ColumnWeights = ColumnWeights()


class Variant(_CrossEncoder):
    """Another cross-encoder that uses the same embedding table; `num_layers` defaults to the shape's."""

    num_layers: Annotated[int, Field(ge=1, le=_MAX_SIZES["num_layers"])] | None = None


class Description(_CrossEncoder):
    """The `shortlist.json` of a model folder: what the model is, its defaults, and the weights of its score."""

    model_config = ConfigDict(title="Model")

    format: Literal[2]
    version: _Text
    license: Annotated[str, Field(description="SPDX; empty where it is not known.")]
    tokenizer: TokenizerSettings
    defaults: Defaults
    shape: Annotated[ModelConfig, AfterValidator(check_sizes)]
    retrieval: Annotated[RetrievalSettings, AfterValidator(_check_retrieval)] | None = None
    variants: dict[str, Variant] = {}

    @model_validator(mode="after")
    def _check_default_length(self) -> Self:
        pair, most = self.defaults.default_pair_tokens, self.shape.max_pair_tokens
        if pair > most:
            raise ValueError(f"defaults.default_pair_tokens is {pair}, but the model takes at most {most}")
        return self


def parse_description(text: bytes) -> Description:
    """Reads the text of a `shortlist.json`.

    Raises:
        ValueError: it describes no model; the text names the first field that is wrong.
    """
    try:
        return Description.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    match first["type"]:
        case "missing":
            return f"{place} is missing"
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{place} is not a field that it may have"
        case "value_error":  # of the checks above, which name the field themselves
            reason = first["msg"].removeprefix("Value error, ")
            return f"{place}.{reason}" if place else reason
    given = "" if isinstance(first["input"], dict | list) else f" is {first['input']!r}"
    return f"{place}{given}: {first['msg']}"


def check_belong_together(tokenizer: Tokenizer, words: QuantizedEmbedding, config: ModelConfig) -> None:
    """Checks the embedding table of a model against its shape, and the tokenizer against the table.

    Raises:
        ValueError: they do not fit each other.
    """
    rows, width = config.vocabulary_size, config.hidden_size
    for what, tensor, shape, dtype in (
        ("codes", words.codes, (rows, width // 2), "torch.uint8"),
        ("scales", words.scales, (rows, width // words.block), "torch.float16"),
    ):
        if tuple(tensor.shape) != shape or str(tensor.dtype) != dtype:
            raise ValueError(f"the table's {what} are {tuple(tensor.shape)} {tensor.dtype} instead of {shape} {dtype}")
    if not bool(words.scales.isfinite().all()):
        raise ValueError("the table's scales are not all finite numbers")
    if tokenizer.vocabulary_size > rows or not all(0 <= one < tokenizer.vocabulary_size for one in tokenizer.edge_ids):
        raise ValueError(
            f"the tokenizer knows {tokenizer.vocabulary_size} pieces and frames texts with {tokenizer.edge_ids}, the "
            f"table has {rows} rows; they do not belong together"
        )
