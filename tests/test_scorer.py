from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from checkpoints import random_model, random_pairs

from shortlist.router.attention import BucketedAttention
from shortlist.router.encoding import Pair
from shortlist.router.packing import pack
from shortlist.router.scorer import DirectScorer, Engine
from shortlist.router.scoring import CancelToken
from shortlist.schemas.errors import LimitExceeded, RequestCancelled

CPU = torch.device("cpu")


def test_the_direct_scorer_answers_in_the_order_of_the_pairs() -> None:
    model, attention = random_model(), BucketedAttention()
    pairs = random_pairs([5, 64, 7, 40, 41, 6, 96, 8])
    scorer = DirectScorer(Engine(model, attention, CPU, max_batch_tokens=100))

    scores = scorer.score(pairs)

    with torch.inference_mode():
        expected = model(pack(pairs), attention).tolist()
    assert scores.logits == pytest.approx(expected, abs=1e-4)
    assert scores.num_tokens == sum(map(len, pairs))


def test_the_direct_scorer_serves_many_threads() -> None:
    scorer = DirectScorer(Engine(random_model(), BucketedAttention(), CPU, max_batch_tokens=100))
    requests = [random_pairs([5 + seed, 30, 12], seed=seed) for seed in range(6)]
    alone = [scorer.score(pairs).logits for pairs in requests]

    with ThreadPoolExecutor(6) as pool:
        together = [scores.logits for scores in pool.map(scorer.score, requests)]

    assert together == alone


def test_a_cancelled_request_stops_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(random_model(), BucketedAttention(), CPU, max_batch_tokens=20)
    cancel = CancelToken()
    batches: list[int] = []

    def run(pairs: Sequence[Pair]) -> list[float]:
        batches.append(len(pairs))
        cancel.cancel()
        return [0.0] * len(pairs)

    monkeypatch.setattr(engine, "run", run)

    with pytest.raises(RequestCancelled):
        DirectScorer(engine).score(random_pairs([20, 20, 20]), cancel=cancel)
    assert batches == [1]


def test_a_pair_longer_than_the_model_reads_is_refused() -> None:
    engine = Engine(random_model(max_pair_tokens=50), BucketedAttention(), CPU, max_batch_tokens=100)

    with pytest.raises(LimitExceeded, match="a pair has 51 tokens, the model reads at most 50"):
        engine.run(random_pairs([4, 51]))


def test_an_empty_batch_gives_nothing() -> None:
    assert Engine(random_model(), BucketedAttention(), CPU, max_batch_tokens=100).run([]) == []
