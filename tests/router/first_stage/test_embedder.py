"""The embedder computes a document's vectors once, however many requests need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from meanings import Meanings

from shortlist.router.catalogs.catalog import Item, item_of_document, item_of_tool
from shortlist.router.engine.protocols import CancelToken, Embedded, TextVectors
from shortlist.router.engine.tokenizer import Pair
from shortlist.router.first_stage.embedder import Embedder, RetrievalSettings, VectorCache
from shortlist.schemas.document import Parameter, Tool
from shortlist.schemas.errors import RequestCancelled

SETTINGS = RetrievalSettings(document_tokens=24, lexical_weight=0.5)
NUM_SPECIAL = 2
VECTORS = {"email": (0.0, 1.0, 0.0), "orders": (0.0, 0.0, 1.0)}


@dataclass
class Interrupted(Meanings):
    """Cancels the request's token after it has embedded something."""

    token: CancelToken = field(default_factory=CancelToken)

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        embedded = super().embed(texts, cancel=cancel)
        self.token.cancel()
        return embedded


def embedder_of(scorer: Meanings, cache: VectorCache | None = None) -> Embedder:
    return Embedder(scorer.tokenizer, scorer, SETTINGS, cache or VectorCache())


def tools(*names: str) -> list[Item]:
    return [item_of_tool(Tool(name, index=index)) for index, name in enumerate(names)]


def many_tools(count: int) -> list[Item]:
    """Makes tools whose documents all differ in letters the vocabulary knows."""
    letters = "abcdehilmn"
    return tools(*("".join(letters[int(digit)] for digit in f"{number:04}") for number in range(count)))


@pytest.fixture
def scorer() -> Meanings:
    return Meanings(VECTORS)


def test_documents_get_their_vectors_in_order(scorer: Meanings) -> None:
    embedded = embedder_of(scorer).embed_documents(tools("email", "ping", "orders", "email"))

    expected = [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert [one is not None and one.vector.tolist() for one in embedded] == expected


def test_queries_get_their_vectors_in_order(scorer: Meanings) -> None:
    embedded = embedder_of(scorer).embed_queries(["orders", "email"])

    assert [one.vector.tolist() for one in embedded] == [[0, 0, 1], [0, 1, 0]]


def test_queries_and_documents_get_different_prefixes(scorer: Meanings) -> None:
    embedder = embedder_of(scorer)

    embedder.embed_queries(["email"])
    embedder.embed_documents([item_of_document("email", 0)])

    query, document = scorer.embedded
    assert query != document
    assert query.endswith("email")
    assert document.endswith("email")


def test_a_plain_document_has_a_budget_of_its_own(scorer: Meanings) -> None:
    settings = RetrievalSettings(document_tokens=8, lexical_weight=0.5, passage_tokens=16)
    embedder = Embedder(scorer.tokenizer, scorer, settings, VectorCache())
    text = " ".join(["email"] * 40)

    embedder.embed_documents([item_of_document(text, 0), item_of_tool(Tool("email", description=text))])

    assert scorer.lengths == [16 + NUM_SPECIAL, 8 + NUM_SPECIAL]


def test_a_query_is_read_to_its_budget(scorer: Meanings) -> None:
    settings = RetrievalSettings(document_tokens=8, lexical_weight=0.5, query_tokens=6)

    Embedder(scorer.tokenizer, scorer, settings, VectorCache()).embed_queries([" ".join(["email"] * 40)])

    assert scorer.lengths == [6 + NUM_SPECIAL]


def test_embedding_no_documents_gives_no_vectors(scorer: Meanings) -> None:
    assert embedder_of(scorer).embed_documents([]) == []
    assert scorer.embedded == []


def test_a_document_is_embedded_once_for_many_requests(scorer: Meanings) -> None:
    embedder = embedder_of(scorer)

    first, second = (embedder.embed_documents(tools("email", "ping")) for _ in range(2))

    assert len(scorer.embedded) == 2
    assert [a is b for a, b in zip(first, second, strict=True)] == [True, True]


def test_a_cache_serves_several_embedders(scorer: Meanings) -> None:
    cache = VectorCache()

    embedder_of(scorer, cache).embed_documents(tools("email", "ping"))
    embedder_of(scorer, cache).embed_documents(tools("orders", "ping"))

    assert len(scorer.embedded) == 3


def test_documents_are_cached_by_content(scorer: Meanings) -> None:
    one, other = Tool("email", "attach an invoice", index=1), Tool("email", "attach an invoice", source="x", index=7)

    embedder_of(scorer).embed_documents([item_of_tool(one), item_of_tool(other)])

    assert len(scorer.embedded) == 1


def test_a_changed_document_is_embedded_again(scorer: Meanings) -> None:
    embedder = embedder_of(scorer)

    embedder.embed_documents([item_of_tool(Tool("email", "attach an invoice"))])
    embedder.embed_documents([item_of_tool(Tool("email", "list the orders"))])

    assert len(scorer.embedded) == 2


def test_only_the_first_max_new_documents_are_embedded(scorer: Meanings) -> None:
    vectors = embedder_of(scorer).embed_documents(tools("email", "email", "ping", "orders", "city"), max_new=2)

    assert [vector is not None for vector in vectors] == [True, True, True, False, False]
    assert len(scorer.embedded) == 2


def test_later_requests_continue_where_an_earlier_one_stopped(scorer: Meanings) -> None:
    embedder, items = embedder_of(scorer), tools("email", "ping", "orders", "city", "date")

    known = [sum(vector is not None for vector in embedder.embed_documents(items, max_new=2)) for _ in range(4)]

    assert known == [2, 4, 5, 5]
    assert len(scorer.embedded) == 5


def test_a_cancelled_request_leaves_what_was_finished_to_the_next() -> None:
    scorer, items = Interrupted(VECTORS), many_tools(500)
    embedder = embedder_of(scorer)

    with pytest.raises(RequestCancelled):
        embedder.embed_documents(items, cancel=scorer.token)

    finished = len(scorer.embedded)
    vectors = embedder.embed_documents(items)
    assert 0 < finished < len(items)
    assert len(scorer.embedded) == len(set(scorer.embedded)) == len(items)
    assert all(vector is not None for vector in vectors)


def test_a_document_over_the_budget_is_written_again_within_it(scorer: Meanings) -> None:
    parameters = tuple(Parameter(f"email{n}", f"email{n}") for n in range(90))

    (embedded,) = embedder_of(scorer).embed_documents([item_of_tool(Tool("orders", parameters=parameters))])

    (text,) = scorer.embedded
    assert "orders" in text
    assert "email89" not in text
    assert embedded is not None


@pytest.mark.parametrize(
    "item",
    [
        item_of_tool(Tool("orders", "list the open orders of a customer by date " * 20)),
        item_of_document("customer " * 400, 0),
    ],
    ids=["written_again", "cut"],
)
def test_no_document_is_longer_than_its_budget(scorer: Meanings, item: Item) -> None:
    embedder_of(scorer).embed_documents([item])

    (length,) = scorer.lengths
    assert SETTINGS.document_tokens // 2 < length <= SETTINGS.document_tokens + NUM_SPECIAL


def test_a_document_within_the_budget_is_read_whole(scorer: Meanings) -> None:
    embedder_of(scorer).embed_documents([item_of_document("list the open orders", 0)])

    assert scorer.embedded[0].endswith("list the open orders")


def test_a_lone_surrogate_is_embedded_like_any_text(scorer: Meanings) -> None:
    assert embedder_of(scorer).embed_documents([item_of_document("email \ud800", 0)])[0] is not None


ONE_VECTOR = np.dtype(np.float32).itemsize


def keyed(*names: str) -> tuple[list[bytes], list[Embedded]]:
    return [name.encode() for name in names], [Embedded(np.array([len(name)], np.float32)) for name in names]


def kept(cache: VectorCache, *names: str) -> list[str]:
    return [key.decode() for key in cache.get([name.encode() for name in names])]


def test_a_cache_gives_back_what_it_was_given() -> None:
    cache = VectorCache()

    cache.put(*keyed("a", "bb"))

    found = cache.get([b"bb", b"c", b"a"])
    assert {key: one.vector.tolist() for key, one in found.items()} == {b"a": [1], b"bb": [2]}


def test_a_full_cache_evicts_the_least_recently_used() -> None:
    cache = VectorCache(max_bytes=3 * ONE_VECTOR)
    cache.put(*keyed("a", "b", "c"))
    cache.get([b"a"])

    cache.put(*keyed("d"))

    assert kept(cache, "a", "b", "c", "d") == ["a", "c", "d"]


def test_vectors_cached_again_take_no_more_memory() -> None:
    cache = VectorCache(max_bytes=2 * ONE_VECTOR)
    for _ in range(5):
        cache.put(*keyed("a"))

    cache.put(*keyed("b"))

    assert kept(cache, "a", "b") == ["a", "b"]


def test_token_vectors_count_towards_the_size() -> None:
    cache = VectorCache(max_bytes=100)
    large = Embedded(np.zeros(1, np.float32), np.zeros((4, 10), np.float16))

    cache.put([b"a", b"b"], [large, large])

    assert kept(cache, "a", "b") == ["b"]


def test_all_vectors_are_returned_even_beyond_the_cache_size(scorer: Meanings) -> None:
    vectors = embedder_of(scorer, VectorCache(max_bytes=1)).embed_documents(tools("email", "ping", "orders"))

    assert all(vector is not None for vector in vectors)
