"""Prints the results of a benchmark as text or JSON, and saves both in a folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["add_saving", "save"]


def add_saving(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `save` reads."""
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="also save the results there, as JSON and Markdown")


def save(
    found: Mapping[str, Any],
    name: str,
    table: Callable[[dict[str, Any]], Iterable[str]],
    options: argparse.Namespace,
) -> None:
    """Prints the results, and writes `name.json` and `name.md` if `--save` names a folder."""
    as_json, as_table = json.dumps(found), "\n".join(table(dict(found)))
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
        (options.save / f"{name}.json").write_text(as_json + "\n", encoding="utf-8")
        (options.save / f"{name}.md").write_text(as_table + "\n", encoding="utf-8")
    print(as_json if options.json else as_table)
