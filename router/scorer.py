"""Runs packed batches through the model: the engine, and the scorer that uses it directly."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import torch

from shortlist.schemas.errors import LimitExceeded

from .attention import AttentionBackend
from .encoding import Pair
from .model import CrossEncoder
from .packing import pack, plan_batches
from .scoring import CancelToken, PairScores

__all__ = ["DirectScorer", "Engine", "default_batch_tokens"]


def default_batch_tokens(device: torch.device) -> int:
    """Gives the batch budget that suits a kind of device, in tokens."""
    # A CPU gains nothing above a few thousand tokens, and attention weights of 1,024-token pairs take 50 KiB a token.
    return 4_096 if device.type == "cpu" else 65_536


class Engine:
    """Holds a model on its device and runs one packed batch at a time; not safe to share between threads.

    `model` must already be on `device`, in the dtype that `attention` was chosen for.
    """

    def __init__(
        self, model: CrossEncoder, attention: AttentionBackend, device: torch.device, *, max_batch_tokens: int
    ) -> None:
        self.model = model.eval()
        self.attention = attention
        self.device = device
        self.max_batch_tokens = max_batch_tokens

    def run(self, pairs: Sequence[Pair]) -> list[float]:
        """Computes one float32 logit per pair, in order.

        The caller keeps the batch within `max_batch_tokens`; only the memory of the device holds it to that.

        Raises:
            LimitExceeded: a pair is longer than the model's position table.
        """
        if not pairs:
            return []
        # Longest first: attention that groups neighbours of like length then pads next to nothing.
        order = sorted(range(len(pairs)), key=lambda index: (-len(pairs[index]), index))
        self._check_length(len(pairs[order[0]]))
        with torch.inference_mode():
            batch = pack([pairs[index] for index in order]).to(self.device)
            ordered: list[float] = self.model(batch, self.attention).tolist()
        logits = [0.0] * len(pairs)
        for place, index in enumerate(order):
            logits[index] = ordered[place]
        return logits

    def _check_length(self, longest: int) -> None:
        limit = self.model.config.max_pair_tokens
        # On CUDA a position outside the table would end the whole process' use of the card.
        if longest > limit:
            raise LimitExceeded(
                f"a pair has {longest} tokens, the model reads at most {limit}", limit=limit, actual=longest
            )


class DirectScorer:
    """Scores pairs through an engine of its own, one batch after the other; a `PairScorer`, safe to share."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        """Gives one logit per pair; the engine is free for others between two batches.

        Raises:
            RequestCancelled: `cancel` was set before all pairs were scored; what was computed is lost.
            LimitExceeded: a pair is longer than the model's position table.
        """
        lengths = [len(pair) for pair in pairs]
        logits = [0.0] * len(pairs)
        queue_seconds = infer_seconds = 0.0
        for batch in plan_batches(lengths, self._engine.max_batch_tokens):
            asked = time.perf_counter()
            with self._lock:
                began = time.perf_counter()
                if cancel is not None:
                    cancel.raise_if_cancelled()
                results = self._engine.run([pairs[index] for index in batch])
                infer_seconds += time.perf_counter() - began
            queue_seconds += began - asked
            for index, logit in zip(batch, results, strict=True):
                logits[index] = logit
        return PairScores(logits, sum(lengths), queue_seconds * 1_000, infer_seconds * 1_000)
