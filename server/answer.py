"""Answers each kind of request with a Router: the one path that the server and the in-process command line share."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from typing import TYPE_CHECKING

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.sql.parse import DIALECTS
from shortlist.server import convert
from shortlist.v1 import router_pb2 as pb

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router
    from shortlist.schemas.results import Selection

__all__ = ["get_info", "rerank", "select_tables", "select_tools"]


def select_tools(
    router: Router, request: pb.SelectToolsRequest, cancel: CancelToken, waited_ms: float = 0.0
) -> pb.SelectToolsResponse:
    """Answers a request for tools; `waited_ms` passed before and counts as time in the queue.

    Raises:
        InvalidInput: the request is wrong.
        ModelMismatch: the request expects another model.
        RequestCancelled: `cancel` was set first.
    """
    call = convert.read_tools_call(request)
    selection = router.select_tools(
        call.query,
        call.tools,
        namespaces=call.namespaces,
        top_n=call.options.top_n,
        min_score=call.options.min_score,
        always_include=call.always_include,
        max_candidates=call.options.max_candidates,
        expected_model=call.options.expected_model,
        expected_version=call.options.expected_version,
        cancel=cancel,
        allow_degraded=call.options.allow_degraded,
    )
    return convert.write_selection(_with_wait(selection, waited_ms), pb.SelectToolsResponse)


def select_tables(
    router: Router, request: pb.SelectTablesRequest, cancel: CancelToken, waited_ms: float = 0.0
) -> pb.SelectTablesResponse:
    """Answers a request for tables; otherwise as `select_tools`."""
    call = convert.read_tables_call(request)
    selection = router.select_tables(
        call.query,
        call.ddl,
        dialect=call.dialect,
        top_n=call.options.top_n,
        min_score=call.options.min_score,
        always_include=call.always_include,
        max_candidates=call.options.max_candidates,
        expected_model=call.options.expected_model,
        expected_version=call.options.expected_version,
        cancel=cancel,
        allow_degraded=call.options.allow_degraded,
        keep_columns=call.keep_columns,
    )
    return convert.write_selection(_with_wait(selection, waited_ms), pb.SelectTablesResponse)


def rerank(router: Router, request: pb.RerankRequest, cancel: CancelToken, waited_ms: float = 0.0) -> pb.RerankResponse:
    """Answers a request for documents; otherwise as `select_tools`."""
    call = convert.read_documents_call(request)
    selection = router.rerank(
        call.query,
        call.documents,
        top_n=call.options.top_n,
        min_score=call.options.min_score,
        max_candidates=call.options.max_candidates,
        max_query_tokens=call.max_query_tokens,
        max_pair_tokens=call.max_pair_tokens,
        overlap_tokens=call.overlap_tokens,
        return_documents=call.return_documents,
        expected_model=call.options.expected_model,
        expected_version=call.options.expected_version,
        cancel=cancel,
        allow_degraded=call.options.allow_degraded,
    )
    return convert.write_selection(_with_wait(selection, waited_ms), pb.RerankResponse)


def get_info(router: Router, *, max_message_bytes: int = 0) -> pb.GetInfoResponse:
    """Describes the loaded model and the limits; 0 bytes stand for no limit."""
    return convert.write_info(
        router.info,
        server_version=importlib.metadata.version("shortlist"),
        max_message_bytes=max_message_bytes,
        dialects=DIALECTS,
    )


def _with_wait(selection: Selection, waited_ms: float) -> Selection:
    timings = selection.timings
    timings = dataclasses.replace(timings, queue_ms=timings.queue_ms + waited_ms, total_ms=timings.total_ms + waited_ms)
    return dataclasses.replace(selection, timings=timings)
