"""Says who calls, by what the call brings along; where no keys are set, anyone may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shortlist.server.call import ANONYMOUS, Caller
from shortlist.server.settings import Settings

__all__ = ["Gate", "OpenGate", "make_gate"]


class Gate(Protocol):
    """Tells callers apart; safe to use from one event loop."""

    async def identify(self, metadata: Mapping[str, str]) -> Caller:
        """Says who calls, by headers or gRPC metadata with lower-case names.

        Raises:
            Unauthenticated: there is no key or token, or one that is not known or no longer holds.
        """
        ...

    def reload(self, settings: Settings) -> None:
        """Reads keys anew and takes new limits.

        Raises:
            InvalidConfiguration: they cannot be read; those before stay in force.
        """
        ...


class OpenGate:
    """Lets anyone in, as one anonymous caller with the limits of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.reload(settings)

    async def identify(self, metadata: Mapping[str, str]) -> Caller:
        """Takes everybody for the same caller."""
        return self._caller

    def reload(self, settings: Settings) -> None:
        """Takes new limits."""
        self._caller = Caller(ANONYMOUS.name, settings.rate, settings.burst, settings.max_calls)


def make_gate(settings: Settings) -> Gate:
    """Makes the gate that the settings ask for.

    Raises:
        InvalidConfiguration: a file of keys cannot be read.
    """
    return OpenGate(settings)
