from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.router.candidates import ItemSet, first_stage_order, item_of_tool, narrow
from shortlist.router.retrieval import Bm25, lexical_terms
from shortlist.schemas.document import Tool

# Lengths 2, 4 and 2 terms: 8 / 3 on average.
DOCUMENTS = ["send email", "send invoice, email email", "list orders"]
# ln(1 + (N - n + 0.5) / (n + 0.5)) of a term in n of N = 3 documents.
IDF_OF_EMAIL = math.log(1 + 1.5 / 2.5)
IDF_OF_ORDER = math.log(1 + 2.5 / 1.5)
# k1 * (1 - b + b * length / average) with k1 = 1.2 and b = 0.75.
NORM_OF_2 = 1.2 * (0.25 + 0.75 * 2 / (8 / 3))
NORM_OF_4 = 1.2 * (0.25 + 0.75 * 4 / (8 / 3))

words = st.text("abcs", min_size=1, max_size=5)
texts = st.lists(words, max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("getHTTPStatus_v2", ["get", "http", "statu", "v2"]),
        ("list-open orders", ["list", "open", "order"]),
        ("class bus gas glass", ["class", "bus", "gas", "glass"]),
        ("ＦＵＬＬ width", ["full", "width"]),
        ("获取天气", ["获", "取", "天", "气", "获取", "取天", "天气"]),
        ("API接口v2", ["api", "接", "口", "接口", "v2"]),
        ("날씨", ["날", "씨", "날씨"]),
        ("天", ["天"]),
        ("größte Städte", ["größte", "städte"]),
        ("_ - !", []),
        ("", []),
    ],
    ids=[
        "humps",
        "plural",
        "not_plural",
        "full_width",
        "chinese",
        "mixed_scripts",
        "korean",
        "one_character",
        "umlauts",
        "signs",
        "empty",
    ],
)
def test_a_text_splits_into_terms(text: str, expected: list[str]) -> None:
    assert lexical_terms(text) == expected


def test_scores_are_those_worked_out_by_hand() -> None:
    scores = Bm25(DOCUMENTS).scores("email")

    expected = [IDF_OF_EMAIL * 2.2 * 1 / (1 + NORM_OF_2), IDF_OF_EMAIL * 2.2 * 2 / (2 + NORM_OF_4), 0.0]
    assert scores.tolist() == pytest.approx(expected, rel=1e-5)
    assert scores.tolist() == pytest.approx([0.5235, 0.5666, 0.0], abs=1e-4)


def test_the_terms_of_a_query_add_up_and_count_once() -> None:
    index = Bm25(DOCUMENTS)

    scores = index.scores("email orders Email ORDERS email")

    assert scores[2] == pytest.approx(IDF_OF_ORDER * 2.2 / (1 + NORM_OF_2), rel=1e-5)
    assert scores[:2].tolist() == pytest.approx(index.scores("email")[:2].tolist())


def test_k1_and_b_are_heard() -> None:
    scores = Bm25(DOCUMENTS, k1=2.0, b=0.0).scores("email")

    assert scores.tolist() == pytest.approx([IDF_OF_EMAIL, IDF_OF_EMAIL * 3 * 2 / 4, 0.0], rel=1e-5)


def test_a_word_no_document_holds_counts_nothing() -> None:
    index = Bm25(DOCUMENTS)

    assert index.scores("email unicorn").tolist() == index.scores("email").tolist()


def items_of(texts: list[str]) -> ItemSet:
    return ItemSet([item_of_tool(Tool("x", text, index=index)) for index, text in enumerate(texts)])


def test_shares_are_of_the_best_items_score() -> None:
    shares = items_of(DOCUMENTS).lexical_shares("email")

    assert shares[1:] == [1.0, 0.0]
    assert 0 < shares[0] < 1


@given(documents=st.lists(texts, max_size=6), query=texts)
def test_shares_lie_between_0_and_1(documents: list[str], query: str) -> None:
    shares = items_of(documents).lexical_shares(query)

    assert len(shares) == len(documents)
    assert all(0 <= share <= 1 for share in shares)
    assert max(shares, default=0) in (0, 1)


@given(documents=st.lists(texts, min_size=1, max_size=6), query=texts)
def test_the_top_is_the_whole_order_cut(documents: list[str], query: str) -> None:
    index = Bm25(documents)
    scores = index.scores(query).tolist()

    assert index.top(query, 3) == sorted(range(len(documents)), key=lambda place: (-scores[place], place))[:3]


def test_ties_keep_document_order() -> None:
    assert Bm25(["refund", "list orders", "refund", "refund"]).top("refund", 4) == [0, 2, 3, 1]


def test_an_empty_corpus_has_no_scores() -> None:
    index = Bm25([])

    assert (index.scores("a").tolist(), index.top("a", 3), items_of([]).lexical_shares("a")) == ([], [], [])


def test_documents_without_words_score_nothing() -> None:
    assert Bm25(["", "--"]).scores("a").tolist() == [0.0, 0.0]


def test_a_query_without_words_matches_nothing() -> None:
    assert items_of(DOCUMENTS).lexical_shares("?!") == [0.0, 0.0, 0.0]


SHARES = [0.1, 0.5, 0.5, 0.0, 1.0]


def test_the_first_stage_orders_by_share_then_place() -> None:
    assert first_stage_order(SHARES) == [4, 1, 2, 0, 3]


@pytest.mark.parametrize(
    ("max_candidates", "kept_always", "expected"),
    [
        (2, [], [1, 4]),
        (2, [3], [1, 3, 4]),
        (2, [4], [1, 4]),
        (0, [], [0, 1, 2, 3, 4]),
        (5, [], [0, 1, 2, 3, 4]),
        (9, [0], [0, 1, 2, 3, 4]),
    ],
    ids=["best", "with_a_pin", "pin_among_the_best", "all", "as_many", "more"],
)
def test_narrowing_keeps_request_order(max_candidates: int, kept_always: list[int], expected: list[int]) -> None:
    assert narrow(SHARES, max_candidates, kept_always) == expected
