from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from server_fakes import tool
from server_fixtures import ServerThread, wait_until, wait_until_pairs_wait

from shortlist import Client
from shortlist.schemas.errors import (
    InvalidInput,
    LimitExceeded,
    ModelMismatch,
    ServerBusy,
    ServerUnavailable,
    ShortlistError,
)
from shortlist.v1 import router_pb2 as pb
from shortlist.v1 import router_pb2_grpc as pb_grpc

StartServer = Callable[..., ServerThread]

CATALOG = [tool("create_refund", "Refund a payment"), tool("list_orders", "List the orders"), tool("ping")]
DDL = "create table orders (id int primary key);\ncreate table refunds (id int, order_id int);\n"


def names_of(response: Any) -> list[str]:
    return [item.name for item in response.items]


def test_tools_are_ranked_with_their_source_verbatim(client: Client) -> None:
    text = '[ {"name": "ping"},  {"name":"create_refund", "description": "Refund  it"} ]'
    response = client.select_tools("refund it", text)
    best = response.items[0]
    assert (best.name, best.index, best.rank, best.score) == ("create_refund", 1, 1, 1.0)
    assert best.source == '{"name":"create_refund", "description": "Refund  it"}'


def test_tools_come_in_many_texts_each_with_its_namespace(client: Client) -> None:
    response = client.select_tools("ping", CATALOG, namespaces=["billing", "shop", ""])
    assert [(item.name, item.namespace) for item in response.items] == [
        ("ping", ""),
        ("create_refund", "billing"),
        ("list_orders", "shop"),
    ]


def test_tables_are_ranked_with_their_source(client: Client) -> None:
    response = client.select_tables("refunds of an order_id", DDL, dialect="postgres", top_n=1)
    assert [item.source.rstrip(";") for item in response.items] == ["create table refunds (id int, order_id int)"]


def test_columns_come_with_their_table_where_they_are_asked_for(client: Client) -> None:
    with_columns, without = (client.select_tables("refunds", DDL, keep_columns=share, top_n=1) for share in (0.5, 0))
    assert [(one.name, one.score) for one in with_columns.items[0].columns] == [("id", 0.5), ("order_id", 0.5)]
    assert not without.items[0].columns


@pytest.mark.parametrize("share", [-0.5, 1.5, float("nan")])
def test_what_is_no_share_of_columns_is_refused(client: Client, share: float) -> None:
    with pytest.raises(InvalidInput, match="give a share") as caught:
        client.select_tables("refunds", DDL, keep_columns=share)
    assert caught.value.field == "keep_columns"


def test_documents_are_ranked(client: Client) -> None:
    response = client.rerank("capital of France", ["Berlin", "Paris is the capital of France", ""])
    assert [(item.index, item.rank) for item in response.items] == [(1, 1), (0, 2), (2, 3)]


def test_documents_can_be_left_out_of_the_answer(client: Client) -> None:
    response = client.rerank("paris", ["paris"], return_documents=False)
    assert [item.source for item in response.items] == [""]


def test_a_conversation_is_a_query(client: Client) -> None:
    messages = [
        {"role": "system", "content": None},
        {"role": "user", "content": [{"type": "text", "text": "refund"}, {"type": "image_url"}]},
    ]
    assert names_of(client.select_tools(messages, CATALOG, top_n=1)) == ["create_refund"]


def test_the_report_tells_what_happened(client: Client) -> None:
    response = client.select_tools("refund", [*map(json.dumps, CATALOG), "{not json"], max_candidates=2)
    report = response.report
    assert (report.num_candidates, report.num_scored, report.num_dropped) == (3, 2, 1)
    assert (report.model_name, report.model_version, report.num_tokens > 0) == ("fake", "1", True)
    assert [(item.index, item.line) for item in report.unparsed] == [(3, 1)]
    assert report.timings.total_ms >= report.timings.queue_ms


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, 5, id="absent is 5"),
        pytest.param({"top_n": 2}, 2, id="2"),
        pytest.param({"top_n": 0}, 7, id="0 is all"),
        pytest.param({"top_n": 1000}, 7, id="beyond the list"),
    ],
)
def test_top_n_bounds_the_answer(client: Client, options: dict[str, int], expected: int) -> None:
    assert len(client.rerank("word", ["word"] * 7, **options).items) == expected


@pytest.mark.parametrize(
    ("options", "num_scored"),
    [
        pytest.param({}, 50, id="absent is 50"),
        pytest.param({"max_candidates": 0}, 60, id="0 is all"),
        pytest.param({"max_candidates": 10}, 10, id="10"),
    ],
)
def test_max_candidates_bounds_what_is_scored(client: Client, options: dict[str, int], num_scored: int) -> None:
    assert client.rerank("word", ["word"] * 60, **options).report.num_scored == num_scored


def test_an_empty_candidate_list_gives_an_empty_answer(client: Client) -> None:
    responses = [client.select_tools("refund", []), client.select_tables("refund", ""), client.rerank("refund", [])]
    assert [(len(response.items), response.report.model_name) for response in responses] == [(0, "fake")] * 3


def test_duplicate_names_stay_apart_by_index(client: Client) -> None:
    response = client.select_tools("same", [tool("same"), tool("same")])
    assert [(item.name, item.index) for item in response.items] == [("same", 0), ("same", 1)]


def test_always_include_is_extra_and_an_unknown_name_is_a_warning(client: Client) -> None:
    response = client.select_tools("refund", CATALOG, top_n=1, always_include=["ping", "pong"])
    assert [(item.name, item.always_included) for item in response.items] == [("create_refund", False), ("ping", True)]
    assert ["pong" in warning for warning in response.report.warnings] == [True]


def test_five_thousand_tools_are_answered(client: Client) -> None:
    catalog = json.dumps([tool(f"tool_{number}", f"does number{number}") for number in range(5000)])
    response = client.select_tools("number4711", catalog, max_candidates=0, top_n=1)
    assert names_of(response) == ["tool_4711"]
    assert response.report.num_candidates == 5000


def test_a_tool_of_one_megabyte_is_answered_verbatim(client: Client) -> None:
    text = json.dumps(tool("large", "word " * 200_000))
    assert client.select_tools("word", [text]).items[0].source == text


@pytest.mark.parametrize("query", ["", " \n\t", "\u3000"], ids=["empty", "white space", "ideographic space"])
def test_a_blank_query_is_refused(client: Client, query: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.select_tools(query, CATALOG)
    assert caught.value.field == "query"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        pytest.param({"top_n": -1}, "top_n", id="negative top_n"),
        pytest.param({"max_candidates": -1}, "max_candidates", id="negative max_candidates"),
        pytest.param({"min_score": math.nan}, "min_score", id="NaN"),
        pytest.param({"min_score": 1.5}, "min_score", id="score above 1"),
        pytest.param({"min_score": -0.1}, "min_score", id="score below 0"),
        pytest.param({"max_query_tokens": 0}, "max_query_tokens", id="no query tokens"),
        pytest.param({"max_pair_tokens": -5}, "max_pair_tokens", id="negative pair tokens"),
        pytest.param({"max_pair_tokens": 100_000}, "max_pair_tokens", id="above the model's limit"),
        pytest.param({"overlap_tokens": -1}, "overlap_tokens", id="negative overlap"),
    ],
)
def test_a_field_out_of_range_is_named(client: Client, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.rerank("query", ["document"], **options)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: is ")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        pytest.param(pb.Query(), "query", id="nothing set"),
        pytest.param(pb.Query(conversation=pb.Conversation()), "query.conversation.messages", id="no message"),
        pytest.param(
            pb.Query(conversation=pb.Conversation(messages=[pb.ChatMessage(role="user", content=" ")])),
            "query.conversation.messages",
            id="no text",
        ),
        pytest.param(
            pb.Query(conversation=pb.Conversation(messages=[pb.ChatMessage(content="hello")])),
            "query.conversation.messages[0].role",
            id="no role",
        ),
    ],
)
def test_a_query_without_content_is_invalid_for_stock_clients(
    server: ServerThread, query: pb.Query, field: str
) -> None:
    with grpc.insecure_channel(server.app.address) as channel, pytest.raises(grpc.RpcError) as caught:
        pb_grpc.RouterServiceStub(channel).Rerank(pb.RerankRequest(query=query))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(caught.value.trailing_metadata())["shortlist-field"] == field


def test_an_unknown_dialect_names_the_known_ones(client: Client) -> None:
    with pytest.raises(InvalidInput, match="postgres"):
        client.select_tables("x", DDL, dialect="klingon")


@pytest.mark.parametrize(
    "expectation", [{"expected_model": "other"}, {"expected_version": "2"}], ids=["model", "version"]
)
def test_another_model_than_expected_is_refused(client: Client, expectation: dict[str, str]) -> None:
    with pytest.raises(ModelMismatch, match="fake 1"):
        client.rerank("x", ["x"], **expectation)


def test_info_describes_the_model_and_the_limits(client: Client) -> None:
    info = client.get_info()
    assert (info.model_name, info.num_parameters, info.max_message_bytes) == ("fake", 5_000_000_000, 64 * 1024 * 1024)
    assert "postgres" in info.dialects


def test_a_defect_is_told_by_an_incident_id_only(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ShortlistError) as caught:
        client.rerank("secret query", ["explode"])
    incident = str(caught.value).split()[-1]
    logged = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [incident in message and "RuntimeError" in message for message in logged] == [True]
    assert "Traceback" not in str(caught.value)
    assert "secret" not in caplog.text + str(caught.value)


def test_a_request_above_the_limit_is_refused_with_both_sizes(start_server: StartServer) -> None:
    server = start_server(max_message_mb=1)
    with Client(server.app.address, timeout_seconds=60) as client, pytest.raises(LimitExceeded) as caught:
        client.rerank("x", ["x" * 2_000_000])
    assert (caught.value.limit, caught.value.actual > 2_000_000) == (1024 * 1024, True)
    assert "--max-message-mb" in str(caught.value)


def test_an_answer_above_the_limit_is_refused_with_a_remedy(start_server: StartServer) -> None:
    server = start_server(max_message_mb=1)
    with (
        Client(server.app.address, timeout_seconds=60) as client,
        pytest.raises(InvalidInput, match="fewer items") as caught,
    ):
        client.rerank("x", ["x" * 47] * 19_000, top_n=0, max_candidates=0)
    assert caught.value.field == "top_n"


def test_an_answer_above_the_clients_limit_says_so(server: ServerThread) -> None:
    with (
        Client(server.app.address, max_message_bytes=1000) as client,
        pytest.raises(LimitExceeded, match="the response has"),
    ):
        client.rerank("x", ["x" * 2000])


def test_too_many_requests_at_once_are_turned_away(start_server: StartServer) -> None:
    server = start_server(max_concurrent=1, max_waiting=0)
    server.engine.gate.clear()
    with Client(server.app.address, timeout_seconds=60, retry=None) as client, ThreadPoolExecutor() as pool:
        admitted = pool.submit(client.rerank, "first", ["first"])
        server.engine.wait_until_entered()
        with pytest.raises(ServerBusy, match="try again"):
            client.rerank("second", ["second"])
        server.engine.gate.set()
        assert len(admitted.result(60).items) == 1


def test_waiting_for_a_thread_counts_as_time_in_the_queue(start_server: StartServer) -> None:
    server = start_server(max_concurrent=1)
    server.engine.gate.clear()
    with Client(server.app.address, timeout_seconds=60) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.rerank, "first", ["first"])
        server.engine.wait_until_entered()
        second = pool.submit(client.rerank, "second", ["second"])
        wait_until(lambda: server.app.admission.num_admitted == 2)
        time.sleep(0.2)
        server.engine.gate.set()
        first.result(60)
        timings = second.result(60).report.timings
    assert timings.total_ms >= timings.queue_ms >= 100


def test_a_server_without_its_model_is_unavailable(start_server: StartServer) -> None:
    server = start_server(is_loaded=False)
    with Client(server.app.address, retry=None) as client, pytest.raises(ServerUnavailable, match="loading"):
        client.rerank("x", ["x"])


def test_a_port_in_use_is_refused_in_one_line(server: ServerThread, start_server: StartServer) -> None:
    with pytest.raises(
        ServerUnavailable, match=f"cannot listen on 127.0.0.1:{server.app.port}: Address already in use"
    ):
        start_server(port=server.app.port)


def test_requests_at_once_share_batches(server: ServerThread) -> None:
    server.engine.gate.clear()
    with Client(server.app.address, timeout_seconds=60) as client, ThreadPoolExecutor() as pool:
        futures = [pool.submit(client.rerank, "first", ["a", "b"])]
        server.engine.wait_until_entered()
        futures += [pool.submit(client.rerank, query, ["a", "b"]) for query in ("second", "third")]
        wait_until_pairs_wait(server, 4)
        server.engine.gate.set()
        results = [future.result(60) for future in futures]
    assert [len(result.items) for result in results] == [2, 2, 2]
    assert server.engine.queries == [{"first"}, {"second", "third"}]
