"""Reads one entry of a column list from its tokens alone: what an entry still says if sqlglot cannot parse it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from shortlist.schemas.document import ForeignKey
from shortlist.schemas.sql.definitions.columns import Item, group_end, is_period
from shortlist.schemas.sql.definitions.constraints import Definition
from shortlist.schemas.sql.definitions.types import TYPE_WORDS, TYPES
from shortlist.schemas.sql.script.lexing import Token, words

__all__ = ["needs_repair", "read_entry", "repaired_items"]

# Words between REFERENCES and the table, such as Teradata's REFERENCES WITH NO CHECK OPTION t.
_REFERENCE_OPTIONS = words("WITH NO CHECK OPTION ONLY TABLE")
# Words that begin a key; a constraint before them has no name.
_KEY_STARTS = words("PRIMARY FOREIGN UNIQUE CHECK REFERENCES NOT NULL DEFAULT")


def repaired_items(items: Sequence[Item], text: str) -> list[Item]:
    """Returns the entries of a list as its writer meant them.

    Splits an entry where a line begins like a column although the line before has no comma, and joins two words before
    a type into one name (``first name varchar(20)``).
    """
    return [_with_blank_in_name(part) for item in items for part in _split_lines(item, text)]


def _split_lines(item: Item, text: str) -> Iterator[Item]:
    start, depth = 0, 0
    tokens = item.tokens
    for i in range(1, len(tokens) - 1):
        depth += (tokens[i - 1].text in ("(", "<", "[")) - (tokens[i - 1].text in (")", ">", "]"))
        begins_line = "\n" in text[tokens[i - 1].end : tokens[i].start]
        if depth == 0 and _is_missing_comma(tokens, i):
            yield replace(item, tokens=tokens[start:i], comments=[] if start else item.comments)
            start = i
        is_name = tokens[i].kind in ("word", "name") and tokens[i].keyword not in TYPE_WORDS
        if begins_line and depth == 0 and is_name and tokens[i + 1].keyword in TYPES:
            yield replace(item, tokens=tokens[start:i], comments=[] if start else item.comments)
            start = i
    yield item if start == 0 else replace(item, tokens=tokens[start:], comments=[], enum=(), clause="")


def needs_repair(item: Item) -> bool:
    """Returns whether sqlglot would misread an entry: a comma is missing before a key, or a dot ends a name."""
    tokens = item.tokens
    return any(_is_missing_comma(tokens, i) for i in range(2, len(tokens))) or _name_length(item) == 3


def _is_missing_comma(tokens: Sequence[Token], i: int) -> bool:
    """Whether a key of its own begins at a token: only a comma before it can be meant."""
    if tokens[i].keyword != "FOREIGN":
        return False
    words_here = [token.text.upper() for token in tokens[i : i + 3]]
    return words_here == ["FOREIGN", "KEY", "("] and tokens[i - 2].keyword != "CONSTRAINT"


def _with_blank_in_name(item: Item) -> Item:
    length = _name_length(item)
    if length == 1:
        return item
    tokens = item.tokens
    text = f"{tokens[0].text} {tokens[1].text}" + ("." if length == 3 else "")
    name = Token("name", f'"{text}"', tokens[0].start, tokens[length - 1].end)
    return replace(item, tokens=[name, *tokens[length:]])


def _name_length(item: Item) -> int:
    """Returns the number of tokens of a column's name: 2 for ``first name varchar(20)``, 3 for ``Order No. int``."""
    tokens = item.tokens
    may_be_name = (
        len(tokens) > 2
        and tokens[0].kind == tokens[1].kind == "word"
        and tokens[1].keyword not in TYPE_WORDS
        and tokens[0].end + 1 == tokens[1].start
        and item.is_column
    )
    if not may_be_name:
        return 1
    if tokens[2].keyword in TYPES:
        return 2
    ends_word = tokens[2].text == "." and tokens[1].end == tokens[2].start
    is_dotted = ends_word and len(tokens) > 3 and tokens[3].keyword in TYPES and tokens[2].end < tokens[3].start
    return 3 if is_dotted else 1


def read_entry(item: Item) -> Definition:
    """Returns the keys and the allowed values in an entry; its name, type and comments are in the item itself."""
    found = Definition()
    tokens = item.tokens[1:] if item.is_column else item.tokens
    own: tuple[str, ...] = (item.name,) if item.is_column else ()
    name = ""
    i = 0
    while i < len(tokens):
        word, follower = tokens[i].keyword, tokens[i + 1].keyword if i + 1 < len(tokens) else ""
        start, i = i, i + 1
        if word == "CHECK" and i < len(tokens) and tokens[i].text == "(":
            i = _read_check(tokens, i, own, found)
        elif tokens[start].text == "(":
            i = group_end(tokens, start) + 1
        elif word == "CONSTRAINT" and i < len(tokens) and follower not in _KEY_STARTS:
            i = _dotted_end(tokens, i)
            name = tokens[i - 1].value
        elif word == "PRIMARY" and follower == "KEY":
            i = _read_primary_key(tokens, i + 1, own, found)
            found.key_name, name = name, ""
        elif word == "FOREIGN" and follower == "KEY" and not own:
            name = name or _index_name(tokens[i + 1 : i + 3])
            own, i = _names(tokens, i + 1)
        elif word == "REFERENCES":
            i = _read_reference(tokens, i, own, found, name)
            name = ""
    if name and len(tokens) > 1 and tokens[-1].value == name:
        _name_last_key(found, name)
    return found


def _index_name(tokens: Sequence[Token]) -> str:
    """Returns the name that MySQL allows in ``FOREIGN KEY name (columns)``."""
    has_name = len(tokens) == 2 and tokens[0].kind in ("word", "name") and tokens[1].text == "("
    return tokens[0].value if has_name else ""


def _name_last_key(found: Definition, name: str) -> None:
    """Gives a key the name that Informix writes behind it."""
    if found.foreign_keys:
        found.foreign_keys[-1] = replace(found.foreign_keys[-1], constraints=(name,))
    elif found.primary_key:
        found.key_name = name


def _read_primary_key(tokens: Sequence[Token], at: int, own: tuple[str, ...], found: Definition) -> int:
    if own:
        found.primary_key = own
        return at
    names, end = _names(tokens, at)
    found.primary_key = names
    return end


def _read_reference(tokens: Sequence[Token], at: int, own: tuple[str, ...], found: Definition, name: str) -> int:
    while at < len(tokens) and tokens[at].keyword in _REFERENCE_OPTIONS:
        at += 1
    end = _dotted_end(tokens, at)
    target = ".".join(token.value for token in tokens[at:end] if token.text != ".")
    has_columns = end < len(tokens) and tokens[end].text == "("
    columns, after = _names(tokens, end) if has_columns else ((), end)
    if target and own:
        found.foreign_keys.append(ForeignKey(own, target, columns, (name,) if name else ()))
    return max(after, at)


def _read_check(tokens: Sequence[Token], at: int, own: tuple[str, ...], found: Definition) -> int:
    """Reads ``(a IN ('x', 'y'))``."""
    end = group_end(tokens, at)
    inner = [token for token in tokens[at + 1 : end] if token.text != "("]
    if len(inner) > 2 and inner[0].kind in ("word", "name") and inner[1].keyword == "IN":
        literals = [token for token in inner[2:] if token.text not in (",", ")")]
        if literals and all(token.kind == "string" for token in literals):
            found.enums[own[0] if own else inner[0].value] = tuple(token.value for token in literals)
    return end + 1


def _dotted_end(tokens: Sequence[Token], start: int) -> int:
    """Returns the token after the dotted name that begins at `start`."""
    i = start + 1
    while i + 1 < len(tokens) and tokens[i].text == ".":
        i += 2
    return min(i, len(tokens))


def _names(tokens: Sequence[Token], start: int) -> tuple[tuple[str, ...], int]:
    """Returns the first word of each part of the next bracket from `start` on, and the token after the bracket."""
    opening = next((i for i in range(start, len(tokens)) if tokens[i].text == "("), len(tokens))
    end = group_end(tokens, opening)
    starts = (i + is_period(tokens, i) for i in range(opening + 1, end) if tokens[i - 1].text in "(,")
    names = [tokens[i].value for i in starts if tokens[i].kind in ("word", "name")]
    if not names and start < len(tokens) and tokens[start].kind in ("word", "name"):
        return (tokens[start].value,), start + 1  # PRIMARY KEY a
    return tuple(names), end + 1
