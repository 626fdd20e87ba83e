"""Logs one line for each call that ended: caller, method, duration and outcome, and nothing of its content."""

from __future__ import annotations

import logging
from typing import Any

from shortlist.server.dispatcher import Call

__all__ = ["AccessLog"]

_log = logging.getLogger("shortlist.access")

_STAGES = ("queue_ms", "parse_ms", "retrieve_ms", "tokenize_ms", "infer_ms")


class AccessLog:
    """Logs calls, and a warning with the time of each stage for calls slower than `slow_ms`; 0 turns warnings off.

    `slow_ms` may be changed at any time.
    """

    def __init__(self, slow_ms: float) -> None:
        self.slow_ms = slow_ms

    def __call__(self, call: Call) -> None:
        """Logs a call; an `Observer`."""
        _log.info("call", extra=_fields(call) | _sizes(call))
        if self.slow_ms and call.duration_ms > self.slow_ms:
            _log.warning("slow call", extra=_fields(call) | _stages(call) | {"slow_ms": self.slow_ms})


def _fields(call: Call) -> dict[str, Any]:
    fields = {
        "method": call.method,
        "code": call.code,
        "reason": call.reason,
        "duration_ms": round(call.duration_ms, 3),
        "caller": call.caller.name,
        "request_id": call.request_id,
        "trace_id": call.trace_id,
        "transport": call.transport,
    }
    return {name: value for name, value in fields.items() if value != ""}


def _sizes(call: Call) -> dict[str, Any]:
    sizes = {"request_bytes": call.request_bytes, "response_bytes": call.response_bytes}
    if call.report is None:
        return sizes
    report = call.report
    return sizes | {
        "num_candidates": report.num_candidates,
        "num_scored": report.num_scored,
        "num_tokens": report.num_tokens,
        "degraded": report.degraded,
    }


def _stages(call: Call) -> dict[str, float]:
    """Returns the time of each stage: from the report or, without one, of the stages that ended."""
    if call.report is not None:
        return {name: round(getattr(call.report.timings, name), 3) for name in _STAGES}
    spent = dict.fromkeys(_STAGES, 0.0)
    for stage in list(call.stages):
        if not stage.within:
            spent[f"{stage.name}_ms"] += (stage.ended - stage.began) * 1000
    return {name: round(value, 3) for name, value in spent.items()}
