"""A scorer without a model, which knows the meaning of a few words and remembers what it was given to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from own_folders import own_tokenizer

from shortlist.router.engine.protocols import CancelToken, Embedded, PairScores, TextVectors
from shortlist.router.engine.tokenizer import Pair, Tokenizer


@dataclass
class Meanings:
    """Embeds a text as the sum of its known words' vectors, any other text as `otherwise`; pairs score likewise.

    A pair's logit is the sum of the numbers of the words in it, query and document together. With `has_tokens` a
    text's tokens are its known words, each of the same weight.
    """

    vectors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    otherwise: tuple[float, ...] = (1.0, 0.0, 0.0)
    logits: Mapping[str, float] = field(default_factory=dict)
    has_tokens: bool = False
    tokenizer: Tokenizer = field(default_factory=own_tokenizer)
    embedded: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        texts = [self.tokenizer.decode(pair.input_ids) for pair in pairs]
        logits = [sum((logit for word, logit in self.logits.items() if word in text), 0.0) for text in texts]
        return PairScores(logits, sum(map(len, pairs)), 0.0, 0.0)

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        if cancel is not None:
            cancel.raise_if_cancelled()
        read = [self.tokenizer.decode(text.input_ids) for text in texts]
        self.embedded += read
        self.lengths += map(len, texts)
        vectors = [Embedded(self._vector(text), self._tokens(text)) for text in read]
        return TextVectors(vectors, sum(map(len, texts)), 0.0, 0.0)

    def _tokens(self, text: str) -> npt.NDArray[np.float16] | None:
        if not self.has_tokens:
            return None
        known = [vector for word, vector in self.vectors.items() if word in text] or [self.otherwise]
        return np.array([[*vector, 1 / len(known)] for vector in known], np.float16)

    def _vector(self, text: str) -> npt.NDArray[np.float32]:
        known = [vector for word, vector in self.vectors.items() if word in text]
        total = np.sum(known or [self.otherwise], axis=0, dtype=np.float32)
        return np.asarray(total / np.linalg.norm(total), np.float32)
