"""The encoder's token vectors are trained with the same MaxSim that a request computes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from paths import ROOT

from shortlist.router.engine.packing import round_up
from shortlist.router.first_stage.candidates import maxsim

sys.path.append(str(ROOT / "training"))

import train_encoder
from batch import in_order, pack_longest_first
from checkpoints import random_pairs


def random_texts(*lengths: int, seed: int) -> list[torch.Tensor]:
    """Draws tokens `(tokens, 5)`: unit vectors of four and weights that sum to 1."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.cat(
            [
                F.normalize(torch.randn(length, 4, generator=generator), dim=-1),
                torch.softmax(torch.randn(length, 1, generator=generator), 0),
            ],
            1,
        )
        for length in lengths
    ]


def step_of(sets: list[str], allowed: list[list[bool]] | None = None) -> train_encoder.Step:
    """Makes a step of queries that each have a document of their own, at the same place."""
    count = len(sets)
    return train_encoder.Step(
        num_queries=count,
        texts=[],
        queries=np.arange(count),
        allowed=np.array(allowed or np.ones((count, count)), np.bool_),
        targets=np.arange(count),
        weights=np.full(count, 1 / count, np.float32),
        sets=sets,
        document_sets=sets,
        temperature=1.0,
    )


def test_training_computes_maxsim_as_a_request_does() -> None:
    queries, documents = random_texts(3, 7, seed=1), random_texts(5, 2, 9, seed=2)

    matched = train_encoder.match_tokens(queries, documents)

    kept = [document.half().numpy() for document in documents]
    expected = np.stack([np.sum(maxsim(query.half().numpy(), kept), axis=0) for query in queries])
    np.testing.assert_allclose(matched.numpy(), expected, atol=3e-3)  # float16


def test_a_query_that_matches_its_own_document_has_a_lower_loss() -> None:
    one, other = random_texts(6, 6, seed=3)
    step = step_of(["s", "s"])

    right = train_encoder.token_loss([one, other], [one, other], step)
    wrong = train_encoder.token_loss([one, other], [other, one], step)

    assert float(right) < float(wrong)


def test_documents_of_other_sets_do_not_enter_the_loss() -> None:
    queries, documents = random_texts(4, 4, seed=4), random_texts(4, 4, seed=5)

    loss = train_encoder.token_loss(queries, documents, step_of(["s", "t"]))

    # Each query is alone in its set, so it has only its own document.
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_masked_documents_do_not_enter_the_loss() -> None:
    queries, documents = random_texts(4, 4, seed=6), random_texts(4, 4, seed=7)

    loss = train_encoder.token_loss(queries, documents, step_of(["s", "s"], [[True, False], [False, True]]))

    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_the_gradients_of_best_matches_equal_those_of_autograd() -> None:
    generator = torch.Generator().manual_seed(8)
    query, document = (
        torch.randn(2, n, 3, generator=generator, dtype=torch.double, requires_grad=True) for n in (3, 4)
    )

    assert torch.autograd.gradcheck(train_encoder.BestMatches.apply, (query, document))


def test_the_filler_pair_of_a_batch_has_no_result() -> None:
    pairs = random_pairs([5, 9, 7])

    batch, order = pack_longest_first(pairs, 64)

    assert sum(batch.lengths) == round_up(21) > 21
    assert in_order(torch.tensor([*batch.lengths]), order).tolist() == [5, 9, 7]
