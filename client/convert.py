"""Converts the client's arguments to request messages, and response messages to plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import Message as ProtoMessage

from shortlist.schemas.arguments import Query, Tools, read_query, texts_of, tool_texts
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
    owners = texts_of("namespaces", namespaces) or ("",) * len(texts)
    if len(owners) != len(texts):
        raise InvalidInput(
            f"has {len(owners)} entries for {len(texts)} tool texts; give one for each", field="namespaces"
        )
    _check_encodable("tools", texts)
    _check_encodable("namespaces", owners)
    listed = [pb.ToolText(json=text, namespace=owner) for text, owner in zip(texts, owners, strict=True)]
    request = pb.SelectToolsRequest(query=_make_query(query), tools=listed)
    return _with_options(request, options, "tools")


def make_tables_request(
    query: Query, ddl: str, options: SelectionOptions, dialect: str | None
) -> pb.SelectTablesRequest:
    """Makes a SelectTables request; raises as `make_tools_request`."""
    (ddl,) = _one_text("ddl", ddl)
    (dialect,) = _one_text("dialect", dialect or "")
    request = pb.SelectTablesRequest(query=_make_query(query), ddl=ddl, dialect=dialect)
    return _with_options(request, options, "tables")


def make_rerank_request(query: Query, documents: Sequence[str], options: SelectionOptions) -> pb.RerankRequest:
    """Makes a Rerank request; raises as `make_tools_request`."""
    texts = texts_of("documents", documents)
    _check_encodable("documents", texts)
    return _with_options(pb.RerankRequest(query=_make_query(query), documents=texts), options, "documents")


def read_selection(answer: _Answer) -> Selection:
    """Reads the response of SelectTools, SelectTables or Rerank."""
    report, times = answer.report, answer.report.timings
    return Selection(
        items=tuple(map(_read_item, answer.items)),
        num_candidates=report.num_candidates,
        num_scored=report.num_scored,
        num_dropped=report.num_dropped,
        unparsed=tuple(
            Unparsed(one.index, one.name, one.reason, one.line, one.column, one.text_index) for one in report.unparsed
        ),
        warnings=tuple(report.warnings),
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
        _one_text("query", read)
        return pb.Query(text=read)
    for place, message in enumerate(read):
        _one_text(f"query[{place}].role", message.role)
        _one_text(f"query[{place}].content", message.content)
    messages = [pb.ChatMessage(role=message.role, content=message.content) for message in read]
    return pb.Query(conversation=pb.Conversation(messages=messages))


def _with_options(request: RequestT, options: SelectionOptions, kind: Kind) -> RequestT:
    """Sets the options that differ from their defaults; the server fills in the rest."""
    for option in options_of(kind):
        value = getattr(options, option.name)
        if value == option.default:
            continue
        if isinstance(value, tuple):
            _check_encodable(option.name, value)
        elif isinstance(value, str):
            _one_text(option.name, value)
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


def _one_text(field: str, text: str) -> tuple[str]:
    if not isinstance(text, str):
        raise InvalidInput(f"is {type(text).__name__}; give a text", field=field)
    if not _is_encodable(text):
        raise InvalidInput("contains half of a surrogate pair, which is not a character", field=field)
    return (text,)


def _check_encodable(field: str, texts: Iterable[str]) -> None:
    for place, text in enumerate(texts):
        _one_text(f"{field}[{place}]", text)


def _is_encodable(text: str) -> bool:
    """Returns whether UTF-8, and so a protobuf message, can hold a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
