"""Implements the two methods of jina-reranker-v2-base-multilingual, `compute_score` and `rerank`, for any model.

Parameters, defaults and results match the reference, with intended differences: the documented `overlap` works, ties
keep the input order, results are plain Python values, and empty documents and lists are accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shortlist.router.engine.protocols import CancelToken, PairScorer
from shortlist.router.engine.tokenizer import Pair, TokenIds, Tokenizer
from shortlist.router.ranking.score import sigmoid
from shortlist.router.ranking.windows import cut_query, score_documents
from shortlist.schemas.errors import InvalidInput, LimitExceeded

__all__ = ["Ranked", "Reranker", "longest_first"]

_DEFAULT_OVERLAP_TOKENS = 80
_DEFAULT_BATCH_SIZE = 512
# Two special tokens and one token of the query.
_MIN_QUERY_TOKENS = 3


@dataclass(frozen=True, slots=True)
class Ranked:
    """One reranked document; `index` is its position in the input, from 0, and `score` is in 0..1."""

    index: int
    score: float
    document: str


class Reranker:
    """Scores and ranks texts in-process; thread-safe if its scorer is.

    `default_query_tokens` and `default_pair_tokens` replace the reference's 512 and 1,024, because windows depend on
    the model; `max_pair_tokens` is the model's limit.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        scorer: PairScorer,
        *,
        max_pair_tokens: int,
        default_query_tokens: int,
        default_pair_tokens: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._scorer = scorer
        self._max_pair_tokens = max_pair_tokens
        self._default_query_tokens = default_query_tokens
        self._default_pair_tokens = default_pair_tokens

    def compute_score(
        self,
        pairs: Sequence[str] | Sequence[Sequence[str]],
        *,
        batch_size: int | None = None,
        max_length: int | None = None,
        cancel: CancelToken | None = None,
    ) -> float | list[float]:
        """Returns a score in 0..1 for each `(query, document)` pair, in order; a single pair gives a bare float.

        A pair longer than `max_length` tokens loses tokens from the end of its longer text first; documents are not
        split into windows. `batch_size` limits the pairs computed at once and does not change results.

        Raises:
            InvalidInput: an element is not a pair of texts, or `max_length` does not fit the model.
            RequestCancelled: `cancel` was set before all pairs were scored.
        """
        budget = self._pair_limit(max_length) - self._tokenizer.num_special_tokens
        _check_at_least(1, batch_size=batch_size)
        is_bare = len(pairs) == 2 and _all_texts(pairs)
        texts = _check_pairs([pairs] if is_bare else pairs)
        step = batch_size or _DEFAULT_BATCH_SIZE
        scores: list[float] = []
        for start in range(0, len(texts), step):
            truncated = self._truncate(texts[start : start + step], budget)
            scores.extend(sigmoid(logit) for logit in self._scorer.score(truncated, cancel=cancel).logits)
        return scores[0] if len(scores) == 1 else scores

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        batch_size: int | None = None,
        max_query_length: int | None = None,
        max_length: int | None = None,
        overlap: int | None = None,
        overlap_tokens: int | None = None,
        top_n: int | None = None,
        cancel: CancelToken | None = None,
    ) -> list[Ranked]:
        """Ranks documents of up to 524,288 tokens, best first, ties in input order; `top_n` None or 0 returns all.

        The query is cut to `max_query_length` tokens, special tokens included. A document too long for the rest of
        `max_length` is split into windows that overlap by `overlap` tokens (default 80, at most a quarter of a window;
        `overlap_tokens` is an alias); its score is that of its best window.
        `batch_size` limits the pairs computed at once and does not change results.

        Raises:
            InvalidInput: a parameter does not fit the model or contradicts another one.
            LimitExceeded: a document is longer than 524,288 tokens.
            RequestCancelled: `cancel` was set before all documents were scored.
        """
        max_length = self._pair_limit(max_length)
        max_query_length = self._query_limit(max_query_length, max_length)
        _check_at_least(1, batch_size=batch_size)
        _check_at_least(0, top_n=top_n)
        overlap = _resolve_overlap(overlap, overlap_tokens)
        if isinstance(documents, str):
            raise InvalidInput("is one text; give a list of texts", field="documents")
        query_ids = cut_query(self._tokenizer.encode([query])[0], max_query_length)
        scores = score_documents(
            query_ids,
            _encode_lazily(documents, self._tokenizer),
            tokenizer=self._tokenizer,
            scorer=self._scorer,
            max_pair_tokens=max_length,
            overlap_tokens=overlap,
            max_slice_pairs=batch_size,
            cancel=cancel,
        )
        order = sorted(range(len(documents)), key=lambda index: (-scores.logits[index], index))
        return [Ranked(index, sigmoid(scores.logits[index]), documents[index]) for index in order[: top_n or None]]

    def _truncate(self, texts: Sequence[Sequence[str]], budget: int) -> list[Pair]:
        ids = self._tokenizer.encode([text for pair in texts for text in pair])
        pairs = []
        for query_ids, document_ids in zip(ids[::2], ids[1::2], strict=True):
            num_query, num_document = longest_first(len(query_ids), len(document_ids), budget)
            pairs.append(self._tokenizer.make_pair(query_ids[:num_query], document_ids[:num_document]))
        return pairs

    def _pair_limit(self, max_length: int | None) -> int:
        value = self._default_pair_tokens if max_length is None else max_length
        if value > self._max_pair_tokens:
            raise LimitExceeded(
                f"is {value}; the model reads at most {self._max_pair_tokens} tokens",
                limit=self._max_pair_tokens,
                actual=value,
                field="max_length",
            )
        if value <= self._tokenizer.num_special_tokens:
            raise InvalidInput(
                f"is {value}; the special tokens of a pair alone take {self._tokenizer.num_special_tokens}",
                field="max_length",
            )
        return value

    def _query_limit(self, max_query_length: int | None, max_length: int) -> int:
        if max_query_length is None:
            # The default shrinks with a small max_length; only an explicit value can be an error.
            return max(min(self._default_query_tokens, max_length // 2), _MIN_QUERY_TOKENS)
        _check_at_least(_MIN_QUERY_TOKENS, max_query_length=max_query_length)
        if max_length < 2 * max_query_length:
            raise InvalidInput(
                f"is {max_query_length}; it may be at most half of max_length ({max_length})",
                field="max_query_length",
            )
        return max_query_length


def longest_first(num_first: int, num_second: int, budget: int) -> tuple[int, int]:
    """Returns how many tokens of each of two texts to keep so that both fit `budget`, cutting the longer one first.

    If both must be cut, each gets half of the budget; an odd token goes to the longer text, or to the second of two
    equally long ones (as in the Rust tokenizers: tokenizers/src/utils/truncation.rs).
    """
    if num_first + num_second <= budget:
        return num_first, num_second
    shorter = min(num_first, num_second, budget // 2)
    return (budget - shorter, shorter) if num_first > num_second else (shorter, budget - shorter)


def _check_pairs(pairs: Iterable[object]) -> list[Sequence[str]]:
    checked: list[Sequence[str]] = []
    for index, pair in enumerate(pairs):
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2 or not _all_texts(pair):
            raise InvalidInput("is not a pair of texts (query, document)", field=f"pairs[{index}]")
        checked.append(pair)
    return checked


def _all_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_at_least(minimum: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < minimum:
            raise InvalidInput(f"is {value}; give {minimum} or more", field=name)


def _resolve_overlap(overlap: int | None, overlap_tokens: int | None) -> int:
    if overlap is not None and overlap_tokens is not None and overlap != overlap_tokens:
        raise InvalidInput(
            f"is {overlap}, but its alias overlap_tokens is {overlap_tokens}; give one of them", field="overlap"
        )
    _check_at_least(0, overlap=overlap, overlap_tokens=overlap_tokens)
    given = overlap if overlap is not None else overlap_tokens
    return _DEFAULT_OVERLAP_TOKENS if given is None else given


def _encode_lazily(documents: Sequence[str], tokenizer: Tokenizer) -> Iterator[TokenIds]:
    """Tokenizes a few documents at a time: enough to use all cores, few enough to hold in memory."""
    step = 64
    for start in range(0, len(documents), step):
        yield from tokenizer.encode(documents[start : start + step])
