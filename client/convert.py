"""Converts the client's arguments to request messages, and response messages to plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from google.protobuf.message import Message as ProtoMessage

from shortlist.schemas.arguments import Tools, check_text, checked_texts, plain_script, plain_texts, tool_texts
from shortlist.schemas.conversation import Query, read_query
from shortlist.schemas.document import Unparsed
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind, SelectionOptions, options_of
from shortlist.schemas.results import (
    ModelInfo,
    Selected,
    SelectedColumn,
    Selection,
    ServerInfo,
    Timings,
    Truncation,
)
from shortlist.v1 import router_pb2 as pb

__all__ = [
    "DEFAULT_ADDRESS",
    "make_rerank_request",
    "make_tables_request",
    "make_tools_request",
    "read_info",
    "read_selection",
]

DEFAULT_ADDRESS = "127.0.0.1:50051"

_Answer = pb.SelectToolsResponse | pb.SelectTablesResponse | pb.RerankResponse
RequestT = TypeVar("RequestT", bound=ProtoMessage)


def make_tools_request(
    query: Query, tools: Tools, options: SelectionOptions, namespaces: Sequence[str]
) -> pb.SelectToolsRequest:
    """Makes a SelectTools request.

    Raises:
        InvalidInput: an argument is wrong; the error's `field` names it.
    """
    texts = tool_texts(tools)
    owners = checked_texts("namespaces", namespaces) or ("",) * len(texts)
    if len(owners) != len(texts):
        raise InvalidInput(
            f"has {len(owners)} entries for {len(texts)} tool texts; give one for each", field="namespaces"
        )
    listed = [pb.ToolText(json=text, namespace=owner) for text, owner in zip(texts, owners, strict=True)]
    request = pb.SelectToolsRequest(query=_make_query(query), tools=listed)
    return _with_options(request, options, "tools")


def make_tables_request(
    query: Query, ddl: str, options: SelectionOptions, dialect: str | None
) -> tuple[pb.SelectTablesRequest, tuple[str, ...]]:
    """Makes a SelectTables request, and warnings about what it cannot hold; raises as `make_tools_request`."""
    text, warnings = plain_script(ddl)
    request = pb.SelectTablesRequest(query=_make_query(query), ddl=text, dialect=check_text("dialect", dialect or ""))
    return _with_options(request, options, "tables"), warnings


def make_rerank_request(
    query: Query, documents: Sequence[str], options: SelectionOptions
) -> tuple[pb.RerankRequest, tuple[str, ...]]:
    """Makes a Rerank request, and warnings about what it cannot hold; raises as `make_tools_request`."""
    texts, warnings = plain_texts("documents", documents)
    request = pb.RerankRequest(query=_make_query(query), documents=texts)
    return _with_options(request, options, "documents"), warnings


def read_selection(answer: _Answer, warnings: Sequence[str] = ()) -> Selection:
    """Reads the response of SelectTools, SelectTables or Rerank; `warnings` come before those of the server."""
    report, times = answer.report, answer.report.timings
    return Selection(
        items=tuple(map(_read_item, answer.items)),
        num_candidates=report.num_candidates,
        num_scored=report.num_scored,
        num_dropped=report.num_dropped,
        unparsed=tuple(
            Unparsed(one.index, one.name, one.reason, one.line, one.column, one.text_index) for one in report.unparsed
        ),
        warnings=(*warnings, *report.warnings),
        truncated=tuple(Truncation(one.index, one.name, one.kept_tokens, one.total_tokens) for one in report.truncated),
        model_name=report.model_name,
        model_version=report.model_version,
        num_tokens=report.num_tokens,
        timings=Timings(
            queue_ms=times.queue_ms,
            parse_ms=times.parse_ms,
            retrieve_ms=times.retrieve_ms,
            tokenize_ms=times.tokenize_ms,
            infer_ms=times.infer_ms,
            total_ms=times.total_ms,
        ),
        is_degraded=report.degraded,
        dialect=report.dialect,
    )


def read_info(answer: pb.GetInfoResponse) -> ServerInfo:
    """Reads the response of GetInfo."""
    model = ModelInfo(
        name=answer.model_name,
        version=answer.model_version,
        license=answer.license,
        device=answer.device,
        dtype=answer.dtype,
        attention=answer.attention,
        max_query_tokens=answer.max_query_tokens,
        max_pair_tokens=answer.max_pair_tokens,
        default_query_tokens=answer.default_query_tokens,
        default_pair_tokens=answer.default_pair_tokens,
        num_parameters=answer.num_parameters,
        vocabulary_size=answer.vocabulary_size,
    )
    return ServerInfo(model, answer.server_version, answer.max_message_bytes, tuple(answer.dialects))


def _make_query(query: Query) -> pb.Query:
    read = read_query(query)
    if isinstance(read, str):
        return pb.Query(text=read)
    messages = [pb.ChatMessage(role=message.role, content=message.content) for message in read]
    return pb.Query(conversation=pb.Conversation(messages=messages))


def _with_options(request: RequestT, options: SelectionOptions, kind: Kind) -> RequestT:
    """Sets the options that differ from their defaults; the server fills in the rest."""
    for option in options_of(kind):
        value = getattr(options, option.name)
        if value == option.default:
            continue
        try:
            request.MergeFrom(type(request)(**{option.name: value}))
        except ValueError as error:  # a number of more than 32 bits
            raise InvalidInput(f"is {value}, which is too large", field=option.name) from error
    return request


def _read_item(item: pb.SelectedItem) -> Selected:
    return Selected(
        name=item.name,
        index=item.index,
        rank=item.rank,
        score=item.score,
        source=item.source,
        namespace=item.namespace,
        always_included=item.always_included,
        columns=tuple(SelectedColumn(column.name, column.score) for column in item.columns),
        members=tuple(item.members),
    )
