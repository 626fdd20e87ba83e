"""Defines a call as all that watches it sees it: who asked for what, when, and how it ended; never its content."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message as ProtoMessage

from shortlist.router.engine.protocols import CancelToken
from shortlist.router.stages import Stage

if TYPE_CHECKING:
    from shortlist.server.status import Status

__all__ = ["ANONYMOUS", "METHODS", "Call", "Caller", "Observer", "current_request_id", "new_request_id", "working_for"]

# The calls of the service that rank; a method's name is that of the proto.
METHODS = ("SelectTools", "SelectTables", "Rerank")
_CLOCKS_DIFFER = 0.02  # seconds
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

    `stages` are those of the work, in the order in which they ended; `trace_id` is empty where the call is not traced.
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
    stages: list[Stage] = field(default_factory=list)
    trace_id: str = ""

    def __post_init__(self) -> None:
        self.request_id = self.request_id or new_request_id()

    def age_ms(self) -> float:
        """Returns the time since it arrived."""
        return (time.perf_counter() - self.arrived) * 1000

    @property
    def is_late(self) -> bool:
        """Whether its deadline has passed; a moment before counts too, for the transport's clock may be ahead."""
        return self.timeout_seconds is not None and self.age_ms() > (self.timeout_seconds - _CLOCKS_DIFFER) * 1000

    def end(self, code: str, reason: str = "", response: ProtoMessage | None = None) -> None:
        """Notes how it ended."""
        self.code, self.reason = code, reason
        self.duration_ms = self.age_ms()
        if response is not None:
            self.response_bytes = response.ByteSize()
            self.report = getattr(response, "report", None)


# The id of the request that the running code works for, empty where it is for none; the log puts it into its lines.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")


@contextmanager
def working_for(call: Call) -> Iterator[None]:
    """Lets what is logged in the block bear the call's id."""
    token = current_request_id.set(call.request_id)
    try:
        yield
    finally:
        current_request_id.reset(token)


# Told of every call once it has ended; must neither block nor raise.
Observer = Callable[[Call], None]


def new_request_id(given: str = "") -> str:
    """Returns the caller's own id where it is one that a log can hold, or else a new one."""
    return given if _REQUEST_ID.match(given) else uuid.uuid4().hex
