"""Takes calls of every transport: checks, admits, hands over to a thread, and tells those who watch how each ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from google.protobuf.message import Message as ProtoMessage

from shortlist.router.engine.protocols import CancelToken
from shortlist.router.stages import Stage, recording
from shortlist.schemas.errors import LimitExceeded, PermissionDenied, RequestCancelled, ServerUnavailable
from shortlist.server import answer
from shortlist.server.call import working_for
from shortlist.server.limits import check, expected_tokens
from shortlist.server.status import status_of
from shortlist.v1 import router_pb2 as pb

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router
    from shortlist.server.call import Call, Observer
    from shortlist.server.scheduling.admission import Admission
    from shortlist.server.scheduling.workers import Workers

__all__ = ["Dispatcher"]

_log = logging.getLogger(__name__)

# A degraded answer leaves before the deadline by this share of the time, or by this many seconds if that is more.
_MARGIN_SHARE = 0.1
_MARGIN_SECONDS = 0.05

ResponseT = TypeVar("ResponseT", bound=ProtoMessage)


class _Answer(Protocol):
    def __call__(self, router: Router, request: Any, cancel: CancelToken, waited_ms: float = 0.0) -> ProtoMessage: ...


_ANSWERS: dict[str, _Answer] = {
    "SelectTools": answer.select_tools,
    "SelectTables": answer.select_tables,
    "Rerank": answer.rerank,
}


class Dispatcher:
    """Answers calls from `open()` to `close()`; before and after it says that the server is unavailable."""

    def __init__(
        self,
        admission: Admission,
        workers: Workers,
        *,
        max_message_bytes: int,
        is_info_enabled: bool = True,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._admission, self._workers = admission, workers
        self._max_message_bytes = max_message_bytes
        self._is_info_enabled = is_info_enabled
        self._observers = observers
        self._router: Router | None = None
        self._refusal = "the server is still loading its model; try again in a moment"
        self._in_flight: set[CancelToken] = set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def open(self, router: Router) -> None:
        """Answers from now on, with this Router."""
        self._router = router

    def close(self) -> None:
        """Refuses new calls from now on; those in flight go on."""
        self._router = None
        self._refusal = "the server is stopping; try another one, or again later"

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
        """Why calls are not answered; empty where they are."""
        return "" if self.is_open else self._refusal

    async def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Waits for the calls in flight; False if some are still there when the time is up."""
        if self._is_idle.is_set():
            return True  # wait_for would be over before it looked, where it has no time
        try:
            await asyncio.wait_for(self._is_idle.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    def cancel_all(self) -> int:
        """Cancels the calls in flight and counts them."""
        tokens = list(self._in_flight)
        for token in tokens:
            token.cancel()
        return len(tokens)

    def info(self) -> pb.GetInfoResponse:
        """Describes the model and the limits.

        Raises:
            ServerUnavailable: the model is not loaded.
            PermissionDenied: this server does not tell.
        """
        if not self._is_info_enabled:
            raise PermissionDenied("this server does not describe itself; whoever runs it has disabled GetInfo")
        return answer.get_info(self._ready_router(), max_message_bytes=self._max_message_bytes)

    async def answer(self, call: Call, request: Any) -> Any:
        """Answers one call; cancelling the task cancels the work.

        Raises:
            ShortlistError: any of them, `status.py` says what each means to a caller.
        """
        call.cancel = CancelToken(timeout_seconds=_time_for(call, request))
        call.request_bytes = request.ByteSize()
        self._enter(call.cancel)
        try:
            with working_for(call):
                response = await self._run(call, request)
        except asyncio.CancelledError:
            call.cancel.cancel()
            # A deadline that passes is told to the transport first, which then cancels.
            code = "DEADLINE_EXCEEDED" if call.is_late else "CANCELLED"
            self._tell(call, code, code)
            raise
        except Exception as error:
            self.fail(call, explained := self._explained(error))
            raise explained from error
        finally:
            self._leave(call.cancel)
        self.end(call, response)
        return response

    def end(self, call: Call, response: ProtoMessage) -> None:
        """Tells those who watch that a call ended well."""
        self._tell(call, "OK", response=response)

    def fail(self, call: Call, error: Exception) -> None:
        """Tells those who watch that a call ended with an error, be it here or before it came here."""
        if not call.code:
            with working_for(call):
                status = status_of(error, is_expired=call.cancel.is_expired, request_id=call.request_id)
            call.status = status
            self._tell(call, status.code.name, status.kind.reason)

    def _tell(self, call: Call, code: str, reason: str = "", response: ProtoMessage | None = None) -> None:
        call.end(code, reason, response)
        for observer in self._observers:
            try:
                observer(call)
            except Exception:  # what watches must not break what is watched
                _log.exception("an observer failed")

    async def _run(self, call: Call, request: Any) -> ProtoMessage:
        router = self._ready_router()
        check(request)
        expected = expected_tokens(request)
        self._admission.enter(call, expected, _key(call, request), needs_in_time=not request.allow_degraded)

        def run() -> ProtoMessage:
            _raise_if_unwanted(call, request)
            call.stages.append(Stage("queue", call.arrived, time.perf_counter()))
            with recording(call.stages):
                response = _ANSWERS[call.method](router, request, call.cancel, waited_ms=call.age_ms())
            self._check_size(response)
            return response

        return await self._workers.run(run, on_end=lambda: self._admission.leave(call))

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, RequestCancelled) and self._router is None:
            text = "the server stopped before the answer was ready; try another one, or again later"
            return ServerUnavailable(text)
        return error

    def _ready_router(self) -> Router:
        if self._router is None:
            raise ServerUnavailable(self._refusal)
        return self._router

    def _check_size(self, response: ProtoMessage) -> None:
        size = response.ByteSize()
        if size > self._max_message_bytes:
            message = (
                f"the answer has {size} bytes, the server sends at most {self._max_message_bytes}; "
                "ask for fewer items, or start the server with a larger --max-message-mb"
            )
            raise LimitExceeded(message, limit=self._max_message_bytes, actual=size, field="top_n")

    def _enter(self, cancel: CancelToken) -> None:
        self._in_flight.add(cancel)
        self._is_idle.clear()

    def _leave(self, cancel: CancelToken) -> None:
        self._in_flight.discard(cancel)
        if not self._in_flight:
            self._is_idle.set()


def _key(call: Call, request: Any) -> bytes:
    """Returns what a call is known by when it comes again, without being kept."""
    asked = request.query.SerializeToString(deterministic=True)
    about = f"{call.caller.name}\0{call.method}\0{call.request_bytes}\0".encode()
    return blake2b(about + asked, digest_size=16).digest()


def _raise_if_unwanted(call: Call, request: Any) -> None:
    """Raises for a caller that left, or whose time is up; who takes a degraded answer gets that from the Router."""
    if call.cancel.caller_left or not request.allow_degraded:
        call.cancel.raise_if_cancelled()


def _time_for(call: Call, request: Any) -> float | None:
    """Returns the seconds for the work: all there are, or so many that a degraded answer still comes in time."""
    if call.timeout_seconds is None:
        return None
    left = max(0.0, call.timeout_seconds - call.age_ms() / 1000)
    if not request.allow_degraded:
        return left
    return max(0.0, left - max(_MARGIN_SECONDS, _MARGIN_SHARE * left))
