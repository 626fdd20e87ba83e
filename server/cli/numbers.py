"""Parses numbers of the command line, with errors that name the wrong text."""

from __future__ import annotations

import argparse

__all__ = ["count", "number", "positive", "whole"]


def number(text: str) -> float:
    """Parses a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def count(text: str) -> int:
    """Parses an integer of at least 0."""
    found = whole(text)
    if found < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; give 0 or more")
    return found


def positive(text: str) -> int:
    """Parses an integer of at least 1."""
    found = whole(text)
    if found < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small; give 1 or more")
    return found


def whole(text: str) -> int:
    """Reads a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
