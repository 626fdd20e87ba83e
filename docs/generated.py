"""Writes the parts of the reference pages that come from the code: settings, commands, metrics, errors, messages."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shortlist.schemas.options import OPTIONS, Option
from shortlist.server.cli.main import build_parser, main
from shortlist.server.http.openapi import describe
from shortlist.server.settings import RELOADED, Settings
from shortlist.server.status import KINDS
from shortlist.server.telemetry.metrics import Metrics

PROTO = Path(__file__).resolve().parents[1] / "proto/shortlist/v1"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Writes a Markdown table; a bar in a cell is escaped."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ---------------------------------------------------------------- settings


def settings() -> str:
    """Lists the settings in the order of the class, each with its range, default and meaning."""
    rows = []
    for name, facts in Settings.model_json_schema()["properties"].items():
        default = facts.get("default")
        rows.append(
            (
                f"`{name}`",
                _kind(facts),
                "" if default in (None, []) else f"`{str(default).lower() if isinstance(default, bool) else default}`",
                "yes" if name in RELOADED else "",
                facts.get("description", ""),
            )
        )
    return table(("setting", "type", "default", "SIGHUP", "meaning"), rows)


def _kind(facts: dict[str, Any]) -> str:
    choices = [one for one in facts.get("anyOf", [facts]) if one.get("type") != "null"]
    one = choices[0]
    if one.get("type") == "array":
        return "list of " + _values(one["items"])
    if "enum" in one or "const" in one:
        return _values(one)
    names = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
    kind = "path" if one.get("format") == "path" else "secret" if one.get("writeOnly") else names[one["type"]]
    least, above = one.get("minimum"), one.get("exclusiveMinimum")
    most = one.get("maximum")
    if least is not None and most is not None:
        return f"{kind}, {least:g} to {most:g}"
    if above is not None:
        return f"{kind} above {above:g}"
    return f"{kind}, {least:g} or more" if least is not None else kind


def _values(facts: dict[str, Any]) -> str:
    return ", ".join(f"`{value}`" for value in facts.get("enum", [facts.get("const")]))


# ---------------------------------------------------------------- options


def options() -> str:
    """Lists the options of a request, each with what it applies to, its range, default and meaning."""
    rows = (
        (
            f"`{one.name}`",
            ", ".join(one.kinds),
            "" if one.default in (None, "", ()) else f"`{str(one.default).lower()}`",
            " to ".join(f"{end:g}" for end in (one.least, one.most) if end is not None) + " or more" * _is_open(one),
            one.description,
        )
        for one in OPTIONS.values()
    )
    return table(("option", "applies to", "default", "range", "meaning"), rows)


def _is_open(option: Option) -> bool:
    return option.least is not None and option.most is None


# ---------------------------------------------------------------- commands


def commands() -> str:
    """Prints the help of every command under a heading of its own."""
    return "\n\n".join(
        f"## {' '.join(('shortlist', *words))}\n\n```text\n{_help(words)}\n```" for words in _commands(build_parser())
    )


def _commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                inner = list(_commands(below, (*words, name)))
                yield from inner or [(*words, name)]


def _help(words: tuple[str, ...]) -> str:
    """Asks the command itself, as some flags are made only when it is used."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue().strip()


# ---------------------------------------------------------------- metrics


def metrics() -> str:
    """Lists the metrics of a server's registry with their types and labels."""
    idle = _Idle()
    registry = Metrics(idle, idle).registry  # type: ignore[arg-type]  # reads counts only
    rows = []
    for collector in list(registry._collector_to_names):  # prometheus_client tells labels in no other way
        for family in collector.collect():
            labels = getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ())
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            rows.append((f"`{family.name}{suffix}`", family.type, ", ".join(labels), family.documentation))
    own = sorted(row for row in rows if row[0].startswith("`shortlist_"))
    return table(("metric", "type", "labels", "meaning"), own)


class _Idle:
    """An admission or a dispatcher whose every count is 0."""

    def __getattr__(self, name: str) -> int:
        return 0


# ---------------------------------------------------------------- errors


def errors() -> str:
    """Lists the classes of errors with what callers of either protocol see."""
    rows = [
        (
            f"`{kind.__name__}`",
            f"`{how.code.name}`",
            str(how.http),
            f"`{how.reason}`",
            inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " "),
        )
        for kind, how in KINDS.items()
    ]
    return table(("class in Python", "gRPC code", "HTTP status", "reason", "meaning"), rows)


# ---------------------------------------------------------------- routes


def routes() -> str:
    """Lists the routes of the REST API as its OpenAPI document describes them."""
    rows = [
        (f"`{method.upper()} {path}`", facts.get("summary", ""))
        for path, methods in describe(needs_key=False)["paths"].items()
        for method, facts in methods.items()
        if isinstance(facts, dict)
    ]
    return table(("route", "what it does"), rows)


# ---------------------------------------------------------------- messages


@dataclass(frozen=True, slots=True)
class Declared:
    """One declaration of a .proto file with the comment above it; `depth` counts the braces around it."""

    text: str
    comment: str
    depth: int


def messages() -> str:
    """Writes services and messages of the .proto files, each with its comments."""
    files = [path.read_text("utf-8") for path in sorted(PROTO.glob("*.proto"))]
    return "\n\n".join(_written(block) for text in files for block in _blocks(text))


def _blocks(text: str) -> Iterator[list[Declared]]:
    """Yields each service and message with its members."""
    block: list[Declared] = []
    comment: list[str] = []
    depth = 0
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("//"):
            comment.append(line[2:].strip())
            continue
        if block or re.match(r"(service|message|enum) ", line):
            if line not in ("", "}"):
                block.append(Declared(line.rstrip(" {"), " ".join(comment), depth))
            depth += line.count("{") - line.count("}")
            if block and depth == 0:
                yield block
                block = []
        comment = []


def _written(block: list[Declared]) -> str:
    head, members = block[0], block[1:]
    lines = [f"## {head.text.split()[1].rstrip('{} ')}", "", head.comment]
    if members:
        lines += ["", table(("member", "meaning"), ((f"`{one.text.rstrip(';')}`", one.comment) for one in members))]
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    one.__name__: one for one in (settings, options, commands, metrics, errors, routes, messages)
}
