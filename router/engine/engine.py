"""Runs packed batches through the models: the engine, and a scorer that calls it directly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from shortlist.router.engine.packing import PackedBatch, filler, pack, plan_batches
from shortlist.router.engine.protocols import CancelToken, Embedded, PairScores, TextVectors
from shortlist.router.engine.tokenizer import Pair
from shortlist.router.model.attention.backends import AttentionBackend
from shortlist.router.model.encoder import CrossEncoder, TextEncoder
from shortlist.schemas.errors import LimitExceeded

__all__ = ["DirectScorer", "Engine", "default_batch_tokens"]

_T = TypeVar("_T")


def default_batch_tokens(device: torch.device) -> int:
    """Returns the default token budget of a batch on a device."""
    # A CPU is not faster above a few thousand tokens, and attention weights of 1,024-token pairs take 50 KiB a token.
    return 4_096 if device.type == "cpu" else 65_536


class Engine:
    """Holds a model on its device and runs one packed batch at a time; not thread-safe.

    `model` and `encoder` must already be on `device`, in the dtype that `attention` was chosen for.
    """

    def __init__(
        self,
        model: CrossEncoder,
        attention: AttentionBackend,
        device: torch.device,
        *,
        max_batch_tokens: int,
        encoder: TextEncoder | None = None,
    ) -> None:
        self.model = model.eval()
        self.encoder = encoder.eval() if encoder is not None else None
        self.attention = attention
        self.device = device
        self.max_batch_tokens = max_batch_tokens

    def run(self, pairs: Sequence[Pair]) -> list[float]:
        """Returns one float32 logit per pair, in order.

        The caller keeps the batch within `max_batch_tokens`; a larger one may run out of device memory.

        Raises:
            LimitExceeded: a pair is longer than the model's position table.
        """
        return self._in_order(pairs, lambda batch: self.model(batch, self.attention).tolist())

    def embed(self, texts: Sequence[Pair]) -> list[Embedded]:
        """Returns the vectors of each text (`Tokenizer.make_single`), in order; raises as `run`."""
        return self._in_order(texts, self._encode)

    def _encode(self, batch: PackedBatch) -> list[Embedded]:
        if self.encoder is None:
            raise RuntimeError("the model has no encoder")  # a bug: callers check `encoder` first
        vectors, tokens = self.encoder.encode(batch, self.attention)
        # Copies: a view would keep the whole batch in memory for as long as one text's vector is cached.
        copied = [vector.copy() for vector in vectors.cpu().numpy()]
        if tokens is None:
            return [Embedded(vector) for vector in copied]
        parts = torch.split(tokens.half().cpu(), list(batch.lengths))
        return [Embedded(vector, part.numpy().copy()) for vector, part in zip(copied, parts, strict=True)]

    def _in_order(self, pairs: Sequence[Pair], compute: Callable[[PackedBatch], list[_T]]) -> list[_T]:
        if not pairs:
            return []
        extra = filler(pairs, self.model.config.max_pair_tokens) if self.device.type == "cpu" else None
        if extra is not None:
            return self._in_sorted_order([*pairs, extra], compute)[:-1]
        return self._in_sorted_order(pairs, compute)

    def _in_sorted_order(self, pairs: Sequence[Pair], compute: Callable[[PackedBatch], list[_T]]) -> list[_T]:
        # Longest first: attention that groups neighbours of similar length then needs little padding.
        order = sorted(range(len(pairs)), key=lambda index: (-len(pairs[index]), index))
        self._check_length(len(pairs[order[0]]))
        with torch.inference_mode():
            ordered = compute(pack([pairs[index] for index in order]).to(self.device))
        places = sorted(range(len(order)), key=order.__getitem__)
        return [ordered[place] for place in places]

    def _check_length(self, longest: int) -> None:
        limit = self.model.config.max_pair_tokens
        # On CUDA, a position outside the table would make the GPU unusable for the rest of the process.
        if longest > limit:
            raise LimitExceeded(
                f"a pair has {longest} tokens; the model reads at most {limit}", limit=limit, actual=longest
            )


class DirectScorer:
    """Runs pairs and texts through its own engine, batch after batch; a thread-safe `PairScorer`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        """Returns one logit per pair; other threads can use the engine between two batches.

        Raises:
            RequestCancelled: `cancel` was set before all pairs were scored; the logits so far are discarded.
            LimitExceeded: a pair is longer than the model's position table.
        """
        return PairScores(*self._run(self._engine.run, pairs, cancel))

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        """Returns the vectors of each text (`Tokenizer.make_single`); raises as `score`."""
        return TextVectors(*self._run(self._engine.embed, texts, cancel))

    def _run(
        self, run: Callable[[Sequence[Pair]], list[_T]], pairs: Sequence[Pair], cancel: CancelToken | None
    ) -> tuple[list[_T], int, float, float]:
        lengths = [len(pair) for pair in pairs]
        outputs: list[Any] = [None] * len(pairs)
        queue_seconds = infer_seconds = 0.0
        for batch in plan_batches(lengths, self._engine.max_batch_tokens):
            queued = time.perf_counter()
            with self._lock:
                began = time.perf_counter()
                if cancel is not None:
                    cancel.raise_if_cancelled()
                results = run([pairs[index] for index in batch])
                infer_seconds += time.perf_counter() - began
            queue_seconds += began - queued
            for index, result in zip(batch, results, strict=True):
                outputs[index] = result
        return outputs, sum(lengths), queue_seconds * 1_000, infer_seconds * 1_000
