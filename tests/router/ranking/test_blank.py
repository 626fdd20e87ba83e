"""A document or tool with nothing to read scores 0 and never stands above one with text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shortlist import Catalog, Router
from shortlist.router.engine.protocols import CancelToken, PairScores, TextVectors
from shortlist.router.engine.tokenizer import Pair
from shortlist.router.ranking.blank import blank_places
from shortlist.router.ranking.score import Scored, choose
from shortlist.schemas.errors import RequestCancelled
from shortlist.schemas.results import Selection

QUERY = "opening hours of the library"
ANSWER = "The library is open from nine to five."
BLANK = {
    "empty": "",
    "white_space": " \n\t\u3000",
    "zero_width_space": "\u200b",
    "byte_order_mark": "\ufeff",
    "hyphen": "-",
    "ellipsis": "…",
    "underscores": "___",
    "emoji": "👍🏽",
    "arrow": "->",
    "accent_alone": "\u0301",
    "hangul_filler": "\u3164",
    "braille_blank": "\u2800",
    "control_characters": "\x00\x07",
    "many": "— " * 5_000,
}


class LateScorer:
    """Never has time for the cross-encoder."""

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        raise RequestCancelled("late")

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        raise RequestCancelled("late")


@pytest.fixture(scope="module")
def router(tiny_model_dir: Path) -> Router:
    return Router.load(tiny_model_dir, device="cpu", dtype="float32")


def order(selection: Selection) -> list[int]:
    return [item.index for item in selection.items]


@pytest.mark.parametrize("blank", BLANK.values(), ids=BLANK)
def test_a_blank_document_scores_0_and_is_last(router: Router, blank: str) -> None:
    selection = router.rerank(QUERY, [blank, "Soup recipes", ANSWER])

    assert order(selection)[-1] == 0
    assert selection.items[-1].score == 0.0
    assert all(item.score > 0 for item in selection.items[:-1])


@pytest.mark.parametrize(
    "text", ["é", "漢", "א", "٣", "½", "क", "ก", "Ⅷ", "- a -", "N/A", "7", "\ufeffx"], ids=lambda text: ascii(text)
)
def test_one_letter_or_digit_of_any_script_is_text(text: str) -> None:
    assert blank_places([text], QUERY) == frozenset()


@pytest.mark.parametrize("query", ["->", "©", "👍", "…"])
def test_symbols_are_text_where_the_query_has_nothing_else(query: str) -> None:
    assert blank_places(["->", "©", "", "\u200b", " ", "\u2800"], query) == {2, 3, 4, 5}


def test_blank_documents_are_not_sent_to_the_model_and_keep_their_order(router: Router) -> None:
    alone = router.rerank(QUERY, [ANSWER])

    selection = router.rerank(QUERY, ["", "-", ANSWER, "…"])

    assert order(selection) == [2, 0, 1, 3]
    assert (selection.num_scored, selection.num_tokens) == (1, alone.num_tokens)
    assert [item.rank for item in selection.items] == [1, 2, 3, 4]


def test_documents_that_are_all_blank_are_answered_in_order(router: Router) -> None:
    selection = router.rerank(QUERY, ["-", "", "…"])

    assert order(selection) == [0, 1, 2]
    assert (selection.num_scored, selection.num_dropped) == (0, 0)


def test_a_minimum_score_leaves_blank_documents_out(router: Router) -> None:
    assert order(router.rerank(QUERY, ["", ANSWER, "-"], min_score=1e-9)) == [1]


def test_blank_documents_take_no_place_from_documents_with_text(router: Router) -> None:
    documents = ["", "-", "Soup recipes", ANSWER, "…"]

    assert set(order(router.rerank(QUERY, documents, max_candidates=2))) == {2, 3}
    assert order(router.rerank(QUERY, documents, max_candidates=3))[2:] == [0]


def test_a_catalog_of_documents_is_treated_alike(router: Router) -> None:
    selection = router.select(QUERY, Catalog.of_documents(["", ANSWER]))

    assert order(selection) == [1, 0]


def test_a_degraded_answer_puts_blank_documents_last(router: Router) -> None:
    late = router.with_scorer(LateScorer())

    selection = late.rerank(QUERY, ["", "Soup recipes", "-", ANSWER], allow_degraded=True)

    assert selection.is_degraded
    assert order(selection) == [3, 1, 0, 2]
    assert [item.score for item in selection.items] == [1.0, 0.5, 0.0, 0.0]


def test_an_error_names_the_document_by_its_place_among_all(router: Router) -> None:
    with pytest.raises(Exception, match=r"documents\[2\]"):
        router.rerank(QUERY, ["", "-", "a " * 600_000])


def test_a_tool_that_says_nothing_is_last_even_among_names_that_say_little(router: Router) -> None:
    selection = router.select_tools(QUERY, [{"name": "_", "description": "-"}, {"name": "a1"}])

    assert [(item.name, item.score > 0) for item in selection.items] == [("a1", True), ("_", False)]


def test_a_tool_whose_parameters_say_something_is_scored(router: Router) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}

    assert router.select_tools(QUERY, [{"name": "_", "parameters": parameters}]).items[0].score > 0


def test_a_tool_may_have_the_name_of_a_placeholder(router: Router) -> None:
    tools = [{"name": "todo"}, {"name": "b", "description": "opens the hours of a library"}]

    assert all(item.score > 0 for item in router.select_tools(QUERY, tools).items)


def test_a_tool_that_must_be_included_is_so_even_if_it_says_nothing(router: Router) -> None:
    selection = router.select_tools(QUERY, [{"name": "_"}, {"name": "a"}], top_n=1, always_include=["_"])

    assert [(item.name, item.always_included) for item in selection.items] == [("a", False), ("_", True)]


@pytest.mark.parametrize("text", ["N/A", "n.a.", "TBD", "[TODO]", "null", "- none -", "To be defined."])
def test_a_placeholder_among_texts_is_blank(text: str) -> None:
    assert blank_places([text, ANSWER], QUERY) == {0}


def test_a_placeholder_among_labels_is_text() -> None:
    assert blank_places(["opening hours", "none", "fees"], QUERY) == frozenset()


def test_a_placeholder_that_the_query_has_is_text() -> None:
    assert blank_places(["TBD", ANSWER], "What does TBD mean?") == frozenset()
    assert blank_places(["None", ANSWER], "nonetheless") == {0}


def test_text_whose_score_rounds_to_0_is_above_a_blank_document() -> None:
    chosen = choose([Scored(0, 0.0, is_blank=True), Scored(1, 0.0)], 0, 0.0)

    assert [one.place for one in chosen] == [1, 0]
