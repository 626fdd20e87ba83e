"""Lays out the site's pages under a folder: the committed ones, those from beside docs/, and the generated parts.

    python docs/generate.py [FOLDER]                     # build/docs unless told otherwise; `make docs` runs it

Pages of the repository link to each other by their places in it. Here each link is written as the site needs it; a link
to a file that is not on the site becomes plain text. A line `<!-- generated: NAME -->` is replaced by what the function
NAME in `generated.py` returns.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Pages that stand elsewhere in the repository, and their names on the site. What does not exist is left out.
OUTSIDE = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/README.md": "examples.md",
    "router/models/shortlist-small/README.md": "model-card.md",
    "training/RUNS.md": "training.md",
}
MARKER = re.compile(r"^<!-- generated: (\w+) -->$", re.M)
# A block of code, code in a line, or a link, whose text may go on in the next line.
LINK = re.compile(
    r"^```.*?^```|`(?:[^`\n]|\n(?!\n))*`|(?P<bang>!?)\[(?P<label>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)",
    re.M | re.S,
)


def main(folder: Path) -> None:
    """Writes every page below `folder`, which is emptied first."""
    from generated import PARTS

    shutil.rmtree(folder, ignore_errors=True)
    pages = site_pages()
    for source, place in pages.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".md"):
            text = (ROOT / source).read_text(encoding="utf-8")
            target.write_text(fill(relink(text, source, pages), PARTS), encoding="utf-8")
        else:
            shutil.copy2(ROOT / source, target)


def site_pages() -> dict[str, str]:
    """Returns the place on the site of every file that is on it, by its place in the repository."""
    docs = [path for path in sorted((ROOT / "docs").rglob("*")) if path.suffix in (".md", ".png", ".svg", ".css")]
    inside = {path.relative_to(ROOT).as_posix(): path.relative_to(ROOT / "docs").as_posix() for path in docs}
    return inside | {source: place for source, place in OUTSIDE.items() if (ROOT / source).exists()}


def relink(text: str, source: str, pages: Mapping[str, str]) -> str:
    """Rewrites the links of the page `source` for its place on the site, outside code blocks."""

    def rewrite(match: re.Match[str]) -> str:
        bang, label, target = match["bang"], match["label"], match["target"] or ""
        path, _, anchor = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return match[0]
        place = pages.get(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
        if place is None:
            return f"`{label}`" if label == path else label
        here = posixpath.dirname(pages[source]) or "."
        return f"{bang}[{label}]({posixpath.relpath(place, here)}{'#' + anchor if anchor else ''})"

    return LINK.sub(rewrite, text)


def fill(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """Replaces each marker by its generated part."""
    return MARKER.sub(lambda match: parts[match[1]](), text)


if __name__ == "__main__":
    os.environ |= {"COLUMNS": "92", "NO_COLOR": "1"}  # argparse wraps its help at COLUMNS
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/docs")
