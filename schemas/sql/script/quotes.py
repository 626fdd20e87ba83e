"""Decides whether a quote that includes the beginning of another statement is meant to, or was never closed."""

from __future__ import annotations

import re

from shortlist.schemas.sql.script.lexing import words

__all__ = ["next_statement_line", "resume_behind"]

# A line that begins a statement about tables, functions or rows.
_STATEMENT_LINE = re.compile(
    r"^[ \t]*(?=(?:CREATE\s+(?:(?!CREATE\b)\w+\s+){0,5}?(?:TABLE|VIEW|INDEX|TYPE|FUNCTION|PROCEDURE|TRIGGER|SEQUENCE"
    r"|SCHEMA)|ALTER\s+TABLE|COMMENT\s+ON|INSERT\s+INTO|DROP\s+(?:TABLE|VIEW|INDEX))\s)",
    re.MULTILINE | re.IGNORECASE,
)
_FIRST_WORD = re.compile(r"\W*(\w*)")
# Statements that hold long texts: bodies of functions, dynamic SQL, rows of data, comments.
_HOLDS_TEXT = words(
    "CREATE ALTER INSERT REPLACE UPDATE MERGE SELECT WITH VALUES EXEC EXECUTE CALL DO SET DECLARE COMMENT PREPARE "
    "BEGIN IF PRINT RAISERROR UPSERT RETURN"
)
# What may follow a string. After a quote that really opens the next string, that string's text follows.
_AFTER_STRING = re.compile(r"\s*(?:[,;)\]|=:+]|\Z|\s[A-Za-z(@/-])")
_ABOUT_TABLES = re.compile(r"(?:CREATE\s+(?:\w+\s+){0,5}?(?:TABLE|INDEX)|ALTER\s+TABLE)\s", re.IGNORECASE)
_OPENING = re.compile(r"\$\w*\$|/\*|[A-Za-z]{0,2}(['\"`\[])")


def next_statement_line(script: str, start: int, end: int) -> int:
    """Returns the offset of the first statement that begins a line of ``script[start:end]``; -1 if there is none."""
    line = _STATEMENT_LINE.search(script, start, end)
    return line.end() if line else -1


def resume_behind(script: str, quoted: re.Match[str], kind: str, statement_start: int) -> int:
    """Returns where to read on if a quoted text of the script is a mistake; -1 if it is sound.

    A string, a quoted name or a comment is a mistake if it never closes, or if it closes behind the first line of
    another statement and looks like the text between two strings. It then ends where that statement begins.
    """
    begin, end = quoted.start(), quoted.end()
    is_closed = _is_closed(quoted[0])
    if is_closed and (kind == "comment" or "\n" not in quoted[0]):
        return -1
    resume = next_statement_line(script, begin + 1, end)
    if resume < 0 or (is_closed and kind == "string" and _is_meant(script, begin, end, statement_start)):
        return -1
    return resume


def _is_closed(text: str) -> bool:
    opening = _OPENING.match(text)
    if opening is None:
        return True
    if text.startswith("/*"):
        return len(text) > 3 and text.endswith("*/")
    if text.startswith("$"):
        return len(text) > 2 * len(opening[0]) - 1 and text.endswith(opening[0])
    mark = "]" if opening[1] == "[" else opening[1]
    return len(text) > opening.end() and text.endswith(mark)


def _is_meant(script: str, begin: int, end: int, statement_start: int) -> bool:
    if statement_start < 0:
        return False
    if script[begin] == "$":
        return not _ABOUT_TABLES.match(script, statement_start)
    word = _FIRST_WORD.match(script, statement_start, begin)
    holds_text = word is not None and word[1].upper() in _HOLDS_TEXT
    return holds_text and _AFTER_STRING.match(script, end) is not None
