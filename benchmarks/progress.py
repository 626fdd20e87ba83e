"""Shows on stderr how far a measurement is and how much time it still needs.

A progress bar for one loop, such as tqdm's, cannot say how much: the methods differ in speed, so the time left is added
up by method. Nor does it print one line a minute where stderr is a log file.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO, TypeVar

from cases import Case

_REDRAW_SECONDS = 0.2
# In a file, where a line cannot be redrawn, a new line is printed once a minute.
_REPEAT_SECONDS = 60.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Job:
    """One method on one set, and its number of queries."""

    case: Case
    method: str
    num_queries: int


@dataclass(slots=True)
class _Pace:
    queries: int = 0
    seconds: float = 0.0


class Progress:
    """Counts jobs and queries; estimates the time left from each method's pace so far."""

    def __init__(
        self, jobs: Sequence[Job], stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._clock = stream or sys.stderr, clock
        self._sets = list(dict.fromkeys(job.case for job in jobs))
        self._left = list(jobs)
        self._paces: defaultdict[str, _Pace] = defaultdict(_Pace)
        self._drawn = clock()
        self._is_tty = self._stream.isatty()

    def finish(self, job: Job, seconds: float) -> None:
        """Records that a job is done, now or in an earlier run."""
        self._left.remove(job)
        pace = self._paces[job.method]
        pace.queries, pace.seconds = pace.queries + job.num_queries, pace.seconds + seconds

    def watch(self, job: Job, queries: Iterable[_T]) -> Iterator[_T]:
        """Yields the queries of a job one by one and shows how far it is."""
        began = self._clock()
        self._draw(job, 0, 0.0)
        for done, query in enumerate(queries):
            if self._clock() - self._drawn > (_REDRAW_SECONDS if self._is_tty else _REPEAT_SECONDS):
                self._draw(job, done, self._clock() - began)
            yield query
        if self._is_tty:
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def _draw(self, job: Job, done: int, seconds: float) -> None:
        self._drawn = self._clock()
        open_sets = {one.case for one in self._left}
        sets = f"{len(self._sets) - len(open_sets)}/{len(self._sets)} sets done"
        queries = f"{job.case.short_name} {job.method}: {done}/{job.num_queries} queries"
        line = f"{sets}; {queries}{self._time_left(job, done, seconds)}"
        print(
            f"\r{line}\x1b[K" if self._is_tty else line, end="" if self._is_tty else "\n", file=self._stream, flush=True
        )

    def _time_left(self, job: Job, done: int, seconds: float) -> str:
        """Adds up the jobs whose pace is known; while another's is unknown, the sum is a lower bound."""
        paces = {name: pace.seconds / pace.queries for name, pace in self._paces.items() if pace.queries}
        if done:
            paces[job.method] = seconds / done
        known = [one for one in self._left if one.method in paces]
        if not known:
            return ""
        left = sum(paces[one.method] * (one.num_queries - (done if one == job else 0)) for one in known)
        return f"; {'about' if len(known) == len(self._left) else 'more than'} {_duration(left)} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
