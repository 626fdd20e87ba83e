"""Defines how pairs are handed to whatever scores them, and how a caller takes its request back."""

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
    """Tells the work on one request that its caller left, or that its time is up; safe to share between threads.

    `timeout_seconds` counts from the making of the token; None means no limit.
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
        """Whether the caller left or the time is up."""
        return self._cancelled or self.is_expired

    @property
    def caller_left(self) -> bool:
        """Whether it was cancelled, be the time up or not."""
        return self._cancelled

    @property
    def is_expired(self) -> bool:
        """Whether the time is up."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def remaining_seconds(self) -> float | None:
        """The time that is left, at least 0; None where there is no limit."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def raise_if_cancelled(self) -> None:
        """Does nothing while the request is wanted.

        Raises:
            RequestCancelled: the caller left or the time is up.
        """
        if self._cancelled:
            raise RequestCancelled("the request was cancelled before its answer was ready")
        if self.is_expired:
            raise RequestCancelled("the request's deadline passed before its answer was ready")

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Has `callback` run upon cancel() while the block lasts, at once if that was before; not upon expiry."""
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
    """The logits of some pairs in their order, the tokens read, and how long they waited and were computed."""

    logits: list[float]
    num_tokens: int
    queue_ms: float
    infer_ms: float


@dataclass(frozen=True, slots=True)
class Embedded:
    """One text's unit vector `(width,)`, and its tokens' `(tokens, token_width + 1)`: unit vectors, then the weights.

    `tokens` is None where the encoder has no vectors of tokens.
    """

    vector: Vector
    tokens: TokenVectors | None = None

    @property
    def num_bytes(self) -> int:
        """What the arrays take."""
        return self.vector.nbytes + (self.tokens.nbytes if self.tokens is not None else 0)


@dataclass(frozen=True, slots=True)
class TextVectors:
    """The vectors of some texts in their order; the other fields as in `PairScores`."""

    texts: list[Embedded]
    num_tokens: int
    queue_ms: float
    infer_ms: float


class PairScorer(Protocol):
    """Anything that scores pairs and embeds texts: an engine used directly, or a queue that many requests share."""

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        """Gives one logit per pair; may be called from many threads at once.

        Raises:
            RequestCancelled: `cancel` was set before all pairs were scored.
        """
        ...

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        """Gives the vectors of each framed text; only where the model has an encoder.

        Raises:
            RequestCancelled: `cancel` was set before all texts were embedded.
        """
        ...
