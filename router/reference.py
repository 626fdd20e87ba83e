"""Offers the two methods of jina-reranker-v2-base-multilingual, `compute_score` and `rerank`, for any model.

Parameters, defaults and results are the reference's. What differs is meant: the documented `overlap` is heard, ties
keep the order of the input, results are plain Python values, and empty documents and lists are answered.
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
_PAIRS_AT_ONCE = 512
# A query's two special tokens and one token of its own.
_MIN_QUERY_TOKENS = 3


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document of a reranking; `index` is its place in the input, from 0, and `score` lies in 0..1."""

    index: int
    score: float
    document: str


class Reranker:
    """Scores and ranks texts in-process; safe to share between threads if its scorer is.

    `default_query_tokens` and `default_pair_tokens` stand in for the reference's 512 and 1,024, since windows depend on
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
        """Gives a score in 0..1 per `(query, document)` pair, in order; a single pair gives a bare float.

        A pair longer than `max_length` tokens loses tokens from the end of its longer text first; there are no windows.
        `batch_size` bounds the pairs computed at once and changes no result.

        Raises:
            InvalidInput: something is no pair of texts, or `max_length` does not fit the model.
            RequestCancelled: `cancel` was set before all was scored.
        """
        budget = self._pair_limit(max_length) - self._tokenizer.num_special_tokens
        _check_at_least(1, batch_size=batch_size)
        is_bare = len(pairs) == 2 and _all_texts(pairs)
        texts = _check_pairs([pairs] if is_bare else pairs)
        step = batch_size or _PAIRS_AT_ONCE
        scores: list[float] = []
        for start in range(0, len(texts), step):
            made = self._truncated_pairs(texts[start : start + step], budget)
            scores.extend(sigmoid(logit) for logit in self._scorer.score(made, cancel=cancel).logits)
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
        """Ranks documents of up to 524,288 tokens, best first, ties in input order; `top_n` None or 0 means all.

        The query is cut to `max_query_length`, its special tokens included. A document too long for the rest is read
        in windows that share `overlap` tokens (80, at most a quarter of a window; `overlap_tokens` is the same), and
        the best one counts.
        `batch_size` bounds the pairs computed at once and changes no result.

        Raises:
            InvalidInput: a parameter does not fit the model, or the others.
            LimitExceeded: a document is longer than 524,288 tokens.
            RequestCancelled: `cancel` was set before all was scored.
        """
        max_length = self._pair_limit(max_length)
        max_query_length = self._query_limit(max_query_length, max_length)
        _check_at_least(1, batch_size=batch_size)
        _check_at_least(0, top_n=top_n)
        shared = _one_overlap(overlap, overlap_tokens)
        if isinstance(documents, str):
            raise InvalidInput("is one text; give a list of them", field="documents")
        query_ids = cut_query(self._tokenizer.encode([query])[0], max_query_length)
        scores = score_documents(
            query_ids,
            _encode_lazily(documents, self._tokenizer),
            tokenizer=self._tokenizer,
            scorer=self._scorer,
            max_pair_tokens=max_length,
            overlap_tokens=shared,
            max_slice_pairs=batch_size,
            cancel=cancel,
        )
        order = sorted(range(len(documents)), key=lambda index: (-scores.logits[index], index))
        return [Ranked(index, sigmoid(scores.logits[index]), documents[index]) for index in order[: top_n or None]]

    def _truncated_pairs(self, texts: Sequence[Sequence[str]], budget: int) -> list[Pair]:
        ids = self._tokenizer.encode([text for pair in texts for text in pair])
        made = []
        for query_ids, document_ids in zip(ids[::2], ids[1::2], strict=True):
            kept_query, kept_document = longest_first(len(query_ids), len(document_ids), budget)
            made.append(self._tokenizer.make_pair(query_ids[:kept_query], document_ids[:kept_document]))
        return made

    def _pair_limit(self, max_length: int | None) -> int:
        value = self._default_pair_tokens if max_length is None else max_length
        if value > self._max_pair_tokens:
            raise LimitExceeded(
                f"is {value}, the model reads at most {self._max_pair_tokens} tokens",
                limit=self._max_pair_tokens,
                actual=value,
                field="max_length",
            )
        if value <= self._tokenizer.num_special_tokens:
            raise InvalidInput(
                f"is {value}; a pair alone takes {self._tokenizer.num_special_tokens} special tokens",
                field="max_length",
            )
        return value

    def _query_limit(self, max_query_length: int | None, max_length: int) -> int:
        if max_query_length is None:
            # The default gives way to a small max_length; only a value that was asked for can be wrong.
            return max(min(self._default_query_tokens, max_length // 2), _MIN_QUERY_TOKENS)
        _check_at_least(_MIN_QUERY_TOKENS, max_query_length=max_query_length)
        if max_length < 2 * max_query_length:
            raise InvalidInput(
                f"is {max_query_length}; at most half of max_length ({max_length}) may go to the query",
                field="max_query_length",
            )
        return max_query_length


def longest_first(num_first: int, num_second: int, budget: int) -> tuple[int, int]:
    """Gives how many tokens of two texts are kept so that both fit `budget`, cutting the longer one first.

    Where both must be cut they share the budget, and an odd token goes to the longer, or to the second of two equals
    (as in the Rust tokenizers: tokenizers/src/utils/truncation.rs).
    """
    if num_first + num_second <= budget:
        return num_first, num_second
    shorter = min(num_first, num_second, budget // 2)
    return (budget - shorter, shorter) if num_first > num_second else (shorter, budget - shorter)


def _check_pairs(pairs: Iterable[object]) -> list[Sequence[str]]:
    checked: list[Sequence[str]] = []
    for index, pair in enumerate(pairs):
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2 or not _all_texts(pair):
            raise InvalidInput("is no pair of texts (query, document)", field=f"pairs[{index}]")
        checked.append(pair)
    return checked


def _all_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise InvalidInput(f"is {value}; give {least} or more", field=name)


def _one_overlap(overlap: int | None, overlap_tokens: int | None) -> int:
    if overlap is not None and overlap_tokens is not None and overlap != overlap_tokens:
        raise InvalidInput(f"is {overlap}, and overlap_tokens, the same thing, {overlap_tokens}", field="overlap")
    _check_at_least(0, overlap=overlap, overlap_tokens=overlap_tokens)
    given = overlap if overlap is not None else overlap_tokens
    return _DEFAULT_OVERLAP_TOKENS if given is None else given


def _encode_lazily(documents: Sequence[str], tokenizer: Tokenizer) -> Iterator[TokenIds]:
    """Tokenizes a few documents at a time: enough to use all cores, few enough to hold."""
    step = 64
    for start in range(0, len(documents), step):
        yield from tokenizer.encode(documents[start : start + step])
