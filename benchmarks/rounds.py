"""Times subjects in rounds, each subject once per round, and compares them within each round."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

__all__ = ["Spread", "compare", "measure_peak", "run_rounds", "spread"]

_PEAK_SIZE = 4_096


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the median and the greatest value of several rounds."""

    least: float
    median: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.least:.2f}, {self.greatest:.2f}]"


def run_rounds(
    subjects: Mapping[str, Callable[[], object]],
    num_rounds: int,
    *,
    until: float = math.inf,
    notice: Callable[[str], None] = lambda text: None,
) -> dict[str, list[float]]:
    """Runs each subject once to warm up, then every subject once per round; returns seconds by subject and round.

    Every other round runs in reverse order, so that no subject always follows the same one. The first round always
    runs. Another round starts only if it would end before `until` (a time of `time.perf_counter`), assuming that it
    takes as long as the last one.
    """
    for name, run in subjects.items():
        notice(f"warming up {name}")
        run()
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(num_rounds):
        last_round = sum(values[-1] for values in seconds.values() if values)
        if number and time.perf_counter() + last_round > until:
            notice(f"stopping after {number} of {num_rounds} rounds: the time is up")
            break
        order = list(subjects) if number % 2 == 0 else list(reversed(subjects))
        for name in order:
            notice(f"round {number + 1} of {num_rounds}: {name}")
            began = time.perf_counter()
            subjects[name]()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def spread(values: Sequence[float]) -> Spread:
    """Summarises the values of several rounds."""
    return Spread(min(values), statistics.median(values), max(values))


def compare(seconds: Mapping[str, Sequence[float]], ours: str) -> dict[str, Spread]:
    """Returns how many times as long as ours each other subject took in the same round."""
    return {
        name: spread([theirs / own for theirs, own in zip(values, seconds[ours], strict=True)])
        for name, values in seconds.items()
        if name != ours
    }


def measure_peak(dtype: torch.dtype, device: str = "cpu") -> Callable[[], None]:
    """Makes a subject that multiplies two 4,096 × 4,096 matrices; one run does `PEAK_OPERATIONS` operations."""
    left, right = (torch.randn(_PEAK_SIZE, _PEAK_SIZE).to(device, dtype) for _ in range(2))

    def run() -> None:
        torch.mm(left, right)
        if left.is_cuda:
            torch.cuda.synchronize()

    return run


PEAK_OPERATIONS = 2.0 * _PEAK_SIZE**3
