"""Defines the model options that subcommands share, and loads the model they name."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from shortlist.router.engine.cpus import usable_cpus
from shortlist.server.cli.numbers import positive

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router

__all__ = ["add_model_options", "load_router", "model_options_in", "slow_notice"]

_NOTICE_SECONDS = 2.0
_MODEL_OPTIONS = (
    "model",
    "revision",
    "allow_download",
    "device",
    "dtype",
    "attention",
    "threads",
    "max_batch_tokens",
)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `load_router` reads."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default="built-in",
        help="`built-in` (the default), its six-layer variant `fast`, a folder, or a hub name with --allow-download",
    )
    group.add_argument("--revision", help="the commit, tag or branch of a hub model")
    group.add_argument("--allow-download", action="store_true", help="allow downloading the model from the hub")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    group.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16 (default: auto)")
    group.add_argument("--attention", default="auto", help="the attention backend (default: auto)")
    group.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="batches computed side by side on a CPU, a thread each (default: OMP_NUM_THREADS, or the usable CPUs)",
    )
    group.add_argument(
        "--max-batch-tokens", type=positive, metavar="N", help="the most tokens per batch (default: by device)"
    )


def model_options_in(args: argparse.Namespace, parser: argparse.ArgumentParser) -> list[str]:
    """Lists the model options that differ from their defaults, as flags."""
    names = [name for name in _MODEL_OPTIONS if getattr(args, name) != parser.get_default(name)]
    return [f"--{name.replace('_', '-')}" for name in names]


class ModelOptions(Protocol):
    """Which model runs, and how; satisfied by parsed arguments and by the server's settings."""

    @property
    def model(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def attention(self) -> str: ...
    @property
    def allow_download(self) -> bool: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def threads(self) -> int | None: ...
    @property
    def max_batch_tokens(self) -> int | None: ...


def load_router(
    args: ModelOptions | argparse.Namespace, cache_mb: float | None = None, cache_dir: str | None = None
) -> Router:
    """Loads the Router that the model options describe; its caches hold about `cache_mb` MiB, and last in `cache_dir`.

    Raises:
        ModelError: the model cannot be loaded.
    """
    from shortlist.router.pipeline import Router  # imports torch, which most commands do not need

    _set_threads(args.threads)
    return Router.load(
        args.model,
        device=args.device,
        dtype=args.dtype,
        attention=args.attention,
        allow_download=args.allow_download,
        revision=args.revision,
        max_batch_tokens=args.max_batch_tokens,
        threads=args.threads,
        cache_mb=cache_mb,
        cache_dir=cache_dir,
    )


def _set_threads(number: int | None) -> None:
    """Limits what torch computes outside of the model's streams, loading above all, to as many threads."""
    import torch

    torch.set_num_threads(number or min(torch.get_num_threads(), usable_cpus()))


@contextmanager
def slow_notice(text: str) -> Iterator[None]:
    """Prints a line to stderr if the block takes longer than two seconds and stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    timer = threading.Timer(_NOTICE_SECONDS, print, (text,), {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
