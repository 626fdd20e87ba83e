"""Makes the texts for speed benchmarks: a query, and documents of log-normal length, of the example catalog's words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.model.encoder import ModelConfig

_EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "tools"
_QUERY_TOKENS = 16
_SHORTEST, _MEDIAN, _LONGEST = 24, 110, 600
_SIGMA = 0.6  # of the logarithm; some 90 % of documents then have between 41 and 295 tokens


@dataclass(frozen=True, slots=True)
class Workload:
    """One request: the texts, and the number of tokens of each pair, special tokens included."""

    query: str
    documents: tuple[str, ...]
    pair_tokens: tuple[int, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs of the query and each document."""
        return [(self.query, document) for document in self.documents]


def make_workload(
    tokenizer: Tokenizer, num_documents: int, *, seed: int = 0, median: int = _MEDIAN, max_tokens: int = _LONGEST
) -> Workload:
    """Draws documents of log-normal length, 24 to `max_tokens` tokens, and a query of 16 tokens."""
    rng = np.random.default_rng(seed)
    drawn = np.exp(rng.normal(math.log(median), _SIGMA, num_documents))
    lengths = np.clip(drawn, _SHORTEST, max_tokens).astype(int)
    words = _words()
    documents = tuple(_text(tokenizer, rng, words, int(length)) for length in lengths)
    query = _text(tokenizer, rng, words, _QUERY_TOKENS)
    sizes = [tokenizer.count(text) + tokenizer.num_special_tokens + _QUERY_TOKENS for text in documents]
    return Workload(query, documents, tuple(sizes))


def make_text(tokenizer: Tokenizer, num_tokens: int, *, seed: int = 0) -> str:
    """Draws one text of about `num_tokens` tokens."""
    return _text(tokenizer, np.random.default_rng(seed), _words(), num_tokens)


def multiplications(config: ModelConfig, pair_tokens: Sequence[int]) -> float:
    """Counts the floating-point operations that the layers need: two per weight and token, plus attention's products.

    Padding, embeddings and norms are not counted, so a share of the peak by this count is a lower bound.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    linear = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    return float(config.num_layers * sum(tokens * linear + 4 * tokens * tokens * hidden for tokens in pair_tokens))


def _words() -> list[str]:
    text = " ".join(path.read_text(encoding="utf-8") for path in sorted(_EXAMPLES.glob("*.json")))
    return sorted(set(re.findall(r"[a-z]{3,}", text)))


def _text(tokenizer: Tokenizer, rng: np.random.Generator, words: Sequence[str], num_tokens: int) -> str:
    """Joins random words into a text of `num_tokens` tokens, give or take one."""
    drawn = [words[index] for index in rng.integers(0, len(words), num_tokens)]
    ids = tokenizer.encode([" ".join(drawn)])[0][:num_tokens]
    return tokenizer.decode(ids)
