"""Reads the numbers of the command line; what is none gets an error that says so."""

from __future__ import annotations

import argparse

__all__ = ["count", "number", "positive", "whole"]


def number(text: str) -> float:
    """Reads a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def count(text: str) -> int:
    """Reads a whole number of 0 or more."""
    found = whole(text)
    if found < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; give 0 or more")
    return found


def positive(text: str) -> int:
    """Reads a whole number of 1 or more."""
    found = whole(text)
    if found < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small; give 1 or more")
    return found


def whole(text: str) -> int:
    """Reads a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
