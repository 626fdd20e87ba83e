"""Finds the statements after which plain names mean tables of another schema: USE, SET search_path and their kin."""

from __future__ import annotations

import re

from shortlist.schemas.sql.script.lexing import unquote

__all__ = ["changes_database", "new_schema"]

_NAME = r"(?:\"[^\"]*\"|`[^`]*`|\[[^\]]*\]|'[^']*'|[\w$]+)"
_CHANGE = re.compile(
    rf"""(?:
      USE\s+(?!ROLE\b|WAREHOUSE\b|CATALOG\b|SECONDARY\b)(?P<unit>(?:DATABASE|SCHEMA)\s+)?(?P<use>{_NAME}(?:\s*\.\s*{_NAME})*)
    | SET\s+(?:SESSION\s+|LOCAL\s+)?search_path\s*(?:=|\bTO\b)(?P<path>[^;]*)
    | (?:ALTER\s+SESSION\s+)?SET\s+(?:SESSION\s+|CURRENT[\s_])?(?:SCHEMA|SQLID)\s*(?:=|\bTO\b)?\s*(?P<set>{_NAME})
    | OPEN\s+SCHEMA\s+(?P<open>{_NAME})
    | SELECT\s+(?:pg_catalog\.)?set_config\s*\(\s*'search_path'\s*,\s*'(?P<config>[^']*)'[^;]*
    | DATABASE\s+(?P<database>{_NAME})
    )\Z""",  # the end of a statement is stripped before: runs that overlap would take polynomial time
    re.IGNORECASE | re.VERBOSE,
)
_FIRST_WORD = re.compile(
    r"(?:USE|SET|ALTER\s+SESSION|OPEN|SELECT\s+(?:pg_catalog\.)?set_config|DATABASE)\b", re.IGNORECASE
)
_PARTS = re.compile(_NAME)
# USE names a database in these, above the schemas that names are written with.
_USES_DATABASES = frozenset({"tsql", "fabric"})
_NO_SCHEMA = frozenset({"", "$user", "pg_catalog", "pg_temp", "default"})


def new_schema(statement: str, dialect: str) -> str | None:
    """Returns the schema of the plain names after a statement; empty if it is unknown, None if nothing changes."""
    if not _FIRST_WORD.match(statement):
        return None
    change = _CHANGE.match(statement.rstrip().removesuffix(";").rstrip())
    if change is None or (change["use"] and dialect in _USES_DATABASES):
        return None
    if change["use"]:
        is_database = (change["unit"] or "").upper().startswith("DATABASE")
        return "" if is_database and dialect == "snowflake" else _names(change["use"])[-1]
    path = change["path"] if change["path"] is not None else change["config"]
    if path is not None:
        return next((name for name in _names(path) if name.lower() not in _NO_SCHEMA), "")
    return _names(change["set"] or change["open"] or change["database"])[0]


def changes_database(statement: str, dialect: str) -> bool:
    """Returns whether a statement is a USE of a database above the schemas; equal names then mean other tables."""
    return dialect in _USES_DATABASES and statement[:4].upper().rstrip() == "USE"


def _names(text: str) -> list[str]:
    names = [unquote(part) if part[0] in "\"`['" else part for part in _PARTS.findall(text)]
    return names or [""]
