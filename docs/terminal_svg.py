"""Draws what a program printed to a terminal as an SVG picture.

    script -qec "make demo" /dev/null | python docs/terminal_svg.py docs/demo.svg --prompt "make demo" --until German

It reads text with terminal styles on stdin, and knows bold, dim and cyan. Each run of characters is as wide as its
cells, so that columns line up whatever font the reader has.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

STYLES = {"1": 'class="bold"', "2": 'class="dim"', "36": 'class="cyan"'}
SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")
CELL, LINE, MARGIN = 7.8, 18, 16
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}"
  viewBox="0 0 {width:.0f} {height}" role="img" aria-label="{label}"><style>
  text {{ font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d8dee9; white-space: pre }}
  .bold {{ font-weight: bold; fill: #fff }} .dim {{ fill: #8b95a7 }}
  .cyan {{ fill: #88c0d0 }} .prompt {{ fill: #a3be8c }}
</style><rect width="100%" height="100%" rx="8" fill="#22272e"/>
"""


def main() -> None:
    """Reads stdin and writes the picture."""
    parser = argparse.ArgumentParser(description="Draws terminal output as SVG.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--prompt", default="", help="the command to show on the first line")
    parser.add_argument("--until", default="", help="leave out the first line with this text, and all below it")
    options = parser.parse_args()
    lines = list(cleaned(sys.stdin.buffer.read().decode().split("\n"), options.until))
    options.out.write_text(draw(lines, options.prompt), encoding="utf-8")


def cleaned(lines: Iterable[str], until: str) -> Iterator[str]:
    """Yields the lines as a terminal shows them in the end, empty ones at either end left out."""
    kept: list[str] = []
    for line in lines:
        if until and until in line:
            break
        kept.append(line.rstrip("\r").split("\r")[-1].replace("\x1b[K", "").rstrip())
    while kept and not kept[0]:
        kept.pop(0)
    while kept and not kept[-1]:
        kept.pop()
    yield from kept


def draw(lines: list[str], prompt: str) -> str:
    """Returns the picture."""
    rows = [list(runs(line)) for line in lines]
    widest = max((column + cells(text) for row in rows for column, text, _ in row), default=0)
    width, height = widest * CELL + 2 * MARGIN, (len(rows) + 1 + bool(prompt)) * LINE + MARGIN
    drawn = [HEAD.format(width=width, height=height, label=escape(f"Output of {prompt}", quote=True))]
    if prompt:
        rows.insert(0, [(0, f"$ {prompt}", 'class="prompt"')])
    for number, row in enumerate(rows, 1):
        for column, text, style in row:
            place = f'x="{MARGIN + column * CELL:.1f}" y="{number * LINE + MARGIN / 2:.0f}"'
            length = f'textLength="{cells(text) * CELL:.1f}" lengthAdjust="spacingAndGlyphs"'
            drawn.append(f"<text {place} {length} {style}>{escape(text)}</text>\n".replace(" >", ">"))
    return "".join([*drawn, "</svg>\n"])


def runs(line: str) -> Iterator[tuple[int, str, str]]:
    """Yields the words of a line that belong together: their column, text and style."""
    column, style, at = 0, "", 0
    pieces: list[tuple[str, str]] = []
    for match in SEQUENCE.finditer(line):
        pieces.append((line[at : match.start()], style))
        style, at = STYLES.get(match[1], "") if match[2] == "m" else style, match.end()
    pieces.append((line[at:], style))
    for text, styled in pieces:
        for run in re.findall(r" +|\S+(?: \S+)*", text):
            if run.strip():
                yield column, run, styled
            column += cells(run)


def cells(text: str) -> int:
    """Counts the columns that a text takes."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


if __name__ == "__main__":
    main()
