"""Caches parsed catalogs and document vectors: agents send the same tools, and services the same schema, repeatedly."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from shortlist.router.catalogs.catalog import Catalog, CatalogText
from shortlist.router.first_stage.candidates import Candidates
from shortlist.router.first_stage.embedder import VectorCache, VectorStore
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.results import CacheCounts

__all__ = ["Caches", "CatalogCache", "PreparedCatalog"]

_MIB = 1024 * 1024
# The share of the memory for catalogs; vectors take more memory than the texts, and more time to compute.
_SHARE_OF_CATALOGS = 1 / 4
# The memory per character of a catalog that is parsed and indexed (docs/log.md).
_BYTES_PER_CHAR = 16


@dataclass(frozen=True, slots=True)
class PreparedCatalog:
    """A catalog, and its candidates, which keep what is derived from it."""

    catalog: Catalog
    candidates: Candidates

    @classmethod
    def of(cls, catalog: Catalog) -> PreparedCatalog:
        """Prepares a catalog; nothing is derived from it yet."""
        return cls(catalog, Candidates(catalog.items))


class CatalogCache:
    """Keeps the most recently used catalogs, by digest; safe to share between threads.

    Together they take about `max_bytes` at most, vectors not counted; a larger catalog is not kept. Two concurrent
    requests with the same new catalog may both parse it.
    """

    def __init__(self, max_bytes: int = 128 * _MIB) -> None:
        self._kept: OrderedDict[bytes, tuple[PreparedCatalog, int]] = OrderedDict()
        self._max_chars, self._num_chars = max_bytes // _BYTES_PER_CHAR, 0
        self._num_hits = self._num_misses = 0
        self._lock = threading.Lock()

    @property
    def counts(self) -> CacheCounts:
        """The numbers of hits, misses and kept catalogs."""
        with self._lock:
            return CacheCounts(self._num_hits, self._num_misses, len(self._kept))

    def read(self, text: CatalogText) -> PreparedCatalog:
        """Returns the catalog of a text, parsed if it is not kept; raises as `CatalogText.read`."""
        return self._get(text.digest, text.num_chars, text.read)

    def prepare(self, catalog: Catalog) -> PreparedCatalog:
        """Returns what is kept for a parsed catalog, or prepares it."""
        if not catalog.digest:
            return PreparedCatalog.of(catalog)
        return self._get(catalog.digest, sum(len(item.source) for item in catalog.items), lambda: catalog)

    def _get(self, digest: bytes, num_chars: int, make: Callable[[], Catalog]) -> PreparedCatalog:
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
                self._num_hits += 1
                return self._kept[digest][0]
            self._num_misses += 1
        prepared = PreparedCatalog.of(make())
        with self._lock:
            self._put(digest, prepared, num_chars)
        return prepared

    def _put(self, digest: bytes, prepared: PreparedCatalog, num_chars: int) -> None:
        if digest in self._kept or num_chars > self._max_chars:
            return
        self._kept[digest] = (prepared, num_chars)
        self._num_chars += num_chars
        while self._num_chars > self._max_chars:
            _, (_, forgotten) = self._kept.popitem(last=False)
            self._num_chars -= forgotten


@dataclass(frozen=True, slots=True)
class Caches:
    """The caches of one Router, 512 MiB by default; `Router.with_scorer` shares them."""

    catalogs: CatalogCache = field(default_factory=CatalogCache)
    vectors: VectorCache = field(default_factory=VectorCache)

    @classmethod
    def within(cls, mebibytes: float = 512.0, store: VectorStore | None = None) -> Caches:
        """Makes caches that together take about `mebibytes`; 0 keeps nothing in memory.

        A kept catalog also holds its vectors, even after the vector cache has dropped them, so many different catalogs
        may use up to 50 % more.

        Raises:
            InvalidInput: the number is negative or not finite.
        """
        if not 0 <= mebibytes < math.inf:
            raise InvalidInput(f"is {mebibytes}; give a number of MiB, or 0 to cache nothing", field="cache_mb")
        of_catalogs = int(mebibytes * _MIB * _SHARE_OF_CATALOGS)
        return cls(CatalogCache(of_catalogs), VectorCache(int(mebibytes * _MIB) - of_catalogs, store))

    @property
    def counts(self) -> dict[str, CacheCounts]:
        """The counts of each cache, by name."""
        return {"catalogs": self.catalogs.counts, "vectors": self.vectors.counts}
