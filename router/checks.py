"""Checks what callers ask for, before anything is done."""

from __future__ import annotations

from shortlist.schemas.errors import InvalidInput

__all__ = ["check_options", "check_range", "check_share"]


def check_options(top_n: int, min_score: float, max_candidates: int) -> None:
    """Checks what every selection is told.

    Raises:
        InvalidInput: a number is below 0, or the score is no score.
    """
    for name, value in (("top_n", top_n), ("max_candidates", max_candidates)):
        if value < 0:
            raise InvalidInput(f"is {value}; give 0 for all, or a positive number", field=name)
    if not 0 <= min_score <= 1:
        raise InvalidInput(f"is {min_score}; give a number from 0 to 1", field="min_score")


def check_range(name: str, value: int, least: int, most: int, why: str) -> None:
    """Checks a number.

    Raises:
        InvalidInput: it is not within `least` and `most`.
    """
    if not least <= value <= most:
        raise InvalidInput(f"is {value}; give {least} to {most} ({why})", field=name)


def check_share(share: float) -> None:
    """Checks a share of columns, 0 for none to be scored.

    Raises:
        InvalidInput: it is neither.
    """
    if not 0 <= share <= 1:
        raise InvalidInput(f"is {share}; give a share of the columns, up to 1, or 0 for none", field="keep_columns")
