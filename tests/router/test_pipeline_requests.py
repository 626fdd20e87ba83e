"""Checks the query, options, model and cancellation of every request, and the ranking of plain documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from requests_made import DOCUMENTS, QUERY, TOLERANCE, TOOLS, named, scores, tool

from shortlist import Router, Selection
from shortlist.router.engine.protocols import CancelToken, Embedded, PairScores, TextVectors
from shortlist.router.engine.tokenizer import Pair
from shortlist.schemas.conversation import Message
from shortlist.schemas.errors import InvalidInput, LimitExceeded, ModelMismatch, ModelNotFound, RequestCancelled


@pytest.fixture(scope="module")
def router(tiny_model_dir: Path) -> Router:
    return Router.load(tiny_model_dir, device="cpu", dtype="float32")


class ConstantScorer:
    """Gives every pair the same logit, and counts the pairs."""

    def __init__(self) -> None:
        self.num_pairs = 0

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        self.num_pairs += len(pairs)
        return PairScores([0.0] * len(pairs), 7, 1.5, 2.5)

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        return TextVectors([Embedded(np.ones(1, np.float32))] * len(texts), 7, 1.5, 2.5)


def test_a_selection_names_its_model(router: Router, tiny_model_dir: Path) -> None:
    selection = router.select_tools(QUERY, TOOLS)

    assert selection.model_name == router.info.name == tiny_model_dir.name
    assert selection.model_version == router.info.version
    assert selection.num_tokens > len(TOOLS) * len(QUERY.split())
    assert selection.timings.infer_ms > 0
    assert selection.timings.total_ms >= selection.timings.infer_ms


def test_no_documents_give_an_empty_selection(router: Router) -> None:
    assert router.rerank(QUERY, []).items == ()


@pytest.mark.parametrize("query", ["", " \n\t ", [Message("user", "  ")]], ids=["empty", "white_space", "messages"])
def test_a_blank_query_is_an_error(router: Router, query: str | list[Message]) -> None:
    with pytest.raises(InvalidInput, match="query: is empty"):
        router.select_tools(query, TOOLS)


def test_messages_rank_like_their_query_text(router: Router) -> None:
    messages = [Message("user", QUERY), Message("assistant", "Shall I?"), Message("user", "do it")]

    selection = router.select_tools(messages, TOOLS, top_n=0)

    expected = router.select_tools(f"user: {QUERY}\nassistant: Shall I?\nuser: do it", TOOLS, top_n=0)
    assert scores(selection) == pytest.approx(scores(expected), abs=TOLERANCE)


def test_a_cut_earlier_turn_is_told_in_the_warnings(router: Router) -> None:
    messages = [Message("user", "refund " * 300), Message("user", "do it")]

    selection = router.select_tools(messages, TOOLS)

    assert selection.warnings[0] == "query: 1 of 1 earlier turns were cut or left out: messages[0]"


@pytest.mark.parametrize(
    ("expected", "named_in_error"),
    [({"expected_model": "other"}, "model 'other'"), ({"expected_version": "0.0"}, "version '0.0'")],
    ids=["model", "version"],
)
def test_a_model_other_than_expected_is_an_error(router: Router, expected: Any, named_in_error: str) -> None:
    with pytest.raises(ModelMismatch, match=named_in_error):
        router.select_tools(QUERY, TOOLS, **expected)


def test_the_expected_model_is_accepted(router: Router) -> None:
    info = router.info

    selection = router.rerank(QUERY, DOCUMENTS, expected_model=info.name, expected_version=info.version)

    assert len(selection.items) == 3


LONG_QUERY = "invoice " * 100
SCRIPT = "create table invoice (id int)"


@pytest.mark.parametrize(
    "select",
    [
        pytest.param(lambda router: router.select_tools(LONG_QUERY, [tool("ping")]), id="tools"),
        pytest.param(lambda router: router.select_tools(LONG_QUERY, []), id="no tools"),
        pytest.param(lambda router: router.select_tables(LONG_QUERY, SCRIPT), id="tables"),
        pytest.param(lambda router: router.select_tables(LONG_QUERY, SCRIPT, keep_columns=0.5), id="columns"),
        pytest.param(lambda router: router.rerank(LONG_QUERY, ["ping"]), id="documents"),
        pytest.param(lambda router: router.rerank(LONG_QUERY, []), id="no documents"),
        pytest.param(lambda router: router.rerank(LONG_QUERY, ["ping"] * 9, max_candidates=3), id="narrowed documents"),
    ],
)
def test_a_query_over_its_budget_is_reported(router: Router, select: Callable[[Router], Selection]) -> None:
    selection = select(router)

    (cut,) = selection.truncated
    assert (cut.index, cut.name, cut.kept_tokens, cut.total_tokens) == (-1, "", 62, 100)


def test_threads_get_the_same_answers(router: Router) -> None:
    expected = router.select_tools(QUERY, TOOLS, top_n=0)

    with ThreadPoolExecutor(8) as pool:
        selections = list(pool.map(lambda _: router.select_tools(QUERY, TOOLS, top_n=0), range(8)))

    assert [named(selection) for selection in selections] == [named(expected)] * 8
    assert [scores(selection) for selection in selections] == [pytest.approx(scores(expected), abs=1e-6)] * 8


def test_a_cancelled_request_is_not_answered(router: Router) -> None:
    cancel = CancelToken()
    cancel.cancel()

    with pytest.raises(RequestCancelled, match="cancelled"):
        router.select_tools(QUERY, TOOLS, cancel=cancel)


def test_an_expired_request_is_not_answered(router: Router) -> None:
    with pytest.raises(RequestCancelled, match="deadline"):
        router.rerank(QUERY, DOCUMENTS, cancel=CancelToken(timeout_seconds=0))


def test_an_unused_cancel_token_changes_nothing(router: Router) -> None:
    assert len(router.select_tools(QUERY, TOOLS, cancel=CancelToken(timeout_seconds=600)).items) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_pair_tokens": 129}, "max_pair_tokens: is 129; give 8 to 128 .the limit of"),
        ({"max_pair_tokens": 7}, "max_pair_tokens: is 7; give 8 to 128"),
        ({"max_query_tokens": 65}, "max_query_tokens: is 65; give 3 to 64"),
        ({"max_query_tokens": 33, "max_pair_tokens": 64}, "max_query_tokens: is 33; give 3 to 32"),
        ({"max_query_tokens": 2}, "max_query_tokens: is 2"),
        ({"overlap_tokens": -1}, "overlap_tokens: is -1"),
        ({"top_n": -1}, "top_n: is -1; give 0 or more"),
        ({"max_candidates": -2}, "max_candidates: is -2"),
        ({"min_score": 1.01}, "min_score: is 1.01"),
        ({"min_score": float("nan")}, "min_score: is nan"),
    ],
    ids=[
        "pair_beyond_the_model",
        "pair_too_short",
        "query_beyond_half",
        "query_beyond_half_of_a_shorter_pair",
        "query_too_short",
        "overlap",
        "top_n",
        "max_candidates",
        "min_score",
        "min_score_nan",
    ],
)
def test_an_option_out_of_range_is_an_error(router: Router, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        router.rerank(QUERY, DOCUMENTS, **options)


def test_documents_are_ranked_and_returned(router: Router) -> None:
    selection = router.rerank(QUERY, DOCUMENTS, top_n=2)

    assert [item.source for item in selection.items] == [DOCUMENTS[item.index] for item in selection.items]
    assert [(item.rank, item.name) for item in selection.items] == [(1, ""), (2, "")]


def test_documents_are_left_out_if_not_requested(router: Router) -> None:
    selection = router.rerank(QUERY, DOCUMENTS, return_documents=False)

    assert [item.source for item in selection.items] == ["", "", ""]
    assert scores(selection) == pytest.approx(scores(router.rerank(QUERY, DOCUMENTS)), abs=TOLERANCE)


def test_one_text_instead_of_a_list_of_documents_is_an_error(router: Router) -> None:
    with pytest.raises(InvalidInput, match="documents: is one text"):
        router.rerank(QUERY, "a document")


def test_an_empty_document_has_a_score(router: Router) -> None:
    assert len(router.rerank(QUERY, ["", "send an email"]).items) == 2


def test_a_long_document_scores_as_its_best_window(router: Router) -> None:
    long = "the capital of France " * 60

    selection = router.rerank(QUERY, [long, "the capital of France"], max_pair_tokens=32)

    assert len(selection.items) == 2
    assert selection.num_tokens > 240
    assert selection.truncated == ()


def test_documents_are_narrowed_by_their_words(router: Router) -> None:
    selection = router.rerank("invoice of last month", DOCUMENTS, max_candidates=1)

    assert [item.index for item in selection.items] == [2]
    assert selection.num_dropped == 2


def test_the_last_message_is_never_cut_to_keep_earlier_ones(router: Router) -> None:
    chat = [Message("user", "hello"), Message("assistant", "the committee " * 60), Message("user", "refund it")]

    selection = router.select_tools(chat, TOOLS)

    assert selection.truncated == ()


def test_a_document_that_is_too_long_is_named_by_its_index(router: Router) -> None:
    documents = ["other words"] * 3 + ["invoice " * 530_000]

    with pytest.raises(LimitExceeded, match=r"documents\[3\]: has"):
        router.rerank("invoice", documents, max_candidates=1)


@pytest.mark.parametrize("value", [{1}, object()], ids=["set", "object"])
def test_a_tool_that_does_not_fit_json_is_an_error(router: Router, value: object) -> None:
    with pytest.raises(InvalidInput, match=r"tools\[1\]: cannot be written as JSON: a value of type (set|object)"):
        router.select_tools(QUERY, [TOOLS[0], {"name": "odd", "description": value}])


def test_a_tool_that_contains_itself_is_an_error(router: Router) -> None:
    odd: dict[str, object] = {"name": "odd"}
    odd["parameters"] = odd
    with pytest.raises(InvalidInput, match=r"tools\[0\]: cannot be written as JSON"):
        router.select_tools(QUERY, odd)


def test_documents_score_the_same_together_as_alone(router: Router) -> None:
    alone = [router.rerank(QUERY, [document]).items[0].score for document in DOCUMENTS]

    together = scores(router.rerank(QUERY, DOCUMENTS))

    assert [together[index] for index in range(3)] == pytest.approx(alone, abs=TOLERANCE)


def test_the_batch_size_does_not_change_scores(router: Router, tiny_model_dir: Path) -> None:
    small = Router.load(tiny_model_dir, device="cpu", dtype="float32", max_batch_tokens=128)

    selection = small.select_tools(QUERY, TOOLS * 4, top_n=0)

    expected = router.select_tools(QUERY, TOOLS * 4, top_n=0)
    assert scores(selection) == pytest.approx(scores(expected), abs=TOLERANCE)


def test_a_router_can_use_another_scorer(router: Router) -> None:
    scorer = ConstantScorer()

    selection = router.with_scorer(scorer).select_tools(QUERY, TOOLS, top_n=0)

    assert (scorer.num_pairs, selection.num_tokens, selection.timings.queue_ms) == (5, 7, 1.5)
    assert [item.score for item in selection.items] == [0.5] * 5
    assert [item.index for item in selection.items] == [0, 1, 2, 3, 4]


def test_a_missing_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        Router.load(tmp_path / "nowhere")
