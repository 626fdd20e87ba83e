"""Decides when the client retries a call, by the error and by what the proto says about the method."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from shortlist.schemas.errors import DeadlineTooShort, ServerBusy, ServerUnavailable, ShortlistError

__all__ = ["Attempts", "RetryPolicy", "only_reads"]

# A year. gRPC treats a timeout that its clock cannot represent, such as infinity, as zero.
_NO_LIMIT_SECONDS = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a client retries while the server is unreachable, starting, stopping, overloaded or rate-limiting it.

    A call is retried until `patience_seconds` or its own timeout have passed. The pause is the time that the server
    asks for, or else doubles from `first_seconds` to `longest_seconds`. A random part is added, so that clients that
    were rejected together do not return together: up to half of the pause, and at most 0.5 s where the server asked.
    An invalid request is never retried, and a method that may change something only if the server rejected the call
    before it started. An address that has never answered is probably wrong and gets `first_contact_seconds` alone.
    """

    patience_seconds: float = 30.0
    first_contact_seconds: float = 5.0
    first_seconds: float = 0.1
    longest_seconds: float = 2.0

    def pause(self, doubled_seconds: float, server_seconds: float | None) -> float:
        """Draws a pause in seconds, from the time that the server gave or, without one, from the doubled time."""
        if server_seconds is None:
            return min(doubled_seconds, self.longest_seconds) * random.uniform(1.0, 1.5)
        # The server gives each caller its own retry time and holds the slot only briefly, so add little.
        return max(server_seconds, self.first_seconds) + random.uniform(0.0, 0.5) * min(server_seconds, 1.0)


@dataclass(slots=True)
class Attempts:
    """The attempts at one call.

    `was_answered`: the server has answered this client before. `only_reads`: the call changes nothing.
    """

    policy: RetryPolicy | None
    timeout_seconds: float | None
    was_answered: bool = True
    only_reads: bool = True
    now: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    num_failed: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.began = self.now()

    @property
    def left_seconds(self) -> float | None:
        """The seconds left of the timeout, at least 0.001; None without a timeout, or with one above a year."""
        if self.timeout_seconds is None or self.timeout_seconds > _NO_LIMIT_SECONDS:
            return None
        return max(0.001, self.timeout_seconds - (self.now() - self.began))

    def pause_after(self, error: ShortlistError) -> float | None:
        """Returns the seconds to wait before the next attempt; None if the error is final."""
        if self.policy is None or not isinstance(error, ServerUnavailable) or isinstance(error, DeadlineTooShort):
            return None
        # gRPC reports an untrusted certificate with the same code as an unreachable server.
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return None
        # The server may have received the call and run it; a retry time means that it has not.
        if not self.only_reads and error.retry_seconds is None:
            return None
        doubled = self.policy.first_seconds * 2.0 ** min(self.num_failed, 30)
        self.num_failed += 1
        # An overload without a retry time: too little memory for the request, or not a Shortlist server.
        if isinstance(error, ServerBusy) and error.retry_seconds is None:
            return None
        pause = self.policy.pause(doubled, error.retry_seconds)
        is_known = self.was_answered or error.retry_seconds is not None
        patience = self.policy.patience_seconds if is_known else self.policy.first_contact_seconds
        if self.timeout_seconds is not None:
            patience = min(patience, self.timeout_seconds)
        return pause if self.now() - self.began + pause < patience else None


def only_reads(method: MethodDescriptor) -> bool:
    """Whether the proto promises that calling the method a second time does no harm (`idempotency_level`)."""
    level: int = method.GetOptions().idempotency_level
    return level == MethodOptions.NO_SIDE_EFFECTS
