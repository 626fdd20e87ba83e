"""Compares a query with documents token by token: how much of each is met in the other.

Every token takes its best match in the other text (late interaction: Khattab and Zaharia, "ColBERT", SIGIR 2020,
arXiv:2004.12832), and counts by the weight the encoder gave it. A query of several wishes covers each of its tools
well, where its one vector lies between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from shortlist.router.engine.protocols import TokenVectors

__all__ = ["maxsim"]

Values = npt.NDArray[np.float32]


def maxsim(query: TokenVectors, documents: Sequence[TokenVectors]) -> tuple[Values, Values]:
    """Returns how much of the query each document covers, and how much of each document the query covers.

    Both are `(documents,)`, -1..1. Each text is `(tokens, width + 1)`: a unit vector, then the token's weight.
    """
    if not documents:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    asked = query.astype(np.float32)
    tokens = np.concatenate(documents).astype(np.float32)
    lengths = np.fromiter(map(len, documents), np.int64, len(documents))
    starts = np.cumsum(lengths) - lengths
    alike = tokens[:, :-1] @ asked[:, :-1].T  # (all documents' tokens, query's tokens)
    of_query = np.maximum.reduceat(alike, starts, axis=0) @ asked[:, -1]
    of_documents = np.add.reduceat(alike.max(1) * tokens[:, -1], starts)
    return of_query, of_documents
