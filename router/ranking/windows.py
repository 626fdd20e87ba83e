"""Scores documents of any length: cuts each into overlapping chunks and takes the highest of their logits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shortlist.router.engine.protocols import CancelToken, PairScorer
from shortlist.router.engine.tokenizer import Pair, TokenIds, Tokenizer, join_ends
from shortlist.schemas.errors import InvalidInput, LimitExceeded
from shortlist.schemas.options import SelectionOptions
from shortlist.schemas.results import ModelInfo

__all__ = [
    "MAX_DOCUMENT_TOKENS",
    "NO_SCORES",
    "DocumentScores",
    "Window",
    "chunk_budget",
    "chunk_spans",
    "cut_query",
    "keep_ends",
    "make_window",
    "score_documents",
]

MAX_DOCUMENT_TOKENS = 524_288
# Pairs are made and scored in slices of this size: large enough to sort by length within, small enough to keep
# a document of 524,288 tokens from becoming a thousand pairs at once.
_SLICE_TOKENS = 131_072


@dataclass(frozen=True, slots=True)
class DocumentScores:
    """One logit per document, in order; the numbers of tokens and chunks read; and the time it took."""

    logits: list[float]
    num_tokens: int
    num_chunks: int
    queue_ms: float
    infer_ms: float


# For a request that the cross-encoder did not read.
NO_SCORES = DocumentScores([], 0, 0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Window:
    """The most tokens of a query and of a pair that are read, and the tokens that neighbouring chunks share."""

    max_query_tokens: int
    max_pair_tokens: int
    overlap_tokens: int


def make_window(options: SelectionOptions, info: ModelInfo) -> Window:
    """Fills in the model's defaults for what the options leave open.

    Raises:
        InvalidInput: the model cannot read that many tokens, or the query would take more than half of a pair.
    """
    pair = info.default_pair_tokens if options.max_pair_tokens is None else options.max_pair_tokens
    query = options.max_query_tokens
    query = min(info.default_query_tokens, pair // 2) if query is None else query
    _check_range("max_pair_tokens", pair, 8, info.max_pair_tokens, f"the limit of {info.name}")
    _check_range("max_query_tokens", query, 3, pair // 2, "half of max_pair_tokens")
    return Window(query, pair, options.overlap_tokens)


def _check_range(name: str, value: int, least: int, most: int, why: str) -> None:
    if not least <= value <= most:
        raise InvalidInput(f"is {value}; give {least} to {most} ({why})", field=name)


def score_documents(
    query_ids: TokenIds,
    documents_ids: Iterable[TokenIds],
    *,
    tokenizer: Tokenizer,
    scorer: PairScorer,
    max_pair_tokens: int,
    overlap_tokens: int,
    max_slice_pairs: int | None = None,
    places: Sequence[int] | None = None,
    cancel: CancelToken | None = None,
) -> DocumentScores:
    """Scores each document against the query, whose ids are already cut and have no special tokens.

    `documents_ids` is read lazily, as scoring proceeds, so a generator that tokenizes on the way bounds memory. At most
    `max_slice_pairs` pairs go to the scorer at once; None applies only a token budget. If the documents are part of a
    longer list, `places` gives their indices in it, for errors to name.

    Raises:
        LimitExceeded: a document has more than 524,288 tokens.
        InvalidInput: the query leaves no room for a document within `max_pair_tokens`.
        RequestCancelled: `cancel` was set before all was scored.
    """
    max_chunk_tokens = chunk_budget(len(query_ids), tokenizer, max_pair_tokens)
    logits: list[float] = []
    num_tokens = num_chunks = 0
    queue_ms = infer_ms = 0.0
    checked = _checked(documents_ids, places)
    pairs = _make_pairs(query_ids, checked, tokenizer, max_chunk_tokens, overlap_tokens)
    for part in _slices(pairs, max_slice_pairs):
        scores = scorer.score([pair for _, pair in part], cancel=cancel)
        for (index, _), logit in zip(part, scores.logits, strict=True):
            logits.extend([-math.inf] * (index + 1 - len(logits)))
            logits[index] = max(logits[index], logit)
        num_tokens += scores.num_tokens
        num_chunks += len(part)
        queue_ms += scores.queue_ms
        infer_ms += scores.infer_ms
    return DocumentScores(logits, num_tokens, num_chunks, queue_ms, infer_ms)


def cut_query(query_ids: TokenIds, max_query_tokens: int) -> TokenIds:
    """Keeps the first tokens of a query; as in the reference, two special tokens count towards the maximum."""
    return query_ids[: max(max_query_tokens - 2, 0)]


def keep_ends(query_ids: TokenIds, max_query_tokens: int) -> TokenIds:
    """Keeps the beginning and the end of a longer query, half each: the wish stands at one of them, not amid a log.

    As in `cut_query`, two special tokens count towards the maximum.
    """
    return join_ends(query_ids, max(max_query_tokens - 2, 0))


def chunk_budget(num_query_tokens: int, tokenizer: Tokenizer, max_pair_tokens: int) -> int:
    """Returns the most tokens a chunk may have beside a query of `num_query_tokens`, special tokens excluded.

    Raises:
        InvalidInput: there is no room for even one token.
    """
    budget = max_pair_tokens - num_query_tokens - tokenizer.num_special_tokens
    if budget < 1:
        raise InvalidInput(
            f"{max_pair_tokens} leaves no room for a document beside a query of {num_query_tokens} tokens; "
            "raise it or lower max_query_tokens",
            field="max_pair_tokens",
        )
    return budget


def _checked(documents_ids: Iterable[TokenIds], places: Sequence[int] | None) -> Iterator[TokenIds]:
    for index, ids in enumerate(documents_ids):
        if len(ids) > MAX_DOCUMENT_TOKENS:
            raise LimitExceeded(
                f"has {len(ids)} tokens, more than {MAX_DOCUMENT_TOKENS}; split it",
                limit=MAX_DOCUMENT_TOKENS,
                actual=len(ids),
                field=f"documents[{index if places is None else places[index]}]",
            )
        yield ids


def _make_pairs(
    query_ids: TokenIds,
    documents_ids: Iterable[TokenIds],
    tokenizer: Tokenizer,
    max_chunk_tokens: int,
    overlap_tokens: int,
) -> Iterator[tuple[int, Pair]]:
    for index, ids in enumerate(documents_ids):
        for start, stop in chunk_spans(len(ids), max_chunk_tokens, overlap_tokens):
            yield index, tokenizer.make_pair(query_ids, ids[start:stop])


def _slices(pairs: Iterable[tuple[int, Pair]], max_pairs: int | None) -> Iterator[list[tuple[int, Pair]]]:
    part: list[tuple[int, Pair]] = []
    used = 0
    for item in pairs:
        if part and (used + len(item[1]) > _SLICE_TOKENS or len(part) == max_pairs):
            yield part
            part, used = [], 0
        part.append(item)
        used += len(item[1])
    if part:
        yield part


def chunk_spans(num_tokens: int, max_chunk_tokens: int, overlap_tokens: int) -> Iterator[tuple[int, int]]:
    """Yields `(start, stop)` of each chunk, in document order.

    A document of at most `max_chunk_tokens` (>= 1), even an empty one, is one chunk. A longer one is cut into
    windows of exactly `max_chunk_tokens`; neighbours share `overlap_tokens`, at most a quarter of a window. The last
    window is right-aligned, so it may share more. `rerank` of jina-reranker-v2-base-multilingual does the same.
    """
    if num_tokens <= max_chunk_tokens:
        yield 0, num_tokens
        return
    step = max_chunk_tokens - min(overlap_tokens, max_chunk_tokens // 4)
    for start in range(0, num_tokens - max_chunk_tokens, step):
        yield start, start + max_chunk_tokens
    yield num_tokens - max_chunk_tokens, num_tokens
