from __future__ import annotations

import json

import numpy as np
import pytest

from shortlist.router.catalogs.caches import Caches
from shortlist.router.catalogs.catalog import CatalogText
from shortlist.router.engine.protocols import Embedded
from shortlist.schemas.errors import InvalidInput

MIB = 1024 * 1024


def fill(caches: Caches) -> None:
    """Adds 100 vectors of 64 KiB and 100 catalogs of about 20,000 characters."""
    for number in range(100):
        caches.vectors.put([b"%d" % number], [Embedded(np.zeros(16 * 1024, np.float32))])
        caches.catalogs.read(CatalogText.of_tools(json.dumps({"name": f"f{number}", "description": "x" * 19_960})))


@pytest.mark.parametrize(("mebibytes", "num_vectors", "num_catalogs"), [(0, 0, 0), (1.6, 19, 1), (6, 72, 4)])
def test_catalogs_get_a_quarter_of_the_memory_and_vectors_the_rest(
    mebibytes: float, num_vectors: int, num_catalogs: int
) -> None:
    caches = Caches.within(mebibytes)

    fill(caches)

    assert (caches.counts["vectors"].num_kept, caches.counts["catalogs"].num_kept) == (num_vectors, num_catalogs)


@pytest.mark.parametrize("mebibytes", [-1, float("nan"), float("inf")])
def test_a_size_that_is_negative_or_not_finite_is_rejected(mebibytes: float) -> None:
    with pytest.raises(InvalidInput, match="cache_mb: is"):
        Caches.within(mebibytes)
