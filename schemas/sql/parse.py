"""Reads tables and views from a script of SQL data definitions, whatever else the script holds."""

from __future__ import annotations

from shortlist.schemas.document import ParsedTables
from shortlist.schemas.errors import LimitExceeded
from shortlist.schemas.sql.dialect import DIALECTS, likely_dialects, resolve_dialect
from shortlist.schemas.sql.reading import ScriptReader, count_failures

__all__ = ["DIALECTS", "MAX_DDL_CHARS", "parse_tables"]

MAX_DDL_CHARS = 32 * 1024 * 1024

_MAX_CANDIDATES = 5
_SAMPLED_CHARS = 400_000  # of a script in detecting its dialect


def parse_tables(ddl: str, *, dialect: str | None = None) -> ParsedTables:
    """Returns the tables and views of a script, in script order, and the statements that could not be read.

    A dialect that is not given is detected; the answer names it, empty for SQL that is the same in every dialect.
    Statements that do not define tables are passed over; no SQL, however broken, raises.

    Raises:
        UnknownDialect: no dialect has the given name.
        LimitExceeded: the script is longer than MAX_DDL_CHARS, or defines more tables than MAX_TABLES.
    """
    if len(ddl) > MAX_DDL_CHARS:
        raise LimitExceeded(
            f"the script has {len(ddl):,} characters, more than {MAX_DDL_CHARS:,}; leave out its data or split it",
            limit=MAX_DDL_CHARS,
            actual=len(ddl),
            field="ddl",
        )
    chosen = resolve_dialect(dialect) if dialect else _detect(ddl)
    return ScriptReader(ddl, chosen).read()


def _detect(ddl: str) -> str:
    """Takes the likeliest dialect that reads a sample of the statements best."""
    sample = ddl[:_SAMPLED_CHARS]
    candidates = [*likely_dialects(sample)[:_MAX_CANDIDATES], "", "sqlite", "mysql"]
    best, fewest = "", -1
    for candidate in dict.fromkeys(candidates):
        failures = count_failures(sample, candidate)
        if failures == 0:
            return candidate
        if fewest < 0 or failures < fewest:
            best, fewest = candidate, failures
    return best
