"""Defines every error a caller of Shortlist can handle.

ShortlistError
├── InvalidInput            a field of the request is wrong; the caller can mend it
│   ├── LimitExceeded       … because it is larger than a stated limit
│   ├── UnknownDialect      … because no SQL dialect has that name
│   └── InvalidTool         one tool cannot be used at all (undecodable JSON, no name)
├── ModelError              a model cannot be loaded or does not fit the request
│   ├── ModelNotFound       no such folder, file or permitted download
│   ├── UnsupportedModel    the checkpoint is of a kind this program does not run
│   └── ModelMismatch       the request expects another model or version
├── RequestCancelled        the caller left, or its deadline passed, before the answer was ready
└── ServerUnavailable       the server is starting, draining or out of reach
    └── ServerBusy          … or too many requests wait already
"""

from __future__ import annotations

__all__ = [
    "InvalidInput",
    "InvalidTool",
    "LimitExceeded",
    "ModelError",
    "ModelMismatch",
    "ModelNotFound",
    "RequestCancelled",
    "ServerBusy",
    "ServerUnavailable",
    "ShortlistError",
    "UnknownDialect",
    "UnsupportedModel",
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


class InvalidTool(InvalidInput):
    """One tool cannot be used at all: its JSON does not decode or it has no name."""


class ModelError(ShortlistError):
    """A model cannot be loaded, or does not fit the request."""


class ModelNotFound(ModelError):
    """No such folder or file, or it would have to be downloaded and that was not allowed."""


class UnsupportedModel(ModelError):
    """The checkpoint is of a kind this program does not run (a pickle, two logits, another architecture)."""


class ModelMismatch(ModelError):
    """The request expects another model or version than the one loaded."""


class RequestCancelled(ShortlistError):
    """The caller left, or its deadline passed, before the answer was ready."""


class ServerUnavailable(ShortlistError):
    """The server is starting, draining or out of reach; trying again later may help."""


class ServerBusy(ServerUnavailable):
    """Too many requests wait already; the same request may pass a moment later."""
