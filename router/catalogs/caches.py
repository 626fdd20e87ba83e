"""What a Router remembers between requests: catalogs as they were read, and documents' vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from shortlist.router.catalogs.catalog import CatalogCache
from shortlist.router.first_stage.embedder import VectorCache
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.results import CacheCounts

__all__ = ["Caches"]

_MIB = 1024 * 1024
# Vectors take more than what they are made of, and are dearer to make.
_SHARE_OF_CATALOGS = 1 / 4


@dataclass(frozen=True, slots=True)
class Caches:
    """The caches of one Router, of 512 MiB unless said otherwise; those made from it share them."""

    catalogs: CatalogCache = field(default_factory=CatalogCache)
    vectors: VectorCache = field(default_factory=VectorCache)

    @classmethod
    def within(cls, mebibytes: float) -> Caches:
        """Makes caches that together hold about so much; 0 remembers nothing.

        A catalog that is kept also holds its own vectors, which the other cache may have forgotten meanwhile: where
        many different catalogs come, up to half as much again.

        Raises:
            InvalidInput: it is negative or no number.
        """
        if not 0 <= mebibytes < math.inf:
            raise InvalidInput(f"is {mebibytes}; give 0 to remember nothing, or mebibytes", field="cache_mb")
        of_catalogs = int(mebibytes * _MIB * _SHARE_OF_CATALOGS)
        return cls(CatalogCache(of_catalogs), VectorCache(int(mebibytes * _MIB) - of_catalogs))

    @property
    def counts(self) -> dict[str, CacheCounts]:
        """How they do, by name."""
        return {"catalogs": self.catalogs.counts, "vectors": self.vectors.counts}
