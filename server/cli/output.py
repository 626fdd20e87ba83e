"""Prints selections and facts about the model, as readable tables or as proto3 JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from google.protobuf import json_format
from google.protobuf.message import Message as ProtoMessage

from shortlist.schemas.document import Unparsed
from shortlist.schemas.results import Selected, Selection, ServerInfo

__all__ = ["drop_output", "print_info", "print_json", "print_notes", "print_rows", "print_selection", "print_values"]

_BAR_CELLS = 10
_EIGHTHS = " ▏▎▍▌▋▊▉"
_PLAIN_WIDTH = 100
_STAGES = ("queue", "parse", "retrieve", "tokenize", "infer")


def drop_output() -> None:
    """Redirects stdout to the null device once its reader is gone: flushing the buffer at exit must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(response: ProtoMessage) -> None:
    """Prints a response as proto3 JSON, names in snake case, defaults included."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json_format.MessageToJson(
        response,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        ensure_ascii=not is_unicode,
    )
    print(text)


def print_values(values: Sequence[tuple[str, object, str]], *, as_json: bool) -> None:
    """Prints names with their values and the source of each value."""
    if as_json:
        print(json.dumps({name: {"value": value, "source": source} for name, value, source in values}, indent=2))
        return
    print_rows([(name, str(value), source) for name, value, source in values])


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of equal length, with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        _print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def print_selection(selection: Selection, *, noun: str) -> None:
    """Prints the ranked items as a table, and counts and times below it; `noun` names the items, in the plural."""
    for line in _table(selection.items):
        _print(line)
    if selection.items:
        _print("")
    _print(_summary(selection, noun))


def print_notes(selection: Selection, *, locate: Callable[[Unparsed], str]) -> None:
    """Prints to stderr what was left out or cut, and warnings; `locate` says where an unparsed item is."""
    for unparsed in selection.unparsed:
        name = f" {unparsed.name}" if unparsed.name else ""
        _print(f"left out{name} ({locate(unparsed)}): {unparsed.reason}", to_stderr=True)
    for cut in selection.truncated:
        name = "the query" if cut.index < 0 else cut.name or f"document {cut.index}"
        _print(f"cut {name}: {cut.kept_tokens} of {cut.total_tokens} tokens scored", to_stderr=True)
    for warning in selection.warnings:
        _print(f"warning: {warning}", to_stderr=True)


def print_info(info: ServerInfo) -> None:
    """Prints facts about the model and the server, one per line."""
    limit = f"{info.max_message_bytes // (1024 * 1024)} MiB per message" if info.max_message_bytes else "none"
    model = info.model
    facts = [
        ("model", f"{model.name} {model.version}"),
        ("license", model.license or "unknown"),
        ("parameters", f"{model.num_parameters:,}"),
        ("vocabulary", f"{model.vocabulary_size:,}"),
        ("query tokens", f"{model.default_query_tokens} by default, at most {model.max_query_tokens}"),
        ("pair tokens", f"{model.default_pair_tokens} by default, at most {model.max_pair_tokens}"),
        ("runs on", f"{model.device}, {model.dtype}, attention {model.attention}"),
        ("limit", limit),
        ("shortlist", info.server_version),
        ("dialects", ", ".join(info.dialects)),
    ]
    for name, fact in facts:
        _print(f"{name:<14}{fact}")


def _table(items: Sequence[Selected]) -> Iterator[str]:
    rank_width = len(str(len(items)))
    room = _line_width() - rank_width - _BAR_CELLS - len("  0.000  ") - 2
    for item in items:
        mark = _mark(item)
        label = _cut(_label(item), room - len(mark)) + mark
        yield f"{item.rank:>{rank_width}}  {item.score:.3f}  {_bar(item.score)}  {label}".rstrip()
        if item.columns:
            indent = " " * (rank_width + len("  0.000  ") + _BAR_CELLS + 2)
            names = ", ".join(column.name for column in item.columns)
            yield from textwrap.wrap(names, _line_width(), initial_indent=indent, subsequent_indent=indent)


def _mark(item: Selected) -> str:
    number = len(item.members)
    members = f" ({number:,} {'partition' if number == 1 else 'partitions'})" if number else ""
    return f"{members}  (always included)" if item.always_included else members


def _label(item: Selected) -> str:
    if not item.name:
        return item.source or f"document {item.index}"
    is_qualified = not item.namespace or item.name.startswith(
        f"{item.namespace}."
    )  # a table's name includes its schema
    return item.name if is_qualified else f"{item.namespace}.{item.name}"


def _bar(score: float) -> str:
    """Draws a score of 0..1 in eighths of a cell."""
    full, eighths = divmod(round(score * _BAR_CELLS * 8), 8)
    return ("█" * full + _EIGHTHS[eighths]).ljust(_BAR_CELLS)[:_BAR_CELLS]


def _summary(selection: Selection, noun: str) -> str:
    dropped = f", {selection.num_dropped} dropped by the first stage" if selection.num_dropped else ""
    left_out = f", {len(selection.unparsed)} left out" if selection.unparsed else ""
    stages = ", ".join(f"{stage} {getattr(selection.timings, f'{stage}_ms'):.0f}" for stage in _STAGES)
    return (
        f"{len(selection.items)} of {selection.num_candidates} {noun} "
        f"({selection.num_scored} scored{dropped}{left_out}) · "
        f"{selection.num_tokens:,} tokens · {selection.timings.total_ms:.0f} ms ({stages}) · "
        f"{selection.model_name} {selection.model_version}"
    )


def _line_width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH


def _cut(text: str, width: int) -> str:
    """Shortens a text to `width` terminal cells; wide East Asian characters take two."""
    text = _visible(text[: 4 * max(width, 1)])
    if sum(map(_cells, text)) <= width:
        return text
    kept, room = "", max(width - 1, 1)
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        kept += character
    return kept + "…"


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _visible(text: str) -> str:
    """Replaces control characters: names are untrusted, and control sequences would change the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _print(line: str, *, to_stderr: bool = False) -> None:
    stream = sys.stderr if to_stderr else sys.stdout
    encoding = stream.encoding or "utf-8"
    print(_visible(line).encode(encoding, "replace").decode(encoding), file=stream)
