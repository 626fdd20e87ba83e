"""Records the start and end of each stage of a request, for observers outside the Router such as tracing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Stage", "note_stage", "recording", "within_stage"]


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
