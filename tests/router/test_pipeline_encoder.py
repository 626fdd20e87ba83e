"""With an encoder, a Router finds tools that share no word, reports missing vectors, and weights by kind."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from checkpoints import random_model
from meanings import Meanings
from own_folders import write, write_whole
from requests_made import DDL, named, scores, tool

from shortlist import Router
from shortlist.router.engine.protocols import CancelToken
from shortlist.router.first_stage.candidates import MAX_NEW_VECTORS
from shortlist.schemas.errors import RequestCancelled

# The query describes the tool in another language.
QUERY = "wie viele Bestellungen"
RIGHT = tool("list_orders", "list the open orders of a customer")
CROWD = [tool(f"tool_{number}", "attach the invoice to an email") for number in range(60)]
VECTORS = {"Bestellungen": (0.0, 1.0, 0.0), "orders": (0.0, 0.9, 0.1), "invoice": (1.0, 0.1, 0.0)}
LOGITS = {"orders": 3.0, "invoice": -3.0}
NO_LOGIT = {"bias": 0.0, "logit": 0.0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Router:
    return load(write_whole(tmp_path_factory.mktemp("models") / "whole").folder)


@pytest.fixture
def scorer() -> Meanings:
    return Meanings(VECTORS, logits=LOGITS)


@pytest.fixture
def router(scorer: Meanings, tmp_path: Path) -> Router:
    """A Router with an empty cache of vectors whose scorer knows what the texts of these tests mean."""
    return load(write_whole(tmp_path / "own").folder).with_scorer(scorer)


def load(folder: Path) -> Router:
    return Router.load(folder, device="cpu", dtype="float32")


def test_a_tool_that_shares_no_word_survives_narrowing(router: Router) -> None:
    selection = router.select_tools(QUERY, [*CROWD, RIGHT], max_candidates=5, top_n=1)

    assert named(selection) == ["list_orders"]
    assert (selection.num_scored, selection.num_dropped, selection.warnings) == (5, 56, ())


def test_without_an_encoder_it_is_dropped_with_a_warning(tmp_path: Path, scorer: Meanings) -> None:
    router = load(write(tmp_path / "plain", random_model())).with_scorer(scorer)

    selection = router.select_tools(QUERY, [*CROWD, RIGHT], max_candidates=5, top_n=1)

    assert "list_orders" not in named(selection)
    assert "only 0 of 61 candidates share a word with the query" in selection.warnings[0]
    assert scorer.embedded == []


def test_a_document_that_shares_no_word_survives_narrowing(router: Router) -> None:
    documents = ["attach the invoice to an email"] * 20 + ["the open orders of a customer"]

    selection = router.rerank(QUERY, documents, max_candidates=3, top_n=1)

    assert [item.index for item in selection.items] == [20]


def test_a_table_that_shares_no_word_survives_narrowing(router: Router) -> None:
    ddl = "create table invoice (id int); create table email (id int); create table orders (id int);"

    selection = router.select_tables(QUERY, ddl, max_candidates=1)

    assert named(selection) == ["orders"]


def test_a_real_encoder_answers_a_request(whole: Router) -> None:
    selection = whole.select_tools(QUERY, [*CROWD, RIGHT], max_candidates=7, top_n=0)

    assert (selection.num_scored, len(selection.items), selection.warnings) == (7, 7, ())
    again = whole.select_tools(QUERY, [*CROWD, RIGHT], max_candidates=7, top_n=0)
    assert scores(again) == pytest.approx(scores(selection), abs=1e-5)


def test_tools_are_embedded_once_for_many_requests(router: Router, scorer: Meanings) -> None:
    for query in (QUERY, "city", QUERY):
        router.select_tools(query, [*CROWD, RIGHT])

    assert sum("orders" in text for text in scorer.embedded) == 1


def test_another_scorer_of_the_same_model_keeps_its_vectors(router: Router) -> None:
    router.select_tools(QUERY, [RIGHT])
    other = Meanings(VECTORS)

    router.with_scorer(other).select_tools(QUERY, [RIGHT])

    assert not any("orders" in text for text in other.embedded)


def test_candidates_without_vectors_give_a_warning_until_they_have_them(router: Router) -> None:
    letters = "abcdehilmn"
    tools = [tool("".join(letters[int(digit)] for digit in f"{number:04}")) for number in range(MAX_NEW_VECTORS + 6)]

    first, second = (router.select_tools("city", tools, max_candidates=3) for _ in range(2))

    assert len(first.warnings) == 1
    assert first.warnings[0].startswith(f"6 of {len(tools)} candidates were ranked by their words alone")
    assert second.warnings == ()


def test_a_cancelled_request_embeds_nothing(router: Router, scorer: Meanings) -> None:
    cancel = CancelToken()
    cancel.cancel()

    with pytest.raises(RequestCancelled):
        router.select_tools(QUERY, [RIGHT], cancel=cancel)

    assert scorer.embedded == []


def test_the_weights_depend_on_the_kind_of_candidate(tmp_path: Path, scorer: Meanings) -> None:
    weights = {"tools": NO_LOGIT | {"bias": 2.0}, "tables": NO_LOGIT | {"bias": -1.0}}
    router = load(write_whole(tmp_path / "own", score_weights=weights).folder).with_scorer(scorer)

    tools, tables = router.select_tools("city", [RIGHT]), router.select_tables("city", DDL)

    assert [item.score for item in tools.items] == pytest.approx([sigmoid(2.0)])
    assert [item.score for item in tables.items] == pytest.approx([sigmoid(-1.0)] * 3)


def test_plain_documents_without_weights_are_scored_by_the_logit_alone(tmp_path: Path, scorer: Meanings) -> None:
    weights = {"tools": NO_LOGIT | {"bias": 2.0}, "tables": NO_LOGIT}
    router = load(write_whole(tmp_path / "own", score_weights=weights).folder).with_scorer(scorer)

    selection = router.rerank("city", ["the open orders", "an invoice"])

    assert [item.score for item in selection.items] == pytest.approx([sigmoid(3.0), sigmoid(-3.0)])


def test_plain_documents_with_weights_are_scored_by_meaning_and_words_too(tmp_path: Path, scorer: Meanings) -> None:
    weights = {"documents": {"bias": 0.5, "logit": 0.0, "cosine": 2.0, "lexical_share": 1.0}}
    router = load(write_whole(tmp_path / "own", score_weights=weights).folder).with_scorer(scorer)

    selection = router.rerank("orders", ["invoice", "the orders", "Bestellungen"])

    assert [item.index for item in selection.items] == [1, 2, 0]
    assert selection.items[0].score == pytest.approx(sigmoid(0.5 + 2.0 + 1.0), abs=1e-5)
    assert selection.warnings == ()


def test_a_kind_without_weights_is_scored_by_the_logit_alone(tmp_path: Path, scorer: Meanings) -> None:
    folder = write_whole(tmp_path / "own", score_weights={"tables": NO_LOGIT}).folder

    selection = load(folder).with_scorer(scorer).select_tools("city", [RIGHT])

    assert selection.items[0].score == pytest.approx(sigmoid(3.0))


def test_the_score_combines_all_features(tmp_path: Path, scorer: Meanings) -> None:
    weights = {"bias": 0.25, "logit": 0.5, "cosine": -1.0, "lexical_share": 0.5, "lexical_match": 0.0}
    router = load(write_whole(tmp_path / "own", score_weights={"tools": weights}).folder).with_scorer(scorer)

    found = scores(router.select_tools("orders", [tool("invoice"), tool("orders")]))

    # The query equals the second tool: cosine 1, and all words match. A pair's logit counts the query's words too.
    invoice, query = (1.0, 0.1), (0.9, 0.1)
    cosine = invoice[1] * query[0] / (math.hypot(*invoice) * math.hypot(*query))
    assert found[0] == pytest.approx(sigmoid(0.25 + 0.5 * 0.0 - cosine), abs=1e-5)
    assert found[1] == pytest.approx(sigmoid(0.25 + 0.5 * 3.0 - 1.0 + 0.5), abs=1e-5)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))
