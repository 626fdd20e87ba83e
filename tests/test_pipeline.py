from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shortlist.router import Message, Router, Selection
from shortlist.router.encoding import Pair
from shortlist.router.scoring import CancelToken, PairScores
from shortlist.schemas.errors import InvalidInput, ModelMismatch, ModelNotFound, RequestCancelled

QUERY = "send an email to a customer"
TEXTS = {
    "send_email": '{"name": "send_email", "description": "Send an email to somebody"}',
    "attach_invoice": '{"name": "attach_invoice", "description": "attach the invoice to an email"}',
    "list_orders": '{ "name":"list_orders" ,\n "parameters": {"type": "object", "properties": {"date": {}}} }',
    "book_hotel": '{"name": "book_hotel", "description": "Book  a hotel", "x": [1,  2]}',
    "ping": '{"name": "ping"}',
}
TOOLS = list(TEXTS.values())
DDL = """CREATE TABLE shop.orders (id int primary key, customer_id int, total numeric);
CREATE TABLE shop.customers (id int primary key, email text);
COMMENT ON TABLE shop.customers IS 'who orders';
CREATE TABLE warehouses (city text);
"""
DOCUMENTS = ["Paris is the capital of France", "send an email", "the invoice of last month"]
# float32 on the CPU, whatever else is in the batch.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def router(tiny_model_dir: Path) -> Router:
    return Router.load(tiny_model_dir, device="cpu", dtype="float32")


def named(selection: Selection) -> list[str]:
    return [item.name for item in selection.items]


def scores(selection: Selection) -> dict[int, float]:
    return {item.index: item.score for item in selection.items}


def tool(name: str, description: str = "") -> str:
    return json.dumps({"name": name, "description": description})


class ConstantScorer:
    """Gives every pair the same logit and remembers how many there were."""

    def __init__(self) -> None:
        self.num_pairs = 0

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        self.num_pairs += len(pairs)
        return PairScores([0.0] * len(pairs), 7, 1.5, 2.5)


def test_every_tool_is_ranked_by_score(router: Router) -> None:
    selection = router.select_tools(QUERY, TOOLS, top_n=0)

    found = [item.score for item in selection.items]
    assert sorted(named(selection)) == sorted(TEXTS)
    assert found == sorted(found, reverse=True)
    assert all(0 <= score <= 1 for score in found)
    assert [item.rank for item in selection.items] == [1, 2, 3, 4, 5]
    assert (selection.num_candidates, selection.num_scored, selection.num_dropped) == (5, 5, 0)


def test_a_selection_says_which_model_made_it(router: Router, tiny_model_dir: Path) -> None:
    selection = router.select_tools(QUERY, TOOLS)

    assert selection.model_name == router.info.name == tiny_model_dir.name
    assert selection.model_version == router.info.version
    assert selection.num_tokens > len(TOOLS) * len(QUERY.split())
    assert selection.timings.infer_ms > 0
    assert selection.timings.total_ms >= selection.timings.infer_ms


def test_five_are_returned_by_default(router: Router) -> None:
    tools = [tool(f"tool_{number}") for number in range(8)]

    assert len(router.select_tools(QUERY, tools).items) == 5


def test_top_n_beyond_the_list_returns_the_list(router: Router) -> None:
    assert len(router.select_tools(QUERY, TOOLS, top_n=1_000).items) == len(TOOLS)


def test_top_n_keeps_the_best(router: Router) -> None:
    everything = router.select_tools(QUERY, TOOLS, top_n=0)

    assert named(router.select_tools(QUERY, TOOLS, top_n=2)) == named(everything)[:2]


def test_no_tools_give_an_empty_selection(router: Router) -> None:
    selection = router.select_tools(QUERY, [])

    assert (selection.items, selection.num_candidates, selection.num_tokens) == ((), 0, 0)


def test_no_tables_give_an_empty_selection(router: Router) -> None:
    assert router.select_tables("which orders", "-- nothing").items == ()


def test_no_documents_give_an_empty_selection(router: Router) -> None:
    assert router.rerank(QUERY, []).items == ()


@pytest.mark.parametrize("query", ["", " \n\t ", [Message("user", "  ")]], ids=["empty", "white_space", "messages"])
def test_a_blank_query_is_an_error(router: Router, query: str | list[Message]) -> None:
    with pytest.raises(InvalidInput, match="query: is empty"):
        router.select_tools(query, TOOLS)


def test_tools_of_one_name_are_told_apart_by_index(router: Router) -> None:
    tools = [tool("ping", "first"), tool("list_orders"), tool("ping", "second")]

    selection = router.select_tools(QUERY, tools)

    assert sorted((item.name, item.index) for item in selection.items) == [("list_orders", 1), ("ping", 0), ("ping", 2)]


def test_equal_tools_keep_the_order_of_the_request(router: Router) -> None:
    selection = router.select_tools(QUERY, [tool("ping")] * 4)

    assert [item.index for item in selection.items] == [0, 1, 2, 3]


def test_always_included_tools_come_on_top_of_top_n(router: Router) -> None:
    best, *_, worst = named(router.select_tools(QUERY, TOOLS, top_n=0))

    selection = router.select_tools(QUERY, TOOLS, top_n=1, always_include=[worst])

    assert [(item.name, item.always_included) for item in selection.items] == [(best, False), (worst, True)]
    assert selection.warnings == ()


def test_always_include_matches_every_duplicate(router: Router) -> None:
    tools = [tool("ping", "first"), *TOOLS, tool("ping", "last")]

    selection = router.select_tools(QUERY, tools, top_n=1, always_include=["ping"], max_candidates=1)

    assert sorted(item.index for item in selection.items if item.always_included) == [0, 5, 6]


def test_an_always_included_tool_survives_narrowing_and_min_score(router: Router) -> None:
    selection = router.select_tools(QUERY, TOOLS, min_score=1.0, always_include=["book_hotel"], max_candidates=1)

    assert [(item.name, item.always_included) for item in selection.items] == [("book_hotel", True)]
    assert (selection.num_scored, selection.num_dropped) == (2, 3)
    assert 0 < selection.items[0].score < 1


def test_an_unknown_always_included_name_is_a_warning(router: Router) -> None:
    selection = router.select_tools(QUERY, TOOLS, always_include=["pong", "ping", "pong"])

    assert selection.warnings == ("always_include: no candidate is named 'pong'",)
    assert [item.name for item in selection.items if item.always_included] == ["ping"]


def test_a_table_may_be_always_included_without_its_schema(router: Router) -> None:
    selection = router.select_tables("which city", DDL, top_n=1, always_include=["orders", "shop.customers"])

    assert sorted(item.name for item in selection.items if item.always_included) == ["shop.customers", "shop.orders"]
    assert selection.warnings == ()


def test_more_than_max_candidates_are_narrowed_by_their_words(router: Router) -> None:
    selection = router.select_tools("send the email", TOOLS, max_candidates=2, top_n=0)

    assert sorted(named(selection)) == ["attach_invoice", "send_email"]
    assert (selection.num_candidates, selection.num_scored, selection.num_dropped) == (5, 2, 3)


def test_fifty_candidates_are_scored_by_default(router: Router) -> None:
    tools = [tool(f"tool_{number}") for number in range(60)]

    selection = router.select_tools(QUERY, tools, top_n=0)

    assert (selection.num_scored, selection.num_dropped, len(selection.items)) == (50, 10, 50)


def test_no_limit_on_candidates_scores_them_all(router: Router) -> None:
    tools = [tool(f"tool_{number}") for number in range(60)]

    selection = router.select_tools(QUERY, tools, top_n=0, max_candidates=0)

    assert (selection.num_scored, selection.num_dropped, len(selection.items)) == (60, 0, 60)


def test_narrowing_changes_no_score(router: Router) -> None:
    whole = scores(router.select_tools("send the email", TOOLS, top_n=0))

    narrowed = scores(router.select_tools("send the email", TOOLS, top_n=0, max_candidates=2))

    assert narrowed == pytest.approx({index: whole[index] for index in narrowed}, abs=TOLERANCE)


def test_a_catalog_of_5_000_tools_is_narrowed(router: Router) -> None:
    tools = [tool(f"tool_{number}", f"does thing {number}") for number in range(4_999)]

    selection = router.select_tools("book a hotel", [*tools, TEXTS["book_hotel"]], always_include=["book_hotel"])

    assert (selection.num_candidates, selection.num_scored, selection.num_dropped) == (5_000, 50, 4_950)


def test_a_tool_of_a_megabyte_is_cut_to_its_budget(router: Router) -> None:
    selection = router.select_tools(QUERY, [tool("huge", "customer invoice " * 62_000), tool("ping")])

    (cut,) = selection.truncated
    assert (cut.name, cut.index) == ("huge", 0)
    assert 0 < cut.kept_tokens <= 64 < 100_000 < cut.total_tokens
    assert selection.num_tokens < 256


def test_min_score_holds_back_what_scores_less(router: Router) -> None:
    everything = router.select_tools(QUERY, TOOLS, top_n=0)
    third = everything.items[2].score

    selection = router.select_tools(QUERY, TOOLS, top_n=0, min_score=third)

    assert named(selection) == named(everything)[:3]
    assert selection.num_scored == 5


def test_min_score_may_leave_nothing(router: Router) -> None:
    assert router.select_tools(QUERY, TOOLS, min_score=1.0).items == ()


def test_namespaces_are_returned_and_read(router: Router) -> None:
    plain = router.select_tools(QUERY, TOOLS[:2], top_n=0)

    selection = router.select_tools(QUERY, TOOLS[:2], top_n=0, namespaces=["customer mail"])

    assert {item.index: item.namespace for item in selection.items} == {0: "customer mail", 1: ""}
    assert scores(selection)[0] != scores(plain)[0]
    assert scores(selection)[1] == pytest.approx(scores(plain)[1], abs=TOLERANCE)


def test_more_namespaces_than_texts_are_an_error(router: Router) -> None:
    with pytest.raises(InvalidInput, match="namespaces"):
        router.select_tools(QUERY, TOOLS[:1], namespaces=["a", "b"])


@pytest.mark.parametrize(
    "tools",
    [
        [json.loads(text) for text in TOOLS],
        {"tools": [json.loads(text) for text in TOOLS]},
        json.dumps([json.loads(text) for text in TOOLS]),
        [TOOLS[0], {"tools": [json.loads(text) for text in TOOLS[1:]]}],
    ],
    ids=["mappings", "one_mapping", "one_text", "text_and_mapping"],
)
def test_tools_come_as_text_or_mappings(router: Router, tools: Any) -> None:
    expected = router.select_tools(QUERY, TOOLS, top_n=0)

    selection = router.select_tools(QUERY, tools, top_n=0)

    assert named(selection) == named(expected)
    assert scores(selection) == pytest.approx(scores(expected), abs=TOLERANCE)


def test_a_tool_is_returned_as_it_was_written(router: Router) -> None:
    catalog = f"[ {TEXTS['list_orders']} ,\n\t{TEXTS['book_hotel']}]"

    selection = router.select_tools(QUERY, [catalog])

    assert {item.name: item.source for item in selection.items} == {
        "list_orders": TEXTS["list_orders"],
        "book_hotel": TEXTS["book_hotel"],
    }


def test_a_table_is_returned_with_its_statements_as_written(router: Router) -> None:
    selection = router.select_tables("which customers", DDL, dialect="postgres")

    customers = next(item for item in selection.items if item.name == "shop.customers")
    assert customers.source.splitlines() == DDL.splitlines()[1:3]
    assert (customers.index, customers.namespace) == (1, "shop")


def test_what_cannot_be_parsed_is_reported_and_the_rest_ranked(router: Router) -> None:
    selection = router.select_tools(QUERY, [TOOLS[0], '{"name": "broken"', TOOLS[4]])

    assert sorted(item.index for item in selection.items) == [0, 2]
    assert [(left_out.index, left_out.name) for left_out in selection.unparsed] == [(1, "broken")]
    assert selection.num_candidates == 2


def test_messages_rank_as_the_text_made_of_them(router: Router) -> None:
    messages = [Message("user", QUERY), Message("assistant", "Shall I?"), Message("user", "do it")]

    selection = router.select_tools(messages, TOOLS, top_n=0)

    expected = router.select_tools(f"{QUERY}\nShall I?\ndo it", TOOLS, top_n=0)
    assert scores(selection) == pytest.approx(scores(expected), abs=TOLERANCE)


@pytest.mark.parametrize(
    ("expected", "named_in_error"),
    [({"expected_model": "other"}, "model 'other'"), ({"expected_version": "0.0"}, "version '0.0'")],
    ids=["model", "version"],
)
def test_another_model_than_expected_is_an_error(router: Router, expected: Any, named_in_error: str) -> None:
    with pytest.raises(ModelMismatch, match=named_in_error):
        router.select_tools(QUERY, TOOLS, **expected)


def test_the_expected_model_is_no_error(router: Router) -> None:
    info = router.info

    selection = router.rerank(QUERY, DOCUMENTS, expected_model=info.name, expected_version=info.version)

    assert len(selection.items) == 3


def test_a_document_over_its_budget_is_reported(router: Router) -> None:
    tools = [tool("ping"), tool("attach_invoice", "attach the invoice of the customer " * 30)]

    selection = router.select_tools(QUERY, tools)

    (cut,) = selection.truncated
    assert (cut.index, cut.name) == (1, "attach_invoice")
    assert cut.kept_tokens <= 64 < cut.total_tokens


def test_a_query_over_its_budget_is_reported(router: Router) -> None:
    selection = router.select_tools("invoice " * 100, [tool("ping")])

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
        ({"top_n": -1}, "top_n: is -1; give 0 for all"),
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


def test_documents_are_left_out_where_they_are_not_wanted(router: Router) -> None:
    selection = router.rerank(QUERY, DOCUMENTS, return_documents=False)

    assert [item.source for item in selection.items] == ["", "", ""]
    assert scores(selection) == pytest.approx(scores(router.rerank(QUERY, DOCUMENTS)), abs=TOLERANCE)


def test_one_text_is_no_list_of_documents(router: Router) -> None:
    with pytest.raises(InvalidInput, match="documents: is one text"):
        router.rerank(QUERY, "a document")


def test_an_empty_document_has_a_score(router: Router) -> None:
    assert len(router.rerank(QUERY, ["", "send an email"]).items) == 2


def test_a_long_document_counts_as_its_best_window(router: Router) -> None:
    long = "the capital of France " * 60

    selection = router.rerank(QUERY, [long, "the capital of France"], max_pair_tokens=32)

    assert len(selection.items) == 2
    assert selection.num_tokens > 240
    assert selection.truncated == ()


def test_documents_are_narrowed_by_their_words(router: Router) -> None:
    selection = router.rerank("invoice of last month", DOCUMENTS, max_candidates=1)

    assert [item.index for item in selection.items] == [2]
    assert selection.num_dropped == 2


def test_a_batch_scores_as_each_document_alone(router: Router) -> None:
    alone = [router.rerank(QUERY, [document]).items[0].score for document in DOCUMENTS]

    together = scores(router.rerank(QUERY, DOCUMENTS))

    assert [together[index] for index in range(3)] == pytest.approx(alone, abs=TOLERANCE)


def test_the_size_of_batches_changes_no_score(router: Router, tiny_model_dir: Path) -> None:
    small = Router.load(tiny_model_dir, device="cpu", dtype="float32", max_batch_tokens=128)

    selection = small.select_tools(QUERY, TOOLS * 4, top_n=0)

    expected = router.select_tools(QUERY, TOOLS * 4, top_n=0)
    assert scores(selection) == pytest.approx(scores(expected), abs=TOLERANCE)


def test_another_scorer_may_score_for_the_same_model(router: Router) -> None:
    scorer = ConstantScorer()

    selection = router.with_scorer(scorer).select_tools(QUERY, TOOLS, top_n=0)

    assert (scorer.num_pairs, selection.num_tokens, selection.timings.queue_ms) == (5, 7, 1.5)
    assert [item.score for item in selection.items] == [0.5] * 5
    assert [item.index for item in selection.items] == [0, 1, 2, 3, 4]


def test_a_model_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        Router.load(tmp_path / "nowhere")
