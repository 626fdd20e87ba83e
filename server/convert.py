"""Turns requests into plain values, checking them once, and selections into responses; protobuf goes no further."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from shortlist.schemas.document import Unparsed
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.results import Message, ModelInfo, Selected, Selection, Timings, Truncation
from shortlist.v1 import router_pb2 as pb

__all__ = [
    "DEFAULT_MAX_CANDIDATES",
    "DEFAULT_OVERLAP_TOKENS",
    "DEFAULT_TOP_N",
    "DocumentsCall",
    "Options",
    "TablesCall",
    "ToolsCall",
    "read_documents_call",
    "read_tables_call",
    "read_tools_call",
    "write_info",
    "write_selection",
]

DEFAULT_TOP_N = 5
DEFAULT_MAX_CANDIDATES = 50
DEFAULT_OVERLAP_TOKENS = 80

_SelectionRequest = pb.SelectToolsRequest | pb.SelectTablesRequest | pb.RerankRequest
_ResponseT = TypeVar("_ResponseT", pb.SelectToolsResponse, pb.SelectTablesResponse, pb.RerankResponse)


@dataclass(frozen=True, slots=True)
class Options:
    """What all selections are told besides the query and the candidates; None for the expectations takes any model."""

    top_n: int
    min_score: float
    max_candidates: int
    expected_model: str | None
    expected_version: str | None
    allow_degraded: bool


@dataclass(frozen=True, slots=True)
class ToolsCall:
    """The arguments of `Router.select_tools`; `namespaces` has one entry per tool text."""

    query: str | tuple[Message, ...]
    tools: tuple[str, ...]
    namespaces: tuple[str, ...]
    always_include: tuple[str, ...]
    options: Options


@dataclass(frozen=True, slots=True)
class TablesCall:
    """The arguments of `Router.select_tables`; no `dialect` has it detected."""

    query: str | tuple[Message, ...]
    ddl: str
    dialect: str | None
    always_include: tuple[str, ...]
    keep_columns: float
    options: Options


@dataclass(frozen=True, slots=True)
class DocumentsCall:
    """The arguments of `Router.rerank`; None for a number of tokens takes the model's default."""

    query: str | tuple[Message, ...]
    documents: tuple[str, ...]
    max_query_tokens: int | None
    max_pair_tokens: int | None
    overlap_tokens: int
    return_documents: bool
    options: Options


def read_tools_call(request: pb.SelectToolsRequest) -> ToolsCall:
    """Reads a request for tools.

    Raises:
        InvalidInput: a field is missing or out of range; its `field` says which.
    """
    return ToolsCall(
        query=_read_query(request.query),
        tools=tuple(tool.json for tool in request.tools),
        namespaces=tuple(tool.namespace for tool in request.tools),
        always_include=tuple(request.always_include),
        options=_read_options(request),
    )


def read_tables_call(request: pb.SelectTablesRequest) -> TablesCall:
    """Reads a request for tables.

    Raises:
        InvalidInput: a field is missing or out of range; its `field` says which.
    """
    return TablesCall(
        query=_read_query(request.query),
        ddl=request.ddl,
        dialect=request.dialect or None,
        always_include=tuple(request.always_include),
        keep_columns=request.keep_columns,
        options=_read_options(request),
    )


def read_documents_call(request: pb.RerankRequest) -> DocumentsCall:
    """Reads a request for documents; limits that depend on the model are the Router's to check.

    Raises:
        InvalidInput: a field is missing or out of range; its `field` says which.
    """
    overlap_tokens = request.overlap_tokens if request.HasField("overlap_tokens") else DEFAULT_OVERLAP_TOKENS
    return DocumentsCall(
        query=_read_query(request.query),
        documents=tuple(request.documents),
        max_query_tokens=_read_positive(request, "max_query_tokens"),
        max_pair_tokens=_read_positive(request, "max_pair_tokens"),
        overlap_tokens=_at_least_zero(overlap_tokens, "overlap_tokens"),
        return_documents=request.return_documents if request.HasField("return_documents") else True,
        options=_read_options(request),
    )


def write_selection(selection: Selection, response_type: type[_ResponseT]) -> _ResponseT:
    """Writes a selection as the response of one of the three calls."""
    response = response_type(items=map(_write_item, selection.items))
    response.report.CopyFrom(_write_report(selection))
    return response


def write_info(
    info: ModelInfo, *, server_version: str, max_message_bytes: int, dialects: Sequence[str]
) -> pb.GetInfoResponse:
    """Writes what GetInfo answers."""
    return pb.GetInfoResponse(
        model_name=info.name,
        model_version=info.version,
        device=info.device,
        dtype=info.dtype,
        attention=info.attention,
        max_query_tokens=info.max_query_tokens,
        max_pair_tokens=info.max_pair_tokens,
        default_query_tokens=info.default_query_tokens,
        default_pair_tokens=info.default_pair_tokens,
        num_parameters=info.num_parameters,
        vocabulary_size=info.vocabulary_size,
        license=info.license,
        server_version=server_version,
        max_message_bytes=max_message_bytes,
        dialects=dialects,
    )


def _read_query(query: pb.Query) -> str | tuple[Message, ...]:
    if query.WhichOneof("input") == "conversation":
        return _read_conversation(query.conversation)
    if not query.text.strip():
        raise InvalidInput("is empty; say what is looked for, as text or as a conversation", field="query")
    return query.text


def _read_conversation(conversation: pb.Conversation) -> tuple[Message, ...]:
    field = "query.conversation.messages"
    for place, message in enumerate(conversation.messages):
        if not message.role:
            raise InvalidInput("is missing; use system, user, assistant or tool", field=f"{field}[{place}].role")
    if not any(message.content.strip() for message in conversation.messages):
        raise InvalidInput("hold no text; give at least one message with content", field=field)
    return tuple(Message(message.role, message.content) for message in conversation.messages)


def _read_options(request: _SelectionRequest) -> Options:
    top_n = request.top_n if request.HasField("top_n") else DEFAULT_TOP_N
    max_candidates = request.max_candidates if request.HasField("max_candidates") else DEFAULT_MAX_CANDIDATES
    return Options(
        top_n=_at_least_zero(top_n, "top_n"),
        min_score=_read_min_score(request.min_score),
        max_candidates=_at_least_zero(max_candidates, "max_candidates"),
        expected_model=request.expected_model or None,
        expected_version=request.expected_version or None,
        allow_degraded=request.allow_degraded,
    )


def _read_min_score(min_score: float) -> float:
    if math.isnan(min_score) or not 0.0 <= min_score <= 1.0:
        raise InvalidInput(f"is {min_score}; a score lies between 0 and 1", field="min_score")
    return min_score


def _read_positive(request: pb.RerankRequest, field: str) -> int | None:
    if not request.HasField(field):
        return None
    number: int = getattr(request, field)
    if number < 1:
        raise InvalidInput(f"is {number}; give at least 1, or leave it out for the model's default", field=field)
    return number


def _at_least_zero(number: int, field: str) -> int:
    if number < 0:
        raise InvalidInput(f"is {number}; give 0 or more", field=field)
    return number


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
    """Replaces lone surrogates: JSON escapes can spell them (``"\\ud800"``), protobuf strings cannot hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
