"""Cuts a long document into overlapping windows."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["chunk_spans"]


def chunk_spans(num_tokens: int, max_chunk_tokens: int, overlap_tokens: int) -> Iterator[tuple[int, int]]:
    """Yields `(start, stop)` of each chunk, in document order.

    A document of at most `max_chunk_tokens` (>= 1) is one chunk, an empty one included. A longer one is cut into
    windows of exactly `max_chunk_tokens`; neighbours share `overlap_tokens`, at most a quarter of a window. The last
    window is right-aligned, so it may share more. So does `rerank` of jina-reranker-v2-base-multilingual.
    """
    if num_tokens <= max_chunk_tokens:
        yield 0, num_tokens
        return
    step = max_chunk_tokens - min(overlap_tokens, max_chunk_tokens // 4)
    for start in range(0, num_tokens - max_chunk_tokens, step):
        yield start, start + max_chunk_tokens
    yield num_tokens - max_chunk_tokens, num_tokens
