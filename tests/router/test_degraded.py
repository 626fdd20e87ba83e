"""When time runs out: callers that allow a degraded answer get the first stage's order, others an error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from requests_made import DDL, QUERY, TOOLS, named
from server_fixtures import ServerThread

from shortlist import Client, Router
from shortlist.router.engine.protocols import CancelToken, PairScores, TextVectors
from shortlist.router.engine.tokenizer import Pair
from shortlist.schemas.errors import DeadlineTooShort, RequestCancelled


class LateScorer:
    """Always fails with the given error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        raise self.error

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        raise self.error


@pytest.fixture(scope="module", params=[RequestCancelled("late"), DeadlineTooShort("late")], ids=["late", "too late"])
def late(tiny_model_dir: Path, request: pytest.FixtureRequest) -> Router:
    return Router.load(tiny_model_dir, device="cpu", dtype="float32").with_scorer(LateScorer(request.param))


def test_tools_are_ordered_by_the_first_stage(late: Router) -> None:
    selection = late.select_tools("list orders", TOOLS, top_n=2, min_score=0.9, allow_degraded=True)
    assert selection.is_degraded
    assert "list_orders" in named(selection)[0]
    assert [(item.rank, item.score) for item in selection.items] == [(1, 1.0), (2, 0.5)]
    assert (selection.num_candidates, selection.num_scored, selection.num_tokens) == (len(TOOLS), 0, 0)


def test_tables_are_selected_and_pinned_ones_included(late: Router) -> None:
    everything = late.select_tables(QUERY, DDL, top_n=0, allow_degraded=True)
    last = named(everything)[-1]
    selection = late.select_tables(QUERY, DDL, top_n=1, always_include=[last], allow_degraded=True)
    assert named(selection) == [named(everything)[0], last]


def test_a_partition_that_is_named_has_the_position_of_its_family(late: Router) -> None:
    ddl = f"{DDL}CREATE TABLE old_orders PARTITION OF shop.orders DEFAULT;"
    pinned = late.select_tables(
        "city", ddl, top_n=1, max_candidates=1, always_include=["old_orders"], allow_degraded=True
    )
    assert [(item.name, item.always_included) for item in pinned.items] == [("warehouses", False), ("old_orders", True)]
    assert pinned.is_degraded


def test_documents_are_ordered_by_their_words(late: Router) -> None:
    selection = late.rerank("capital of France", ["Berlin", "Paris, capital of France"], allow_degraded=True)
    assert [item.index for item in selection.items] == [1, 0]


def test_max_candidates_limits_a_degraded_answer(late: Router) -> None:
    selection = late.select_tools(QUERY, TOOLS, top_n=0, max_candidates=2, allow_degraded=True)
    assert (len(selection.items), selection.num_dropped) == (2, len(TOOLS) - 2)
    documents = late.rerank("Paris", ["Berlin", "Paris", "Paris too"], top_n=0, max_candidates=2, allow_degraded=True)
    assert [item.index for item in documents.items] == [1, 2]


def test_without_allow_degraded_the_error_is_raised(late: Router) -> None:
    with pytest.raises((RequestCancelled, DeadlineTooShort)):
        late.select_tools(QUERY, TOOLS)


def test_a_cancelled_request_gets_no_degraded_answer(late: Router) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises((RequestCancelled, DeadlineTooShort)):
        late.select_tools(QUERY, TOOLS, allow_degraded=True, cancel=cancel)


def test_an_answer_in_time_is_not_degraded(tiny_model_dir: Path) -> None:
    router = Router.load(tiny_model_dir, device="cpu", dtype="float32")
    selection = router.select_tools(QUERY, TOOLS, allow_degraded=True)
    assert (selection.is_degraded, selection.num_scored) == (False, len(TOOLS))


def test_a_degraded_answer_comes_before_the_deadline(
    start_server: Callable[..., ServerThread], tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = Router.load(tiny_model_dir, device="cpu", dtype="float32", threads=1)
    server = start_server(is_loaded=False)
    server.call(server.app.load(lambda: router)).result(60)
    may_run, run = threading.Event(), router.engines[0].run

    def run_late(pairs: Sequence[Pair]) -> Sequence[float]:
        assert may_run.wait(60)
        return run(pairs)

    monkeypatch.setattr(router.engines[0], "run", run_late)
    with Client(server.app.address) as client:
        selection = client.select_tools("list orders", TOOLS, allow_degraded=True, timeout_seconds=1.0)
        may_run.set()
    assert selection.is_degraded  # an answer after the deadline would have been an error
