"""Answers the calls of every transport: checks limits, admits, runs the handler, and tells observers how each ended."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message as ProtoMessage

from shortlist.router.engine.protocols import CancelToken
from shortlist.router.stages import Stage, recording
from shortlist.schemas.errors import LimitExceeded, PermissionDenied, RequestCancelled, ServerUnavailable
from shortlist.server.auth.authenticator import ANONYMOUS, Caller
from shortlist.server.status import status_of
from shortlist.server.telemetry.logs import current_request_id

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router
    from shortlist.server.scheduling.admission import Admission
    from shortlist.server.services import Method
    from shortlist.server.status import Status
__all__ = ["Call", "Dispatcher", "Observer", "Workers", "new_request_id", "working_for"]

_log = logging.getLogger(__name__)
# A degraded response is due this share of the time before the deadline, or this many seconds if that is more.
_MARGIN_SHARE = 0.1
_MARGIN_SECONDS = 0.05
T = TypeVar("T")
_CLOCK_SKEW_SECONDS = 0.02
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}\Z")
# Receives every call once it has ended; must neither block nor raise.
Observer = Callable[["Call"], None]


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


class Dispatcher:
    """Answers calls from `open()` to `close()`; before and after it raises ServerUnavailable."""

    def __init__(
        self,
        admission: Admission,
        workers: Workers,
        *,
        max_message_bytes: int,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._admission, self._workers = admission, workers
        self._max_message_bytes = max_message_bytes
        self.observers = observers  # called with every call that ended
        self._router: Router | None = None
        self._refusal = "the server is still loading its model; try again in a moment"
        self._in_flight: set[CancelToken] = set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def open(self, router: Router) -> None:
        """Starts to answer calls, with this Router."""
        self._router = router

    def close(self) -> None:
        """Rejects new calls; those in flight go on."""
        self._router = None
        self._refusal = "the server is stopping; try another server, or try again later"

    @property
    def is_open(self) -> bool:
        """Whether calls are answered."""
        return self._router is not None

    @property
    def num_in_flight(self) -> int:
        """How many calls are being answered."""
        return len(self._in_flight)

    @property
    def refusal(self) -> str:
        """Why calls are rejected; empty while they are answered."""
        return "" if self.is_open else self._refusal

    async def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Waits for the calls in flight; returns False if some are left when the time is up."""
        if self._is_idle.is_set():
            return True  # with a timeout of 0, wait_for would give up before it looked
        try:
            await asyncio.wait_for(self._is_idle.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    def cancel_all(self) -> int:
        """Cancels the calls in flight and returns their number."""
        tokens = list(self._in_flight)
        for token in tokens:
            token.cancel()
        return len(tokens)

    async def answer(self, method: Method, call: Call, request: Any) -> Any:
        """Answers one call; cancelling the task cancels the work.

        Raises:
            ShortlistError: any of them; `status.py` maps each to a gRPC code.
        """
        call.cancel = CancelToken(timeout_seconds=_time_for(method, call, request))
        call.request_bytes = request.ByteSize()
        self._enter(call.cancel)
        try:
            with working_for(call):
                response = await self._run(method, call, request)
        except asyncio.CancelledError:
            call.cancel.cancel()
            # When a deadline passes, the transport learns it first and cancels the task.
            code = "DEADLINE_EXCEEDED" if call.is_late else "CANCELLED"
            self._end(call, code, code)
            raise
        except Exception as error:
            self.fail(call, explained := self._explained(error))
            raise explained from error
        finally:
            self._leave(call.cancel)
        self._end(call, "OK", response=response)
        return response

    def fail(self, call: Call, error: Exception) -> None:
        """Tells observers that a call ended with an error, here or before it came here; only the first time."""
        if call.code:
            return
        with working_for(call):
            call.status = status_of(
                error,
                is_expired=call.cancel.is_expired,
                is_retriable=call.is_retriable,
                request_id=call.request_id,
            )
        self._end(call, call.status.code.name, call.status.kind.reason)

    def _end(self, call: Call, code: str, reason: str = "", response: ProtoMessage | None = None) -> None:
        call.end(code, reason, response)
        for observer in self.observers:
            try:
                observer(call)
            except Exception:  # an observer must not break the call
                _log.exception("an observer of calls failed")

    async def _run(self, method: Method, call: Call, request: Any) -> ProtoMessage:
        if method.disabled:
            raise PermissionDenied(method.disabled)
        router = self._ready_router()
        method.check(request)
        if method.expected_tokens is None:
            return self._handle(method, call, request, router)
        self._admission.enter(
            call.cancel,
            call.caller,
            method.expected_tokens(request),
            _retry_key(method, call, request),
            needs_in_time=not method.allows_degraded(request),
        )

        def run() -> ProtoMessage:
            _raise_if_unwanted(method, call, request)
            call.stages.append(Stage("queue", call.arrived, time.perf_counter()))
            with recording(call.stages):
                return self._handle(method, call, request, router)

        return await self._workers.run(run, on_end=lambda: self._admission.leave(call.cancel, call.caller))

    def _handle(self, method: Method, call: Call, request: Any, router: Router) -> ProtoMessage:
        call.is_retriable = method.only_reads
        response = method.handle(router, request, call.cancel, call.age_ms())
        self._check_size(method, response)
        return response

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, RequestCancelled) and self._router is None:
            text = "the server stopped before the response was ready; try another server, or try again later"
            return ServerUnavailable(text)
        return error

    def _ready_router(self) -> Router:
        if self._router is None:
            raise ServerUnavailable(self._refusal)
        return self._router

    def _check_size(self, method: Method, response: ProtoMessage) -> None:
        size = response.ByteSize()
        if size > self._max_message_bytes:
            message = (
                f"the response has {size} bytes, but the server sends at most {self._max_message_bytes}; "
                "ask for fewer items, or start the server with a larger --max-message-mb"
            )
            raise LimitExceeded(message, limit=self._max_message_bytes, actual=size, field=method.size_field)

    def _enter(self, cancel: CancelToken) -> None:
        self._in_flight.add(cancel)
        self._is_idle.clear()

    def _leave(self, cancel: CancelToken) -> None:
        self._in_flight.discard(cancel)
        if not self._in_flight:
            self._is_idle.set()


def _retry_key(method: Method, call: Call, request: Any) -> bytes:
    """Returns a digest by which a rejected call is recognised when it is sent again; the request is not kept."""
    about = f"{call.caller.name}\0{call.method}\0{call.request_bytes}\0".encode()
    return blake2b(about + method.retry_key(request), digest_size=16).digest()


def _raise_if_unwanted(method: Method, call: Call, request: Any) -> None:
    """Raises if the caller left or its deadline passed; if it allows a degraded response, only if it left."""
    if call.cancel.caller_left or not method.allows_degraded(request):
        call.cancel.raise_if_cancelled()


def _time_for(method: Method, call: Call, request: Any) -> float | None:
    """Returns the seconds for the work: all that are left, or fewer so that a degraded response arrives in time."""
    if call.timeout_seconds is None:
        return None
    left = max(0.0, call.timeout_seconds - call.age_ms() / 1000)
    if not method.allows_degraded(request):
        return left
    return max(0.0, left - max(_MARGIN_SECONDS, _MARGIN_SHARE * left))


class Workers:
    """A pool of `max_concurrent` threads; further work waits. `Admission` limits how much may wait."""

    def __init__(self, *, max_concurrent: int) -> None:
        self._pool = ThreadPoolExecutor(max_concurrent, thread_name_prefix="shortlist-request")

    async def run(self, work: Callable[[], T], *, on_end: Callable[[], None]) -> T:
        """Runs `work` on a thread, with the caller's context variables.

        Cancelling removes work that has not begun; work that has begun runs to its end. `on_end` is called once it has
        ended or was removed.
        """
        try:
            future = self._pool.submit(contextvars.copy_context().run, work)
        except BaseException:
            on_end()
            raise
        future.add_done_callback(lambda _: on_end())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Rejects new work and drops work that waits; running work runs to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def working_for(call: Call) -> Iterator[None]:
    """Puts the call's id into the log lines of the block."""
    token = current_request_id.set(call.request_id)
    try:
        yield
    finally:
        current_request_id.reset(token)


def new_request_id(given: str = "") -> str:
    """Returns the caller's own id if it is safe to log, or else a new one."""
    return given if _REQUEST_ID.match(given) else uuid.uuid4().hex
