"""Reads statements that describe a table or a column: COMMENT ON, and T-SQL's extended properties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shortlist.schemas.sql.definitions.columns import group_end
from shortlist.schemas.sql.preparing import Prepared, dotted_name, name_tokens
from shortlist.schemas.sql.script.lexing import Lexer, Token

__all__ = ["read_comments", "read_property"]

_DESCRIBING = ("description", "caption")  # MS_Description, Table_Description, MS_Caption …

Comment = tuple[str, str, str]


def read_comments(prepared: Prepared, lexer: Lexer) -> Iterator[Comment]:
    """Yields the table, the column (empty for the table itself) and the text of each comment of a COMMENT ON.

    Db2 writes several in one statement: ``COMMENT ON t (a IS 'text', b IS 'text')``.
    """
    tokens = [token for token in prepared.tokens[prepared.at + 1 :] if token.kind not in ("comment", "run")]
    target = next((i for i, token in enumerate(tokens[:3]) if token.keyword in ("TABLE", "VIEW", "COLUMN")), -1)
    names = list(name_tokens(tokens, target + 1))
    after = tokens.index(names[-1]) + 1 if names else len(tokens)
    if after < len(tokens) and tokens[after].text == "(" and (target < 0 or tokens[target].keyword == "TABLE"):
        yield from _listed(dotted_name(names), tokens[after : group_end(tokens, after)], lexer)
    elif target >= 0:
        parts = [token.value for token in names if token.text != "."]
        yield from _single(tokens[target].keyword, parts, tokens[after:], lexer)


def _single(kind: str, parts: Sequence[str], rest: Sequence[Token], lexer: Lexer) -> Iterator[Comment]:
    if len(rest) < 2 or rest[0].keyword not in ("IS", "AS") or not parts:
        return
    literal = next((token for token in rest if token.kind == "string"), None)
    text = " ".join(lexer.content(literal.text).split()) if literal else ""
    if kind == "COLUMN":
        yield ".".join(parts[:-1]), parts[-1], text
    else:
        yield ".".join(parts), "", text


def _listed(table: str, tokens: Sequence[Token], lexer: Lexer) -> Iterator[Comment]:
    for column, verb, text in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if verb.keyword == "IS" and text.kind == "string":
            yield table, column.value, " ".join(lexer.content(text.text).split())


def read_property(arguments: Mapping[str, str]) -> Comment | None:
    """Returns what the arguments of sp_addextendedproperty say about a table, a view or a column; None if nothing."""
    kind, detail = arguments.get("level1type", "").upper(), arguments.get("level2type", "").upper()
    if not arguments.get("name", "").lower().endswith(_DESCRIBING) or kind not in ("TABLE", "VIEW"):
        return None
    if detail not in ("", "COLUMN"):
        return None  # the comment of an index or a constraint
    table = ".".join(filter(None, (arguments.get("level0name"), arguments.get("level1name"))))
    column = arguments.get("level2name", "") if detail else ""
    return table, column, " ".join(arguments.get("value", "").split())
