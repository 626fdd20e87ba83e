from __future__ import annotations

import time

import pytest

from shortlist.schemas.conversation import Message, ranked_text
from shortlist.schemas.repeats import without_repeats

LOG = [f"2026-01-0{day} 10:00 worker={day} took {day * 7} ms to start" for day in range(1, 9)]


def test_lines_that_only_differ_in_numbers_and_values_are_read_once() -> None:
    text, count = without_repeats("\n".join(["Look:", *LOG, "What is slow?"]))

    assert text.split("\n") == ["Look:", LOG[0], LOG[-1], "What is slow?"]
    assert count == 6


@pytest.mark.parametrize(
    "lines",
    [LOG[:4], [f"- tool_{number}" for number in range(30)], [f"call {name} with care please" for name in "abcdefgh"]],
    ids=["few", "a list of short lines", "other words"],
)
def test_lines_of_which_each_may_count_all_stay(lines: list[str]) -> None:
    assert without_repeats("\n".join(lines)) == ("\n".join(lines), 0)


def test_a_long_text_is_read_fast() -> None:
    lines = ["x" * 100_000 + f" is {number} of many" for number in range(50)]
    began = time.perf_counter()
    assert without_repeats("\n".join(lines))[1] == 48
    assert time.perf_counter() - began < 2


def test_blank_lines_stay() -> None:
    assert without_repeats("a\n\n\n\n\n\n\nb") == ("a\n\n\n\n\n\n\nb", 0)


def test_a_warning_tells_how_many_lines_were_left_out() -> None:
    text = "\n".join([*LOG, "Restart it."])

    assert ranked_text(text)[1] == ("query: 6 lines that only differ from others in numbers or values were left out",)
    found, warnings = ranked_text([Message("user", text), Message("assistant", "Which one?"), Message("user", "All.")])
    assert LOG[0] in found
    assert LOG[3] not in found
    assert warnings[-1].startswith("query: 6 lines")
    assert ranked_text("Restart it.")[1] == ()
