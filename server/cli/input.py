"""Reads tools, DDL and documents from files, folders and stdin, for the command line."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shortlist.schemas.errors import InvalidInput
from shortlist.server.cli.encoding import decode

__all__ = ["Script", "ToolTexts", "read_documents", "read_script", "read_tool_texts"]

STDIN = "-"
_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Script:
    """DDL joined from several files; `first_lines[i]`, from 1, is where `names[i]` begins in `text`."""

    text: str
    names: tuple[str, ...]
    first_lines: tuple[int, ...]

    def locate(self, line: int) -> tuple[str, int]:
        """Returns the file that a line of `text` comes from, and the line number in it."""
        place = bisect_right(self.first_lines, line) - 1
        return self.names[place], line - self.first_lines[place] + 1


@dataclass(frozen=True, slots=True)
class ToolTexts:
    """Tool texts; `places[i]` is the file of `texts[i]`, and its line if the file holds several texts."""

    texts: list[str]
    places: list[tuple[str, int | None]]

    def locate(self, text_index: int, line: int) -> str:
        """Returns where a line of a text is, as FILE:LINE; line 0 means the text as a whole."""
        name, own_line = self.places[text_index]
        at = own_line or line
        return f"{name}:{at}" if at else name


def read_tool_texts(paths: Sequence[str], *, encoding: str = "") -> ToolTexts:
    """Reads tool texts: a `*.json` file is one text, a `*.jsonl` file one per line, a folder all such files below it.

    Raises:
        InvalidInput: a path cannot be read, or a folder holds no such file.
    """
    found = ToolTexts([], [])
    for name, text in _read(paths, suffixes=(".json", ".jsonl"), encoding=encoding):
        lines: Iterable[tuple[int | None, str]] = _lines(text) if name.endswith(".jsonl") else [(None, text)]
        for number, part in lines:
            found.texts.append(part)
            found.places.append((name, number))
    return found


def read_script(paths: Sequence[str], *, encoding: str = "") -> Script:
    """Reads DDL and joins it in order; for a folder, all `*.sql` files below it.

    Raises:
        InvalidInput: a path cannot be read, or a folder holds no such file.
    """
    names, first_lines, parts = [], [], []
    line = 1
    for name, text in _read(paths, suffixes=(".sql",), encoding=encoding):
        # A file may lack the last semicolon; its last statement must not run into the next file's first.
        part = text if text.rstrip().endswith(";") else text + "\n;"
        names.append(name)
        first_lines.append(line)
        parts.append(part)
        line += part.count("\n") + 1
    text = parts[0].removesuffix("\n;") if len(parts) == 1 else "\n".join(parts)
    return Script(text, tuple(names), tuple(first_lines))


def read_documents(paths: Sequence[str], *, encoding: str = "") -> list[str]:
    """Reads documents, one per line without blank lines; for a folder, all `*.txt` files below it.

    Raises:
        InvalidInput: a path cannot be read, or a folder holds no such file.
    """
    return [line for _, text in _read(paths, suffixes=(".txt",), encoding=encoding) for _, line in _lines(text)]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yields the lines that are not blank, with their numbers."""
    # Not splitlines(): it also splits at form feeds and U+2028, which JSON and prose may contain.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.removesuffix("\r")


def _read(paths: Sequence[str], *, suffixes: tuple[str, ...], encoding: str) -> Iterator[tuple[str, str]]:
    for path in paths or [STDIN]:
        if path == STDIN:
            yield "stdin", decode(sys.stdin.buffer.read(), "stdin", encoding)
        else:
            for file in _files(Path(path), suffixes):
                yield str(file), _read_file(file, encoding)


def _files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    try:
        is_folder = path.is_dir()
    except OSError as error:  # a text given instead of a path is too long for a path
        problem = f"is not a path: {error.strerror}; pipe text into stdin"
        raise InvalidInput(problem, field=f"{str(path)[:_SHOWN_CHARS]}…") from error
    if not is_folder:
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    if not files:
        wanted = " or ".join(f"*{suffix}" for suffix in suffixes)
        raise InvalidInput(f"the folder holds no {wanted} file", field=str(path))
    return files


def _read_file(file: Path, encoding: str) -> str:
    try:
        return decode(file.read_bytes(), str(file), encoding)
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(file)) from error
