"""Checks which columns of the selected tables are named."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from checkpoints import random_model
from own_folders import write

from shortlist import Router
from shortlist.router.engine.protocols import CancelToken, PairScores, TextVectors
from shortlist.router.engine.streams import DirectScorer
from shortlist.router.engine.tokenizer import Pair
from shortlist.schemas.conversation import Message
from shortlist.schemas.errors import InvalidInput, RequestCancelled
from shortlist.schemas.results import Selection

DDL = """create table orders (id int primary key, total numeric, note text, placed date);
create table customers (id int primary key, email text);
create table parcels (id int, weight numeric);
create view totals as select sum(total) from orders;"""
QUESTION = "total of the orders by email"


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    """Ranks columns by their words alone."""
    weights = {"bias": 0.5, "logit": 0.0, "lexical_match": 2.0}
    folder = write(tmp_path_factory.mktemp("model") / "own", random_model(), column_weights=weights)
    return Router.load(folder, device="cpu", dtype="float32")


def named(selection: Selection) -> dict[str, list[str]]:
    return {item.name: [column.name for column in item.columns] for item in selection.items}


def test_the_best_share_of_all_columns_is_named_in_the_tables_order(router: Router) -> None:
    kept = router.select_tables("the note on the weight and the total", DDL, top_n=0, keep_columns=3 / 9)
    assert named(kept)["orders"] == ["total", "note"]
    assert named(kept)["parcels"] == ["weight"]
    assert all(len(item.columns) <= 1 for item in kept.items if item.name != "orders")


def test_at_least_the_best_column_of_each_table_is_named(router: Router) -> None:
    columns = named(router.select_tables(QUESTION, DDL, top_n=0, keep_columns=0.01))
    assert columns == {"orders": ["total"], "customers": ["email"], "parcels": ["id"], "totals": columns["totals"]}
    assert len(columns["totals"]) <= 1


def test_the_keys_by_which_the_selected_tables_join_are_named(router: Router) -> None:
    ddl = (
        "create table nurses (id int primary key, email text);"
        "create table moves (nurse int references nurses, note text, ward int references wards);"
        "create table wards (id int primary key, total int);"
    )
    columns = named(router.select_tables("the email, the note", ddl, top_n=0, keep_columns=0.01))
    assert columns["nurses"] == ["id", "email"]
    assert columns["moves"] == ["nurse", "note", "ward"]
    alone = router.select_tables("the email, the note", ddl, top_n=1, keep_columns=0.01)
    assert len(alone.items[0].columns) == 1


def test_keys_take_no_place_from_other_columns(router: Router) -> None:
    ddl = (
        "create table moves (ward int references wards, total int, note text, placed date, email text);"
        "create table wards (id int primary key);"
    )
    columns = named(router.select_tables("the ward and its id, the total, the note", ddl, top_n=0, keep_columns=0.5))
    assert columns == {"moves": ["ward", "total", "note"], "wards": ["id"]}


def test_a_share_of_1_names_all_columns(router: Router) -> None:
    columns = named(router.select_tables(QUESTION, DDL, top_n=0, keep_columns=1))
    assert columns["orders"] == ["id", "total", "note", "placed"]
    assert columns["customers"] == ["id", "email"]


def test_only_columns_of_selected_and_pinned_tables_are_scored(router: Router) -> None:
    selection = router.select_tables(QUESTION, DDL, top_n=1, always_include=["parcels"], keep_columns=1)
    assert len(selection.items) == 2
    assert named(selection)["parcels"] == ["id", "weight"]


def test_tokens_and_times_of_columns_are_counted(router: Router) -> None:
    without, with_them = (router.select_tables(QUESTION, DDL, keep_columns=share) for share in (0, 0.5))
    assert not any(item.columns for item in without.items)
    assert with_them.num_tokens > without.num_tokens
    assert with_them.num_scored == without.num_scored == 4
    assert [(item.name, item.score) for item in with_them.items] == [(item.name, item.score) for item in without.items]
    assert (with_them.warnings, with_them.truncated) == (without.warnings, without.truncated)
    timings = with_them.timings
    assert timings.retrieve_ms + timings.tokenize_ms + timings.infer_ms <= timings.total_ms


@pytest.mark.parametrize("ddl", ["", "create table bare ();"], ids=["no table", "no column"])
def test_without_columns_none_are_named(router: Router, ddl: str) -> None:
    assert not any(named(router.select_tables(QUESTION, ddl, keep_columns=0.5)).values())


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_rejected(router: Router, share: float) -> None:
    with pytest.raises(InvalidInput, match="give a share of the columns, up to 1") as caught:
        router.select_tables(QUESTION, DDL, keep_columns=share)
    assert caught.value.field == "keep_columns"


class TiringScorer:
    """Answers `num_calls` calls; later ones are too late."""

    def __init__(self, router: Router, num_calls: int) -> None:
        self._scorer, self._left = DirectScorer(router.engines), num_calls

    def score(self, pairs: Sequence[Pair], *, cancel: CancelToken | None = None) -> PairScores:
        self._left -= 1
        if self._left < 0:
            raise RequestCancelled("late")
        return self._scorer.score(pairs, cancel=cancel)

    def embed(self, texts: Sequence[Pair], *, cancel: CancelToken | None = None) -> TextVectors:
        raise NotImplementedError


@pytest.mark.parametrize("num_calls", [0, 1], ids=["before the tables", "before the columns"])
def test_a_call_without_enough_time_gets_tables_without_columns_or_an_error(router: Router, num_calls: int) -> None:
    late = router.with_scorer(TiringScorer(router, num_calls))
    selection = late.select_tables(QUESTION, DDL, keep_columns=0.5, allow_degraded=True)
    assert (len(selection.items), selection.is_degraded) == (4, num_calls == 0)
    assert not any(item.columns for item in selection.items)
    assert [text for text in selection.warnings if "columns" in text] == [
        "the time did not suffice to score columns, so none are named"
    ]
    with pytest.raises(RequestCancelled):
        router.with_scorer(TiringScorer(router, num_calls)).select_tables(QUESTION, DDL, keep_columns=0.5)


def test_a_conversation_ranks_columns_by_the_same_text_as_tables(router: Router) -> None:
    turns = [Message("user", "note"), Message("user", "do it")]
    found = router.select_tables(turns, DDL, keep_columns=0.2)
    assert named(found) == named(router.select_tables(router.query_text(turns), DDL, keep_columns=0.2))
