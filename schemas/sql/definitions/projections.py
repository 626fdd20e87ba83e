"""Reads the names of a view's columns from the tokens of its query, for queries that sqlglot cannot parse."""

from __future__ import annotations

from collections.abc import Sequence

from shortlist.schemas.document import Column
from shortlist.schemas.sql.preparing import Prepared
from shortlist.schemas.sql.script.lexing import Token

__all__ = ["projected_columns"]

_SELECTS = ("SELECT", "SEL")
_MODIFIERS = ("DISTINCT", "ALL", "STRAIGHT_JOIN", "SQL_NO_CACHE")
_ENDS = ("FROM", "WHERE", "UNION", "INTO", "GROUP", "ORDER", "LIMIT")


def projected_columns(prepared: Prepared) -> list[Column]:
    """Returns the columns that a view lists or that its query selects; empty if it is no view or has none by name.

    Only plain columns and aliases have names: of ``a.b``, ``f(x) AS y`` and ``f(x) y`` these are b, y and y.
    """
    tokens = [token for token in prepared.tokens if token.kind not in ("comment", "run")]
    query = next((i for i, token in enumerate(tokens) if token.keyword in _SELECTS), -1)
    if query < 0 or prepared.kind not in ("table", "view", "materialized view"):
        return []
    if prepared.kind == "table" and any(item.is_column and item.type for item in prepared.body.items):
        return []  # the list says more than the query
    if prepared.body.items:
        return [Column(item.name, item.type, item.comment) for item in prepared.body.items if item.is_column]
    return [Column(name) for part in _parts(tokens[query + 1 :]) if (name := _name(part))]


def _parts(tokens: Sequence[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if depth < 0 or (depth == 0 and (token.keyword in _ENDS or token.text == ";")):
            break
        if depth == 0 and token.text == ",":
            parts.append([])
        elif token.keyword not in _MODIFIERS or parts[-1]:
            parts[-1].append(token)
    return parts


def _name(part: Sequence[Token]) -> str:
    if not part or part[-1].kind not in ("word", "name"):
        return ""
    is_path = all(token.kind in ("word", "name") or token.text == "." for token in part)
    is_aliased = len(part) > 1 and part[-2].text != "."
    return part[-1].value if is_path or is_aliased else ""
