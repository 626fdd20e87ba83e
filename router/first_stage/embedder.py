"""Embeds queries and documents with the retrieval encoder, and keeps the documents' vectors for the next request."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from shortlist.router.engine.protocols import CancelToken, Embedded, PairScorer
from shortlist.router.engine.tokenizer import Pair, TokenIds, Tokenizer
from shortlist.router.items import Item, write_document
from shortlist.schemas.results import CacheCounts

__all__ = ["Embedder", "RetrievalSettings", "VectorCache"]

# The encoder's inputs begin as those of its base did (e5; Wang et al. 2022, arXiv:2212.03533).
QUERY_PREFIX = "query: "
DOCUMENT_PREFIX = "passage: "
_MAX_QUERY_TOKENS = 128
# Vectors are kept as they come, so that a request cut short leaves its work to the next one.
_SLICE = 128


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """How the first stage reads and weighs: the encoder's budget for a document, and what else adds to a cosine.

    The first stage ranks by cosine + `lexical_weight` × BM25's share of the best; where the encoder has vectors of
    tokens (`token_width` > 0), the best by that once more, with `maxsim_weight` × the sum of both coverages. A table
    that joins with others then gains `join_weight` × the best of theirs: questions need whole joins.
    """

    document_tokens: int
    lexical_weight: float
    token_width: int = 0
    maxsim_weight: float = 0.0
    join_weight: float = 0.0


class VectorCache:
    """Keeps the vectors of the documents seen last, by content, `max_bytes` in all; safe to share between threads.

    A document of 96 tokens takes 14 KB, so some 28,000 of them fit by default.
    """

    def __init__(self, max_bytes: int = 384 << 20) -> None:
        self._vectors: OrderedDict[bytes, Embedded] = OrderedDict()
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._num_hits = self._num_misses = 0
        self._lock = threading.Lock()

    @property
    def counts(self) -> CacheCounts:
        """How often a document's vectors were there already; catalogs that are kept hold their own and do not ask."""
        with self._lock:
            return CacheCounts(self._num_hits, self._num_misses, len(self._vectors))

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Embedded]:
        """Returns those that are there."""
        with self._lock:
            found = {key: self._vectors[key] for key in keys if key in self._vectors}
            for key in found:
                self._vectors.move_to_end(key)
            num_hits = sum(key in found for key in keys)
            self._num_hits += num_hits
            self._num_misses += len(keys) - num_hits
        return found

    def put(self, keys: Sequence[bytes], vectors: Sequence[Embedded]) -> None:
        """Keeps vectors, and forgets those used longest ago where they grow too large."""
        with self._lock:
            for key, embedded in zip(keys, vectors, strict=True):
                if (known := self._vectors.pop(key, None)) is not None:
                    self._num_bytes -= known.num_bytes
                self._vectors[key] = embedded
                self._num_bytes += embedded.num_bytes
            while self._num_bytes > self._max_bytes:
                _, forgotten = self._vectors.popitem(last=False)
                self._num_bytes -= forgotten.num_bytes


class Embedder:
    """Turns texts into unit vectors through a scorer's `embed`."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        scorer: PairScorer,
        settings: RetrievalSettings,
        cache: VectorCache,
        *,
        max_tokens: int = 512,
    ) -> None:
        self._tokenizer, self._scorer, self._cache = tokenizer, scorer, cache
        self.settings = settings
        room = max_tokens - 2  # the special tokens around a text
        self._query_tokens = min(_MAX_QUERY_TOKENS, room)
        self._document_tokens = min(settings.document_tokens, room)

    def embed_queries(self, queries: Sequence[str], cancel: CancelToken | None = None) -> list[Embedded]:
        """Gives each query's vectors."""
        ids = self._tokenizer.encode([QUERY_PREFIX + query for query in queries])
        return self._embed([one[: self._query_tokens] for one in ids], cancel)

    def embed_documents(
        self, items: Sequence[Item], *, max_new: int | None = None, cancel: CancelToken | None = None
    ) -> list[Embedded | None]:
        """Gives each item's vectors, computing those of at most `max_new` that are not kept yet, the first ones.

        Those left out are None.
        """
        texts = [write_document(item) for item in items]
        keys = [blake2b(text.encode("utf-8", "replace"), digest_size=16).digest() for text in texts]
        known = self._cache.get(keys)
        places = list({key: place for place, key in reversed(list(enumerate(keys))) if key not in known}.values())
        places = sorted(places)[:max_new]
        for start in range(0, len(places), _SLICE):
            part = places[start : start + _SLICE]
            ids = self._document_ids([items[place] for place in part], [texts[place] for place in part])
            vectors = self._embed(ids, cancel)
            made = [keys[place] for place in part]
            self._cache.put(made, vectors)
            known.update(zip(made, vectors, strict=True))
        return [known.get(key) for key in keys]

    def _document_ids(self, items: Sequence[Item], wholes: Sequence[str]) -> list[TokenIds]:
        """Encodes documents, whole where they fit the budget and written again within it where they do not."""
        budget = self._document_tokens
        encoded = self._tokenizer.encode([DOCUMENT_PREFIX + whole[: budget * 64] for whole in wholes])
        room = budget - self._tokenizer.count(DOCUMENT_PREFIX)
        for place in [place for place, ids in enumerate(encoded) if len(ids) > budget]:
            text = write_document(items[place], self._tokenizer.count, room)
            (encoded[place],) = self._tokenizer.encode([DOCUMENT_PREFIX + text])
        return [ids[:budget] for ids in encoded]

    def _embed(self, texts: Sequence[TokenIds], cancel: CancelToken | None) -> list[Embedded]:
        framed: list[Pair] = [self._tokenizer.make_single(ids) for ids in texts]
        return self._scorer.embed(framed, cancel=cancel).texts
