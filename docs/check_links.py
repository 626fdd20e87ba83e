"""Checks the links of the repository's pages: relative ones must lead to a file and a heading that exist.

    python docs/check_links.py                           # the pages of the repository; `make check` runs it
    python docs/check_links.py --site build/site         # what the built site would fetch from elsewhere

Links to other hosts are checked for their form only; nothing is fetched. Exits 1 and prints a line for each bad link.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "examples", "router/models", "training")
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]*)\)")
HEADING = re.compile(r"#{1,6}\s+(.+?)\s*#*$")
FENCE = re.compile(r"\s*(```|~~~)")
CODE = re.compile(r"`(?:[^`\n]|\n(?!\n))*`")
# What a browser loads by itself; a link that a reader follows is not among it.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


@dataclass(frozen=True, slots=True)
class BadLink:
    """A link that leads nowhere, and why."""

    page: Path
    line: int
    target: str
    reason: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.target}: {self.reason}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what is wrong; returns 1 if anything is."""
    parser = argparse.ArgumentParser(description="Checks links.")
    parser.add_argument("--site", type=Path, help="a built site, to look for what it loads from other hosts")
    site = parser.parse_args(arguments).site
    bad: list[object] = list(foreign_resources(site)) if site else list(bad_links(ROOT))
    for one in bad:
        print(one, file=sys.stderr)
    return 1 if bad else 0


def bad_links(root: Path) -> Iterator[BadLink]:
    """Yields each bad link of the pages at the top of `root` and in FOLDERS."""
    pages = [*sorted(root.glob("*.md")), *(page for name in FOLDERS for page in sorted((root / name).rglob("*.md")))]
    for page in pages:
        for number, target in links(page.read_text(encoding="utf-8")):
            if reason := fault(page, target):
                yield BadLink(page.relative_to(root), number, target, reason)


def links(text: str) -> Iterator[tuple[int, str]]:
    """Yields the line and the target of each link outside code; a link's text may go on in the next line."""
    lines = [""] * (text.count("\n") + 2)
    for number, line in prose(text):
        lines[number] = line
    shown = CODE.sub(lambda match: "\n" * match[0].count("\n"), "\n".join(lines))
    for match in LINK.finditer(shown):
        yield shown.count("\n", 0, match.start()), match[1]


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yields the numbered lines that do not belong to a code block."""
    is_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            is_code = not is_code
        elif not is_code:
            yield number, line


def fault(page: Path, target: str) -> str:
    """Says what is wrong with a link of `page`; empty if nothing is."""
    parts = urlsplit(target)
    if parts.scheme == "mailto":
        return "" if "@" in parts.path else "an address needs an @"
    if parts.scheme or parts.netloc:
        return "" if parts.scheme in ("http", "https") and parts.netloc else "not an http or https address"
    if target.startswith("/"):
        return "starts at the root of a host; write it relative to this page"
    file = page.parent / parts.path if parts.path else page
    if not file.exists():
        return "no such file"
    if parts.fragment and (file.suffix != ".md" or parts.fragment not in anchors(file)):
        return f"{file.name} has no heading with this anchor"
    return ""


@cache
def anchors(page: Path) -> frozenset[str]:
    """Returns the anchors of a page's headings."""
    seen: dict[str, int] = {}
    found = []
    for _, line in prose(page.read_text(encoding="utf-8")):
        if match := HEADING.match(line):
            anchor = slug(match[1])
            times = seen[anchor] = seen.get(anchor, -1) + 1
            found.append(f"{anchor}-{times}" if times else anchor)
    return frozenset(found)


def slug(heading: str) -> str:
    """Returns the anchor that repository viewers and the site give a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def foreign_resources(site: Path) -> Iterator[str]:
    """Yields what the pages and styles of a built site load from other hosts."""
    for page in sorted(site.rglob("*.html")):
        reader = _Loaded()
        reader.feed(page.read_text(encoding="utf-8"))
        yield from (f"{page.relative_to(site)}: loads {address}" for address in reader.addresses)
    for style in sorted(site.rglob("*.css")):
        for address in re.findall(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')]+)""", style.read_text("utf-8")):
            yield f"{style.relative_to(site)}: loads {address}"


class _Loaded(HTMLParser):
    """Collects the addresses on other hosts that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(LOADED.get(tag, "")) or ""
        is_named_only = tag == "link" and given.get("rel") in ("canonical", "prev", "next")
        if re.match(r"(?:https?:)?//", address) and not is_named_only:
            self.addresses.append(address)


if __name__ == "__main__":
    sys.exit(main())
