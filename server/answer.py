"""Answers each kind of request with a Router: reads the message, selects, and writes the answer."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from typing import TYPE_CHECKING

from shortlist.router.engine.protocols import CancelToken
from shortlist.schemas.results import Selection, ServerInfo
from shortlist.schemas.sql.parse import DIALECTS
from shortlist.server import convert
from shortlist.v1 import router_pb2 as pb

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router

__all__ = ["describe", "get_info", "rerank", "select_tables", "select_tools"]


def select_tools(
    router: Router, request: pb.SelectToolsRequest, cancel: CancelToken, waited_ms: float = 0.0
) -> pb.SelectToolsResponse:
    """Answers a request for tools; `waited_ms` passed before and counts as time in the queue.

    Raises:
        InvalidInput: the request is wrong.
        ModelMismatch: the request expects another model.
        RequestCancelled: `cancel` was set first.
    """
    selection = router.select_tools(
        convert.read_query(request.query),
        [tool.json for tool in request.tools],
        convert.read_options(request, "tools"),
        namespaces=[tool.namespace for tool in request.tools],
        cancel=cancel,
    )
    return convert.write_selection(_with_wait(selection, waited_ms), pb.SelectToolsResponse)


def select_tables(
    router: Router, request: pb.SelectTablesRequest, cancel: CancelToken, waited_ms: float = 0.0
) -> pb.SelectTablesResponse:
    """Answers a request for tables; otherwise as `select_tools`."""
    selection = router.select_tables(
        convert.read_query(request.query),
        request.ddl,
        convert.read_options(request, "tables"),
        dialect=request.dialect or None,
        cancel=cancel,
    )
    return convert.write_selection(_with_wait(selection, waited_ms), pb.SelectTablesResponse)


def rerank(router: Router, request: pb.RerankRequest, cancel: CancelToken, waited_ms: float = 0.0) -> pb.RerankResponse:
    """Answers a request for documents; otherwise as `select_tools`."""
    selection = router.rerank(
        convert.read_query(request.query), request.documents, convert.read_options(request, "documents"), cancel=cancel
    )
    return convert.write_selection(_with_wait(selection, waited_ms), pb.RerankResponse)


def get_info(router: Router, *, max_message_bytes: int = 0) -> pb.GetInfoResponse:
    """Describes the loaded model and the limits; 0 bytes stand for no limit."""
    return convert.write_info(describe(router, max_message_bytes=max_message_bytes))


def describe(router: Router, *, max_message_bytes: int = 0) -> ServerInfo:
    """Describes what answers: the model, this program's version and its limits."""
    return ServerInfo(router.info, importlib.metadata.version("shortlist"), max_message_bytes, tuple(DIALECTS))


def _with_wait(selection: Selection, waited_ms: float) -> Selection:
    timings = selection.timings
    timings = replace(timings, queue_ms=timings.queue_ms + waited_ms, total_ms=timings.total_ms + waited_ms)
    return replace(selection, timings=timings)
