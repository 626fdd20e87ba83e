from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.router.first_stage.bm25 import Bm25, lexical_terms

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


@given(query=texts, rest=texts, others=st.lists(texts, max_size=4))
def test_a_document_with_all_terms_scores_at_most_the_best_possible(query: str, rest: str, others: list[str]) -> None:
    index = Bm25([f"{query} {rest}", *others])

    assert index.scores(query)[0] <= index.best_possible(query) * (1 + 1e-6)


def test_the_best_possible_is_that_of_every_term_without_end() -> None:
    best = Bm25(DOCUMENTS).best_possible("email orders Email")

    assert best == pytest.approx(2.2 * (IDF_OF_EMAIL + IDF_OF_ORDER), rel=1e-5)


def test_a_word_no_document_holds_makes_more_possible() -> None:
    index = Bm25(DOCUMENTS)

    # ln(1 + (N + 0.5) / 0.5): rarer than any word that is there.
    assert index.best_possible("email unicorn") - index.best_possible("email") == pytest.approx(2.2 * math.log(8))


def test_a_query_without_words_has_nothing_possible() -> None:
    assert Bm25(DOCUMENTS).best_possible("?!") == 0


def test_an_empty_corpus_has_no_scores() -> None:
    index = Bm25([])

    assert index.scores("a").tolist() == []
    assert math.isfinite(index.best_possible("a"))


def test_documents_without_words_score_nothing() -> None:
    assert Bm25(["", "--"]).scores("a").tolist() == [0.0, 0.0]


def test_a_term_of_the_details_counts_less_than_one_of_the_text() -> None:
    index = Bm25(["ledger list", "admin list", "ping list"], ["", "export ledger", ""])

    in_text, in_details, nowhere = index.scores("ledger").tolist()
    assert in_text > in_details > nowhere == 0


def test_empty_details_change_nothing() -> None:
    assert Bm25(DOCUMENTS, ["", "", ""]).scores("email").tolist() == Bm25(DOCUMENTS).scores("email").tolist()
