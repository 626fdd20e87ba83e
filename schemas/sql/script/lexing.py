"""Splits SQL text into tokens by the quoting and comment rules of a dialect. It accepts any text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from sqlglot.dialects.dialect import Dialect

__all__ = ["Lexer", "Nesting", "Token", "is_apostrophe", "lexer_for", "line_starts", "locate", "unquote", "words"]

_NESTED_EDGE = re.compile(r"/\*|\*/")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": ""}
# MySQL executes the content of these comments, so only their marks are tokens and the content is code.
_RUN_COMMENT = r"/\*M?!\d*|\*/"
_DOLLAR_QUOTE = r"(?<![\w$])\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)"
_ESCAPE_STRING = r"(?<!\w)[eE]'(?:[^'\\]++|\\.|'')*+(?:'|\Z)"
_ORACLE_STRING = (
    r"(?<!\w)[nN]?[qQ]'(?:\[.*?(?:\]'|\Z)|\{.*?(?:\}'|\Z)|\(.*?(?:\)'|\Z)|<.*?(?:>'|\Z)"
    r"|(?P<mark>[^\s\w'\[{(<]).*?(?:(?P=mark)'|\Z))"
)
# How often the lexer may read on to the end of a text for nested comments that are never closed.
_MAX_FAILED_SCANS = 16
_MYSQL_FAMILY = frozenset({"mysql", "doris", "starrocks"})
# Before a string without a blank between, only these words are SQL; after another word the mark is an apostrophe.
_MAX_PREFIX_CHARS = 24


def words(text: str) -> frozenset[str]:
    """Returns the words of a text as a set."""
    return frozenset(text.split())


_STRING_PREFIXES = words(
    "N E B X R Q G NQ GX UX RB BR DATE TIME TIMESTAMP TIMESTAMPTZ DATETIME INTERVAL JSON NUMERIC BYTES DEFAULT COMMENT "
    "TITLE FORMAT LABEL COLLATE AS IS IN LIKE ILIKE RLIKE REGEXP SIMILAR ESCAPE SEPARATOR DELIMITER QUOTE NULL NOT AND "
    "OR XOR THEN ELSE WHEN CASE BETWEEN ON BY TO FROM SELECT VALUES RETURN PRINT EXEC EXECUTE CONCAT LANGUAGE WITH "
    "USING SET ENUM CHARSET ENGINE LOCATION PASSWORD PATH TYPE ENCODING IDENTIFIED CONNECTION DIRECTORY"
)


class Token(NamedTuple):
    """One token.

    `kind` is ``word`` (a keyword or unquoted name), ``name`` (a quoted name), ``string``, ``number``, ``sign`` (one
    character), ``comment`` or ``run`` (the mark ``/*!`` of a comment that MySQL executes, and the end of one).
    """

    kind: str
    text: str
    start: int
    end: int

    @property
    def keyword(self) -> str:
        """The word in upper case; empty for every other kind of token."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def value(self) -> str:
        """The text without its quotes."""
        return unquote(self.text) if self.kind in ("name", "string") else self.text


@dataclass(frozen=True, slots=True)
class Lexer:
    """The token rules of one dialect; `landmarks` matches only the tokens that decide where statements end."""

    pattern: re.Pattern[str]
    landmarks: re.Pattern[str]
    has_nested_comments: bool
    has_backslash: bool

    def content(self, text: str) -> str:
        """Returns the value of a string literal."""
        return unquote(text, has_backslash=self.has_backslash)

    def tokens(self, text: str) -> Iterator[Token]:
        """Yields every token of the text in order, including comments but not white space."""
        position, nesting = 0, Nesting(text)
        while match := self.pattern.search(text, position):
            kind, start = str(match.lastgroup), match.start()
            position = self.comment_end(match, nesting) if kind == "comment" else match.end()
            if kind == "string" and is_apostrophe(text, start):
                kind, position = "sign", start + 1
            yield Token(kind, text[start:position], start, position)

    def comment_end(self, match: re.Match[str], nesting: Nesting) -> int:
        """Returns the end of a comment, counting the comments inside it if the dialect nests them."""
        text = match.string
        if not self.has_nested_comments or not text.startswith("/*", match.start()) or "/*" not in match[0][2:]:
            return match.end()
        end = nesting.end_from(match.start())
        return (
            match.end() if end < 0 else end
        )  # never closed: the first */ is a better guess than the end of the script


def is_apostrophe(text: str, at: int) -> bool:
    """Returns whether the quote at `at` is glued to a word before it, as in ``Bob's`` or ``5'``, so opens no string."""
    if text[at] not in "'\"" or at == 0 or not (text[at - 1].isalnum() or text[at - 1] == "_"):
        return False
    start = at
    while start > max(0, at - _MAX_PREFIX_CHARS) and (text[start - 1].isalnum() or text[start - 1] in "_&"):
        start -= 1
    word = text[start:at].upper()
    # MySQL writes a character set before a string: _utf8mb4'text'.
    return word not in _STRING_PREFIXES and not word.startswith("_") and not (text[at] == '"' and word.isalpha())


class Nesting:
    """Finds the ends of nested comments in one text; gives up after too many comments that are never closed."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._num_chars_left = _MAX_FAILED_SCANS * len(text)

    def end_from(self, start: int) -> int:
        """Returns the end of the comment at `start`; -1 if it is never closed or the search has been given up."""
        if self._num_chars_left <= 0:
            return -1
        depth = 0
        for edge in _NESTED_EDGE.finditer(self._text, start):
            depth += 1 if edge[0] == "/*" else -1
            if depth == 0:
                return edge.end()
        self._num_chars_left -= len(self._text) - start
        return -1


@cache
def lexer_for(dialect: str) -> Lexer:
    """Builds the lexer of a dialect from the quotes and comments that sqlglot lists for it."""
    rules = Dialect.get_or_raise(dialect or None).tokenizer_class
    has_backslash = "\\" in rules.STRING_ESCAPES
    identifiers = [mark if isinstance(mark, str) else mark[0] for mark in rules.IDENTIFIERS]
    quotes = [quote for quote in rules.QUOTES if isinstance(quote, str) and quote not in identifiers]
    comments = "|".join(_comment_patterns([mark for mark in rules.COMMENTS if isinstance(mark, str)]))
    strings = [_ESCAPE_STRING] if rules.BYTE_STRINGS or rules.HEREDOC_STRINGS else []
    strings += [_ORACLE_STRING] if dialect == "oracle" else []
    strings += [_DOLLAR_QUOTE] if rules.HEREDOC_STRINGS or "$$" in rules.RAW_STRINGS else []
    strings += [_string_pattern(quote, has_backslash) for quote in sorted(quotes, key=len, reverse=True)]
    names = [_name_pattern(mark) for mark in identifiers]
    run = [f"(?P<run>{_RUN_COMMENT})"] if dialect in _MYSQL_FAMILY or not dialect else []
    quoted = [*run, f"(?P<comment>{comments})", f"(?P<string>{'|'.join(strings)})", f"(?P<name>{'|'.join(names)})"]
    plain = [r"(?P<word>[^\W\d][\w$#]*|[@#][\w@#$]+)", r"(?P<number>\d\w*(?:\.\d+)?)", r"(?P<sign>\S)"]
    return Lexer(
        re.compile("|".join(quoted + plain), re.DOTALL),
        re.compile("|".join(quoted + _LANDMARKS), re.DOTALL | re.MULTILINE | re.IGNORECASE),
        rules.NESTED_COMMENTS,
        has_backslash,
    )


_LANDMARKS = [
    # Possessive quantifiers: a long run of blanks is read once, not once for every way to divide it.
    r"(?P<batch>^[ \t]*+GO(?:[ \t]++\d++)?+[ \t]*+;?+[ \t]*+(?:--[^\n]*+)?+\r*+$)",
    r"(?P<slash>^[ \t]*/[ \t\r]*$)",
    r"(?P<client>^(?:\\|\.[a-z])[^\n]*$)",
    r"(?P<delimiter>^[ \t]*DELIMITER[ \t]+(?P<delimiter_mark>[^\s]+)[^\n]*$)",
    # The elements of CREATE SCHEMA may follow on the same line, and in T-SQL any statement.
    r"(?P<element>\bCREATE\s+SCHEMA\s[^;()\n]{1,200}?\s(?=CREATE\s+(?:TABLE|VIEW)\s)"
    r"|(?<![\n)])[ \t](?:(?:CREATE|ALTER|DROP)\s+(?:TABLE|VIEW)|EXEC(?:UTE)?\s+(?:sys\.)?sp_\w+)\s)",
    r"(?P<begin>(?:^|(?<=\)))[ \t]*(?P<verb>CREATE\s+(?:(?!CREATE\b)\w+\s+){0,5}?(?:TABLE|VIEW|INDEX|SCHEMA)"
    r"|ALTER\s+TABLE|INSERT\s+INTO|DROP\s+(?:TABLE|VIEW|INDEX)|COMMENT\s+ON|EXEC(?:UTE)?|PRINT|SET\s+IDENTITY_INSERT)(?=\s|\(N?')"
    # T-SQL's conditions need no semicolon before them; IF NOT EXISTS in CREATE TABLE has no bracket.
    r"|(?:^|(?<=\)))[ \t]*(?P<condition>IF\s+(?:(?:NOT\s+)?EXISTS|OBJECT_ID|COL_LENGTH|SCHEMA_ID)(?=\s*\()))",
    r"(?P<semicolon>;)",
    r"(?P<open>\()",
    r"(?P<close>\))",
]


def _comment_patterns(marks: list[str]) -> list[str]:
    lines = [rf"{re.escape(mark)}[^\n]*" for mark in marks]
    return [*lines, r"/\*.*?(?:\*/|\Z)"]


def _string_pattern(quote: str, has_backslash: bool) -> str:
    if len(quote) > 1:
        return rf"{quote}(?:[^\\]|\\.)*?(?:{quote}|\Z)"
    escape = r"|\\." if has_backslash else ""
    backslash = r"\\" if has_backslash else ""
    # Possessive, and an unclosed string is a token too: an unmatched quote costs one pass, not one for each quote.
    return rf"{quote}(?:[^{quote}{backslash}]++|{quote}{quote}{escape})*+(?:{quote}|\Z)"


def _name_pattern(mark: str) -> str:
    if mark == "[":
        return r"\[(?:[^\]]++|\]\])*+(?:\]|\Z)"
    return rf"{mark}(?:[^{mark}]++|{mark}{mark})*+(?:{mark}|\Z)"


def unquote(text: str, *, has_backslash: bool = False) -> str:
    """Returns the content of a quoted name or string; resolves doubled quotes and, if asked, backslash escapes."""
    if prefixed := re.match(r"[nN]?([eEqQ]?)(?=')", text):
        text, prefix = text[prefixed.end() :], prefixed[1].lower()
        if prefix == "q":
            return text[2:-2]
        has_backslash = has_backslash or prefix == "e"
    if text.startswith("$"):
        width = text.index("$", 1) + 1
        return text[width:-width]
    width = 3 if text[:3] in ("'''", '"""') and len(text) >= 6 else 1
    quote = "]" if text.startswith("[") else text[:1]
    inner = text[width:-width].replace(quote * 2, quote)
    if not has_backslash or "\\" not in inner:
        return inner
    return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), inner, flags=re.DOTALL)


def line_starts(text: str) -> list[int]:
    """Returns the offsets of the starts of all lines."""
    return [0, *(match.end() for match in re.finditer("\n", text))]


def locate(starts: list[int], offset: int) -> tuple[int, int]:
    """Returns the line and column of an offset, both counted from 1."""
    line = bisect_right(starts, offset)
    return line, offset - starts[line - 1] + 1
