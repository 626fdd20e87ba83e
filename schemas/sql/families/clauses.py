"""Finds the clauses by which a table has the columns of another table or type: PARTITION OF, INHERITS, LIKE, CLONE …"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shortlist.schemas.sql.definitions.columns import Item, group_end
from shortlist.schemas.sql.script.lexing import Token, words

__all__ = ["Derivation", "Move", "listed_likes", "read_derivation", "read_moves"]

# After CREATE TABLE name AS, words that begin a query and so are not the name of a table.
_QUERY_WORDS = words("SELECT WITH VALUES EXECUTE EXEC CALL PIVOT UNPIVOT NODE EDGE FILETABLE SUBQUERY ROW")
# After LIKE or CLONE, words that say that a file is meant.
_FILE_WORDS = words("PARQUET ORC AVRO TEXTFILE SEQUENCEFILE")


@dataclass(frozen=True, slots=True)
class Derivation:
    """The clause of a CREATE TABLE that gives it the columns of other tables or of a type.

    `kind` is ``partition``, ``inherits``, ``like``, ``clone``, ``select`` (all columns of a table) or ``type``; `names`
    are the dotted names of the others, without quotes. `start` and `end` are the token numbers of the clause;
    `has_list` says that a column list may follow it, `is_last` that one may be before it.
    """

    kind: str
    names: tuple[str, ...]
    start: int
    end: int
    has_list: bool = False
    is_last: bool = False

    @property
    def is_copy(self) -> bool:
        """Whether the table is made as a copy, with the structure that the other one has at that time."""
        return self.kind in ("like", "clone", "select")


@dataclass(frozen=True, slots=True)
class Move:
    """An ALTER TABLE that makes `child` a child of `parent`, or, if `is_end`, ends that."""

    kind: str
    parent: str
    child: str
    is_end: bool = False


def read_derivation(tokens: Sequence[Token], after: int) -> Derivation | None:
    """Returns the derivation of a CREATE TABLE, whose name ends before token `after`; None if it has none."""
    code = _Code(tokens, after)
    code.skip_options()
    start = code.place
    if code.take("PARTITION", "OF") and (name := code.name()):
        return Derivation("partition", (name,), start, code.place, has_list=True)
    if code.take("OF") and (name := code.name()):
        return Derivation("type", (name,), start, code.place, has_list=True)
    if code.take_any("LIKE", "CLONE", "COPY"):
        code.take("AS")
        kind = "like" if tokens[start].keyword == "LIKE" else "clone"
        return _copy(kind, code, start)
    if code.take("SHALLOW", "CLONE") or code.take("DEEP", "CLONE"):
        return _copy("clone", code, start)
    if code.take("FOR", "EXCHANGE", "WITH", "TABLE"):
        return _copy("like", code, start)
    if code.take("AS", "CLONE", "OF"):  # Fabric
        return _copy("clone", code, start)
    if code.take("AS"):
        return _copied_by_name(code, start)
    return _distributed(code, start) or _behind_list(tokens, after)


def listed_likes(items: Sequence[Item]) -> Iterator[tuple[int, str]]:
    """Yields the tables of the entries ``LIKE other``, each with the number of columns listed before it."""
    num_columns = 0
    for item in items:
        code = _Code(item.tokens, 0)
        if item.tokens[0].keyword == "LIKE" and code.take("LIKE") and (name := code.name()):
            yield num_columns, name
        num_columns += item.is_column


def read_moves(tokens: Sequence[Token], at: int) -> Iterator[Move]:
    """Yields what an ALTER TABLE, whose word TABLE is token `at`, says about parents and children."""
    code = _Code(tokens, at + 1)
    while code.take_any("IF", "EXISTS", "ONLY"):
        pass
    table = code.name()
    while table and not code.is_done:
        is_end = code.take("NO")
        if code.take("INHERIT") and (parent := code.name()):
            yield Move("inherits", parent, table, is_end)
        # ClickHouse attaches and detaches parts of the same table, by their values.
        elif code.take("ATTACH", "PARTITION") and (child := code.name()) and code.word in ("FOR", "DEFAULT"):
            yield Move("partition", table, child)
        elif code.take("DETACH", "PARTITION") and (child := code.name()):
            yield Move("partition", table, child, is_end=True)
        code.skip_action()


def _copy(kind: str, code: _Code, start: int) -> Derivation | None:
    name = "" if code.word in _FILE_WORDS and code.is_text_next else code.name()
    return Derivation(kind, (name,), start, code.num_tokens) if name else None


def _copied_by_name(code: _Code, start: int) -> Derivation | None:
    """Reads ``AS other`` (ClickHouse, Teradata), ``AS TABLE other`` (PostgreSQL) and ``AS FROM other`` (DuckDB)."""
    is_query = code.take("TABLE") or code.take("FROM")
    if code.word in _QUERY_WORDS:
        return None
    name = code.name()
    is_alone = code.is_done or code.word in ("ENGINE", "WITH", "ORDER", "PARTITION", "SETTINGS", "COMMENT", "PRIMARY")
    if not name or not is_alone or (is_query and code.word in ("ORDER", "PARTITION", "PRIMARY")):
        return None
    return Derivation("select" if is_query else "like", (name,), start, code.num_tokens)


def _distributed(code: _Code, start: int) -> Derivation | None:
    """Reads ``ENGINE = Distributed(cluster, database, table …)`` of ClickHouse without a column list."""
    code.take("ENGINE")
    code.take_sign("=")
    if not code.take("DISTRIBUTED") or not code.take_sign("("):
        return None
    parts = list(code.arguments())
    if len(parts) < 3 or not parts[2]:
        return None
    database = "" if not parts[1] or parts[1].lower() == "currentdatabase" else f"{parts[1]}."
    return Derivation("like", (f"{database}{parts[2]}",), start, code.num_tokens)


def _behind_list(tokens: Sequence[Token], after: int) -> Derivation | None:
    """Reads ``INHERITS (a, b)``, and ``LIKE a`` of Flink, which is the last clause."""
    depth = 0
    for i in range(after, len(tokens)):
        depth += (tokens[i].text == "(") - (tokens[i].text == ")")
        if depth == 0 and tokens[i].keyword == "INHERITS" and i > after and tokens[i - 1].text != ".":
            code = _Code(tokens[: group_end(tokens, i) + 1], i + 1)
            code.take_sign("(")
            names = tuple(code.names())
            return Derivation("inherits", names, i, len(tokens), is_last=True) if names else None
        if depth == 0 and tokens[i].keyword == "WITH" and (found := _behind_options(tokens, i)):
            return found
    return None


def _behind_options(tokens: Sequence[Token], at: int) -> Derivation | None:
    """Reads ``WITH (…) LIKE a``."""
    is_list = _Code(tokens, at + 1).take_sign("(")
    code = _Code(tokens, group_end(tokens, at) + 1)
    start = code.place
    if is_list and code.take("LIKE") and (name := code.name()):
        return Derivation("like", (name,), start, len(tokens), is_last=True)
    return None


class _Code:
    """A place among the tokens of a statement; comments are passed over."""

    def __init__(self, tokens: Sequence[Token], start: int) -> None:
        self._tokens = tokens
        self.place = start
        self._skip()

    @property
    def num_tokens(self) -> int:
        """The number of all tokens."""
        return len(self._tokens)

    @property
    def is_done(self) -> bool:
        """Whether nothing follows but a semicolon."""
        return self.place >= len(self._tokens) or self._tokens[self.place].text == ";"

    @property
    def word(self) -> str:
        """The next token as a keyword; empty for every other kind of token and at the end."""
        return self._tokens[self.place].keyword if self.place < len(self._tokens) else ""

    @property
    def is_text_next(self) -> bool:
        """Whether a string follows the next token."""
        return self.place + 1 < len(self._tokens) and self._tokens[self.place + 1].kind == "string"

    def take(self, *keywords: str) -> bool:
        """Moves behind these words if they are next."""
        before = self.place
        for keyword in keywords:
            if self.word != keyword:
                self.place = before
                return False
            self._advance()
        return True

    def take_any(self, *keywords: str) -> bool:
        """Moves behind the next word if it is one of these."""
        return self.word in keywords and self.take(self.word)

    def take_sign(self, sign: str) -> bool:
        """Moves behind a sign if it is next."""
        if self.place >= len(self._tokens) or self._tokens[self.place].text != sign:
            return False
        self._advance()
        return True

    def skip_action(self) -> None:
        """Moves behind the next comma outside brackets, or to the end."""
        depth = 0
        while self.place < len(self._tokens):
            sign = self._tokens[self.place].text
            depth += (sign == "(") - (sign == ")")
            self._advance()
            if depth == 0 and sign == ",":
                return

    def name(self) -> str:
        """Reads a dotted name; returns an empty text, and stays, if none is next."""
        before = self.place
        parts: list[str] = []
        while self.place < len(self._tokens) and self._tokens[self.place].kind in ("word", "name"):
            if not parts and self.word == "ONLY":
                self._advance()
                continue
            parts.append(self._part())
            if not self.take_sign("."):
                return ".".join(parts)
        self.place = before
        return ""

    def _part(self) -> str:
        """Reads one part of a name; BigQuery allows hyphens in it (``my-project``)."""
        token = self._tokens[self.place]
        self._advance()
        part = token.value
        while token.kind == "word" and self.place + 1 < len(self._tokens):
            hyphen, follower = self._tokens[self.place : self.place + 2]
            if hyphen.text != "-" or hyphen.start != token.end or follower.start != hyphen.end:
                break
            part, token = f"{part}-{follower.text}", follower
            self.place += 1
            self._advance()
        return part

    def names(self) -> Iterator[str]:
        """Reads names that are separated by commas."""
        while name := self.name():
            yield name
            if not self.take_sign(","):
                return

    def arguments(self) -> Iterator[str]:
        """Yields the first word, name or string of each argument, up to the closing bracket."""
        depth, value = 0, ""
        for token in self._tokens[self.place :]:
            if depth == 0 and token.text in (",", ")"):
                yield value
                value = ""
                if token.text == ")":
                    return
            elif not value and token.kind in ("word", "name", "string"):
                value = token.value
            depth += (token.text == "(") - (token.text == ")")

    def skip_options(self) -> None:
        """Moves behind ``ON CLUSTER name`` and ``COPY GRANTS``, which may follow the name of a table."""
        if self.take("ON", "CLUSTER"):
            self._advance()
        self.take("COPY", "GRANTS")

    def _advance(self) -> None:
        self.place += 1
        self._skip()

    def _skip(self) -> None:
        while self.place < len(self._tokens) and self._tokens[self.place].kind in ("comment", "run"):
            self.place += 1
