from __future__ import annotations

import dataclasses

import pytest

from shortlist.schemas.document import Unparsed
from shortlist.schemas.query import Message
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
)


def values_of(message: object) -> dict[str, object]:
    return {name: getattr(message, name) for name in (field.name for field in message.DESCRIPTOR.fields)}  # type: ignore[attr-defined]


def test_every_field_of_a_selected_item_is_written() -> None:
    response = convert.write_selection(SELECTION, pb.SelectToolsResponse)
    written, item = values_of(response.items[0]), SELECTION.items[0]
    assert [(one.name, one.score) for one in written["columns"]] == [("id", 0.5), ("odd ?", 0.25)]  # type: ignore[attr-defined]
    assert {**written, "columns": item.columns} == {**dataclasses.asdict(item), "columns": item.columns}


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
    }


def test_a_lone_surrogate_is_replaced() -> None:
    selection = dataclasses.replace(SELECTION, items=(Selected("a\ud800", 0, 1, 0.5, "b\udfff"),), warnings=("\ud800",))
    response = convert.write_selection(selection, pb.SelectTablesResponse)
    assert (response.items[0].name, response.items[0].source, response.report.warnings[0]) == ("a?", "b?", "?")


def test_fields_missing_from_a_tools_request_get_the_documented_defaults() -> None:
    call = convert.read_tools_call(pb.SelectToolsRequest(query=pb.Query(text="q")))
    assert call == convert.ToolsCall("q", (), (), (), convert.Options(5, 0.0, 50, None, None, False))


def test_fields_missing_from_a_tables_request_get_the_documented_defaults() -> None:
    call = convert.read_tables_call(pb.SelectTablesRequest(query=pb.Query(text="q")))
    assert call == convert.TablesCall("q", "", None, (), 0.0, convert.Options(5, 0.0, 50, None, None, False))


def test_fields_missing_from_a_documents_request_get_the_documented_defaults() -> None:
    call = convert.read_documents_call(pb.RerankRequest(query=pb.Query(text="q")))
    assert call == convert.DocumentsCall("q", (), None, None, 80, True, convert.Options(5, 0.0, 50, None, None, False))


def test_explicit_zeros_and_false_are_kept() -> None:
    request = pb.RerankRequest(
        query=pb.Query(text="q"), top_n=0, max_candidates=0, overlap_tokens=0, return_documents=False
    )
    call = convert.read_documents_call(request)
    assert call == convert.DocumentsCall("q", (), None, None, 0, False, convert.Options(0, 0.0, 0, None, None, False))


def test_a_conversation_becomes_messages() -> None:
    messages = [pb.ChatMessage(role="system"), pb.ChatMessage(role="user", content="hello")]
    query = pb.Query(conversation=pb.Conversation(messages=messages))
    assert convert.read_tools_call(pb.SelectToolsRequest(query=query)).query == (
        Message("system", ""),
        Message("user", "hello"),
    )


@pytest.mark.parametrize("message", pb.DESCRIPTOR.message_types_by_name.values(), ids=lambda message: message.name)
def test_no_message_uses_a_number_twice(message: object) -> None:
    numbers = [field.number for field in message.fields]  # type: ignore[attr-defined]
    assert numbers == list(range(1, len(numbers) + 1))
