"""Parses one statement by sqlglot, and explains why it cannot be parsed."""

from __future__ import annotations

import contextvars
import logging

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from shortlist.schemas.sql.preparing import Prepared, variants
from shortlist.schemas.sql.script.lexing import line_starts

__all__ = ["StatementError", "parse_statement", "try_parse"]

_MAX_STATEMENT_CHARS = 1_000_000
_MAX_NESTING = 200
# sqlglot's parser raises these too, on deep nesting and unusual input.
_PARSER_FAILURES = (SqlglotError, RecursionError, AttributeError, IndexError, KeyError, TypeError, ValueError)

_is_reading: contextvars.ContextVar[bool] = contextvars.ContextVar("is_reading", default=False)
# sqlglot logs SQL that it cannot parse as a warning. A caller's SQL must not reach the log; it is reported instead.
logging.getLogger("sqlglot").addFilter(lambda record: not _is_reading.get())


class StatementError(Exception):
    """A statement cannot be parsed; `offset` is the place in its text, `reason` a short phrase.

    `is_final` says that it is too large to be parsed entry by entry either.
    """

    def __init__(self, reason: str, offset: int = 0, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.is_final = is_final


def parse_statement(prepared: Prepared, dialect: str) -> exp.Create:
    """Returns the CREATE node of the most faithful text of a statement that sqlglot can parse.

    Raises:
        StatementError: sqlglot can parse none; the reason is that of the last.
    """
    _check_size(prepared)
    failure = StatementError("there is nothing to parse")
    for text, shift in variants(prepared):
        try:
            return _parse_create(text, dialect)
        except _PARSER_FAILURES as error:
            failure = _explain(error, text, shift)
        except StatementError as error:
            failure = error
    raise failure


def try_parse(text: str, dialect: str) -> exp.Create | None:
    """Returns the CREATE node of a text; None if sqlglot cannot parse it."""
    try:
        return _parse_create(text, dialect)
    except (StatementError, *_PARSER_FAILURES):
        return None


def _parse_create(text: str, dialect: str) -> exp.Create:
    reading = _is_reading.set(True)
    try:
        node = sqlglot.parse_one(text, dialect=dialect or None)
    finally:
        _is_reading.reset(reading)
    if isinstance(node, exp.Create) and node.this is not None:
        return node
    raise StatementError("sqlglot does not support this form of CREATE")


def _check_size(prepared: Prepared) -> None:
    if len(prepared.text) > _MAX_STATEMENT_CHARS:
        raise StatementError(f"the statement is longer than {_MAX_STATEMENT_CHARS:,} characters", is_final=True)
    depth = 0
    for token in prepared.tokens:
        depth += (token.text in ("(", "[", "<")) - (token.text in (")", "]", ">"))
        if depth > _MAX_NESTING:
            raise StatementError(f"nested more than {_MAX_NESTING} levels deep", token.start, is_final=True)


def _explain(error: BaseException, text: str, shift: int) -> StatementError:
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        word = str(first.get("highlight") or "")
        starts = line_starts(text)
        line = min(max(int(first.get("line") or 1), 1), len(starts))
        offset = starts[line - 1] + int(first.get("col") or 1) - max(len(word), 1)
        near = f" near {word[:40]!r}" if word else ""
        reason = f"{str(first.get('description') or 'syntax error').split(' but got')[0].rstrip('.')[:120]}{near}"
        return StatementError(reason, max(0, min(offset, len(text) - 1) - shift))
    if isinstance(error, RecursionError):
        return StatementError("nested too deeply")
    if isinstance(error, SqlglotError):
        return StatementError("cannot be split into tokens; look for a quote or bracket that is not closed")
    return StatementError(f"sqlglot fails with {type(error).__name__}")
