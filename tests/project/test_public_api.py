"""`import shortlist` offers the public names, and imports no heavy module."""

from __future__ import annotations

import subprocess
import sys

import pytest

import shortlist
from shortlist.schemas import errors

MAX_IMPORTED_MODULES = 30


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", shortlist.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(shortlist, name).__name__ == name
    assert name in dir(shortlist)


def test_every_error_is_public() -> None:
    assert set(errors.__all__) <= set(shortlist.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Roter'"):
        _ = shortlist.Roter


def test_importing_the_package_imports_no_heavy_module() -> None:
    code = (
        "import sys; before = set(sys.modules); import shortlist; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(*sorted(new & {'torch', 'grpc', 'numpy', 'google', 'sqlglot', 'jsonschema'})); "
        "print(len(set(sys.modules) - before))"
    )

    # Counts modules instead of measuring time, because a busy machine may be slow.
    heavy, _, count = run(code).rpartition("\n")

    assert heavy == ""
    assert int(count) < MAX_IMPORTED_MODULES
