"""Writes one line for each call that ended: who, what, how long and how it ended, and nothing of its content."""

from __future__ import annotations

import logging

from shortlist.server.call import Call

__all__ = ["log_call"]

_log = logging.getLogger("shortlist.access")


def log_call(call: Call) -> None:
    """Logs a call; an `Observer`."""
    reason = f" {call.reason}" if call.reason else ""
    _log.info(
        "%s %s%s %.0f ms, %s, request %s",
        call.method,
        call.code,
        reason,
        call.duration_ms,
        call.caller.name,
        call.request_id,
    )
