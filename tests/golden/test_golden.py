"""Holds a real server's answers against those that were written down: what is meant to stay as it was, stays."""

from __future__ import annotations

from typing import Any

import pytest
from golden import golden

REQUESTS = golden.read_lines(golden.REQUESTS)
WANTED = {one["name"]: one["answer"] for one in golden.read_lines(golden.ANSWERS)}
# `make golden` asks all of them; every fourth takes a quarter of the time.
ASKED = REQUESTS[::4]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return {one["name"]: one["answer"] for one in golden.answers(ASKED)}


def test_every_request_has_its_answer() -> None:
    assert [one["name"] for one in REQUESTS] == list(WANTED)


@pytest.mark.parametrize("name", [one["name"] for one in ASKED])
def test_the_answer_is_as_it_was(found: dict[str, Any], name: str) -> None:
    # Processors add in different orders, so scores agree to some digits only.
    assert list(golden.differences(WANTED[name], found[name], tolerance=2e-3)) == []
