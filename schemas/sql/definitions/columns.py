"""Reads the column list of a CREATE TABLE from its tokens: the type of each column as written, and its comments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from shortlist.schemas.sql.definitions.types import TYPES
from shortlist.schemas.sql.script.comments import clean_comment, join_comments
from shortlist.schemas.sql.script.lexing import Lexer, Token, words

__all__ = [
    "Item",
    "ListReader",
    "TableBody",
    "comment_clause",
    "group_end",
    "is_period",
    "read_body",
]

# Types after which < opens a bracket.
_TYPE_BRACKETS = words("STRUCT ARRAY MAP RANGE TABLE ROW UNIONTYPE OBJECT NESTED")
# Words that end a type: the column's other properties begin with them.
_AFTER_TYPE = words(
    "NOT NULL DEFAULT PRIMARY UNIQUE REFERENCES CHECK CONSTRAINT COMMENT COLLATE GENERATED AS IDENTITY AUTO_INCREMENT "
    "AUTOINCREMENT ENCODE OPTIONS ON KEY CODEC TTL MATERIALIZED ALIAS EPHEMERAL VIRTUAL STORED HIDDEN INVISIBLE "
    "VISIBLE "
    "SPARSE ROWGUIDCOL DISTKEY SORTKEY ENABLE DISABLE MASKED MASKING TAG COMPRESS FORMAT TITLE STORAGE COMPRESSION "
    "PERSISTED FOREIGN CHARSET INLINE FILESTREAM PROJECTION STATISTICS SALT ENCRYPT WATERMARK SUM MAX MIN REPLACE "
    "HLL_UNION BITMAP_UNION REPLACE_IF_NOT_NULL CASESPECIFIC UPPERCASE ORDER ASC DESC FIRST AFTER MASK ENCRYPTED "
    "COLUMN_SET COLUMN_FORMAT SRID INDEX COMPUTED LOGGED COMPACT USING"
)
# Words that begin an entry that is not a column.
_NOT_COLUMN = words(
    "CONSTRAINT PRIMARY FOREIGN UNIQUE CHECK KEY INDEX FULLTEXT SPATIAL EXCLUDE LIKE PERIOD PROJECTION SUPPLEMENTAL "
    "INCLUDING EXCLUDING STATISTICS WATERMARK CLUSTERED NONCLUSTERED SHARD DISTKEY SORTKEY AS SELECT"
)
# First words of an entry that defines an index; a column may have such a name too. Then the words that may follow.
_INDEX_WORDS = words("INDEX KEY FULLTEXT SPATIAL VECTOR INVERTED SHARD SORT FAMILY")
_INDEX_NOISE = words(
    "INDEX KEY CLUSTERED NONCLUSTERED UNIQUE COLUMNSTORE IF NOT EXISTS USING HASH BTREE RTREE GIN GIST BRIN BITMAP "
    "INVERTED GLOBAL LOCAL ASYNC SYNC ON"
)
# Types with words in brackets, which look like the columns of an index.
_WORD_TYPES = _TYPE_BRACKETS | words(
    "NULLABLE LOWCARDINALITY TUPLE VARIANT DYNAMIC JSON XML GEOMETRY GEOGRAPHY VARCHAR NVARCHAR VARBINARY CHAR LIST "
    "AGGREGATEFUNCTION SIMPLEAGGREGATEFUNCTION UNION PERIOD BITMAP"
)
_DISTRIBUTIONS = (["DISTRIBUTE", "BY"], ["PARTITION", "BY"], ["CLUSTER", "BY"], ["ORDER", "BY"])
_ENUM_TYPES = {"ENUM", "SET", "ENUM8", "ENUM16"}


@dataclass(slots=True)
class Item:
    """One entry of the list: its tokens without comments, and the comments that belong to it."""

    tokens: list[Token] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    enum: tuple[str, ...] = ()  # the values of an enumerated type
    clause: str = ""  # the text of COMMENT 'text' or OPTIONS(description = 'text')

    @property
    def name(self) -> str:
        """The first word, without quotes."""
        return self.tokens[0].value if self.tokens else ""

    @property
    def is_column(self) -> bool:
        """Whether the entry is a column: it does not begin like a key, a check or another constraint."""
        if not self.tokens or self.tokens[0].kind not in ("word", "name"):
            return False
        is_setting = len(self.tokens) > 1 and self.tokens[1].text == "="  # of a virtual table
        return (self.tokens[0].keyword not in _NOT_COLUMN or self._has_type) and not is_setting

    @property
    def _has_type(self) -> bool:
        """Whether a type follows the first word: a column may be called period, check or unique."""
        has_type = len(self.tokens) > 1 and self.tokens[1].keyword in TYPES
        is_schema = len(self.tokens) > 2 and self.tokens[2].text == "."  # LIKE money.payment
        return has_type and not is_schema and self.tokens[0].keyword not in ("AS", "LIKE", "INCLUDING", "EXCLUDING")

    @property
    def is_distribution(self) -> bool:
        """Whether the entry says how rows are spread, as Exasol's ``DISTRIBUTE BY a``."""
        return len(self.tokens) > 2 and [token.keyword for token in self.tokens[:2]] in _DISTRIBUTIONS

    @property
    def indexed_columns(self) -> tuple[str, ...]:
        """The columns of an index entry such as ``KEY name (a, b)``; empty for all others, even a column named key."""
        return tuple(_indexed(self.tokens))

    @property
    def type(self) -> str:
        """The type as written, in lower case; empty if there is none."""
        return _join(_type_tokens(self.tokens[1:]))

    @property
    def clauses(self) -> Sequence[Token]:
        """The tokens after the type."""
        return self.tokens[1 + _type_length(self.tokens[1:]) :]

    @property
    def comment(self) -> str:
        """The text of its comment clause and of the comments around it."""
        return join_comments([self.clause, clean_comment(self.comments)])


@dataclass(frozen=True, slots=True)
class TableBody:
    """The column list of a CREATE.

    `items` are columns and constraints; `indexes` are entries such as ``KEY name (a, b)``. `comments` are those up to
    the end of the line with the opening bracket. `open` and `close` are the token numbers of the brackets.
    """

    items: tuple[Item, ...] = ()
    indexes: tuple[Item, ...] = ()
    comments: tuple[str, ...] = ()
    open: int = -1
    close: int = -1


def read_body(tokens: Sequence[Token], text: str, after: int, lexer: Lexer) -> TableBody:
    """Returns the column list that begins at token `after`, right behind the name; empty if there is none."""
    start = _find_list(tokens, after)
    if start < 0:
        line_end = text.find("\n", tokens[after - 1].end)
        beside = [token for token in tokens[:after] if token.kind == "comment"]
        beside += [token for token in tokens[after : after + 1] if token.kind == "comment" and token.start < line_end]
        return TableBody(comments=tuple(token.text for token in beside))
    return ListReader(tokens, text, start, lexer).read()


def _find_list(tokens: Sequence[Token], after: int) -> int:
    i = after
    while i < len(tokens):
        follower = tokens[i + 1].keyword if i + 1 < len(tokens) else ""
        if tokens[i].text == "(":
            return i
        if tokens[i].keyword == "ON" and follower == "CLUSTER":
            i += 3
        elif tokens[i].keyword == "CLUSTER" and follower == "BY":
            i = group_end(tokens, i) + 1
        elif tokens[i].text == ",":  # Teradata's options, as in CREATE TABLE t, FALLBACK, MAP = m (
            i = next((k for k in range(i, len(tokens)) if tokens[k].text == "("), len(tokens))
        elif tokens[i].keyword == "COMMENT" and i + 1 < len(tokens) and tokens[i + 1].kind == "string":
            i += 2
        elif tokens[i].keyword in ("COPY", "GRANTS") or tokens[i].kind in ("comment", "run"):
            i += 1
        elif tokens[i].keyword == "USING" and any(token.keyword == "VIRTUAL" for token in tokens[:3]):
            i += 2
        else:
            return -1
    return -1


def _head_comments(tokens: Sequence[Token]) -> list[str]:
    return [token.text for token in tokens if token.kind == "comment"]


class ListReader:
    """Splits a list at its commas and assigns each comment to the entry it describes."""

    def __init__(self, tokens: Sequence[Token], text: str, start: int, lexer: Lexer) -> None:
        self._tokens = tokens
        self._lexer = lexer
        self._text = text
        self._start = start
        self._items: list[Item] = [Item()]
        self._head = _head_comments(tokens[:start])
        self._pending: list[str] = []  # comments for the next entry
        self._last: Token | None = None  # the last token that is not a comment
        self._last_comment: tuple[Token, list[str]] | None = None

    def read(self) -> TableBody:
        """Reads the list up to its closing bracket."""
        stack: list[str] = []
        self._last = self._tokens[self._start]
        for i in range(self._start + 1, len(self._tokens)):
            token = self._tokens[i]
            if token.kind == "comment":
                self._add_comment(token, i)
                continue
            if token.text == ")" and not stack:
                return self._body(i)
            if token.text == ";" and token.kind == "sign":
                break  # the list is never closed
            self._nest(stack, token)
            if token.text == "," and not stack:
                self._items.append(Item())
            elif token.kind != "run":
                self._add_token(token)
            self._last = token
        return self._body(len(self._tokens))

    def _body(self, close: int) -> TableBody:
        if self._pending:
            self._items[-1].comments += self._pending
        items = tuple(item for item in self._items if item.tokens)
        for item in items:
            item.clause = comment_clause(item.tokens, self._lexer, is_nested=True)
            item.enum = _enum_values(item.tokens, self._lexer)
        others = {place for place, item in enumerate(items) if item.indexed_columns or item.is_distribution}
        # DISTRIBUTE BY a, b is split at its comma; what follows it are bare names.
        first = next((i for i, item in enumerate(items) if item.is_distribution), len(items))
        others |= {place for place, item in enumerate(items) if place > first and len(item.tokens) == 1}
        indexes = tuple(item for place, item in enumerate(items) if place in others)
        columns = tuple(item for place, item in enumerate(items) if place not in others)
        return TableBody(columns, indexes, tuple(self._head), self._start, close)

    def _nest(self, stack: list[str], token: Token) -> None:
        if token.text in "([{" and token.kind == "sign":
            stack.append(token.text)
        elif token.text == "<" and self._last and self._last.keyword in _TYPE_BRACKETS:
            stack.append("<")
        elif token.text in ")]}" and token.kind == "sign":
            while stack and stack[-1] == "<":
                stack.pop()
            del stack[-1:]
        elif token.text == ">" and stack and stack[-1] == "<":
            stack.pop()

    def _add_token(self, token: Token) -> None:
        self._items[-1].tokens.append(token)
        if self._pending and len(self._items[-1].tokens) == 1:
            self._items[-1].comments += self._pending
            self._pending = []

    def _add_comment(self, comment: Token, i: int) -> None:
        owner_comments = self._owner_comments(comment, i)
        owner_comments.append(comment.text)
        self._last_comment = (comment, owner_comments)

    def _owner_comments(self, comment: Token, i: int) -> list[str]:
        assert self._last is not None
        if self._continues(comment) and self._last_comment:
            return self._last_comment[1]
        beside_last = "\n" not in self._text[self._last.end : comment.start]
        if not beside_last:
            return self._items[-1].comments if self._items[-1].tokens else self._pending
        follower = self._tokens[i + 1] if i + 1 < len(self._tokens) else None
        ends_line = follower is None or "\n" in self._text[comment.end : follower.start] or follower.text == ")"
        if self._items[-1].tokens:
            return self._items[-1].comments
        if not ends_line:
            return self._pending  # in `a, /* about b */ b`
        return self._items[-2].comments if len(self._items) > 1 else self._head

    def _continues(self, comment: Token) -> bool:
        """Whether the comment continues the one on the line above: it begins in the same column."""
        if not self._last_comment or self._last_comment[0].start < (self._last.start if self._last else 0):
            return False
        above = self._last_comment[0]
        between = self._text[above.end : comment.start]
        if between.strip() or between.count("\n") != 1:
            return False
        return _offset_in_line(self._text, above.start) == _offset_in_line(self._text, comment.start)


def _offset_in_line(text: str, offset: int) -> int:
    return offset - (text.rfind("\n", 0, offset) + 1)


def _type_length(tokens: Sequence[Token]) -> int:
    depth = 0
    for i, token in enumerate(tokens):
        if depth == 0 and _ends_type(tokens, i):
            return i
        if token.kind == "sign":
            depth += (token.text in "(<[{") - (token.text in ")>]}")
    return len(tokens)


def _type_tokens(tokens: Sequence[Token]) -> list[Token]:
    kept = list(tokens[: _type_length(tokens)])
    return kept[:1] if kept and kept[0].keyword in _ENUM_TYPES else list(_without_options(kept))


def _without_options(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yields the tokens without the ``OPTIONS (…)`` and ``COMMENT '…'`` of nested fields."""
    resume = 0
    for i, token in enumerate(tokens):
        follower = tokens[i + 1] if i + 1 < len(tokens) else token
        if token.keyword == "OPTIONS" and follower.text == "(":
            resume = max(resume, group_end(tokens, i) + 1)
        elif token.keyword == "COMMENT" and follower.kind == "string":
            resume = max(resume, i + 2)
        if i >= resume:
            yield token


def group_end(tokens: Sequence[Token], start: int) -> int:
    """Returns the number of the token that closes the first bracket from `start` on; `len(tokens)` if none does."""
    depth = 0
    for i in range(start, len(tokens)):
        depth += (tokens[i].text == "(") - (tokens[i].text == ")")
        if tokens[i].text == ")" and depth <= 0:
            return i
    return len(tokens)


def is_period(tokens: Sequence[Token], i: int) -> bool:
    """Returns whether a token is the word PERIOD before a column of a key, as in ``FOREIGN KEY (id, PERIOD at)``."""
    follower = tokens[i + 1].kind if i + 1 < len(tokens) else ""
    return i > 0 and tokens[i].keyword == "PERIOD" and tokens[i - 1].text in "(," and follower in ("word", "name")


def _ends_type(tokens: Sequence[Token], i: int) -> bool:
    word = tokens[i].keyword
    if word in ("CHARACTER", "CHAR") and i:
        return i + 1 < len(tokens) and tokens[i + 1].keyword == "SET"
    if word == "WITH":
        return i + 1 < len(tokens) and tokens[i + 1].keyword not in ("TIME", "LOCAL")
    if word in ("BEFORE", "POSITION") and i:  # where H2 and Firebird add a column
        return True
    return word in _AFTER_TYPE or tokens[i].text in ("=", ":=") or tokens[i].kind == "string"


def _enum_values(tokens: Sequence[Token], lexer: Lexer) -> tuple[str, ...]:
    if len(tokens) < 4 or tokens[1].keyword not in _ENUM_TYPES:
        return ()
    return tuple(lexer.content(token.text) for token in tokens[2 : group_end(tokens, 2)] if token.kind == "string")


def _indexed(tokens: Sequence[Token]) -> Iterator[str]:
    if tokens[0].keyword not in _INDEX_WORDS:
        return
    start = next((i for i, token in enumerate(tokens) if token.text == "("), 0)
    names = [token for token in tokens[1:start] if token.keyword not in _INDEX_NOISE]
    is_index = len(names) < 2 and not any(token.keyword in _WORD_TYPES or token.kind == "sign" for token in names)
    if not start or not is_index:
        return
    parts = [part for part in _split(tokens[start + 1 : group_end(tokens, start)]) if part]
    if all(part[0].kind in ("word", "name") or part[0].text == "(" for part in parts):
        yield from filter(None, map(_first_name, parts))


def _first_name(part: Sequence[Token]) -> str:
    """Returns the column of ``b DESC``, MySQL's ``b(10)`` or ``(lower(b))``."""
    for i, token in enumerate(part):
        is_call = i + 2 < len(part) and part[i + 1].text == "(" and part[i + 2].kind != "number"
        if token.kind in ("word", "name") and not is_call:
            return token.value
    return ""


def _split(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    start, depth = 0, 0
    for i, token in enumerate(tokens):
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and depth == 0:
            yield tokens[start:i]
            start = i + 1
    yield tokens[start:]


def _join(tokens: Sequence[Token]) -> str:
    text, previous = "", None
    for token in tokens:
        written = token.value.lower() if token.kind != "string" else token.text
        if previous and previous.end < token.start and token.text not in "(),<>[]." and previous.text not in "(<[.":
            text += " "
        text += written
        previous = token
    return text


def comment_clause(tokens: Sequence[Token], lexer: Lexer, *, is_nested: bool = False) -> str:
    """Returns the text of ``COMMENT [=] 'text'`` or of an option `description`; `is_nested` includes nested fields."""
    found: list[str] = []
    depth = 0
    for i, token in enumerate(tokens[:-1]):
        if token.kind == "sign":
            depth += (token.text in "(<[{") - (token.text in ")>]}")
        has_sign = tokens[i + 1].text in ("=", ":") or tokens[i + 1].keyword == "IS"
        is_option = depth > 0 and has_sign and token.value.lower() in ("description", "comment")
        if is_option or (token.keyword == "COMMENT" and (is_nested or depth == 0)):
            text = tokens[min(i + 1 + has_sign, len(tokens) - 1)]
            if text.kind == "string" or text.text.startswith('"'):
                found.append(" ".join(lexer.content(text.text).split()))
    return join_comments(found)
