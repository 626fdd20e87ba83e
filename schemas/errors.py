"""Defines every error a caller of Shortlist can handle.

ShortlistError
├── InvalidInput            a field of the request is wrong; the caller can mend it
│   ├── LimitExceeded       … because it is larger than a stated limit
│   ├── UnknownDialect      … because no SQL dialect has that name
│   ├── UnsupportedContent  … because it is not in the format that is read
│   └── InvalidTool         one tool cannot be used at all (undecodable JSON, no name)
├── ModelError              a model cannot be loaded or does not fit the request
│   ├── ModelNotFound       no such folder, file or permitted download
│   ├── UnsupportedModel    the checkpoint is of a kind this program does not run
│   └── ModelMismatch       the request expects another model or version
├── RequestCancelled        the caller left, or its deadline passed, before the answer was ready
├── ServerUnavailable       the server is starting, draining or out of reach
│   └── ServerBusy          … or too much waits already
│       ├── DeadlineTooShort  … for this request's deadline
│       └── RateLimited     … of this caller's
├── Unauthenticated         no key or token, or one that is not known or no longer holds
├── PermissionDenied        the caller is known, and may not do this
└── InvalidConfiguration    a setting, a file of keys or a certificate is wrong
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "DeadlineTooShort",
    "InvalidConfiguration",
    "InvalidInput",
    "InvalidTool",
    "LimitExceeded",
    "ModelError",
    "ModelMismatch",
    "ModelNotFound",
    "PermissionDenied",
    "RateLimited",
    "RequestCancelled",
    "ServerBusy",
    "ServerUnavailable",
    "ShortlistError",
    "Unauthenticated",
    "UnknownDialect",
    "UnsupportedContent",
    "UnsupportedModel",
    "nearest",
]


class ShortlistError(Exception):
    """Base of every error Shortlist raises on purpose; its text says what, where and how to mend it."""


class InvalidInput(ShortlistError):
    """A field of the request is wrong.

    `field` names it as the caller wrote it (``tools[3]``, ``top_n``); it may be empty.
    """

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class LimitExceeded(InvalidInput):
    """A part of the request is larger than a stated limit; `actual` may be a lower bound."""

    def __init__(self, message: str, *, limit: int, actual: int, field: str = "") -> None:
        super().__init__(message, field=field)
        self.limit = limit
        self.actual = actual


class UnknownDialect(InvalidInput):
    """No SQL dialect has the given name; `known` lists those there are."""

    def __init__(self, dialect: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"unknown dialect {dialect!r}; use one of {', '.join(known)}, or leave it out to have it detected",
            field="dialect",
        )
        self.dialect = dialect
        self.known = known


class UnsupportedContent(InvalidInput):
    """The request is not in the format that is read: JSON, over HTTP."""


class InvalidTool(InvalidInput):
    """One tool cannot be used at all: its JSON does not decode or it has no name."""


class ModelError(ShortlistError):
    """A model cannot be loaded, or does not fit the request."""


class ModelNotFound(ModelError):
    """No such folder or file, or it would have to be downloaded and that was not allowed."""


class UnsupportedModel(ModelError):
    """The checkpoint is of a kind this program does not run (a pickle, two logits, another architecture)."""


class ModelMismatch(ModelError):
    """The request expects another model or version than the one loaded; `wanted` is what it named."""

    def __init__(self, message: str, *, wanted: str = "") -> None:
        super().__init__(message)
        self.wanted = wanted


class RequestCancelled(ShortlistError):
    """The caller left, or its deadline passed, before the answer was ready."""


class ServerUnavailable(ShortlistError):
    """The server is starting, draining or out of reach; trying again later may help.

    `retry_seconds` says when it may, where that is known.
    """

    def __init__(self, message: str, *, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class ServerBusy(ServerUnavailable):
    """Too much waits already; the same request may pass a moment later."""


class DeadlineTooShort(ServerBusy):
    """What waits already takes longer than the time that the request's deadline leaves."""


class RateLimited(ServerBusy):
    """The caller has used up what it may send in a second, or at once."""


class Unauthenticated(ShortlistError):
    """The call carries no key or token, or one that is not known or no longer holds."""


class PermissionDenied(ShortlistError):
    """The caller is known, and may not do this."""


class InvalidConfiguration(ShortlistError):
    """A setting, a file of keys or a certificate is missing, unknown or out of range."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean …?` with the known name that is most alike, to end an error; empty where none is."""
    from difflib import get_close_matches  # errors are imported by everything, and few have a name to suggest

    # The comparison takes time that grows with the square of the length, and no name of ours is this long.
    near = get_close_matches(name[:100], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
