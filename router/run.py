"""Holds one request on its way through the Router, and the clock of its stages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shortlist.router.engine.protocols import CancelToken
from shortlist.router.first_stage.candidates import FirstStage
from shortlist.router.ranking.score import Rules
from shortlist.router.ranking.windows import DocumentScores
from shortlist.router.stages import note_stage, within_stage
from shortlist.schemas.results import Timings, Truncation

__all__ = ["Clock", "Run"]


class Clock:
    """Takes the time of each stage of one request."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._stages_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the block's time to the stage `name`, be it cut short or not."""
        began = time.perf_counter()
        try:
            with within_stage(name):
                yield
        finally:
            ended = time.perf_counter()
            self._stages_ms[name] = self._stages_ms.get(name, 0.0) + (ended - began) * 1_000
            note_stage(name, began, ended)

    def timings(self, scores: DocumentScores) -> Timings:
        """Returns the stages' times, with those that the scorer measured."""
        return Timings(
            queue_ms=scores.queue_ms,
            parse_ms=self._stages_ms.get("parse", 0.0),
            retrieve_ms=self._stages_ms.get("retrieve", 0.0),
            tokenize_ms=self._stages_ms.get("tokenize", 0.0),
            infer_ms=scores.infer_ms,
            total_ms=(time.perf_counter() - self._began) * 1_000,
        )


@dataclass(slots=True)
class Run:
    """One request: its query, what the caller wants, and what was found and noticed so far."""

    query: str
    rules: Rules
    max_candidates: int
    clock: Clock
    cancel: CancelToken | None = None
    allow_degraded: bool = False
    is_degraded: bool = False
    found: FirstStage | None = None
    warnings: list[str] = field(default_factory=list)
    truncated: list[Truncation] = field(default_factory=list)
