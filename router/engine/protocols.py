"""Defines the interface to whatever scores pairs, and the token that cancels a request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shortlist.schemas.errors import RequestCancelled

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from shortlist.router.engine.tokenizer import Pair

    Vector = npt.NDArray[np.float32]
    TokenVectors = npt.NDArray[np.float16]

__all__ = ["CancelToken", "Embedded", "PairScorer", "PairScores", "TextVectors"]


class CancelToken:
    """Signals that a request was cancelled or its deadline has passed; thread-safe.

    `timeout_seconds` counts from construction; None means no deadline.
    """

    def __init__(self, *, timeout_seconds: float | None = None) -> None:
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Marks the request as cancelled and runs the callbacks, once."""
        with self._lock:
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    @property
    def is_cancelled(self) -> bool:
        """Whether the request was cancelled or its deadline has passed."""
        return self._cancelled or self.is_expired

    @property
    def caller_left(self) -> bool:
        """Whether `cancel` was called, regardless of the deadline."""
        return self._cancelled

    @property
    def is_expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def remaining_seconds(self) -> float | None:
        """The time until the deadline, at least 0; None without a deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def raise_if_cancelled(self) -> None:
        """Stops work on a request that is no longer wanted.

        Raises:
            RequestCancelled: the request was cancelled or its deadline has passed.
        """
        if self._cancelled:
            raise RequestCancelled("the request was cancelled before its answer was ready")
        if self.is_expired:
            raise RequestCancelled("the request's deadline passed before its answer was ready")

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Runs `callback` if `cancel` is called inside the block or was called before; not when the deadline passes."""
        with self._lock:
            was_cancelled = self._cancelled
            if not was_cancelled:
                self._callbacks.append(callback)
        if was_cancelled:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)


@dataclass(frozen=True, slots=True)
class PairScores:
    """The logits of some pairs, in order, with the tokens read and the time spent waiting and computing."""

    logits: list[float]
    num_tokens: int
    queue_ms: float
    infer_ms: float


@dataclass(frozen=True, slots=True)
class Embedded:
    """One text's unit vector `(width,)` and its token rows `(tokens, token_width + 1)`: a unit vector, then its weight.

    `tokens` is None if the encoder has no token vectors.
    """

    vector: Vector
    tokens: TokenVectors | None = None

    @property
    def num_bytes(self) -> int:
        """The size of the arrays in bytes."""
        return self.vector.nbytes + (self.tokens.nbytes if self.tokens is not None else 0)


@dataclass(frozen=True, slots=True)
class TextVectors:
    """The vectors of some texts, in order; the other fields are as in `PairScores`."""

    texts: list[Embedded]
    num_tokens: int
    queue_ms: float
    infer_ms: float


class PairScorer(Protocol):
    """Scores pairs and embeds texts: an engine called directly, or a queue that many requests share."""

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        """Returns one logit per pair; thread-safe.

        Raises:
            RequestCancelled: `cancel` was set before all pairs were scored.
        """
        ...

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        """Returns the vectors of each text (`Tokenizer.make_single`); needs a model with an encoder.

        Raises:
            RequestCancelled: `cancel` was set before all texts were embedded.
        """
        ...
