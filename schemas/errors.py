"""Defines every error that a caller of Shortlist can handle.

ShortlistError
├── InvalidInput            a field of the request is wrong; the caller can fix it
│   ├── LimitExceeded       … because it is larger than a stated limit
│   ├── UnknownDialect      … because no SQL dialect has that name
│   ├── UnsupportedContent  … because it is not in the expected format
│   └── InvalidTool         one tool is unusable (its JSON does not decode, or it has no name)
├── ModelError              a model cannot be loaded, or does not fit the request
│   ├── ModelNotFound       the folder or file does not exist, and downloading is not allowed
│   ├── UnsupportedModel    the checkpoint has a format or an architecture that is not supported
│   └── ModelMismatch       the request expects another model or version
├── RequestCancelled        the caller left, or its deadline passed, before the answer was ready
├── ServerUnavailable       the server is starting, shutting down or unreachable
│   └── ServerBusy          … or has too much waiting work
│       ├── DeadlineTooShort  … to meet this request's deadline
│       └── RateLimited     … or this caller has exceeded its rate limit
├── Unauthenticated         the key or token is missing, unknown or expired
├── PermissionDenied        the caller is authenticated, but not allowed to do this
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
]


class ShortlistError(Exception):
    """The base of every error Shortlist raises on purpose; its text says what is wrong, where, and how to fix it."""


class InvalidInput(ShortlistError):
    """A field of the request is wrong.

    `field` is its name as the caller wrote it (``tools[3]``, ``top_n``); it may be empty.
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
    """No SQL dialect has the given name; `known` lists all dialects."""

    def __init__(self, dialect: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"unknown dialect {dialect!r}; use one of {', '.join(known)}, or leave it out to have it detected",
            field="dialect",
        )
        self.dialect = dialect
        self.known = known


class UnsupportedContent(InvalidInput):
    """The request is not in the expected format: over HTTP, JSON."""


class InvalidTool(InvalidInput):
    """One tool is unusable: its JSON does not decode, or it has no name."""


class ModelError(ShortlistError):
    """A model cannot be loaded, or it does not fit the request."""


class ModelNotFound(ModelError):
    """The folder or file does not exist, or it would have to be downloaded and that is not allowed."""


class UnsupportedModel(ModelError):
    """The checkpoint has a format or an architecture that is not supported (a pickle, two logits, …)."""


class ModelMismatch(ModelError):
    """The request expects a model or version other than the loaded one; `wanted` is what it names."""

    def __init__(self, message: str, *, wanted: str = "") -> None:
        super().__init__(message)
        self.wanted = wanted


class RequestCancelled(ShortlistError):
    """The caller left, or its deadline passed, before the answer was ready."""


class ServerUnavailable(ShortlistError):
    """The server is starting, shutting down or unreachable; a later retry may succeed.

    `retry_seconds` is how long to wait before a retry; None if unknown.
    """

    def __init__(self, message: str, *, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class ServerBusy(ServerUnavailable):
    """The server has too much waiting work; a retry after a moment may succeed."""


class DeadlineTooShort(ServerBusy):
    """The work that is already waiting takes longer than the request's deadline allows."""


class RateLimited(ServerBusy):
    """The caller has exceeded its requests per second, or its requests at the same time."""


class Unauthenticated(ShortlistError):
    """The key or token of the call is missing, unknown or expired."""


class PermissionDenied(ShortlistError):
    """The caller is authenticated, but not allowed to do this."""


class InvalidConfiguration(ShortlistError):
    """A setting, a file of keys or a certificate is missing, unknown or out of range."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean …?` with the known name that is most alike, to end an error; empty where none is."""
    from difflib import get_close_matches  # errors are imported by everything, and few have a name to suggest

    # The comparison takes time that grows with the square of the length, and no name of ours is this long.
    near = get_close_matches(name[:100], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
