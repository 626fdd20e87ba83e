"""Runs packed batches through the models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from shortlist.router.engine.packing import PackedBatch, filler, pack
from shortlist.router.engine.protocols import Embedded
from shortlist.router.engine.tokenizer import Pair
from shortlist.router.model.attention.backends import AttentionBackend
from shortlist.router.model.encoder import CrossEncoder, TextEncoder
from shortlist.schemas.errors import LimitExceeded

__all__ = ["Engine", "default_batch_tokens"]

_T = TypeVar("_T")


def default_batch_tokens(device: torch.device) -> int:
    """Returns the default token budget of a batch on a device."""
    # New calls wait for the batch that runs. Attention weights of 1,024-token pairs take 50 KiB a token.
    return 2_048 if device.type == "cpu" else 65_536


class Engine:
    """Holds a model on its device and runs one packed batch at a time; not thread-safe.

    `model` and `encoder` must already be on `device`, in the dtype that `attention` was chosen for. Engines may share
    them; each has an attention backend of its own, whose memory it reuses. `num_threads` are the threads of one matrix
    product on a CPU, in the thread that calls `enter`; None leaves torch's number.
    """

    def __init__(
        self,
        model: CrossEncoder,
        attention: AttentionBackend,
        device: torch.device,
        *,
        max_batch_tokens: int,
        encoder: TextEncoder | None = None,
        num_threads: int | None = None,
    ) -> None:
        self.model = model.eval()
        self.encoder = encoder.eval() if encoder is not None else None
        self.attention = attention
        self.device = device
        self.max_batch_tokens = max_batch_tokens
        self.num_threads = num_threads

    def enter(self) -> None:
        """Prepares the calling thread, which runs this engine from now on; other threads keep their settings."""
        if self.num_threads is not None:
            _limit_this_thread(self.num_threads)

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


def _limit_this_thread(number: int) -> None:
    """Makes torch compute with `number` threads in this thread alone.

    torch keeps a number for each thread, and one for those that begin later, which the call below changes too. A thread
    that has no number yet gets the latter at its first product, so this one asks for its own before.
    """
    others = torch.get_num_threads()
    torch.set_num_threads(number)
    restoring = threading.Thread(target=torch.set_num_threads, args=(others,))
    restoring.start()
    restoring.join()
