"""Reads the arguments of T-SQL's system procedures, in any order and spelling."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from shortlist.schemas.sql.script.lexing import Lexer, Token

__all__ = ["PROCEDURES", "procedure_arguments", "read_variables"]

_LEVELS = ("level0type", "level0name", "level1type", "level1name", "level2type", "level2name")
_ARGUMENTS = {
    "sp_addextendedproperty": ("name", "value", *_LEVELS),
    "sp_updateextendedproperty": ("name", "value", *_LEVELS),
    "sp_dropextendedproperty": ("name", *_LEVELS),
    "sp_rename": ("objname", "newname", "objtype"),
}
PROCEDURES = {name: "sp_rename" if name == "sp_rename" else "property" for name in _ARGUMENTS}
"""The procedures that change what is known of a table, with the kinds of their statements."""

_ASSIGNMENT = re.compile(
    r"(?:SET|DECLARE)\s+(?P<name>@\w+)[^=;']{0,80}=\s*(?P<text>[nN]?'(?:[^']++|'')*+')", re.IGNORECASE
)


def read_variables(statement: str, lexer: Lexer) -> dict[str, str]:
    """Returns the variable that a statement sets to a text: ``SET @a = N'x'`` or ``DECLARE @a nvarchar(9) = N'x'``."""
    found = _ASSIGNMENT.match(statement)
    return {found["name"].lower(): lexer.content(found["text"])} if found else {}


def procedure_arguments(tokens: Sequence[Token], lexer: Lexer, *, variables: Mapping[str, str] = {}) -> dict[str, str]:
    """Returns the arguments of a call of one of PROCEDURES by name, in lower case: ``@name = 'x'``, or just ``'x'``.

    A value may be a string, a bracketed or bare name, one of `variables`, or NULL. NULL and unknown variables give an
    empty text.
    """
    code = [token for token in tokens if token.kind not in ("comment", "run")]
    at = next(i for i, token in enumerate(code) if token.value.lower() in PROCEDURES)
    names = _ARGUMENTS[code[at].value.lower()]
    found: dict[str, str] = {}
    for place, argument in enumerate(_split(code[at + 1 :])):
        key = names[place] if place < len(names) else ""
        if len(argument) > 1 and argument[1].text == "=":
            key, argument = argument[0].text.lstrip("@").lower(), argument[2:]
        if key and argument:
            found[key] = _value(argument, lexer, variables)
    return found


def _split(tokens: Sequence[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == ";":
            break
        if token.text == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _value(tokens: Sequence[Token], lexer: Lexer, variables: Mapping[str, str]) -> str:
    strings = [lexer.content(token.text) for token in tokens if token.kind == "string"]
    if strings:
        return "".join(strings)  # N'one ' + N'two'
    if tokens[0].text.startswith("@"):
        return variables.get(tokens[0].text.lower(), "")
    return "" if tokens[0].keyword == "NULL" else tokens[0].value
