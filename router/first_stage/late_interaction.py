"""Compares a query with documents token by token, in both directions.

Each token is compared with its best match in the other text (late interaction: Khattab and Zaharia, "ColBERT", SIGIR
2020, arXiv:2004.12832) and counts by the weight that the encoder gave it. A query that asks for several things matches
each of its tools well, whereas its single vector lies between them.
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
    """Returns, for each document, how well it matches the query's tokens and how well the query matches its tokens.

    Both are `(documents,)`, -1..1. Each text is `(tokens, width + 1)`: a unit vector, then the token's weight.
    """
    if not documents:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    query_tokens = query.astype(np.float32)
    tokens = np.concatenate(documents).astype(np.float32)
    lengths = np.fromiter(map(len, documents), np.int64, len(documents))
    starts = np.cumsum(lengths) - lengths
    cosines = tokens[:, :-1] @ query_tokens[:, :-1].T  # (all documents' tokens, query's tokens)
    query_maxsim = np.maximum.reduceat(cosines, starts, axis=0) @ query_tokens[:, -1]
    document_maxsim = np.add.reduceat(cosines.max(1) * tokens[:, -1], starts)
    return query_maxsim, document_maxsim
