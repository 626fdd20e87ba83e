"""Times subjects by turns, round after round, and compares them within each round."""

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
    """The least, the median and the greatest of several rounds."""

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
    """Runs each subject once to warm it up, then all by turns; returns seconds by subject and round.

    Every other round goes backwards, so that no subject always follows the same neighbour. The first round
    is always run; another only if it ends before `until` (of `time.perf_counter`), should it take as long as the last.
    """
    for name, run in subjects.items():
        notice(f"warming up {name}")
        run()
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(num_rounds):
        last_round = sum(values[-1] for values in seconds.values() if values)
        if number and time.perf_counter() + last_round > until:
            notice(f"{number} of {num_rounds} rounds, since time is up")
            break
        order = list(subjects) if number % 2 == 0 else list(reversed(subjects))
        for name in order:
            notice(f"round {number + 1} of {num_rounds}: {name}")
            began = time.perf_counter()
            subjects[name]()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def spread(values: Sequence[float]) -> Spread:
    """Sums up the values of several rounds."""
    return Spread(min(values), statistics.median(values), max(values))


def compare(seconds: Mapping[str, Sequence[float]], ours: str) -> dict[str, Spread]:
    """Says of each other subject how many times as long it took as ours in the same round."""
    return {
        name: spread([theirs / own for theirs, own in zip(values, seconds[ours], strict=True)])
        for name, values in seconds.items()
        if name != ours
    }


def measure_peak(dtype: torch.dtype, device: str = "cpu") -> Callable[[], None]:
    """Makes a subject that multiplies two square matrices of 4,096; `PEAK_OPERATIONS` are done per run."""
    left, right = (torch.randn(_PEAK_SIZE, _PEAK_SIZE).to(device, dtype) for _ in range(2))

    def run() -> None:
        torch.mm(left, right)
        if left.is_cuda:
            torch.cuda.synchronize()

    return run


PEAK_OPERATIONS = 2.0 * _PEAK_SIZE**3
