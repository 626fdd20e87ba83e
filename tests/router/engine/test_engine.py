from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from checkpoints import HIDDEN, random_encoder, random_model, random_pairs, random_texts

from shortlist.router.engine.engine import Engine
from shortlist.router.engine.packing import pack
from shortlist.router.engine.protocols import CancelToken, Embedded
from shortlist.router.engine.streams import DirectScorer
from shortlist.router.engine.tokenizer import Pair
from shortlist.router.model.attention.blocks import BucketedAttention
from shortlist.schemas.errors import LimitExceeded, RequestCancelled

CPU = torch.device("cpu")


def encoding_engine(max_batch_tokens: int = 100, *, max_pair_tokens: int = 96) -> Engine:
    model, encoder = random_model(max_pair_tokens=max_pair_tokens), random_encoder(max_pair_tokens=max_pair_tokens)
    return Engine(model, BucketedAttention(), CPU, max_batch_tokens=max_batch_tokens, encoder=encoder)


def test_the_direct_scorer_answers_in_the_order_of_the_pairs() -> None:
    model, attention = random_model(), BucketedAttention()
    pairs = random_pairs([5, 64, 7, 40, 41, 6, 96, 8])
    scorer = DirectScorer([Engine(model, attention, CPU, max_batch_tokens=100)])

    scores = scorer.score(pairs)

    with torch.inference_mode():
        expected = model(pack(pairs), attention).tolist()
    assert scores.logits == pytest.approx(expected, abs=1e-4)
    assert scores.num_tokens == sum(map(len, pairs))


def test_the_direct_scorer_serves_many_threads() -> None:
    scorer = DirectScorer([Engine(random_model(), BucketedAttention(), CPU, max_batch_tokens=100)])
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
        DirectScorer([engine]).score(random_pairs([20, 20, 20]), cancel=cancel)
    assert batches == [1]


def test_a_pair_longer_than_the_model_reads_is_refused() -> None:
    engine = Engine(random_model(max_pair_tokens=50), BucketedAttention(), CPU, max_batch_tokens=100)

    with pytest.raises(LimitExceeded, match="a pair has 51 tokens; the model reads at most 50"):
        engine.run(random_pairs([4, 51]))


def test_an_empty_batch_gives_no_logits() -> None:
    assert Engine(random_model(), BucketedAttention(), CPU, max_batch_tokens=100).run([]) == []


def test_the_direct_scorer_embeds_in_the_order_of_the_texts() -> None:
    texts = random_texts([5, 64, 7, 40, 41, 6, 96, 8])
    engine = encoding_engine()

    embedded = DirectScorer([engine]).embed(texts)

    together = np.stack([one.vector for one in embedded.texts])
    alone = np.stack([engine.embed([text])[0].vector for text in texts])
    assert together.dtype == np.float32
    assert together.shape == (len(texts), HIDDEN)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert embedded.num_tokens == sum(map(len, texts))


def test_an_engine_embeds_in_the_order_of_the_texts() -> None:
    texts = random_texts([6, 30, 12])

    vectors = [one.vector for one in encoding_engine().embed(texts)]

    with torch.inference_mode():
        expected = random_encoder()(pack(texts), BucketedAttention()).numpy()
    np.testing.assert_allclose(np.stack(vectors), expected, atol=1e-5)


def test_an_engine_keeps_each_texts_own_tokens() -> None:
    texts = random_texts([6, 30, 12])
    engine = Engine(
        random_model(), BucketedAttention(), CPU, max_batch_tokens=100, encoder=random_encoder(token_width=8)
    )

    tokens = [one.tokens for one in engine.embed(texts)]

    assert [None if one is None else one.shape for one in tokens] == [(6, 9), (30, 9), (12, 9)]
    alone = [engine.embed([text])[0].tokens for text in texts]
    for mine, other in zip(tokens, alone, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-3)  # float16


def test_embedding_no_texts_gives_no_vectors() -> None:
    engine = encoding_engine()

    assert engine.embed([]) == []
    assert DirectScorer([engine]).embed([]).texts == []


def test_a_text_longer_than_the_encoder_reads_is_refused() -> None:
    with pytest.raises(LimitExceeded, match="51 tokens; the model reads at most 50"):
        encoding_engine(max_pair_tokens=50).embed(random_texts([4, 51]))


def test_scoring_and_embedding_share_an_engine_between_threads() -> None:
    scorer = DirectScorer([encoding_engine()])
    requests = [random_texts([5 + seed, 30, 12], seed=seed) for seed in range(6)]
    scored = [scorer.score(texts).logits for texts in requests]
    embedded = [[one.vector.tolist() for one in scorer.embed(texts).texts] for texts in requests]

    with ThreadPoolExecutor(12) as pool:
        scoring = [pool.submit(scorer.score, texts) for texts in requests]
        embedding = [pool.submit(scorer.embed, texts) for texts in requests]

    assert [future.result().logits for future in scoring] == scored
    assert [[one.vector.tolist() for one in future.result().texts] for future in embedding] == embedded


def test_a_cancelled_embedding_stops_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = encoding_engine(20)
    cancel = CancelToken()
    batches: list[int] = []

    def embed(texts: Sequence[Pair]) -> list[Embedded]:
        batches.append(len(texts))
        cancel.cancel()
        return [Embedded(np.zeros(HIDDEN, np.float32))] * len(texts)

    monkeypatch.setattr(engine, "embed", embed)

    with pytest.raises(RequestCancelled):
        DirectScorer([engine]).embed(random_texts([20, 20, 20]), cancel=cancel)
    assert batches == [1]
