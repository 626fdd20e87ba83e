"""Detects the dialect of a script: the likeliest ones are tried on a sample of its statements."""

from __future__ import annotations

import re

from shortlist.schemas.sql.definitions.nodes import StatementError, parse_statement
from shortlist.schemas.sql.dialect import likely_dialects
from shortlist.schemas.sql.preparing import prepare
from shortlist.schemas.sql.script.lexing import lexer_for
from shortlist.schemas.sql.script.statements import split_statements

__all__ = ["detect_dialect"]

_MAX_CANDIDATES = 5  # dialects that are tried
_SAMPLED_CHARS = 400_000  # of a script
_SAMPLED_STATEMENTS = 40
_SAMPLED_KINDS = frozenset({"table", "view", "materialized view"})  # the others say little about the dialect
# Rows of data: an INSERT up to the end of its last line, and the lines that follow COPY … FROM stdin.
_ROWS = re.compile(
    r"^[ \t]*INSERT\s+(?:INTO|IGNORE|ALL)\b(?:'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'|[^';])*+(?:;|(?=')|\Z)"
    r"|(?<=stdin;\n)(?:(?!\\\.).*\n)*+",
    re.MULTILINE | re.IGNORECASE,
)
_COMMENT = re.compile(r"--[^\n]*")
_EXECUTED_COMMENT = re.compile(r"/\*!\d{5}")
# A longer text of several words is prose, which may contain any word.
_PROSE = re.compile(r"'(?=[^'\n]*[ \t])[^'\n]{12,}+'")


def detect_dialect(script: str) -> str:
    """Returns the dialect that fails on the fewest of the sampled statements, the likeliest one if several do."""
    sample = _ROWS.sub("", script)[:_SAMPLED_CHARS]
    if _EXECUTED_COMMENT.search(sample):
        return "mysql"  # no other dialect sees what is in such comments, so none would fail on it
    cues = _PROSE.sub("''", _COMMENT.sub("", sample))
    candidates = [*likely_dialects(cues)[:_MAX_CANDIDATES], "", "sqlite", "mysql"]
    best, fewest = "", -1
    for candidate in dict.fromkeys(candidates):
        failures = _count_failures(sample, candidate)
        if failures == 0:
            return candidate
        if fewest < 0 or failures < fewest:
            best, fewest = candidate, failures
    return best


def _count_failures(script: str, dialect: str) -> int:
    """Returns how many of the script's sampled definitions cannot be parsed in a dialect."""
    lexer = lexer_for(dialect)
    prepared_statements = (prepare(statement.text, lexer) for statement in split_statements(script, dialect))
    relevant = [prepared for prepared in prepared_statements if prepared and prepared.kind in _SAMPLED_KINDS]
    step = max(1, len(relevant) // _SAMPLED_STATEMENTS)
    failures = 0
    for prepared in relevant[::step]:
        try:
            parse_statement(prepared, dialect)
        except StatementError:
            failures += 1
    return failures
