"""Splits an SQL script into statements with exact offsets; skips the client commands and the data in dumps."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from shortlist.schemas.sql.script.lexing import Nesting, is_apostrophe, lexer_for
from shortlist.schemas.sql.script.quotes import resume_behind

__all__ = ["Statement", "split_statements"]

_ROUTINE = re.compile(
    r"(?:CREATE|ALTER)\s+(?:OR\s+(?:REPLACE|ALTER)\s+)?"
    r"(?:(?:EDITIONABLE|NONEDITIONABLE|AGGREGATE|TEMP|TEMPORARY|SECURE|CONSTRAINT|DEFINER\s*=\s*\S+)\s+){0,3}"
    r"(?:FUNCTION|PROC|PROCEDURE|TRIGGER|PACKAGE|EVENT|TASK|TYPE\s+BODY)\b",
    re.IGNORECASE,
)
_COPY = re.compile(r"COPY\b[^;']*\bFROM\s+STDIN\b", re.IGNORECASE)
_COPY_END = re.compile(r"^\\\.[^\n]*$", re.MULTILINE)
_BLOCK_EDGE = re.compile(
    r"(?P<quoted>--[^\n]*+|/\*.*?\*/|'[^']*+')|\b(?P<none>END\s+(?:IF|LOOP|WHILE|REPEAT|FOR)|BEGIN\s+(?:TRAN|TRANSACTION|WORK))\b"
    r"|\b(?P<open>BEGIN|CASE)\b|\b(?P<close>END(?:\s+CASE|\s+TRY|\s+CATCH)?)\b|(?P<semicolon>;)",
    re.IGNORECASE | re.DOTALL,
)
# Statements that no bracket can hold: an open one before them was never closed.
_NEVER_INSIDE = re.compile(r"CREATE\s|ALTER\s|INSERT\s|DROP\s|COMMENT\s", re.IGNORECASE)
# How often the rest of a script is read again because a quote in it does not close.
_MAX_RESCANS = 32
_AS = re.compile(r"\bAS\s+[eE]?\Z", re.IGNORECASE)
_MAX_ROUTINE_CHARS = 200_000
_MAX_ROUTINE_SCAN = 5_000_000
_TSQL = frozenset({"tsql", "fabric", ""})
# Statements behind which T-SQL may begin another one on the same line.
_ENDS_ANYWHERE = re.compile(
    r"(?:CREATE\s+TABLE|(?:ALTER|DROP)\s+(?:TABLE|VIEW)|IF|ELSE|BEGIN|END|PRINT|USE|SET|DECLARE|SELECT|INSERT|UPDATE|DELETE"
    r"|TRUNCATE|RAISERROR|EXEC|EXECUTE)\b",
    re.IGNORECASE,
)
_CONDITION = re.compile(r"(?:IF|ELSE|BEGIN)\b", re.IGNORECASE)
_ABOUT_TABLES = re.compile(r"\b(?:(?:CREATE|ALTER|DROP)\s+(?:TABLE|VIEW)|EXEC(?:UTE)?\s)", re.IGNORECASE)
# T-SQL ends a routine only at a line GO, Oracle at a line with a slash.
_UNIT_LINE_DIALECTS = frozenset({"tsql", "fabric", "oracle", ""})
_UNIT_LINE = re.compile(r"^[ \t]*(?:GO|/)[ \t\r]*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; `text` is ``script[start:end]`` and includes the semicolon.

    `leading` holds the comments directly above it, `trailing` the comment after it on its last line, as written.
    `open_quote` is the offset in the script of a quote that the statement does not close; negative if there is none.
    `is_continued` says that it ends where the next one begins, without a semicolon or a batch line.
    """

    index: int
    start: int
    end: int
    text: str
    leading: tuple[str, ...] = ()
    trailing: str = ""
    open_quote: int = -1
    is_continued: bool = False


def split_statements(script: str, dialect: str, *, start: int = 0) -> Iterator[Statement]:
    """Yields the statements of a script from offset `start` on, in order; reads the script only as far as needed."""
    return _Splitter(script, dialect, start).run()


class _Splitter:
    """Visits the landmarks of a script once. A statement ends at a semicolon, a batch line, or the next statement."""

    def __init__(self, script: str, dialect: str, start: int) -> None:
        self._script = script
        self._lexer = lexer_for(dialect)
        self._position = start  # where the search for the next landmark starts
        self._cursor = start  # everything before it is part of a statement or skipped
        self._start = -1  # of the current statement; negative between statements
        self._depth = 0
        self._open_quote = -1
        self._is_in_schema = False  # whether the statement is an element of a CREATE SCHEMA
        self._has_text_body = False  # whether the body of a routine is a string, which the lexer passes over
        self._rescans_left = _MAX_RESCANS * len(script)
        self._comments: list[tuple[int, int]] = []
        self._inner_comments: list[tuple[int, int]] = []  # of the current statement
        self._statements: list[Statement] = []  # complete, not yet yielded
        self._num_statements = 0
        self._unit_lines: list[int] | None = None if dialect in _UNIT_LINE_DIALECTS else []
        self._routine_budget = _MAX_ROUTINE_SCAN
        self._is_tsql = dialect in _TSQL
        self._nesting = Nesting(script)
        self._may_have_copy_end = True
        self._steps: dict[str, Callable[[re.Match[str], int, int], None]] = {
            "comment": self._comment,
            "open": self._open,
            "close": self._close,
            "begin": self._begin,
            "element": self._element,
            "semicolon": self._semicolon,
            "batch": self._break,
            "slash": self._break,
            "client": self._client,
            "delimiter": self._delimiter,
        }

    def run(self) -> Iterator[Statement]:
        while match := self._lexer.landmarks.search(self._script, self._position):
            kind, begin = str(match.lastgroup), match.start()
            self._position = self._lexer.comment_end(match, self._nesting) if kind == "comment" else match.end()
            self._note_start(begin)
            if kind in ("string", "name", "comment") and self._is_mistake(match, kind):
                continue
            if kind in self._steps:
                self._steps[kind](match, begin, self._position)
            elif self._start >= 0:
                self._has_text_body = self._has_text_body or _is_body(self._script, begin)
            else:
                self._start = begin  # a quoted name or string, or a comment that MySQL executes
            while len(self._statements) > 1:  # a comment may still follow the last one on its line
                yield self._statements.pop(0)
        self._note_start(len(self._script))
        self._finish(len(self._script))
        yield from self._statements

    def _is_mistake(self, match: re.Match[str], kind: str) -> bool:
        """Whether a quote does not open what it seems to; the search then goes on behind the quote or the statement."""
        begin = match.start()
        if kind == "string" and is_apostrophe(self._script, begin):
            self._position = begin + 1
            return True
        if self._rescans_left < 0:
            return False
        if match.end() == len(self._script):
            self._rescans_left -= match.end() - begin
        resume = resume_behind(self._script, match, kind, self._start)
        if resume < 0:
            return False
        self._start, self._open_quote = begin if self._start < 0 else self._start, begin
        self._finish(resume)
        self._position = self._script.rfind("\n", 0, resume) + 1  # the landmark of a statement begins at its line
        return True

    def _note_start(self, before: int) -> None:
        if self._start < 0 and (found := re.compile(r"\S").search(self._script, self._cursor, before)):
            self._start = found.start()

    def _comment(self, match: re.Match[str], begin: int, end: int) -> None:
        if self._start >= 0:
            self._inner_comments.append((begin, end))
            return
        last = self._statements[-1] if self._statements else None
        if last and not last.trailing and "\n" not in self._script[last.end : begin]:
            self._statements[-1] = replace(last, trailing=match[0])
        else:
            self._comments.append((begin, end))
        self._cursor = end

    def _open(self, match: re.Match[str], begin: int, end: int) -> None:
        self._start = begin if self._start < 0 else self._start
        self._depth += 1

    def _close(self, match: re.Match[str], begin: int, end: int) -> None:
        self._depth = max(0, self._depth - 1)

    def _begin(self, match: re.Match[str], begin: int, end: int) -> None:
        verb = match.start("verb") if match["verb"] else match.start("condition")
        if (
            0 <= self._start < verb
            and (self._depth == 0 or _NEVER_INSIDE.match(match["verb"] or ""))
            and not self._is_routine()
        ):
            above = self._comments_above(verb)
            self._finish(verb, is_continued=True)
            self._comments = above  # without a semicolon, the comment above a statement lies in the one before it
        self._start = verb if self._start < 0 else self._start

    def _comments_above(self, verb: int) -> list[tuple[int, int]]:
        """Returns the comments on lines of their own between the last code of the current statement and `verb`."""
        kept: list[tuple[int, int]] = []
        for start, end in reversed(self._inner_comments):
            line = self._script.rfind("\n", 0, start) + 1
            if self._script[line:start].strip() or self._script[end:verb].strip():
                break
            kept.append((start, end))
            verb = start
        return kept[::-1]

    def _element(self, match: re.Match[str], begin: int, end: int) -> None:
        """Splits at CREATE SCHEMA, and before the elements that follow it on its line."""
        is_schema = match[0].lstrip()[6:].lstrip()[:6].upper() == "SCHEMA"
        if not is_schema and not (self._depth == 0 and (self._is_in_schema or self._may_end(begin))):
            self._start = begin + 1 if self._start < 0 else self._start
            return
        if 0 <= self._start < begin:
            self._finish(begin, is_continued=True)
        self._start, self._is_in_schema = begin if is_schema else begin + 1, is_schema or self._is_in_schema
        if is_schema:
            self._finish(end, is_continued=True)
            self._position = end

    def _may_end(self, at: int) -> bool:
        """Whether T-SQL's current statement may end at a blank within a line: it needs no semicolon before the next."""
        if not self._is_tsql or self._start < 0 or not _ENDS_ANYWHERE.match(self._script, self._start):
            return False
        # What follows a condition belongs to it, but not a second statement.
        is_condition = _CONDITION.match(self._script, self._start)
        return not is_condition or _ABOUT_TABLES.search(self._script, self._start, at) is not None

    def _semicolon(self, match: re.Match[str], begin: int, end: int) -> None:
        # Inside brackets a semicolon is an error. It ends the statement, so that only this one is lost.
        if self._is_routine() and not self._has_text_body:
            end = self._routine_end(end)
        self._is_in_schema = False
        is_copy = self._start >= 0 and _COPY.match(self._script, self._start, end)
        self._finish(end)
        if is_copy and self._may_have_copy_end:
            data_end = _COPY_END.search(self._script, end)
            self._may_have_copy_end = data_end is not None  # or each COPY would search to the end of the script
            self._cursor = data_end.end() if data_end else self._cursor
        self._position = max(self._position, self._cursor)

    def _break(self, match: re.Match[str], begin: int, end: int) -> None:
        self._finish(begin)
        self._cursor = end

    def _client(self, match: re.Match[str], begin: int, end: int) -> None:
        if self._start >= 0 and match[0].startswith("."):
            self._position = begin + 1  # a dotted name continues on this line
        else:
            self._break(match, begin, end)

    def _delimiter(self, match: re.Match[str], begin: int, end: int) -> None:
        self._break(match, begin, end)
        mark = match["delimiter_mark"]
        if mark == ";":
            return
        reset = re.compile(r"^[ \t]*DELIMITER[ \t]+;", re.MULTILINE | re.IGNORECASE).search(self._script, end)
        until = reset.start() if reset else len(self._script)
        while (stop := self._script.find(mark, self._cursor, until)) >= 0:
            self._note_start(stop)
            self._finish(stop)
            self._cursor = stop + len(mark)
        self._position = self._cursor = until

    def _is_routine(self) -> bool:
        return self._start >= 0 and _ROUTINE.match(self._script, self._start) is not None

    def _routine_end(self, end: int) -> int:
        if self._unit_lines is None:
            self._unit_lines = [match.start() for match in _UNIT_LINE.finditer(self._script)]
        following = bisect_left(self._unit_lines, end)
        if following < len(self._unit_lines) and self._unit_lines[following] < self._start + _MAX_ROUTINE_CHARS:
            return self._unit_lines[following]
        depth, limit = 0, self._start + max(0, min(self._routine_budget, _MAX_ROUTINE_CHARS))
        for edge in _BLOCK_EDGE.finditer(self._script, self._start, limit):
            depth += {"open": 1, "close": -1}.get(str(edge.lastgroup), 0)
            if edge.lastgroup == "semicolon" and depth <= 0 and edge.end() >= end:
                return edge.end()
        self._routine_budget -= limit - self._start  # the end was not found
        return end

    def _finish(self, end: int, *, is_continued: bool = False) -> None:
        if self._start >= 0:
            text = self._script[self._start : end].rstrip()
            leading, stop = tuple(self._leading_comments()), self._start + len(text)
            self._statements.append(
                Statement(
                    self._num_statements,
                    self._start,
                    stop,
                    text,
                    leading,
                    open_quote=self._open_quote,
                    is_continued=is_continued,
                )
            )
            self._num_statements += 1
        self._start, self._depth, self._comments, self._cursor, self._open_quote = -1, 0, [], end, -1
        self._has_text_body, self._inner_comments = False, []

    def _leading_comments(self) -> list[str]:
        below, kept = self._start, []
        for begin, end in reversed(self._comments):
            if self._script.count("\n", end, below) > 1:
                break  # a comment above a blank line is not about this statement
            kept.append(self._script[begin:end])
            below = begin
        return kept[::-1]


def _is_body(script: str, begin: int) -> bool:
    """Returns whether a quote opens the body of a routine: a dollar quote does, and any string behind AS."""
    return script[begin] == "$" or _AS.search(script, max(0, begin - 40), begin) is not None
