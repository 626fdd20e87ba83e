"""Defines a call as observers see it: who called which method, when, and how it ended; never its content."""

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

__all__ = ["ANONYMOUS", "Call", "Caller", "Observer", "current_request_id", "new_request_id", "working_for"]

_CLOCK_SKEW_SECONDS = 0.02
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and its limits; 0 means no limit.

    `rate` is in requests a second, `burst` is how many it may send at once after a pause, `max_calls` how many may run
    at the same time.
    """

    name: str
    rate: float = 0.0
    burst: int = 0
    max_calls: int = 0


# Every caller of a server without authentication, and a caller that was not authenticated.
ANONYMOUS = Caller("anonymous")


@dataclass(slots=True)
class Call:
    """One call.

    `method` and `service` are names of the proto (`Rerank`, `shortlist.v1.RouterService`); `transport` is `grpc` or
    `http`. `parent` is the W3C traceparent that came with the call. `arrived` is read from `time.perf_counter`,
    `arrived_ns` from `time.time_ns`. `stages` are in the order in which they ended. `code` is the name of a gRPC code
    and `reason` the stable reason of an error; both are empty until the call ends. `trace_id` is empty if the call is
    not traced. `is_retriable` turns false when a handler with side effects starts.
    """

    method: str
    service: str = ""
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
    report: Any = None  # pb.SelectionReport of the response; its texts are content and must not be logged
    status: Status | None = None  # of a failed call
    is_retriable: bool = True
    cancel: CancelToken = field(default_factory=CancelToken)
    stages: list[Stage] = field(default_factory=list)
    trace_id: str = ""

    def __post_init__(self) -> None:
        self.request_id = self.request_id or new_request_id()

    def age_ms(self) -> float:
        """Returns the milliseconds since it arrived."""
        return (time.perf_counter() - self.arrived) * 1000

    @property
    def is_late(self) -> bool:
        """Whether its deadline has passed, or passes within 20 ms: the transport's clock may be ahead of ours."""
        return self.timeout_seconds is not None and self.age_ms() > (self.timeout_seconds - _CLOCK_SKEW_SECONDS) * 1000

    def end(self, code: str, reason: str = "", response: ProtoMessage | None = None) -> None:
        """Records how it ended."""
        self.code, self.reason = code, reason
        self.duration_ms = self.age_ms()
        if response is not None:
            self.response_bytes = response.ByteSize()
            self.report = getattr(response, "report", None)


# The id of the request that the running code works for, empty where there is none; log lines carry it.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")


@contextmanager
def working_for(call: Call) -> Iterator[None]:
    """Puts the call's id into the log lines of the block."""
    token = current_request_id.set(call.request_id)
    try:
        yield
    finally:
        current_request_id.reset(token)


# Receives every call once it has ended; must neither block nor raise.
Observer = Callable[[Call], None]


def new_request_id(given: str = "") -> str:
    """Returns the caller's own id if it is safe to log, or else a new one."""
    return given if _REQUEST_ID.match(given) else uuid.uuid4().hex
