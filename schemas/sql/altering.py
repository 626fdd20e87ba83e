"""Reads what ALTER TABLE and the statements that rename change about tables that a script has created before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from shortlist.schemas.sql.actions import split_actions
from shortlist.schemas.sql.definitions.columns import Item, ListReader, comment_clause, group_end
from shortlist.schemas.sql.preparing import Prepared, dotted_name, name_tokens
from shortlist.schemas.sql.script.lexing import Lexer, Token, words

__all__ = ["Change", "read_changes", "read_renames"]

# After DROP, words that are not the name of a column.
_DROPPED_OTHERS = words(
    "CONSTRAINT PRIMARY FOREIGN INDEX KEY CHECK UNIQUE PARTITION SUBPARTITION DEFAULT PERIOD STATISTICS PROJECTION ROW "
    "CLUSTERING SEARCH SUPPLEMENTAL TAG MASKING EXPRESSION IDENTITY STORED ALL FEATURE RANGE NOT FILE TTL ROLLUP PATH"
)
_RENAMED_OTHERS = words("INDEX KEY CONSTRAINT PARTITION VALUE TRIGGER RULE ATTRIBUTE TAG")
_COLUMN_WORDS = words("COLUMN COLUMNS IF EXISTS")
_COMMENTED_OPTIONS = words("COMMENT ENGINE AUTO_INCREMENT DEFAULT CHARSET COLLATE ROW_FORMAT MODIFY SET TBLPROPERTIES")


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a table.

    `kind` is ``rename table`` (to `new`), ``rename column`` (`name` to `new`), ``drop column`` (`name`), ``drop key``
    (the primary key), ``drop constraint`` (`name`), ``rename constraint`` (`name` to `new`), ``replace columns`` (by
    `items`), ``redefine`` (`name` is as `item` says), ``comment`` (of column `name`, or of the table if it is
    empty, to `new`) or ``move`` (to the schema `new`).
    """

    kind: str
    name: str = ""
    new: str = ""
    item: Item | None = None
    items: tuple[Item, ...] = ()


def read_changes(prepared: Prepared, lexer: Lexer) -> list[Change]:
    """Returns the changes in the actions of an ALTER TABLE, in order; what it adds is in the statement's body."""
    last = prepared.name_tokens[-1] if prepared.name_tokens else prepared.tokens[prepared.at]
    start = prepared.tokens.index(last) + 1
    found: list[Change] = []
    for action in split_actions(prepared.tokens[start:]):
        code = [token for token in action if token.kind not in ("comment", "run")]
        if code:
            found += _read_action(code, prepared.text, lexer, last=found[-1].kind if found else "")
    return found


def _read_action(code: Sequence[Token], text: str, lexer: Lexer, *, last: str) -> list[Change]:
    """Reads an action; `last` is the kind of change before it, as T-SQL writes ``DROP CONSTRAINT a, b, COLUMN c``."""
    goes_on = last in ("drop column", "drop constraint")
    if goes_on and code[0].keyword in ("COLUMN", "CONSTRAINT") and 1 < len(code) < 5:
        return [Change(f"drop {code[0].keyword.lower()}", code[-1].value)]
    read = _ACTIONS.get(code[0].keyword)
    if read is not None:
        return list(read(code, text, lexer))
    if goes_on and len(code) == 1 and code[0].kind in ("word", "name"):
        return [Change(last, code[0].value)]
    return list(_read_options(code, text, lexer))


def _read_rename(code: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    is_column = len(code) > 1 and code[1].keyword == "COLUMN"
    rest = [token for token in code[1:] if token.keyword not in _COLUMN_WORDS]
    to = next((i for i, token in enumerate(rest) if token.keyword in ("TO", "AS") or token.text == "="), -1)
    if to == 2 and rest[0].keyword == "CONSTRAINT" and len(rest) > 3:
        yield Change("rename constraint", rest[1].value, rest[3].value)
    if not rest or (rest[0].keyword in _RENAMED_OTHERS and not is_column and to != 1):
        return
    new = dotted_name(list(name_tokens(rest, to + 1)))
    if to > 0 and new:
        yield Change("rename column", rest[0].value, new)
    elif new:
        yield Change("rename table", new=new)


def _read_drop(code: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    is_column = len(code) > 1 and code[1].keyword in ("COLUMN", "COLUMNS")
    rest = [token for token in code[1:] if token.keyword not in _COLUMN_WORDS]
    verb = [token.keyword for token in rest[:2]]
    if verb == ["PRIMARY", "KEY"]:
        yield Change("drop key")
    elif verb == ["FOREIGN", "KEY"] and len(rest) > 2:
        yield Change("drop constraint", rest[2].value)
    elif verb[:1] == ["CONSTRAINT"] and len(rest) > 1 and not is_column:
        yield Change("drop constraint", dotted_name(list(name_tokens(rest, 1))).rpartition(".")[2])
    if not rest or (rest[0].keyword in _DROPPED_OTHERS and not is_column and len(rest) > 1):
        return
    listed = rest[1 : group_end(rest, 0)] if rest[0].text == "(" else rest[:1]
    yield from (Change("drop column", token.value) for token in listed if token.kind in ("word", "name"))


def _read_change(code: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    rest = _behind(code, _COLUMN_WORDS)
    if len(rest) > 1:
        yield Change("rename column", rest[0].value, rest[1].value)
        yield from _redefine(rest[1:], text, lexer)


def _read_modify(code: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    rest = _behind(code, _COLUMN_WORDS)
    if not rest:
        return
    if rest[0].keyword == "COMMENT" and len(rest) > 1 and rest[1].kind == "string":
        yield Change("comment", new=_one_line(rest[1], lexer))
        return
    listed = rest[1 : group_end(rest, 0)] if rest[0].text == "(" else rest
    for part in split_actions(listed):
        yield from _modify_column(_behind(part, _COLUMN_WORDS, first=0), text, lexer)


def _modify_column(rest: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    if len(rest) < 2:
        return
    name, verb = rest[0].value, [token.keyword for token in rest[1:4]]
    comment = comment_clause(rest[1:], lexer, is_nested=True)
    if comment or _removes_comment(rest[1:]):
        yield Change("comment", name, comment)
    if verb[:2] == ["RENAME", "TO"] and len(rest) > 3:
        yield Change("rename column", name, rest[3].value)
    elif verb[0] == "TO" and len(rest) == 3:  # Firebird
        yield Change("rename column", name, rest[2].value)
    elif verb[0] == "POSITION" and rest[-1].kind == "number":
        return  # Firebird
    elif verb[0] == "TYPE":
        yield from _redefine([rest[0], *rest[2:]], text, lexer)
    elif verb == ["SET", "DATA", "TYPE"]:
        yield from _redefine([rest[0], *rest[4:]], text, lexer)
    elif verb[0] not in ("SET", "DROP", "ADD", "COMMENT", "RESTART", "RESET", "UNSET", "REMOVE", "OPTIONS", "FIRST"):
        yield from _redefine(rest, text, lexer)


def _read_comment(code: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    """Reads ``COMMENT = 'text'``, and ClickHouse's ``COMMENT COLUMN a 'text'``."""
    literal = next((token for token in code if token.kind == "string"), None)
    if literal is None:
        return
    rest = _behind(code, _COLUMN_WORDS)
    is_column = len(code) > 1 and code[1].keyword == "COLUMN" and len(rest) > 1
    yield Change("comment", rest[0].value if is_column else "", _one_line(literal, lexer))


def _read_set(code: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    if len(code) > 2 and code[1].keyword == "SCHEMA":
        yield Change("move", new=code[2].value)
    elif len(code) > 2 and code[1].keyword == "UNUSED":  # Oracle drops such a column later
        rest = _behind(code[1:], _COLUMN_WORDS)
        listed = rest[1 : group_end(rest, 0)] if rest and rest[0].text == "(" else rest[:1]
        yield from (Change("drop column", token.value) for token in listed if token.kind in ("word", "name"))
    elif comment := comment_clause(code[1:], lexer) or _property_comment(code, lexer):
        yield Change("comment", new=comment)


def _read_options(code: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    if code[0].keyword in _COMMENTED_OPTIONS and (comment := comment_clause(code, lexer)):
        yield Change("comment", new=comment)


def _read_unset(code: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    if _removes_comment(code):
        yield Change("comment")


def _removes_comment(code: Sequence[Token]) -> bool:
    """Whether an action takes a comment away: ``UNSET COMMENT``, ``REMOVE COMMENT`` or ``COMMENT ''``."""
    return any(
        (one.keyword in ("UNSET", "REMOVE") and two.keyword == "COMMENT")
        or (one.keyword == "COMMENT" and two.kind == "string" and not two.value)
        for one, two in pairwise(code)
    )


def _read_replace(code: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    """Reads Hive's ``REPLACE COLUMNS (a int, b string)``."""
    if len(code) > 3 and code[1].keyword == "COLUMNS" and code[2].text == "(":
        items = ListReader(code[2:], text, 0, lexer).read().items
        yield Change("replace columns", items=tuple(item for item in items if item.is_column))


_Read = Callable[[Sequence[Token], str, Lexer], Iterator[Change]]
_ACTIONS: dict[str, _Read] = {
    "RENAME": _read_rename,
    "DROP": _read_drop,
    "CHANGE": _read_change,
    "MODIFY": _read_modify,
    "ALTER": _read_modify,
    "COMMENT": _read_comment,
    "SET": _read_set,
    "UNSET": _read_unset,
    "REPLACE": _read_replace,
}


def _property_comment(code: Sequence[Token], lexer: Lexer) -> str:
    """Returns the text of ``TBLPROPERTIES ('comment' = 'text')``."""
    for key, sign, text in zip(code, code[1:], code[2:], strict=False):
        if key.kind == text.kind == "string" and sign.text == "=" and key.value.lower() == "comment":
            return _one_line(text, lexer)
    return ""


def _redefine(tokens: Sequence[Token], text: str, lexer: Lexer) -> Iterator[Change]:
    if len(tokens) < 2:
        return
    opening, closing = (Token("sign", mark, tokens[0].start, tokens[0].start) for mark in "()")
    items = ListReader([opening, *tokens, closing], text, 0, lexer).read().items
    yield from (Change("redefine", item.name, item=item) for item in items[:1])


def _behind(code: Sequence[Token], optional: frozenset[str], *, first: int = 1) -> Sequence[Token]:
    """Returns the tokens behind the verb and the optional words that follow it."""
    start = first
    while start < len(code) and code[start].keyword in optional:
        start += 1
    return code[start:]


def _one_line(token: Token, lexer: Lexer) -> str:
    return " ".join(lexer.content(token.text).split())


def read_renames(prepared: Prepared) -> Iterator[tuple[str, str]]:
    """Yields the old and new names of ``RENAME TABLE a TO b, c TO d``."""
    for part in split_actions(prepared.tokens[prepared.at + 1 :]):
        to = next((i for i, token in enumerate(part) if token.keyword in ("TO", "AS")), -1)
        old, new = (dotted_name(list(name_tokens(part, start))) for start in (0, to + 1))
        if to > 0 and old and new:
            yield old, new
