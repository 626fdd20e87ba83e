"""Reads a column list entry by entry if sqlglot cannot read it whole, so that one unknown clause loses no table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sqlglot import exp

from shortlist.schemas.sql.columns import Item, group_end
from shortlist.schemas.sql.lexing import Token, words
from shortlist.schemas.sql.preparing import Prepared, clean_entries, head_texts

__all__ = ["PiecewiseReader"]

# Parses a text; returns None if sqlglot cannot read it.
Parse = Callable[[str], exp.Create | None]
# An entry with two texts: as written, and without the words that change neither columns nor keys.
Entry = tuple[Item, tuple[str, str]]

_MAX_REDUCED = 20_000
_KEY_WORDS = words("PRIMARY FOREIGN UNIQUE REFERENCES")
_TYPES = words(
    "INT INTEGER BIGINT SMALLINT TINYINT MEDIUMINT NUMBER NUMERIC DECIMAL DEC FLOAT DOUBLE REAL BIT BOOL BOOLEAN TEXT "
    "CHAR CHARACTER VARCHAR VARCHAR2 NVARCHAR NCHAR BLOB CLOB DATETIME TIMESTAMP DATE TIME JSON UUID STRING BINARY"
)
_TYPE_WORDS = _TYPES | words(
    "LONG RAW UNSIGNED SIGNED ZEROFILL BIG SMALL NATIVE NATIONAL VARYING PRECISION INTERVAL YEAR MONTH DAY HOUR MINUTE "
    "SECOND TO WITH WITHOUT LOCAL ZONE ARRAY SETOF BYTE LARGE OBJECT SUB_TYPE"
)


class PiecewiseReader:
    """Reads the column lists of one script that cannot be read whole."""

    def __init__(self, parse: Parse) -> None:
        self._parse = parse
        self._num_reduced = 0  # over the whole script; a limit on it bounds the time
        self._num_partial = 0

    def read(self, prepared: Prepared) -> tuple[exp.Create, int] | None:
        """Returns a CREATE node built from entries that are parsed separately, and how many of them were read in part.

        An entry that cannot be parsed is reduced to its name and keys. A column that even then cannot be parsed gets
        no node; its name and type are known from its tokens. Returns None if there is no list of columns, if the
        rest of the statement cannot be parsed, or if a column or key could be lost: because a comma seems to be
        missing, or because a key cannot be parsed.
        """
        items = prepared.body.items
        is_closed = prepared.kind == "alter" or 0 <= prepared.body.close < len(prepared.tokens)
        if not is_closed or not any(item.is_column for item in items):
            return None
        head = next((node for text in head_texts(prepared) if (node := self._parse(text))), None)
        if head is None or not isinstance(head.this, exp.Schema):
            return None
        self._num_partial = 0
        nodes = self._read_entries(list(zip(items, clean_entries(prepared), strict=True)))
        if nodes is None:
            return None
        head.this.set("expressions", nodes)
        return head, self._num_partial

    def _read_entries(self, entries: list[Entry]) -> list[exp.Expr] | None:
        """Parses all entries at once, or else by halves, so that few attempts find the entry that cannot be parsed."""
        for text in dict.fromkeys(", ".join(texts[level] for _, texts in entries) for level in (0, 1)):
            if (nodes := self._parse_list(text)) is not None:
                return nodes
        if len(entries) == 1:
            return self._read_reduced(entries[0][0])
        half = len(entries) // 2
        first = self._read_entries(entries[:half])
        second = None if first is None else self._read_entries(entries[half:])
        return None if first is None or second is None else first + second

    def _read_reduced(self, item: Item) -> list[exp.Expr] | None:
        self._num_partial += 1
        self._num_reduced += 1
        if self._num_reduced > _MAX_REDUCED or (item.is_column and _looks_mistaken(item)):
            return None
        for text in _reduced(item):
            if (nodes := self._parse_list(text)) is not None:
                return nodes
        is_key = not item.is_column and any(token.keyword in _KEY_WORDS for token in item.tokens)
        return None if is_key else []

    def _parse_list(self, text: str) -> list[exp.Expr] | None:
        if not text.strip(" ,"):
            return []
        node = self._parse(f"CREATE TABLE t ({text})")
        return list(node.this.expressions) if node is not None and isinstance(node.this, exp.Schema) else None


def _looks_mistaken(item: Item) -> bool:
    """Whether it looks wrong (``id int oops``, ``id int NOT NULL name text``), not just unknown (``id int MASK f``)."""
    typed = item.tokens[1 : len(item.tokens) - len(item.clauses)]
    outer = list(_outside_brackets(typed))
    named = [token for token in outer if token.kind in ("word", "name")]
    has_namespace = any(token.text == "." for token in outer)
    if len(named) > 1 and not has_namespace and not all(token.keyword in _TYPE_WORDS for token in named):
        return True
    rest = list(_outside_brackets(item.clauses))
    pairs = zip(rest, rest[1:], [*rest[2:], None], strict=False)
    return any(
        second.keyword in _TYPES and first.kind in ("word", "name") and (third is None or third.kind != "string")
        for first, second, third in pairs
        if first.keyword not in ("AS", "DEFAULT")
    )


def _outside_brackets(tokens: Sequence[Token]) -> Iterator[Token]:
    depth = 0
    for token in tokens:
        depth -= token.text in (")", ">", "]")
        if depth == 0 and token.text not in (")", ">", "]"):
            yield token
        depth += token.text in ("(", "<", "[")


def _reduced(item: Item) -> Iterator[str]:
    """Yields the entry reduced to name, keys and checks, then to name and keys, then to its name."""
    name = f"{item.tokens[0].text} int" if item.is_column else ""
    for has_checks in (True, False):
        clauses = list(_clauses(item.tokens[1:] if name else item.tokens, is_column=bool(name), has_checks=has_checks))
        if name or clauses:
            yield " ".join(filter(None, [name, *clauses]))
    if name:
        yield name


def _clauses(tokens: Sequence[Token], *, is_column: bool, has_checks: bool) -> Iterator[str]:
    i = 0
    while i < len(tokens):
        word, follower = tokens[i].keyword, tokens[i + 1].keyword if i + 1 < len(tokens) else ""
        start, i = i, i + 1
        if tokens[start].text == "(":
            i = group_end(tokens, start) + 1
        elif word == "NOT" and follower == "NULL":
            yield "NOT NULL"
        elif word in ("PRIMARY", "FOREIGN", "UNIQUE") and not is_column:
            i = _group_start(tokens, start)
            yield f"{'UNIQUE' if word == 'UNIQUE' else f'{word} KEY'} {_names(tokens, i)}"
            i = group_end(tokens, i) + 1
        elif (word == "PRIMARY" and follower == "KEY") or word == "UNIQUE":
            yield "UNIQUE" if word == "UNIQUE" else "PRIMARY KEY"
        elif word == "REFERENCES":
            i = _dotted_end(tokens, start + 1)
            has_columns = i < len(tokens) and tokens[i].text == "("
            target = "".join(token.text for token in tokens[start + 1 : i])
            yield f"REFERENCES {target} {_names(tokens, i) if has_columns else ''}"
        elif word == "CHECK" and has_checks and i < len(tokens) and tokens[i].text == "(":
            yield " ".join(token.text for token in tokens[start : group_end(tokens, i) + 1])


def _group_start(tokens: Sequence[Token], start: int) -> int:
    return next((i for i in range(start, len(tokens)) if tokens[i].text == "("), len(tokens))


def _dotted_end(tokens: Sequence[Token], start: int) -> int:
    """Returns the token after the dotted name that begins at `start`."""
    i = start + 1
    while i + 1 < len(tokens) and tokens[i].text == ".":
        i += 2
    return min(i, len(tokens))


def _names(tokens: Sequence[Token], start: int) -> str:
    """Returns the bracket at `start` with only the first word of each part."""
    end = group_end(tokens, start)
    names = [
        token.text
        for before, token in zip(tokens[start:end], tokens[start + 1 : end], strict=False)
        if before.text in "(," and token.kind in ("word", "name")
    ]
    return f"({', '.join(names)})"
