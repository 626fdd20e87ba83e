"""Answers the client's calls in this process, with a Router instead of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message as ProtoMessage

from shortlist.client.client import Calls
from shortlist.router.engine.protocols import CancelToken
from shortlist.server import answer
from shortlist.v1 import router_pb2 as pb

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router

__all__ = ["LocalClient"]


class LocalClient(Calls[pb.SelectToolsResponse, pb.SelectTablesResponse, pb.RerankResponse, pb.GetInfoResponse]):
    """Gives the answers a server with the same Router would give; there is no time limit unless a call sets one."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def _call(self, method: str, request: ProtoMessage, timeout_seconds: float | None) -> Any:
        cancel = CancelToken(timeout_seconds=timeout_seconds)
        match request:
            case pb.SelectToolsRequest():
                return answer.select_tools(self._router, request, cancel)
            case pb.SelectTablesRequest():
                return answer.select_tables(self._router, request, cancel)
            case pb.RerankRequest():
                return answer.rerank(self._router, request, cancel)
            case _:
                return answer.get_info(self._router)
