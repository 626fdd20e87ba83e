"""Late interaction measures how much of a query a document covers, and the reverse, token by token."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.router.first_stage.candidates import maxsim

MAIL, ORDERS, DATE = np.eye(3)
TOLERANCE = 1e-3  # float16


def text(*tokens: npt.NDArray[np.float64], weights: tuple[float, ...] = ()) -> npt.NDArray[np.float16]:
    """Puts each token's weight after its vector; the weights are equal unless given."""
    shares = weights or (1 / len(tokens),) * len(tokens)
    return np.column_stack([np.stack(tokens), shares]).astype(np.float16)


def test_a_document_that_holds_the_whole_query_covers_it() -> None:
    of_query, of_document = maxsim(text(MAIL), [text(MAIL, ORDERS)])

    assert of_query.tolist() == [1]
    assert of_document.tolist() == [0.5]


def test_a_query_of_two_wishes_covers_both_of_their_documents() -> None:
    of_query, of_document = maxsim(text(MAIL, ORDERS), [text(MAIL), text(ORDERS), text(DATE)])

    assert of_query.tolist() == [0.5, 0.5, 0]
    assert of_document.tolist() == [1, 1, 0]


def test_a_token_counts_by_its_weight() -> None:
    of_query, of_document = maxsim(text(MAIL, DATE, weights=(0.75, 0.25)), [text(MAIL, ORDERS, weights=(0.25, 0.75))])

    assert of_query.tolist() == [0.75]
    assert of_document.tolist() == [0.25]


def test_no_documents_give_no_scores() -> None:
    assert [part.shape for part in maxsim(text(MAIL), [])] == [(0,), (0,)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_documents_score_the_same_together_as_alone(lengths: list[int], asked: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    query, *documents = (random_text(draw, length) for length in (asked, *lengths))

    together = np.stack(maxsim(query, documents))

    alone = np.concatenate([np.stack(maxsim(query, [document])) for document in documents], 1)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert np.abs(together).max() <= 1 + TOLERANCE


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_a_text_covers_itself(length: int, seed: int) -> None:
    one = random_text(np.random.default_rng(seed), length)

    assert np.stack(maxsim(one, [one])) == pytest.approx(1, abs=5 * TOLERANCE)


def random_text(draw: np.random.Generator, length: int) -> npt.NDArray[np.float16]:
    vectors = draw.normal(size=(length, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = draw.random(length) + 0.1
    return np.column_stack([vectors, weights / weights.sum()]).astype(np.float16)
