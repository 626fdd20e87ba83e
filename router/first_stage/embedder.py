"""Embeds queries and documents with the retrieval encoder, and caches the documents' vectors for later requests."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Protocol

from shortlist.router.catalogs.catalog import Item, fit_document, item_of_document, write_document
from shortlist.router.engine.protocols import CancelToken, Embedded, PairScorer
from shortlist.router.engine.tokenizer import Pair, TokenIds, Tokenizer, join_ends
from shortlist.router.first_stage.parts import split_text
from shortlist.schemas.results import CacheCounts

__all__ = ["Embedder", "RetrievalSettings", "VectorCache", "VectorStore"]

# The encoder's base model was trained with these prefixes (e5; Wang et al. 2022, arXiv:2212.03533).
QUERY_PREFIX = "query: "
DOCUMENT_PREFIX = "passage: "
# A long plain document is read in so many windows at most. Some tokens are longer than others, so that windows of
# equal length are filled only so far.
_MAX_WINDOWS = 16
_WINDOW_FILL = 0.85
_LEAST_WINDOW_CHARS = 16
_MAX_CHARS_PER_TOKEN = 16
# Vectors are cached after every so many documents, so that a cancelled request leaves its work to the next one.
_SLICE = 128


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """The encoder's token budgets, and the weights of what the first stage adds to the cosine.

    It reads `document_tokens` of a tool or table, `passage_tokens` of a plain document (0: as many as of a tool), and
    `query_tokens` of a query.

    The first stage ranks by cosine + `lexical_weight` × BM25 score / best BM25 score. If the encoder has token vectors
    (`token_width` > 0), the best of these gain `maxsim_weight` × the sum of both late-interaction scores. A table that
    joins with others then gains `join_weight` × the best score among those: queries need whole joins.
    """

    document_tokens: int
    lexical_weight: float
    token_width: int = 0
    maxsim_weight: float = 0.0
    join_weight: float = 0.0
    passage_tokens: int = 0
    query_tokens: int = 128


class VectorStore(Protocol):
    """Keeps vectors between processes; a failure loses vectors and raises nothing."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Embedded]:
        """Returns the vectors that are kept among those asked for."""
        ...

    def put(self, vectors: Mapping[bytes, Embedded]) -> None:
        """Keeps vectors."""
        ...


class VectorCache:
    """Caches the vectors of the most recently used documents by content, up to `max_bytes`; thread-safe.

    A document of 96 tokens takes 14 KB, so some 28,000 of them fit by default. With a `store`, what is marked to last
    is kept there too, and found by the next process.
    """

    def __init__(self, max_bytes: int = 384 << 20, store: VectorStore | None = None) -> None:
        self._store = store
        self._vectors: OrderedDict[bytes, Embedded] = OrderedDict()
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._num_hits = self._num_misses = 0
        self._lock = threading.Lock()

    @property
    def counts(self) -> CacheCounts:
        """Hits, misses and entries; catalogs that are kept have their own vectors and do not use this cache."""
        with self._lock:
            return CacheCounts(self._num_hits, self._num_misses, len(self._vectors))

    def get(self, keys: Sequence[bytes], *, lasting: bool = False) -> dict[bytes, Embedded]:
        """Returns the cached vectors among those asked for; of `lasting` ones, also those in the store."""
        with self._lock:
            found = {key: self._vectors[key] for key in keys if key in self._vectors}
            for key in found:
                self._vectors.move_to_end(key)
        missing = list(dict.fromkeys(key for key in keys if key not in found))
        if lasting and missing and self._store is not None:
            stored = self._store.get(missing)
            self._keep(stored)
            found |= stored
        with self._lock:
            num_hits = sum(key in found for key in keys)
            self._num_hits += num_hits
            self._num_misses += len(keys) - num_hits
        return found

    def put(self, keys: Sequence[bytes], vectors: Sequence[Embedded], *, lasting: bool = False) -> None:
        """Caches vectors, and evicts the least recently used ones above `max_bytes`; `lasting` ones are stored too."""
        made = dict(zip(keys, vectors, strict=True))
        self._keep(made)
        if lasting and self._store is not None:
            self._store.put(made)

    def _keep(self, made: Mapping[bytes, Embedded]) -> None:
        with self._lock:
            for key, embedded in made.items():
                if (known := self._vectors.pop(key, None)) is not None:
                    self._num_bytes -= known.num_bytes
                self._vectors[key] = embedded
                self._num_bytes += embedded.num_bytes
            while self._num_bytes > self._max_bytes:
                _, evicted = self._vectors.popitem(last=False)
                self._num_bytes -= evicted.num_bytes


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
        self._query_tokens = min(settings.query_tokens, room)
        self._document_tokens = min(settings.document_tokens, room)
        self._passage_tokens = min(settings.passage_tokens or settings.document_tokens, room)

    def embed_queries(self, queries: Sequence[str], cancel: CancelToken | None = None) -> list[Embedded]:
        """Returns each query's vectors."""
        ids = self._tokenizer.encode([QUERY_PREFIX + query for query in queries])
        return self._embed([join_ends(one, self._query_tokens) for one in ids], cancel)

    def split(self, item: Item) -> list[Item]:
        """Returns a plain document as windows that the encoder reads whole, at most 16; anything else as it is.

        A document beyond that is read only so far.
        """
        text = item.subject
        if not isinstance(text, str) or len(text) <= self._passage_tokens:
            return [item]
        room = self._passage_tokens - self._tokenizer.count(DOCUMENT_PREFIX)
        windows = list(islice(self._windows(text[: room * _MAX_WINDOWS * _MAX_CHARS_PER_TOKEN], room), _MAX_WINDOWS))
        return [item_of_document(window, item.index) for window in windows] if len(windows) > 1 else [item]

    def _windows(self, text: str, room: int) -> Iterator[str]:
        """Yields parts of a text that have at most `room` tokens each; where it is dense, they are shorter."""
        tokens = self._tokenizer.count(text)
        if tokens <= room or len(text) <= _LEAST_WINDOW_CHARS:
            yield text
            return
        most_chars = max(_LEAST_WINDOW_CHARS, int(len(text) * room * _WINDOW_FILL / tokens))
        for part in split_text(text, most_chars):
            yield from self._windows(part, room)

    def embed_documents(
        self, items: Sequence[Item], *, max_new: int | None = None, cancel: CancelToken | None = None
    ) -> list[Embedded | None]:
        """Returns each item's vectors; of those not cached, computes only the first `max_new` (None: all).

        Items without vectors get None.
        """
        texts = [write_document(item) for item in items]
        keys = [_digest(item, text) for item, text in zip(items, texts, strict=True)]
        # A plain document may be read once and never again, and what it says is nobody's catalog.
        lasting = not any(isinstance(item.subject, str) for item in items)
        known = self._cache.get(keys, lasting=lasting)
        places = list({key: place for place, key in reversed(list(enumerate(keys))) if key not in known}.values())
        places = sorted(places)[:max_new]
        for start in range(0, len(places), _SLICE):
            part = places[start : start + _SLICE]
            ids = self._document_ids([items[place] for place in part], [texts[place] for place in part])
            vectors = self._embed(ids, cancel)
            made = [keys[place] for place in part]
            self._cache.put(made, vectors, lasting=lasting)
            known.update(zip(made, vectors, strict=True))
        return [known.get(key) for key in keys]

    def _document_ids(self, items: Sequence[Item], wholes: Sequence[str]) -> list[TokenIds]:
        """Encodes documents: whole if they fit their budget, else written again to fit it; plain ones are cut."""
        budgets = [self._passage_tokens if isinstance(one.subject, str) else self._document_tokens for one in items]
        starts = [whole[: budget * 64] for whole, budget in zip(wholes, budgets, strict=True)]
        encoded = self._tokenizer.encode([DOCUMENT_PREFIX + start for start in starts])
        prefix_tokens = self._tokenizer.count(DOCUMENT_PREFIX)
        for place, (item, budget) in enumerate(zip(items, budgets, strict=True)):
            if len(encoded[place]) <= budget or isinstance(item.subject, str):
                continue
            is_whole = len(wholes[place]) <= budget * 64
            whole_tokens = len(encoded[place]) - prefix_tokens if is_whole else None
            fitted = fit_document(item, self._tokenizer.count, budget - prefix_tokens, whole_tokens)
            (encoded[place],) = self._tokenizer.encode([DOCUMENT_PREFIX + fitted.text])
        return [ids[:budget] for ids, budget in zip(encoded, budgets, strict=True)]

    def _embed(self, texts: Sequence[TokenIds], cancel: CancelToken | None) -> list[Embedded]:
        singles: list[Pair] = [self._tokenizer.make_single(ids) for ids in texts]
        return self._scorer.embed(singles, cancel=cancel).texts


def _digest(item: Item, text: str) -> bytes:
    """Hashes a document with its kind: a plain one has a budget of its own."""
    kind = b"passage" if isinstance(item.subject, str) else b""
    return blake2b(text.encode("utf-8", "replace"), digest_size=16, person=kind).digest()
