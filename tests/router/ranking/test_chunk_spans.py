from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.router.ranking.windows import chunk_spans

LENGTHS = st.integers(0, 3_000)
WIDTHS = st.integers(1, 400)
OVERLAPS = st.integers(0, 500)


@pytest.mark.parametrize(
    ("num_tokens", "max_chunk_tokens", "overlap_tokens", "spans"),
    [
        # Windows of 8 that share 2 start every 6; the fourth would start at 18 and is pulled back to end at 25.
        pytest.param(25, 8, 2, [(0, 8), (6, 14), (12, 20), (17, 25)], id="last window right-aligned"),
        pytest.param(20, 8, 2, [(0, 8), (6, 14), (12, 20)], id="windows that fit exactly"),
        pytest.param(21, 8, 2, [(0, 8), (6, 14), (12, 20), (13, 21)], id="one token more"),
        # 5 is more than a quarter of 8, so 2 are shared.
        pytest.param(14, 8, 5, [(0, 8), (6, 14)], id="overlap limited to a quarter"),
        pytest.param(8, 8, 2, [(0, 8)], id="exactly one window"),
        pytest.param(9, 8, 0, [(0, 8), (1, 9)], id="no overlap"),
        pytest.param(3, 1, 80, [(0, 1), (1, 2), (2, 3)], id="windows of one token"),
        pytest.param(0, 8, 2, [(0, 0)], id="empty document"),
    ],
)
def test_windows_match_those_computed_by_hand(
    num_tokens: int, max_chunk_tokens: int, overlap_tokens: int, spans: list[tuple[int, int]]
) -> None:
    assert list(chunk_spans(num_tokens, max_chunk_tokens, overlap_tokens)) == spans


@given(LENGTHS, WIDTHS, OVERLAPS)
def test_every_token_is_in_a_window(num_tokens: int, width: int, overlap: int) -> None:
    covered = {token for start, stop in chunk_spans(num_tokens, width, overlap) for token in range(start, stop)}

    assert covered == set(range(num_tokens))


@given(LENGTHS, WIDTHS, OVERLAPS)
def test_the_last_window_ends_with_the_document_and_is_as_wide_as_the_others(
    num_tokens: int, width: int, overlap: int
) -> None:
    spans = list(chunk_spans(num_tokens, width, overlap))

    assert spans[-1][1] == num_tokens
    assert {stop - start for start, stop in spans} == {min(width, num_tokens)}


@given(LENGTHS, WIDTHS, OVERLAPS)
def test_neighbours_share_the_requested_tokens_except_before_the_last(
    num_tokens: int, width: int, overlap: int
) -> None:
    spans = list(chunk_spans(num_tokens, width, overlap))
    shared = [before[1] - after[0] for before, after in pairwise(spans)]

    assert all(tokens == min(overlap, width // 4) for tokens in shared[:-1])
    assert all(min(overlap, width // 4) <= tokens < width for tokens in shared[-1:])
