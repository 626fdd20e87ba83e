from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import unigram_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from recording import Recorder

from shortlist.router.checkpoints.pretrained import load_foreign
from shortlist.router.engine.engine import Engine
from shortlist.router.engine.streams import DirectScorer
from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.model.attention.blocks import BucketedAttention
from shortlist.router.ranking.score import sigmoid
from shortlist.router.reference import Ranked, Reranker, longest_first
from shortlist.schemas.errors import InvalidInput

TOKENIZER = Tokenizer(unigram_tokenizer(), bos_id=0, eos_id=2, num_separators=2)
TRUNCATING = unigram_tokenizer()
CPU = torch.device("cpu")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def reranker(recorder: Recorder) -> Reranker:
    return Reranker(TOKENIZER, recorder, max_pair_tokens=128, default_query_tokens=32, default_pair_tokens=64)


@pytest.fixture
def real(tiny_model_dir: Path) -> Reranker:
    foreign = load_foreign(tiny_model_dir)
    engine = Engine(foreign.model, BucketedAttention(), CPU, max_batch_tokens=300)
    return Reranker(
        foreign.tokenizer, DirectScorer([engine]), max_pair_tokens=128, default_query_tokens=64, default_pair_tokens=128
    )


def test_documents_are_returned_best_first_with_their_index(real: Reranker) -> None:
    documents = ["send an email", "open orders of a customer " * 60, "", "Paris"]

    ranked = real.rerank("list the orders", documents)

    assert sorted(item.index for item in ranked) == [0, 1, 2, 3]
    assert [item.score for item in ranked] == sorted((item.score for item in ranked), reverse=True)
    assert all(item.document == documents[item.index] for item in ranked)
    assert all(type(item.score) is float and type(item.index) is int and 0 < item.score < 1 for item in ranked)


def test_a_document_scores_the_same_beside_any_others(real: Reranker) -> None:
    documents = ["send an email", "open orders of a customer " * 60, "", "Paris is the capital", "invoice " * 30]

    together = {item.index: item.score for item in real.rerank("list the orders", documents)}

    alone = {index: real.rerank("list the orders", [document])[0].score for index, document in enumerate(documents)}
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_short_document_scores_as_in_compute_score(real: Reranker) -> None:
    ranked = real.rerank("list the orders", ["open orders"])

    assert ranked[0].score == pytest.approx(real.compute_score(("list the orders", "open orders")), abs=1e-6)


def test_ties_keep_the_order_of_the_input(reranker: Reranker) -> None:
    ranked = reranker.rerank("email", ["Paris"] * 5, top_n=3)

    assert [item.index for item in ranked] == [0, 1, 2]


def test_a_long_document_scores_as_its_best_window(reranker: Reranker, recorder: Recorder) -> None:
    ranked = reranker.rerank("email", ["open orders of a customer by date " * 20])

    best = max(pair.input_ids[-2] for pair in recorder.calls[0])
    assert len(recorder.calls[0]) > 2
    assert ranked[0].score == pytest.approx(sigmoid(float(best) / 100))


@pytest.mark.parametrize("name", ["overlap", "overlap_tokens"])
@pytest.mark.parametrize("shared", [0, 5, 10])
def test_windows_overlap_as_requested(name: str, shared: int, reranker: Reranker, recorder: Recorder) -> None:
    options: dict[str, Any] = {name: shared}

    reranker.rerank("email", ["open orders of a customer by date " * 20], max_length=64, **options)

    first, second = (pair.input_ids[pair.second_start + 1 : -1] for pair in recorder.calls[0][:2])
    assert first[len(first) - shared :].tolist() == second[:shared].tolist()
    assert len(first) + len(TOKENIZER.encode(["email"])[0]) + 4 == 64
    document = TOKENIZER.encode(["open orders of a customer by date " * 20])[0]
    assert second.tolist() == document[len(first) - shared : 2 * len(first) - shared].tolist()


def test_the_query_is_cut_with_its_special_tokens_counted(reranker: Reranker, recorder: Recorder) -> None:
    reranker.rerank("send an email to a customer and attach the invoice", ["Paris"], max_query_length=10)

    assert recorder.calls[0][0].second_start == 10


def test_the_batch_size_limits_pairs_per_batch_and_does_not_change_scores(
    reranker: Reranker, recorder: Recorder
) -> None:
    documents = ["open orders of a customer by date " * 20, "Paris", "email"]

    in_twos = reranker.rerank("email", documents, batch_size=2)

    assert {len(call) for call in recorder.calls[:-1]} == {2}
    assert in_twos == reranker.rerank("email", documents)


@pytest.mark.parametrize(("documents", "num_items"), [([], 0), ([""], 1), (["", "", "a"], 3)])
def test_empty_documents_are_accepted(documents: list[str], num_items: int, reranker: Reranker) -> None:
    assert len(reranker.rerank("email", documents)) == num_items


@pytest.mark.parametrize(("top_n", "num_items"), [(None, 3), (0, 3), (2, 2), (99, 3)])
def test_top_n_limits_the_results(top_n: int | None, num_items: int, reranker: Reranker) -> None:
    everything = reranker.rerank("email", ["a", "b", "c"])

    assert reranker.rerank("email", ["a", "b", "c"], top_n=top_n) == everything[:num_items]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"max_length": 129}, "max_length: is 129; the model reads at most 128", id="beyond the model"),
        pytest.param({"max_length": 4}, "max_length: is 4; the special tokens of a pair alone take 4", id="no room"),
        pytest.param({"max_query_length": 33}, "max_query_length: is 33; it may be at most half", id="query over half"),
        pytest.param({"max_query_length": 2}, "max_query_length: is 2; give 3 or more", id="no query"),
        pytest.param({"overlap": -1}, "overlap: is -1", id="negative overlap"),
        pytest.param(
            {"overlap": 1, "overlap_tokens": 2}, "overlap: is 1, but its alias overlap_tokens is 2", id="two overlaps"
        ),
        pytest.param({"top_n": -1}, "top_n: is -1", id="negative top_n"),
        pytest.param({"batch_size": 0}, "batch_size: is 0", id="empty batches"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(options: dict[str, Any], message: str, reranker: Reranker) -> None:
    with pytest.raises(InvalidInput, match=message):
        reranker.rerank("email", ["Paris"], **options)


def test_one_text_in_place_of_a_list_is_an_error(reranker: Reranker) -> None:
    with pytest.raises(InvalidInput, match="documents: is one text"):
        reranker.rerank("email", "Paris")


@pytest.mark.parametrize("pair", [("email", "Paris"), ["email", "Paris"]], ids=["tuple", "list"])
def test_one_pair_gives_a_bare_float(pair: Sequence[str], reranker: Reranker) -> None:
    score = reranker.compute_score(pair)

    assert type(score) is float
    assert reranker.compute_score([pair]) == score


def test_pairs_are_scored_in_order_and_no_pairs_give_no_scores(real: Reranker) -> None:
    pairs = [("email", "Paris"), ("orders", "open orders " * 50), ("", "")]

    scores = real.compute_score(pairs)

    assert scores == pytest.approx([real.compute_score(pair) for pair in pairs], abs=1e-5)
    assert real.compute_score([]) == []


def test_a_long_pair_is_truncated_and_not_windowed(reranker: Reranker, recorder: Recorder) -> None:
    reranker.compute_score([("email", "open orders of a customer by date " * 20)], max_length=50)

    assert [len(pair) for pair in recorder.calls[0]] == [50]


@pytest.mark.parametrize("pairs", [["email"], [("a", "b", "c")], [("a", 1)], "ab"], ids=str)
def test_anything_but_pairs_is_an_error(pairs: Any, reranker: Reranker) -> None:
    with pytest.raises(InvalidInput, match=r"pairs\[0\]: is not a pair of texts"):
        reranker.compute_score(pairs)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 70))
def test_truncation_matches_the_rust_tokenizers(num_first: int, num_second: int, budget: int) -> None:
    TRUNCATING.enable_truncation(budget + 4, strategy="longest_first")

    pair = TRUNCATING.encode("x " * num_first, "x " * num_second)

    kept = (pair.sequence_ids.count(0), pair.sequence_ids.count(1))
    untruncated = [len(TOKENIZER.encode(["x " * number])[0]) for number in (num_first, num_second)]
    assert longest_first(untruncated[0], untruncated[1], budget) == kept


@pytest.mark.parametrize(("logit", "score"), [(0.0, 0.5), (800.0, 1.0), (-800.0, 0.0), (1.6533, 0.83934)])
def test_a_score_is_the_sigmoid_of_a_logit(logit: float, score: float) -> None:
    assert sigmoid(logit) == pytest.approx(score, abs=1e-5)


def test_a_result_can_be_compared_but_not_changed() -> None:
    item = Ranked(0, 0.5, "Paris")

    with pytest.raises(AttributeError):
        item.score = 1.0  # type: ignore[misc]
