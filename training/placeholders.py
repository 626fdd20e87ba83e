"""Draws tools and passages that say nothing, as unfinished catalogs and indexes hold them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from shortlist.schemas.document import Tool

__all__ = ["draw_placeholders"]

SHARE, MOST = 0.3, 3
PASSAGES = [
    "N/A",
    "n/a",
    "TODO",
    "TBD",
    "tbd",
    "None",
    "null",
    "undefined",
    "-",
    "...",
    "?",
    "test",
    "Test 1",
    "asdf",
    "foo bar",
    "Untitled",
    "Draft",
    "Lorem ipsum dolor sit amet",
    "No description available.",
    "Coming soon",
    "see above",
    "ok",
    "0",
    "[deleted]",
    "(empty)",
    "Error",
    "This page was intentionally left blank.",
    "Loading…",
    "404 Not Found",
    "Description",
    "k. A.",
    "siehe oben",
    "keine Angabe",
    "sin descripción",
    "à compléter",
    "нет данных",
    "待补充",
    "暂无",
    "なし",
    "لا يوجد",
]
NAMES = [
    "_",
    "run",
    "exec",
    "execute",
    "tool",
    "tool_1",
    "tool_3",
    "function",
    "func",
    "fn",
    "f",
    "x",
    "a",
    "do",
    "main",
    "call",
    "handler",
    "handle",
    "test",
    "untitled",
    "my_tool",
    "new_tool",
    "custom",
    "action",
    "task",
    "default",
    "temp",
    "step_2",
]
DESCRIPTIONS = [
    "",
    "",
    "",
    "",
    "TODO",
    "A tool.",
    "No description",
    "N/A",
    "This is a tool",
    "Description of the function",
    "...",
]


def draw_placeholders(kind: str, rng: random.Random) -> Sequence[Tool | str]:
    """Returns up to `MOST` of them for a pool of `kind` ("tools" or "documents"), and mostly none; tables have none."""
    if kind == "tables" or rng.random() >= SHARE:
        return ()
    count = rng.randint(1, MOST)
    if kind == "documents":
        return rng.sample(PASSAGES, count)
    return [Tool(name, rng.choice(DESCRIPTIONS)) for name in rng.sample(NAMES, count)]
