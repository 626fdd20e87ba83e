"""Runs the fuzzer's targets on valid inputs, on damaged ones, and on inputs that once failed."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import TESTS

sys.path.insert(0, str(TESTS / "fuzz"))

from targets import TARGETS

FOUND = sorted((TESTS / "fixtures/fuzz").glob("*/*"))
_NUM_BROKEN = 40


def broken(seed: bytes, chance: random.Random) -> Iterator[bytes]:
    """Yields a seed that is truncated, doubled, or has changed bytes."""
    for _ in range(_NUM_BROKEN):
        place = chance.randrange(len(seed) + 1)
        yield seed[:place]
        yield seed[:place] + seed[place // 2 :]
        yield seed[:place] + bytes([chance.randrange(256)]) + seed[place + 1 :]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert seeds
    for seed in seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", ["tools", "messages", "bodies", "chunks", "statuses"])
def test_a_target_takes_broken_seeds(name: str) -> None:
    chance = random.Random(0)
    for seed in TARGETS[name].seeds():
        for data in broken(seed, chance):
            TARGETS[name].run(data)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_that_once_failed_passes(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())
