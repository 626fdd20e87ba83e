"""Notes when each stage of a request began and ended, for whoever watches the request from outside the Router."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Stage", "note_stage", "recording", "within_stage"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the work on one request; `began` and `ended` are seconds on the clock of `time.perf_counter`.

    `within` names the stage that it is a part of; empty where it is none's. `num_tokens` is 0 where none were counted.
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
    """Adds to `stages` what this thread notes while the block lasts, in the order in which it ended."""
    token = _stages.set(stages)
    try:
        yield
    finally:
        _stages.reset(token)


@contextmanager
def within_stage(name: str) -> Iterator[None]:
    """Lets what is noted in the block be a part of the stage `name`."""
    token = _within.set(name)
    try:
        yield
    finally:
        _within.reset(token)


def note_stage(name: str, began: float, ended: float, *, num_tokens: int = 0) -> None:
    """Notes a stage that has ended, where someone watches."""
    stages = _stages.get()
    if stages is not None:
        stages.append(Stage(name, began, ended, _within.get(), num_tokens))
