"""The first stage's view of a set of items, by their words and by their vectors, and how it narrows them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meanings import Meanings

from shortlist.router.catalogs.catalog import item_of_table, item_of_tool
from shortlist.router.first_stage.candidates import Candidates, narrow, ranked
from shortlist.router.first_stage.embedder import Embedder, RetrievalSettings, VectorCache
from shortlist.schemas.document import ForeignKey, Table, Tool

DOCUMENTS = ["send email", "send invoice, email email", "list orders"]
WEIGHT = 0.5
# The query of the tests, "email", means what the last document says, and is not far from what the first says.
VECTORS = {"email": (0.0, 0.6, 0.8), "send": (1.0, 0.0, 0.0), "invoice": (0.0, 1.0, 0.0), "orders": (0.0, 0.0, 1.0)}
SCORES = np.array([0.1, 0.5, 0.5, 0.0, 1.0], np.float32)

texts = st.lists(st.text("abcs", min_size=1, max_size=5), max_size=8).map(" ".join)


def items_of(documents: list[str]) -> Candidates:
    return Candidates([item_of_tool(Tool("x", text, index=index)) for index, text in enumerate(documents)])


def embedder_of(scorer: Meanings) -> Embedder:
    return Embedder(scorer.tokenizer, scorer, RetrievalSettings(64, WEIGHT), VectorCache())


@pytest.fixture
def scorer() -> Meanings:
    return Meanings(VECTORS)


def test_shares_are_of_the_best_items_score() -> None:
    shares = items_of(DOCUMENTS).first_stage("email", None).shares

    assert shares[1:].tolist() == [1.0, 0.0]
    assert 0 < shares[0] < 1


@given(documents=st.lists(texts, max_size=6), query=texts)
def test_shares_and_matches_lie_between_0_and_1(documents: list[str], query: str) -> None:
    found = items_of(documents).first_stage(query, None)

    assert len(found.shares) == len(found.matches) == len(documents)
    assert all(0 <= share <= 1 for share in found.shares)
    assert max(found.shares, default=0) in (0, 1)
    assert all(0 <= match <= 1 + 1e-6 for match in found.matches)


def test_a_query_without_words_matches_nothing() -> None:
    found = items_of(DOCUMENTS).first_stage("?!", None)

    assert found.shares.tolist() == found.matches.tolist() == [0.0, 0.0, 0.0]


def test_a_match_is_less_the_less_of_the_query_is_met() -> None:
    items = items_of(DOCUMENTS)

    whole, part, none = (items.first_stage(query, None) for query in ("list orders", "list unicorns", "unicorns"))

    assert whole.matches[2] > part.matches[2] > none.matches[2] == 0
    assert whole.shares[2] == part.shares[2] == 1


def test_without_an_embedder_the_shares_are_the_scores() -> None:
    found = items_of(DOCUMENTS).first_stage("email", None)

    assert found.cosines is None
    assert found.num_unseen == 0
    assert found.scores.tolist() == found.shares.tolist()


def test_with_an_embedder_words_add_to_the_cosine(scorer: Meanings) -> None:
    documents = ["send", "invoice", "email", "orders"]

    found = items_of(documents).first_stage("email", embedder_of(scorer))

    assert found.cosines is not None
    assert found.cosines.tolist() == pytest.approx([0, 0.6, 1, 0.8], abs=1e-6)
    assert found.scores.tolist() == pytest.approx([0, 0.6, 1 + WEIGHT, 0.8], abs=1e-6)
    assert found.shares.tolist() == items_of(documents).first_stage("email", None).shares.tolist()


def test_what_shares_no_word_may_still_be_found(scorer: Meanings) -> None:
    items = items_of(["send", "send", "send", "orders"])

    assert ranked(items.first_stage("email", None).scores) == [0, 1, 2, 3]
    assert ranked(items.first_stage("email", embedder_of(scorer)).scores)[0] == 3


@pytest.mark.parametrize("has_encoder", [False, True], ids=["words", "words_and_vectors"])
def test_like_items_are_ranked_by_place(scorer: Meanings, has_encoder: bool) -> None:
    items = items_of(["send", "email", "send", "email", "send"])

    found = items.first_stage("email", embedder_of(scorer) if has_encoder else None)

    assert ranked(found.scores) == [1, 3, 0, 2, 4]


@pytest.mark.parametrize("has_encoder", [False, True], ids=["words", "words_and_vectors"])
def test_an_empty_set_has_nothing_to_score(scorer: Meanings, has_encoder: bool) -> None:
    found = Candidates([]).first_stage("email", embedder_of(scorer) if has_encoder else None)

    assert (found.shares.tolist(), found.matches.tolist(), found.scores.tolist()) == ([], [], [])
    assert (found.num_unseen, ranked(found.scores)) == (0, [])


def test_a_set_embeds_its_documents_once_and_each_query(scorer: Meanings) -> None:
    items, embedder = items_of(["send", "orders"]), embedder_of(scorer)

    for query in ("email", "invoice", "email"):
        items.first_stage(query, embedder)

    assert sum("send" in text or "orders" in text for text in scorer.embedded) == 2
    assert items.first_stage("invoice", embedder).scores.tolist() == pytest.approx([0, 0])


def test_items_not_seen_yet_have_the_lowest_cosine(scorer: Meanings) -> None:
    items = items_of(["orders", "send", "email", "invoice email email"])

    found = items.first_stage("email", embedder_of(scorer), max_new_vectors=2)

    # Those two that share words with the query are embedded first.
    assert found.num_unseen == 2
    assert found.cosines is not None
    seen = found.cosines[[2, 3]]
    assert seen[0] == pytest.approx(1)
    assert found.cosines[[0, 1]].tolist() == [min(seen), min(seen)]


def test_later_requests_see_more_until_all_is_seen(scorer: Meanings) -> None:
    items, embedder = items_of(["orders", "send", "email", "invoice email"]), embedder_of(scorer)

    unseen = [items.first_stage("email", embedder, max_new_vectors=3).num_unseen for _ in range(3)]

    assert unseen == [1, 0, 0]
    expected = items_of(["orders", "send", "email", "invoice email"]).first_stage("email", embedder_of(scorer))
    assert items.first_stage("email", embedder).scores.tolist() == pytest.approx(expected.scores.tolist(), abs=1e-6)


def test_a_query_of_two_wishes_meets_both_documents_by_their_tokens() -> None:
    scorer = Meanings(VECTORS, has_tokens=True)
    settings = RetrievalSettings(64, 0.0, token_width=3, maxsim_weight=1.0)
    embedder = Embedder(scorer.tokenizer, scorer, settings, VectorCache())

    found = items_of(["send", "orders", "email"]).first_stage("send orders", embedder)

    assert found.query_maxsim is not None
    assert found.document_maxsim is not None
    assert found.cosines is not None
    assert found.query_maxsim.tolist() == pytest.approx([0.5, 0.5, 0.4], abs=2e-3)
    assert found.document_maxsim.tolist() == pytest.approx([1, 1, 0.8], abs=2e-3)
    expected = found.cosines + found.query_maxsim + found.document_maxsim
    assert found.scores.tolist() == pytest.approx(expected.tolist())


def test_only_the_nearest_are_compared_by_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortlist.router.first_stage.candidates._MAX_TOKEN_COMPARED", 2)
    scorer = Meanings(VECTORS, has_tokens=True)

    found = items_of(["send", "email", "invoice email"]).first_stage("email", embedder_of(scorer))

    assert found.document_maxsim is not None
    assert found.document_maxsim.tolist() == pytest.approx([0.8, 1, 0.8], abs=2e-3)


def test_a_table_is_drawn_up_by_the_best_it_joins_with(scorer: Meanings) -> None:
    joined = Table("invoice", foreign_keys=(ForeignKey(("x",), "orders", ("x",)),))
    items = Candidates(
        [item_of_table(replace(t, index=i)) for i, t in enumerate((joined, Table("orders"), Table("send")))]
    )
    settings = RetrievalSettings(64, 0.0, join_weight=0.5)
    embedder = Embedder(scorer.tokenizer, scorer, settings, VectorCache())

    found = items.first_stage("orders", embedder)

    assert found.cosines is not None
    invoice, orders, send = found.cosines.tolist()
    usual = (invoice + orders + send) / 3
    assert found.scores.tolist() == pytest.approx([invoice + orders / 2, orders + invoice / 2, send + usual / 2])


def test_places_are_ranked_by_score_then_place() -> None:
    assert ranked(SCORES) == [4, 1, 2, 0, 3]


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
    assert narrow(SCORES, max_candidates, kept_always) == expected


def test_a_request_that_saw_a_part_is_not_confused_by_one_that_completed_the_rest_meanwhile(scorer: Meanings) -> None:
    items, embedder = items_of(DOCUMENTS), embedder_of(scorer)

    class Overtaken(Meanings):
        """Lets another request over the same items through before its own is answered."""

        def embed(self, *arguments: Any, **options: Any) -> Any:
            vectors = super().embed(*arguments, **options)
            if len(vectors.texts) == 2:
                assert items.first_stage("orders", embedder).num_unseen == 0
            return vectors

    overtaken = Embedder(scorer.tokenizer, Overtaken(VECTORS), RetrievalSettings(64, WEIGHT), VectorCache())
    found = items.first_stage("email", overtaken, max_new_vectors=2)

    assert len(found.scores) == len(DOCUMENTS)
