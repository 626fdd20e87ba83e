"""Sets up the log of a server process: one line for each event on stderr, as text or as JSON, with times in UTC.

Modules log through the standard library and pass fields as `extra`; this module alone decides the format.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextvars import ContextVar
from typing import Any, Literal

import structlog

__all__ = ["current_request_id", "set_level", "set_up"]

# The id of the request that the running code works for, empty where there is none; log lines carry it.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")

_log = logging.getLogger(__name__)


def set_up(log_format: Literal["console", "json"], level: str) -> None:
    """Sends all logs of the process, warnings and failures of threads included, to stderr as single events."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_failure
    # gRPC's core writes to stderr by itself, not as JSON, and by default a line for each failed TLS handshake. Failures
    # that matter raise an error too. gRPC reads this variable when it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE" if log_format == "json" else "ERROR")


def set_level(level: str) -> None:
    """Logs events of at least this level: debug, info, warning or error."""
    logging.getLogger().setLevel(level.upper())


def _formatter(log_format: Literal["console", "json"]) -> logging.Formatter:
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request_id,
    ]
    shown: list[Any]
    if log_format == "json":
        shown = [structlog.processors.format_exc_info, _in_order, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        plain = structlog.dev.plain_traceback  # other formatters show variables, and with them the content of requests
        shown = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain, pad_event_to=0)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shown]
    )


def _add_request_id(_logger: object, _name: str, event: Any) -> Any:
    if request_id := current_request_id.get():
        event.setdefault("request_id", request_id)
    return event


def _in_order(_logger: object, _name: str, event: Any) -> Any:
    first = {name: event.pop(name) for name in ("timestamp", "level", "logger", "event") if name in event}
    return first | event


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    name = failure.thread.name if failure.thread else "a thread"
    _log.error("%s failed with %s", name, failure.exc_type.__name__)
    # The error's own text may quote a request.
    _log.debug("%s failed", name, exc_info=failure.exc_value)
