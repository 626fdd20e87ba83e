"""Engines that share a model score side by side, each in a thread of its own."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from checkpoints import random_encoder, random_model, random_pairs, random_texts

from shortlist.router.engine.engine import Engine
from shortlist.router.engine.protocols import CancelToken
from shortlist.router.engine.streams import DirectScorer
from shortlist.router.engine.tokenizer import Pair
from shortlist.router.model.attention.blocks import BucketedAttention
from shortlist.router.stages import covered_seconds
from shortlist.schemas.errors import RequestCancelled

LENGTHS = [30 + place % 50 for place in range(60)]


def engines(number: int, max_batch_tokens: int = 400) -> list[Engine]:
    model, encoder = random_model(), random_encoder(token_width=8)
    return [
        Engine(
            model,
            BucketedAttention(),
            torch.device("cpu"),
            max_batch_tokens=max_batch_tokens,
            encoder=encoder,
            num_threads=1,
        )
        for _ in range(number)
    ]


def test_several_streams_answer_in_the_order_of_the_pairs() -> None:
    pairs, texts = random_pairs(LENGTHS), random_texts(LENGTHS)
    alone, together = DirectScorer(engines(1)), DirectScorer(engines(3))

    scores = together.score(pairs)

    assert scores.logits == pytest.approx(alone.score(pairs).logits, abs=1e-5)
    assert scores.num_tokens == sum(LENGTHS)
    vectors, expected = together.embed(texts).texts, alone.embed(texts).texts
    for one, other in zip(vectors, expected, strict=True):
        np.testing.assert_allclose(one.vector, other.vector, atol=1e-5)


def test_the_same_batches_give_the_same_logits_bit_for_bit() -> None:
    scorer = DirectScorer(engines(2))
    first, second = (scorer.score(random_pairs(LENGTHS)).logits for _ in range(2))
    assert first == second


def test_batches_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=60)

    class Meeting(Engine):
        def run(self, pairs: Sequence[Pair]) -> list[float]:
            both.wait()  # returns once the other stream is here too
            return [0.0] * len(pairs)

    made = [Meeting(random_model(), BucketedAttention(), torch.device("cpu"), max_batch_tokens=600) for _ in range(2)]
    scores = DirectScorer(made).score(random_pairs([50] * 20))
    assert scores.logits == [0.0] * 20


def test_streams_leave_the_threads_of_others_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        inside: list[int] = []

        class Asking(Engine):
            def run(self, pairs: Sequence[Pair]) -> list[float]:
                inside.append(torch.get_num_threads())
                return [0.0] * len(pairs)

        one = Asking(random_model(), BucketedAttention(), torch.device("cpu"), max_batch_tokens=400, num_threads=1)
        DirectScorer([one]).score(random_pairs([50]))
        with ThreadPoolExecutor(1) as fresh:
            elsewhere = fresh.submit(torch.get_num_threads).result()
        assert (inside, torch.get_num_threads(), elsewhere) == ([1], 3, 3)
    finally:
        torch.set_num_threads(before)


def test_a_failure_on_one_stream_reaches_the_caller_and_the_next_call_works() -> None:
    class Failing(Engine):
        fails = True

        def run(self, pairs: Sequence[Pair]) -> list[float]:
            if self.fails:
                raise RuntimeError("the engine exploded")
            return super().run(pairs)

    one = Failing(random_model(), BucketedAttention(), torch.device("cpu"), max_batch_tokens=400)
    scorer = DirectScorer([one, *engines(1)])
    with pytest.raises(RuntimeError, match="exploded"):
        scorer.score(random_pairs(LENGTHS))
    one.fails = False
    assert len(scorer.score(random_pairs(LENGTHS)).logits) == len(LENGTHS)


def test_a_call_that_is_cancelled_leaves_the_streams_to_others() -> None:
    scorer, cancel = DirectScorer(engines(2)), CancelToken()
    cancel.cancel()
    with pytest.raises(RequestCancelled):
        scorer.score(random_pairs(LENGTHS), cancel=cancel)
    assert len(scorer.score(random_pairs(LENGTHS)).logits) == len(LENGTHS)


def test_a_process_that_forks_has_streams_of_its_own() -> None:
    scorer, pairs = DirectScorer(engines(2)), random_pairs(LENGTHS)
    expected = scorer.score(pairs).logits
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=lambda: answers.put(scorer.score(pairs).logits))
    child.start()
    try:
        assert answers.get(timeout=60) == expected
    finally:
        child.join(60)


def test_spans_that_overlap_count_once() -> None:
    assert covered_seconds([]) == 0
    assert covered_seconds([(5.0, 6.0), (1.0, 3.0), (2.0, 4.0), (2.5, 2.6)]) == pytest.approx(4.0)
