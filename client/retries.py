"""Says when the client tries a call again: every call only reads, so that a second one does no harm."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shortlist.schemas.errors import DeadlineTooShort, ServerBusy, ServerUnavailable, ShortlistError

__all__ = ["Attempts", "RetryPolicy"]

# A year: gRPC takes what does not fit its clock, such as infinity, for no time at all.
_NO_LIMIT_SECONDS = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a client bears with a server that is away, starting, stopping, full, or above this caller's rate.

    A call is tried again until `patience_seconds` or its own time are over. The pause is what the server asks for, or
    doubles from `first_seconds` to `longest_seconds`; up to half of it, of the former up to half a second, is added at
    random, so that clients who were turned away together do not come back together. What is wrong with a request stays
    wrong and is never tried again.
    An address that has never answered is given `first_contact_seconds`: more often than not, it is the wrong one.
    """

    patience_seconds: float = 30.0
    first_contact_seconds: float = 5.0
    first_seconds: float = 0.1
    longest_seconds: float = 2.0

    def pause(self, doubled: float, told: float | None) -> float:
        """Draws a pause in seconds: by what the server told, or what doubling has come to."""
        if told is None:
            return min(doubled, self.longest_seconds) * random.uniform(1.0, 1.5)
        # The server gives each caller a time of its own and keeps its place for a while: much later is too late.
        return max(told, self.first_seconds) + random.uniform(0.0, 0.5) * min(told, 1.0)


@dataclass(slots=True)
class Attempts:
    """The attempts at one call; `was_answered` says that the server has answered the client before."""

    policy: RetryPolicy | None
    timeout_seconds: float | None
    was_answered: bool = True
    now: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    num_failed: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.began = self.now()

    @property
    def left_seconds(self) -> float | None:
        """What is left of the call's time, at least a millisecond; None where it has no limit, or one years away."""
        if self.timeout_seconds is None or self.timeout_seconds > _NO_LIMIT_SECONDS:
            return None
        return max(0.001, self.timeout_seconds - (self.now() - self.began))

    def pause_after(self, error: ShortlistError) -> float | None:
        """Returns the seconds to wait before the next attempt; None if there is to be none."""
        if self.policy is None or not isinstance(error, ServerUnavailable) or isinstance(error, DeadlineTooShort):
            return None
        # gRPC says the same of a server that is not there and of one whose certificate is not trusted.
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return None
        doubled = self.policy.first_seconds * 2.0 ** min(self.num_failed, 30)
        self.num_failed += 1
        # A server that is full and does not say for how long is another program's.
        if isinstance(error, ServerBusy) and error.retry_seconds is None:
            return None
        pause = self.policy.pause(doubled, error.retry_seconds)
        is_told = self.was_answered or error.retry_seconds is not None
        patience = self.policy.patience_seconds if is_told else self.policy.first_contact_seconds
        if self.timeout_seconds is not None:
            patience = min(patience, self.timeout_seconds)
        return pause if self.now() - self.began + pause < patience else None
