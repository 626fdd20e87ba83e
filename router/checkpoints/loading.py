"""Loads a model by name or folder, and prepares it for a device."""

from __future__ import annotations

from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import torch

from shortlist.router.checkpoints.devices import resolve_device, resolve_dtype
from shortlist.router.checkpoints.native import LoadedModel, is_own_folder, read_folder
from shortlist.router.engine.cpus import usable_cpus
from shortlist.router.engine.engine import Engine, default_batch_tokens
from shortlist.router.model.attention.choice import choose_attention
from shortlist.router.model.encoder import CrossEncoder, QuantizedEmbedding, TextEncoder, can_pack, pack_linears
from shortlist.schemas.errors import ModelError, ModelNotFound
from shortlist.schemas.results import ModelInfo

__all__ = ["BUILT_IN", "FAST", "load_model", "make_engines"]

BUILT_IN = "built-in"
FAST = "fast"
_BUILT_IN_FOLDER = "shortlist-small"
_BUILT_IN_PACKAGE = "shortlist_model_small"
_M = TypeVar("_M", CrossEncoder, TextEncoder)
# Limits the documents of foreign models with long windows: beyond this, a tool's text adds nothing new.
_FOREIGN_DOCUMENT_TOKENS = 384


def load_model(name: str | Path, *, allow_download: bool = False, revision: str | None = None) -> LoadedModel:
    """Loads ``built-in``, its six-layer variant ``fast``, a folder, or a model of the hub (downloaded if allowed).

    Raises:
        ModelNotFound: there is no such folder, or the model would have to be downloaded.
        UnsupportedModel: this kind of model is not supported.
        ModelError: a file is damaged, or some weights are NaN or infinite.
    """
    loaded = _load(name, allow_download=allow_download, revision=revision)
    _check_finite(loaded, name)
    return loaded


def _load(name: str | Path, *, allow_download: bool, revision: str | None) -> LoadedModel:
    if name in (BUILT_IN, FAST):
        return read_folder(_built_in_folder(), variant=FAST if name == FAST else None)
    folder = Path(name)
    if not folder.is_dir():
        from shortlist.router.checkpoints.hub import download  # slow to import, and only hub models need it

        folder = download(str(name), revision=revision, allow_download=allow_download)
    if is_own_folder(folder):
        return read_folder(folder)
    return _load_foreign(folder)


def make_engines(
    loaded: LoadedModel,
    *,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    max_batch_tokens: int | None = None,
    threads: int | None = None,
) -> tuple[tuple[Engine, ...], ModelInfo]:
    """Moves the model to its device and dtype, chooses the attention backend for them, and makes engines that share it.

    On a CPU, there are as many engines of one thread each as `threads` says; without it, as torch may use threads
    (OMP_NUM_THREADS) and this process CPUs. A GPU has one engine.
    """
    target = resolve_device(device)
    precision = resolve_dtype(dtype, target)
    config = loaded.model.config
    backend = choose_attention(attention, target, precision, config.hidden_size // config.num_heads)
    budget = max_batch_tokens or default_batch_tokens(target)
    model = _prepare(loaded.model, target, precision)
    encoder = _prepare(loaded.encoder, target, precision) if loaded.encoder is not None else None
    info = ModelInfo(
        name=loaded.name,
        version=loaded.version,
        license=loaded.license,
        device=str(target),
        dtype=str(precision).removeprefix("torch."),
        attention=backend.name,
        max_query_tokens=config.max_pair_tokens // 2,
        max_pair_tokens=config.max_pair_tokens,
        default_query_tokens=loaded.default_query_tokens,
        default_pair_tokens=loaded.default_pair_tokens,
        num_parameters=_num_parameters(loaded),
        vocabulary_size=config.vocabulary_size,
    )
    is_cpu = target.type == "cpu"
    number = (threads or min(torch.get_num_threads(), usable_cpus())) if is_cpu else 1
    engines = [
        Engine(
            model,
            choose_attention(backend.name, target, precision, config.hidden_size // config.num_heads),
            target,
            max_batch_tokens=budget,
            encoder=encoder,
            num_threads=1 if is_cpu else None,
        )
        for _ in range(number)
    ]
    return tuple(engines), info


def _prepare(model: _M, device: torch.device, dtype: torch.dtype) -> _M:
    model = _move(model, device, dtype)
    if can_pack(device, dtype):
        pack_linears(model)
    return model


def _move(model: _M, device: torch.device, dtype: torch.dtype) -> _M:
    words = model.words
    if isinstance(words, QuantizedEmbedding):
        # The table's scales stay float16 in every dtype: a cast would only lose or waste bits. Both models share the
        # table, which moves once.
        model.words = torch.nn.Identity()
        model.to(device=device, dtype=dtype)
        model.words = words.to(device)
        return model
    return model.to(device=device, dtype=dtype)


def _num_parameters(loaded: LoadedModel) -> int:
    config = loaded.model.config
    table = config.vocabulary_size * config.hidden_size
    return table + sum(p.numel() for n, p in loaded.model.named_parameters() if not n.startswith("words."))


def _load_foreign(folder: Path) -> LoadedModel:
    # May import transformers, which is slow and which only foreign checkpoints need.
    from shortlist.router.checkpoints.pretrained import load_foreign

    foreign = load_foreign(folder)
    return LoadedModel(
        model=foreign.model,
        tokenizer=foreign.tokenizer,
        name=foreign.name,
        version=foreign.version,
        license=foreign.license,
        default_query_tokens=foreign.default_query_tokens,
        default_pair_tokens=foreign.default_pair_tokens,
        document_tokens=min(_FOREIGN_DOCUMENT_TOKENS, foreign.default_pair_tokens // 2),
    )


def _check_finite(loaded: LoadedModel, name: str | Path) -> None:
    """Rejects weights that are NaN or infinite: the scores that they enter would be meaningless."""
    for model in (loaded.model, loaded.encoder):
        for what, tensor in () if model is None else model.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor.sum(dtype=torch.float32)):
                raise ModelError(f"the weights {what} of {name} are not all finite numbers; fetch the model again")


def _built_in_folder() -> Path:
    """Finds the built-in model beside the code, as in a checkout, or in its own distribution."""
    folder = Path(__file__).parents[1] / "models" / _BUILT_IN_FOLDER
    if not is_own_folder(folder) and find_spec(_BUILT_IN_PACKAGE):
        folder = Path(str(resources.files(_BUILT_IN_PACKAGE))) / _BUILT_IN_FOLDER
    if not is_own_folder(folder):
        raise ModelNotFound(
            "the built-in model is not installed; install the distribution shortlist-model-small "
            "(in a checkout: pip install ./router/models), or name a model folder"
        )
    return folder
