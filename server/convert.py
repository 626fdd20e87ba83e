"""Converts requests to plain values, checking them once, and selections to responses; the Router sees no protobuf."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from shortlist.schemas.conversation import Message, read_role
from shortlist.schemas.document import Unparsed
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind, SelectionOptions, options_of
from shortlist.schemas.results import Selected, Selection, ServerInfo, Timings, Truncation
from shortlist.v1 import router_pb2 as pb

__all__ = ["read_options", "read_query", "write_info", "write_selection"]

_ResponseT = TypeVar("_ResponseT", pb.SelectToolsResponse, pb.SelectTablesResponse, pb.RerankResponse)


def read_options(request: Any, kind: Kind) -> SelectionOptions:
    """Reads the options of a request, each from the field of the same name; absent fields mean the defaults.

    Raises:
        InvalidInput: an option is out of range; the error's `field` names it.
    """
    given: dict[str, Any] = {}
    for option in options_of(kind):
        field = request.DESCRIPTOR.fields_by_name[option.name]
        if not field.has_presence or request.HasField(option.name):
            given[option.name] = getattr(request, option.name)
    return SelectionOptions(**given)


def read_query(query: pb.Query) -> str | tuple[Message, ...]:
    """Reads the query of a request.

    Raises:
        InvalidInput: the query has no text, or a message has no known role; the error's `field` says which.
    """
    if query.WhichOneof("input") == "conversation":
        return _read_conversation(query.conversation)
    if not query.text.strip():
        raise InvalidInput("is empty; say what is looked for, as text or as a conversation", field="query")
    return query.text


def _read_conversation(conversation: pb.Conversation) -> tuple[Message, ...]:
    field = "query.conversation.messages"
    roles = [read_role(message.role, f"{field}[{place}].role") for place, message in enumerate(conversation.messages)]
    if not any(message.content.strip() for message in conversation.messages):
        raise InvalidInput("hold no text; give at least one message with content", field=field)
    return tuple(map(Message, roles, (message.content for message in conversation.messages)))


def write_selection(selection: Selection, response_type: type[_ResponseT]) -> _ResponseT:
    """Writes a selection as the response of SelectTools, SelectTables or Rerank."""
    response = response_type(items=map(_write_item, selection.items))
    response.report.CopyFrom(_write_report(selection))
    return response


def write_info(info: ServerInfo) -> pb.GetInfoResponse:
    """Writes the response of GetInfo."""
    model = info.model
    return pb.GetInfoResponse(
        model_name=model.name,
        model_version=model.version,
        device=model.device,
        dtype=model.dtype,
        attention=model.attention,
        max_query_tokens=model.max_query_tokens,
        max_pair_tokens=model.max_pair_tokens,
        default_query_tokens=model.default_query_tokens,
        default_pair_tokens=model.default_pair_tokens,
        num_parameters=model.num_parameters,
        vocabulary_size=model.vocabulary_size,
        license=model.license,
        server_version=info.server_version,
        max_message_bytes=info.max_message_bytes,
        dialects=info.dialects,
    )


def _write_item(item: Selected) -> pb.SelectedItem:
    return pb.SelectedItem(
        name=_writable(item.name),
        index=item.index,
        rank=item.rank,
        score=item.score,
        source=_writable(item.source),
        namespace=_writable(item.namespace),
        always_included=item.always_included,
        columns=[pb.SelectedColumn(name=_writable(one.name), score=one.score) for one in item.columns],
        members=_write_texts(item.members),
    )


def _write_report(selection: Selection) -> pb.SelectionReport:
    return pb.SelectionReport(
        num_candidates=selection.num_candidates,
        num_scored=selection.num_scored,
        num_dropped=selection.num_dropped,
        unparsed=map(_write_unparsed, selection.unparsed),
        truncated=map(_write_truncation, selection.truncated),
        warnings=_write_texts(selection.warnings),
        model_name=selection.model_name,
        model_version=selection.model_version,
        num_tokens=selection.num_tokens,
        timings=_write_timings(selection.timings),
        degraded=selection.is_degraded,
        dialect=selection.dialect,
    )


def _write_unparsed(unparsed: Unparsed) -> pb.UnparsedItem:
    return pb.UnparsedItem(
        index=unparsed.index,
        name=_writable(unparsed.name),
        reason=_writable(unparsed.reason),
        line=unparsed.line,
        column=unparsed.column,
        text_index=unparsed.text_index,
    )


def _write_truncation(truncation: Truncation) -> pb.TruncatedItem:
    return pb.TruncatedItem(
        index=truncation.index,
        name=_writable(truncation.name),
        kept_tokens=truncation.kept_tokens,
        total_tokens=truncation.total_tokens,
    )


def _write_timings(timings: Timings) -> pb.StageTimings:
    return pb.StageTimings(
        queue_ms=timings.queue_ms,
        parse_ms=timings.parse_ms,
        retrieve_ms=timings.retrieve_ms,
        tokenize_ms=timings.tokenize_ms,
        infer_ms=timings.infer_ms,
        total_ms=timings.total_ms,
    )


def _write_texts(texts: Iterable[str]) -> list[str]:
    return [_writable(text) for text in texts]


def _writable(text: str) -> str:
    """Replaces lone surrogates: JSON can escape them (``"\\ud800"``), but protobuf strings cannot hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
