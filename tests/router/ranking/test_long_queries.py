"""A query that is longer than the model reads loses its middle, not its end."""

from __future__ import annotations

import numpy as np
import pytest

from shortlist.router.engine.tokenizer import join_ends
from shortlist.router.ranking.windows import cut_query, keep_ends

IDS = np.arange(20, dtype=np.int32)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (20, list(range(20))),
        (25, list(range(20))),
        (6, [0, 1, 2, 17, 18, 19]),
        (5, [0, 1, 17, 18, 19]),
        (1, [19]),
        (0, []),
    ],
)
def test_both_ends_are_kept(most: int, expected: list[int]) -> None:
    assert join_ends(IDS, most).tolist() == expected


def test_special_tokens_count_towards_the_maximum() -> None:
    assert keep_ends(IDS, 8).tolist() == join_ends(IDS, 6).tolist()
    assert keep_ends(IDS, 1).tolist() == []


def test_the_reference_keeps_the_beginning() -> None:
    assert cut_query(IDS, 8).tolist() == [0, 1, 2, 3, 4, 5]
