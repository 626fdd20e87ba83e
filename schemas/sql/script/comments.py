"""Cleans the comments of scripts: marks, ruled lines, captions of tools and banners of files describe no table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from shortlist.schemas.sql.script.captions import is_caption

__all__ = ["clean_comment", "join_comments"]

# Lines that steer a tool: Liquibase, goose, sql-migrate, dbmate, Flyway, Evolutions, Drizzle, Db2.
_DIRECTIVE = re.compile(
    r"liquibase formatted|changeset [^\s:]+:|(?:rollback|preconditions?|validchecksum|labels|context|property name=)\b|"
    r"\+\s?(?:goose|migrate|micrate|up|down|dbmate|begin|end)\b|migrate:(?:up|down)|flyway|#?\s?!(?:ups|downs)$|(?:ups|downs)$|"
    r"@(?:up|down|undo)\b|> statement-breakpoint|#?set terminator\b|<scriptoptions\b",
    re.IGNORECASE,
)
_CHANGE = re.compile(r"changeset [^\s:]+:", re.IGNORECASE)
# What a change of Liquibase says of itself.
_CHANGE_TEXT = re.compile(r"comment:?\s+", re.IGNORECASE)
# Comments that MySQL and TiDB execute, and hints for optimisers.
_EXECUTED = re.compile(r"/\*(?:[MT]?!|\+)")
# Words in the comment at the top of a file that show that it is about the file.
_BANNER = re.compile(
    r"\b(?:copyright|licen[cs]ed?|generated|generator|version|v\d+\.\d+|scripts?|ddl|dump|migrations?|schemas?|databases?|"
    r"tables|authors?|created? (?:by|on|at|date)|do not edit|host|server|date:|file:|encoding|dialect)\b|"
    r"\(c\)|^\s*use\b|^\s*set\b",
    re.IGNORECASE,
)
# A line of such a comment that goes on with its list, as in "File: a.sql" and then "Purpose: …".
_FIELD = re.compile(r"(?!description|comment|table)[^\W\d][\w ]{0,20}:\s", re.IGNORECASE)
# Marks that decorate a line: of a ruler or a box, or several of them.
_MARKS = r"-=*#~+|/\\─━═│┃║┌┐└┘├┤╔╗╚╝╠╣█▀▄•"
_DECORATION = re.compile(
    rf"^(?:[{_MARKS}]++(?:\s+|$)|[{_MARKS}]{{2,}}+)++|(?<!\s)\s++[|*=~│┃║]$|(?<![{_MARKS}])[{_MARKS}]{{2,}}+$"
)


def join_comments(comments: Sequence[str]) -> str:
    """Joins comments in order, without repetitions."""
    return " ".join(dict.fromkeys(filter(None, comments)))


def clean_comment(comments: Sequence[str], *, table: str = "", is_first: bool = False) -> str:
    """Joins comments into one line of text, without comment marks, ruled lines, captions and directives of tools.

    `table` is the name of the table that the comments are above; empty for those of columns. With `is_first`, they are
    at the top of a file: what is above the last line about the file is left out.
    """
    lines = [line for comment in comments for line in _comment_lines(comment)]
    if changes := [i for i, line in enumerate(lines) if _CHANGE.match(line)]:
        lines = [_CHANGE_TEXT.sub("", line, count=1) for line in lines[changes[-1] + 1 :]]
    elif is_first:
        lines = list(_below_banner(lines, table))
    return " ".join(line for line in lines if _says_something(line, table))


def _below_banner(lines: Sequence[str], table: str) -> Iterator[str]:
    ends = [i for i, line in enumerate(lines) if _is_banner(line, table)]
    start = ends[-1] + 1 if ends else 0
    is_list = bool(ends) and _FIELD.match(lines[ends[-1]]) is not None
    for line in lines[start:]:
        is_list = is_list and _FIELD.match(line) is not None
        if not is_list:
            yield line


def _is_banner(line: str, table: str) -> bool:
    has_words = re.search(r"\w", line) is not None
    return has_words and (_DIRECTIVE.match(line) is not None or is_caption(line, table) or bool(_BANNER.search(line)))


def _says_something(line: str, table: str) -> bool:
    return re.search(r"[^\W_]", line) is not None and not is_caption(line, table) and not _DIRECTIVE.match(line)


def _comment_lines(comment: str) -> list[str]:
    if _EXECUTED.match(comment):
        return []
    if comment.startswith("/*"):
        inner = comment[2:-2] if comment.endswith("*/") else comment[2:]
        return [_undecorated(line.strip(" \t\r*")) for line in inner.split("\n")]
    return [_undecorated(re.sub(r"^(?:--+|#+|//+)[ \t!]*", "", comment).strip())]


def _undecorated(line: str) -> str:
    return _DECORATION.sub("", line).rstrip()
