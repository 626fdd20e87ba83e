from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shortlist.client.convert import read_selection
from shortlist.schemas.conversation import Message
from shortlist.schemas.document import Unparsed
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind, SelectionOptions, options_of
from shortlist.schemas.results import Selected, SelectedColumn, Selection, Timings, Truncation
from shortlist.server import convert
from shortlist.v1 import router_pb2 as pb

SELECTION = Selection(
    items=(
        Selected(
            "tool",
            3,
            1,
            0.25,
            '{"name": "tool"}',
            "space",
            always_included=True,
            columns=(SelectedColumn("id", 0.5), SelectedColumn("odd \ud800", 0.25)),
            members=("part_1", "part_2"),
        ),
    ),
    num_candidates=9,
    num_scored=5,
    num_dropped=4,
    unparsed=(Unparsed(2, "broken", "it is", line=7, column=8, text_index=1),),
    warnings=("odd",),
    truncated=(Truncation(3, "tool", 10, 20),),
    model_name="model",
    model_version="1.2",
    num_tokens=321,
    timings=Timings(queue_ms=1, parse_ms=2, retrieve_ms=3, tokenize_ms=4, infer_ms=5, total_ms=16),
    is_degraded=True,
    dialect="postgres",
)


def values_of(message: object) -> dict[str, object]:
    return {name: getattr(message, name) for name in (field.name for field in message.DESCRIPTOR.fields)}  # type: ignore[attr-defined]


def test_every_field_of_a_selected_item_is_written() -> None:
    response = convert.write_selection(SELECTION, pb.SelectToolsResponse)
    written, item = values_of(response.items[0]), SELECTION.items[0]
    assert [(one.name, one.score) for one in written["columns"]] == [("id", 0.5), ("odd ?", 0.25)]  # type: ignore[attr-defined]
    kept = {"columns": item.columns, "members": item.members}
    assert {**written, **kept} == {**dataclasses.asdict(item), **kept}
    assert written["members"] == ["part_1", "part_2"]


def test_every_field_of_the_report_is_written() -> None:
    report = values_of(convert.write_selection(SELECTION, pb.RerankResponse).report)
    unparsed, truncated, timings = report.pop("unparsed"), report.pop("truncated"), report.pop("timings")
    assert values_of(unparsed[0]) == dataclasses.asdict(SELECTION.unparsed[0])
    assert values_of(truncated[0]) == dataclasses.asdict(SELECTION.truncated[0])
    assert values_of(timings) == dataclasses.asdict(SELECTION.timings)
    assert report == {
        "num_candidates": 9,
        "num_scored": 5,
        "num_dropped": 4,
        "warnings": ["odd"],
        "model_name": "model",
        "model_version": "1.2",
        "num_tokens": 321,
        "degraded": True,
        "dialect": "postgres",
    }


def test_a_lone_surrogate_is_replaced() -> None:
    selection = dataclasses.replace(SELECTION, items=(Selected("a\ud800", 0, 1, 0.5, "b\udfff"),), warnings=("\ud800",))
    response = convert.write_selection(selection, pb.SelectTablesResponse)
    assert (response.items[0].name, response.items[0].source, response.report.warnings[0]) == ("a?", "b?", "?")


REQUESTS: dict[Kind, type[Any]] = {
    "tools": pb.SelectToolsRequest,
    "tables": pb.SelectTablesRequest,
    "documents": pb.RerankRequest,
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_options_missing_from_a_request_get_the_documented_defaults(kind: Kind) -> None:
    assert convert.read_options(REQUESTS[kind](), kind) == SelectionOptions()


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_has_a_field_for_each_of_its_options(kind: Kind) -> None:
    names = {option.name for option in options_of(kind)}

    assert names <= set(REQUESTS[kind].DESCRIPTOR.fields_by_name)


def test_explicit_zeros_and_false_are_kept() -> None:
    request = pb.RerankRequest(top_n=0, max_candidates=0, overlap_tokens=0, return_documents=False)
    expected = SelectionOptions(top_n=0, max_candidates=0, overlap_tokens=0, return_documents=False)
    assert convert.read_options(request, "documents") == expected


def test_a_conversation_becomes_messages() -> None:
    messages = [pb.ChatMessage(role="system"), pb.ChatMessage(role="user", content="hello")]
    query = pb.Query(conversation=pb.Conversation(messages=messages))
    assert convert.read_query(query) == (Message("system", ""), Message("user", "hello"))


@pytest.mark.parametrize("role", ["Human", "HumanMessage", "USER"])
def test_a_role_of_a_conversation_may_have_another_name(role: str) -> None:
    query = pb.Query(conversation=pb.Conversation(messages=[pb.ChatMessage(role=role, content="hello")]))
    assert convert.read_query(query) == (Message("user", "hello"),)


@pytest.mark.parametrize("role", ["", "agent"])
def test_an_unknown_role_of_a_conversation_is_named(role: str) -> None:
    messages = [pb.ChatMessage(role="user", content="hello"), pb.ChatMessage(role=role, content="x")]
    with pytest.raises(InvalidInput, match="use user") as caught:
        convert.read_query(pb.Query(conversation=pb.Conversation(messages=messages)))
    assert caught.value.field == "query.conversation.messages[1].role"


def test_the_client_reads_what_the_server_writes() -> None:
    writable = dataclasses.replace(
        SELECTION, items=(dataclasses.replace(SELECTION.items[0], columns=(SelectedColumn("id", 0.5),)),)
    )
    assert read_selection(convert.write_selection(writable, pb.SelectToolsResponse)) == writable


@pytest.mark.parametrize("message", pb.DESCRIPTOR.message_types_by_name.values(), ids=lambda message: message.name)
def test_no_message_uses_a_number_twice(message: object) -> None:
    numbers = [field.number for field in message.fields]  # type: ignore[attr-defined]
    assert numbers == list(range(1, len(numbers) + 1))
