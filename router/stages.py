"""Times each stage of a request and records it for observers outside the Router, such as tracing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from shortlist.schemas.results import Timings

__all__ = ["Clock", "Stage", "covered_seconds", "note_stage", "recording", "within_stage"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One timed part of a request; `began` and `ended` are `time.perf_counter` seconds.

    `within` names the enclosing stage, and is empty at the top level. `num_tokens` is 0 where tokens were not counted.
    """

    name: str
    began: float
    ended: float
    within: str = ""
    num_tokens: int = 0


_stages: ContextVar[list[Stage] | None] = ContextVar("stages", default=None)
_within: ContextVar[str] = ContextVar("within", default="")


@contextmanager
def recording(stages: list[Stage]) -> Iterator[None]:
    """Appends to `stages` each stage that this thread notes inside the block, in the order in which they end."""
    token = _stages.set(stages)
    try:
        yield
    finally:
        _stages.reset(token)


@contextmanager
def within_stage(name: str) -> Iterator[None]:
    """Marks stages noted inside the block as parts of the stage `name`."""
    token = _within.set(name)
    try:
        yield
    finally:
        _within.reset(token)


def note_stage(name: str, began: float, ended: float, *, num_tokens: int = 0) -> None:
    """Adds a finished stage to the list given to `recording`; does nothing outside such a block."""
    stages = _stages.get()
    if stages is not None:
        stages.append(Stage(name, began, ended, _within.get(), num_tokens))


def covered_seconds(spans: Sequence[tuple[float, float]]) -> float:
    """Returns how long at least one of these spans of time lasted."""
    total, covered_until = 0.0, 0.0
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, covered_until))
        covered_until = max(covered_until, ended)
    return total


class Clock:
    """Takes the time of each stage of one request, from its making on."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._stages_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block to the stage `name`, also when the block raises."""
        began = time.perf_counter()
        try:
            with within_stage(name):
                yield
        finally:
            ended = time.perf_counter()
            self._stages_ms[name] = self._stages_ms.get(name, 0.0) + (ended - began) * 1_000
            note_stage(name, began, ended)

    def timings(self, *, queue_ms: float, infer_ms: float) -> Timings:
        """Returns the times of the stages so far, with those that the scorer measured."""
        return Timings(
            queue_ms=queue_ms,
            parse_ms=self._stages_ms.get("parse", 0.0),
            retrieve_ms=self._stages_ms.get("retrieve", 0.0),
            tokenize_ms=self._stages_ms.get("tokenize", 0.0),
            infer_ms=infer_ms,
            total_ms=(time.perf_counter() - self._began) * 1_000,
        )
