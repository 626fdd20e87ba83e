"""Defines a call as all that watches it sees it: who asked for what, when, and how it ended; never its content."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message as ProtoMessage

from shortlist.router.scoring import CancelToken

if TYPE_CHECKING:
    from shortlist.server.status import Status

__all__ = ["ANONYMOUS", "METHODS", "Call", "Caller", "Observer", "new_request_id"]

# The calls of the service that rank; a method's name is that of the proto.
METHODS = ("SelectTools", "SelectTables", "Rerank")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and may send: `rate` requests a second, `burst` saved up, `max_calls` at once; 0 is no limit."""

    name: str
    rate: float = 0.0
    burst: int = 0
    max_calls: int = 0


# Where nobody is asked who they are.
ANONYMOUS = Caller("anonymous")


@dataclass(slots=True)
class Call:
    """One call. `arrived` is on the clock of `time.perf_counter`, `arrived_ns` on that of `time.time_ns`.

    `method` is the proto's, `transport` is `grpc` or `http`. `code` is a gRPC code's name, and
    `reason` the stable one of an error, both empty until it ends. `parent` is the W3C traceparent that came with it.
    """

    method: str
    transport: str = "grpc"
    caller: Caller = ANONYMOUS
    request_id: str = ""
    parent: str = ""
    timeout_seconds: float | None = None
    arrived: float = field(default_factory=time.perf_counter)
    arrived_ns: int = field(default_factory=time.time_ns)
    code: str = ""
    reason: str = ""
    request_bytes: int = 0
    response_bytes: int = 0
    duration_ms: float = 0.0
    report: Any = None  # pb.SelectionReport of an answer; its texts are content and are not for logs
    status: Status | None = None  # what the caller of a failed one is told
    cancel: CancelToken = field(default_factory=CancelToken)

    def __post_init__(self) -> None:
        self.request_id = self.request_id or new_request_id()

    def age_ms(self) -> float:
        """Returns the time since it arrived."""
        return (time.perf_counter() - self.arrived) * 1000

    def end(self, code: str, reason: str = "", response: ProtoMessage | None = None) -> None:
        """Notes how it ended."""
        self.code, self.reason = code, reason
        self.duration_ms = self.age_ms()
        if response is not None:
            self.response_bytes = response.ByteSize()
            self.report = getattr(response, "report", None)


# Told of every call once it has ended; must neither block nor raise.
Observer = Callable[[Call], None]


def new_request_id(given: str = "") -> str:
    """Returns the caller's own id where it is one that a log can hold, or else a new one."""
    return given if _REQUEST_ID.match(given) else uuid.uuid4().hex
