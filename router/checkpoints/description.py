"""Checks what a model folder says of itself, before anything is built by it: sizes, settings, numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.model.encoder import ModelConfig, QuantizedEmbedding

__all__ = ["check_belong_together", "check_numbers", "check_settings", "check_sizes"]

# Far above any model of this kind: a damaged or crafted size must not keep the loader busy for hours.
_MOST = {
    "num_layers": 512,
    "hidden_size": 65_536,
    "num_heads": 1_024,
    "intermediate_size": 1_048_576,
    "vocabulary_size": 16_777_216,
    "max_pair_tokens": 16_777_216,
    "num_token_types": 1_024,
}


def check_sizes(config: ModelConfig) -> None:
    """Checks the shape of an encoder.

    Raises:
        ValueError: it describes none that can be; the text names the size.
    """
    for name, most in _MOST.items():
        size = getattr(config, name)
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= most:
            raise ValueError(f"{name} is {size!r}, which should be a whole number from 1 to {most}")
    offset = config.position_offset
    if not isinstance(offset, int) or not 0 <= offset <= 1_024:
        raise ValueError(f"position_offset is {offset!r}, which should be a whole number from 0 to 1024")
    if config.hidden_size % config.num_heads:
        raise ValueError(f"hidden_size {config.hidden_size} is no multiple of num_heads {config.num_heads}")
    eps = config.layer_norm_eps
    if not isinstance(eps, int | float) or not 0 <= eps < 1:
        raise ValueError(f"layer_norm_eps is {eps!r}, which should be a number from 0 to 1")


def check_numbers(settings: object, where: str = "") -> None:
    """Checks that every number in a description is one: JSON knows none that is not, but Python reads some.

    Raises:
        ValueError: one is not; the text names it.
    """
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            check_numbers(value, f"{where}.{name}" if where else str(name))
    elif isinstance(settings, float) and not math.isfinite(settings):
        raise ValueError(f"{where} is {settings}, which is no number")


def check_settings(settings: object, where: str, kind: type | None = None, *, least: int = 0) -> None:
    """Checks that the settings are an object of numbers; those that `kind`, a dataclass, has as int are counts.

    Without a kind all are counts, of at least `least`.

    Raises:
        ValueError: they are not; the text names the first.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"{where} is no object")
    floats = {field.name for field in fields(kind) if field.type == "float"} if is_dataclass(kind) else set()
    known = [field.name for field in fields(kind)] if is_dataclass(kind) else list(settings)
    for name, value in settings.items():
        if name not in known:
            raise ValueError(f"{where}.{name} is not known; it may have {', '.join(known)}")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (name not in floats and not (isinstance(value, int) and least <= value < 2**31)):
            what = "number" if name in floats else f"whole number from {least} on"
            raise ValueError(f"{where}.{name} is {value!r}, which should be a {what}")


def check_belong_together(tokenizer: Tokenizer, words: QuantizedEmbedding, config: ModelConfig) -> None:
    """Checks the table of an own model against its shape, and the tokenizer against the table.

    Raises:
        ValueError: they do not fit.
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
