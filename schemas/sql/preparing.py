"""Prepares a statement for sqlglot: finds its kind and name, and blanks the parts that define no column or key.

Blanks are as long as the text that they replace, so that offsets are the same in the prepared text and the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from shortlist.schemas.sql.actions import added_list, end_of_alter
from shortlist.schemas.sql.arguments import PROCEDURES
from shortlist.schemas.sql.definitions.columns import Item, ListReader, TableBody, group_end, is_period, read_body
from shortlist.schemas.sql.families.clauses import Derivation, read_derivation
from shortlist.schemas.sql.script.embedded import first_table
from shortlist.schemas.sql.script.lexing import Lexer, Token, words

__all__ = [
    "Prepared",
    "StatementKind",
    "clean_entries",
    "dotted_name",
    "head_texts",
    "name_tokens",
    "prepare",
    "variants",
]

# "table", "view", "materialized view", "index", "alter", "drop", "comment", "property" (extended properties), "enum",
# "enum values" (ALTER TYPE), "type" (composite), "schema" (CREATE SCHEMA), "rename" (RENAME TABLE), "sp_rename",
# "transfer" (ALTER SCHEMA … TRANSFER), "dynamic" (statements in a string), or "unread" for what is like a table but is
# not read.
StatementKind = str

# A statement that may be about tables begins like this.
_INTERESTING = re.compile(
    r"(?:/\*M?!\d*\s*)?(CREATE|ALTER|DROP|COMMENT|EXEC|EXECUTE|IF|BEGIN|ELSE|RENAME|DO|ATTACH|sp_\w+|REPLACE\s+(?:\w+\s+)?VIEW"
    r"|INSERT\s+INTO\s+(?:\"?main\"?\.)?\"?sqlite_(?:schema|master)\"?"
    r"|(?:SELECT|WITH)\b[^;]*?\bINTO)\b",
    re.IGNORECASE,
)
# Statements that mean a CREATE TABLE or a CREATE VIEW.
_LIKE_CREATE = re.compile(
    r"(?P<create>ATTACH|REPLACE(?=\s+(?:\w+\s+)?VIEW\b)|ALTER(?=\s+VIEW\s+\S+\s+(?:AS|WITH)\b))"
    r"|CREATE\s+(?:OR\s+REPLACE\s+)?(?P<table>DICTIONARY|STREAM|SOURCE)"
    r"(?=\s+(?:IF\s+NOT\s+EXISTS\s+)?[^\s(;]+\s*(?:ON\s+CLUSTER\s+\S+\s*)?\()",
    re.IGNORECASE,
)
# The beginning of a string that holds statements about tables.
_DYNAMIC = re.compile(r"\s*(?:CREATE|ALTER|COMMENT|EXEC)\s", re.IGNORECASE)
# Statements that another one may follow on its line.
_CONDITION = re.compile(r"(?:IF|BEGIN|ELSE)\b", re.IGNORECASE)
# The words that begin SQL.
_SQL = re.compile(
    r"(?:/\*M?!|SELECT|INSERT|UPDATE|DELETE|GRANT|REVOKE|WITH|COPY|SET|MERGE|CALL|USE|SHOW|ANALYZE|VACUUM|LOAD|LOCK|UNLOCK|START|"
    r"COMMIT|ROLLBACK|DECLARE|PRINT|EXPLAIN|PREPARE|TRUNCATE|REFRESH|CREATE|ALTER|DROP|COMMENT|EXEC|EXECUTE|DO|RENAME|ATTACH|"
    r"REPLACE|PRAGMA|VALUES|UPSERT|EXPORT|IMPORT|CLUSTER)\b",
    re.IGNORECASE,
)
# After CREATE, words that say that the statement is not about a table.
_OTHER_OBJECTS = words(
    "FUNCTION PROCEDURE PROC TRIGGER SEQUENCE DOMAIN SCHEMA DATABASE USER ROLE EXTENSION AGGREGATE CAST COLLATION "
    "CONVERSION OPERATOR POLICY PUBLICATION RULE SERVER STATISTICS SUBSCRIPTION TABLESPACE TEXT SYNONYM PACKAGE "
    "LIBRARY DIRECTORY EVENT LOGIN ASSEMBLY CERTIFICATE MACRO SECRET STAGE FILE TASK PIPE WAREHOUSE TAG MASKING "
    "MODEL CONNECTION CATALOG PROFILE CONTEXT ROLLBACK DATA FORMAT ALERT ALIAS NICKNAME CHANGEFEED ROUTINE QUOTA "
    "OUTLINE TRANSFORM ACCESS GRAPH MODULE VARIABLE FOR TO AS SELECT ON"
)
# Words that may follow a key without changing it.
_KEY_NOISE = words(
    "ENABLE DISABLE VALIDATE NOVALIDATE RELY NORELY DEFERRABLE INITIALLY DEFERRED IMMEDIATE ENFORCED CLUSTERED "
    "NONCLUSTERED SPARSE ROWGUIDCOL PERSISTED VIRTUAL STORED DISTKEY SORTKEY INVISIBLE VISIBLE FILESTREAM"
)
# Entries of a column list that are neither columns nor keys.
_SKIPPED_ITEMS = words("PERIOD PROJECTION EXCLUDE SUPPLEMENTAL STATISTICS WATERMARK")
_INTO_WORDS = words("UNLOGGED TABLE")
_TEMPORARY = words("TEMP TEMPORARY STRICT OUTFILE DUMPFILE")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One statement about tables: its kind, its tokens including comments, and its column list if it has one.

    `at` is the number of the token that names the kind (TABLE, VIEW, INDEX, ON); `name_tokens` are the tokens of the
    object's name. The clause of a `derivation` is blanked in `text`, but its tokens are kept.
    """

    kind: StatementKind
    text: str
    tokens: tuple[Token, ...]
    at: int
    name_tokens: tuple[Token, ...]
    body: TableBody
    derivation: Derivation | None = None

    @property
    def name(self) -> str:
        """The object's dotted name, without quotes."""
        return dotted_name(self.name_tokens)

    @property
    def all_names(self) -> list[str]:
        """The dotted names of all objects that a DROP lists."""
        starts = [self.at] + [i for i, token in enumerate(self.tokens) if token.text == "," and i > self.at]
        return [dotted_name(list(name_tokens(self.tokens, start + 1))) for start in starts]

    def has(self, *keywords: str) -> bool:
        """Whether the statement has these words in a row, before the object's kind or right after it."""
        beginning = [token.keyword for token in self.tokens[1 : self.at + 4] if token.kind != "comment"]
        return any(beginning[i : i + len(keywords)] == list(keywords) for i in range(len(beginning)))


def dotted_name(name_tokens: Sequence[Token]) -> str:
    """Returns the dotted name that the tokens of a name spell, without quotes."""
    return ".".join(token.value for token in name_tokens if token.text != ".")


def prepare(text: str, lexer: Lexer) -> Prepared | None:
    """Returns the prepared statement, or None if it is not about tables."""
    if not _SQL.match(text) and not _CONDITION.match(text) and (buried := first_table(text)) >= 0:
        text = " " * buried + text[buried:]
    elif not _INTERESTING.match(text):
        return None
    text = _as_create(_behind_condition(text, lexer))
    tokens = tuple(lexer.tokens(text))
    kind, at = _classify(tokens)
    if not kind:
        return None
    if kind == "alter":
        tokens = tokens[: end_of_alter(tokens, text)]
    names = tuple(name_tokens(tokens, at + 1))
    body = TableBody()
    after_name = _after_name(tokens, at, names)
    derivation = read_derivation(tokens, after_name) if kind == "table" else None
    if derivation and not derivation.is_last:
        body = read_body(tokens, text, derivation.end, lexer) if derivation.has_list else body
        text = _blank(text, _derivation_spans(derivation, tokens, body))
    elif kind in ("table", "view", "materialized view"):
        body = read_body(tokens, text, after_name, lexer)
    elif kind == "type":
        body = read_body(tokens, text, _after_as(tokens, after_name), lexer)
    elif kind == "alter":
        additions = added_list(tokens, after_name)
        body = ListReader(additions, text, 0, lexer).read() if additions else body
    return Prepared(kind, text, tokens, at, names, body, derivation)


def _derivation_spans(derivation: Derivation, tokens: Sequence[Token], body: TableBody) -> Iterator[tuple[int, int]]:
    """Yields the clause, and what follows it except a column list: sqlglot knows few of these clauses."""
    kept = range(body.open, body.close + 1) if body.open >= 0 else range(0)
    yield from ((tokens[i].start, tokens[i].end) for i in range(derivation.start, len(tokens)) if i not in kept)
    for token, follower in pairwise(tokens[kept.start : kept.stop]):
        if token.keyword == "WITH" and follower.keyword == "OPTIONS":
            yield token.start, follower.end


def _after_as(tokens: Sequence[Token], after_name: int) -> int:
    """Returns the token behind AS or IS and Oracle's OBJECT, where the list of a type begins."""
    code = [i for i in range(after_name, len(tokens)) if tokens[i].kind not in ("comment", "run")]
    for i, follower in pairwise(code):
        if tokens[i].keyword in ("AS", "IS"):
            return follower + 1 if tokens[follower].keyword == "OBJECT" else follower
    return len(tokens)


def _as_create(text: str) -> str:
    """Returns the text with the words of CREATE TABLE or CREATE VIEW if it means one."""
    for _ in range(2):  # ATTACH DICTIONARY has two such words
        found = _LIKE_CREATE.match(text)
        if not found or not found.lastgroup:
            return text
        start, end = found.span(found.lastgroup)
        text = text[:start] + found.lastgroup.upper().ljust(end - start) + text[end:]
    return text


def _behind_condition(text: str, lexer: Lexer) -> str:
    """Returns the text with blanks for the condition before its statement, as in ``IF x IS NULL CREATE TABLE t …``."""
    if not _CONDITION.match(text):
        return text
    verbs = ("CREATE", "ALTER", "DROP", "EXEC", "EXECUTE")
    start = next((token.start for token in lexer.tokens(text) if token.keyword in verbs), 0)
    return " " * start + text[start:]


def _after_name(tokens: Sequence[Token], at: int, names: Sequence[Token]) -> int:
    return tokens.index(names[-1]) + 1 if names else at + 1


def _classify(tokens: Sequence[Token]) -> tuple[StatementKind, int]:
    plain = [i for i, token in enumerate(tokens) if token.kind not in ("comment", "run")]
    first = tokens[plain[0]].keyword if plain else ""
    if first == "CREATE":
        return _classify_create(tokens, plain)
    if first == "ALTER" and len(plain) > 2:
        return _classify_alter(tokens, plain)
    if first == "DROP":
        at = next((i for i in plain[1:3] if tokens[i].keyword in ("TABLE", "VIEW")), 0)
        return ("drop", at) if at else ("", 0)
    if first == "COMMENT":
        on = next((i for i in plain[1:4] if tokens[i].keyword == "ON"), -1)
        return ("comment", on) if on > 0 else ("", 0)
    if first in ("EXEC", "EXECUTE"):
        procedures = (PROCEDURES.get(token.value.lower(), "") for token in tokens[:8])
        kind = next(filter(None, procedures), "")
        is_dynamic = not kind and any(_DYNAMIC.match(token.value) for token in tokens if token.kind == "string")
        return ("dynamic" if is_dynamic else kind), 0
    if first in ("DO", "INSERT"):  # INSERT INTO sqlite_schema, which holds the statement that makes a virtual table
        return "dynamic", 0
    if first.startswith("SP_"):  # the first statement of a batch needs no EXEC
        return PROCEDURES.get(first.lower(), ""), 0
    if first == "RENAME":
        return _classify_rename(tokens, plain)
    if first in ("SELECT", "WITH"):
        return _classify_select(tokens, plain)
    return "", 0


def _classify_create(tokens: Sequence[Token], plain: Sequence[int]) -> tuple[StatementKind, int]:
    seen: list[str] = []
    for i, after in zip(plain[1:24], [*plain[2:25], plain[-1]], strict=False):
        word, follower = tokens[i].keyword, tokens[after].keyword
        if word in ("TABLE", "VIEW", "INDEX"):
            is_other = (word, follower) in (("TABLE", "FUNCTION"), ("VIEW", "LOG"))
            is_materialized = word == "VIEW" and "MATERIALIZED" in seen
            return ("", 0) if is_other else ("materialized view" if is_materialized else word.lower(), i)
        if word == "TYPE" and any(token.keyword == "ENUM" for token in tokens[i : i + 8]):
            return "enum", i
        if word == "TYPE" and follower != "BODY":
            return "type", i
        if word in ("SCHEMA", "DICTIONARY", "STREAM", "SOURCE"):
            return "schema" if word == "SCHEMA" else "unread", i
        if (word in _OTHER_OBJECTS or word == "TYPE") and (word, follower) != ("EVENT", "TABLE"):
            return "", 0
        seen.append(word)
    return "", 0


def _classify_rename(tokens: Sequence[Token], plain: Sequence[int]) -> tuple[StatementKind, int]:
    """Finds ``RENAME TABLE a TO b``, ``RENAME COLUMN t.a TO b`` and Oracle's ``RENAME a TO b``, no user or index."""
    verb = [tokens[i].text.upper() for i in plain[1:3]]
    if len(verb) == 2 and (verb[1] in ("TO", ".") or tokens[plain[1]].kind == "name"):
        return "rename", plain[0]
    return ("rename", plain[1]) if verb and verb[0] in ("TABLE", "TABLES", "VIEW", "COLUMN") else ("", 0)


def _classify_alter(tokens: Sequence[Token], plain: Sequence[int]) -> tuple[StatementKind, int]:
    if tokens[plain[1]].keyword == "SCHEMA":
        transfer = next((i for i in plain[2:6] if tokens[i].keyword == "TRANSFER"), 0)
        return ("transfer", plain[1]) if transfer else ("", 0)
    if tokens[plain[1]].keyword == "TYPE":
        return "enum values", plain[1]
    at = next((i for i in plain[1:4] if tokens[i].keyword in ("TABLE", "VIEW")), 0)
    return ("alter", at) if at else ("", 0)


def _classify_select(tokens: Sequence[Token], plain: Sequence[int]) -> tuple[StatementKind, int]:
    """Finds ``SELECT … INTO t … FROM``; the target must be a name, not a variable or a temporary table."""
    depth, into = 0, 0
    for i in plain:
        depth += (tokens[i].text == "(") - (tokens[i].text == ")")
        if depth == 0 and tokens[i].keyword in ("INSERT", "MERGE", "UPSERT"):
            return "", 0
        if depth == 0 and (tokens[i].keyword == "INTO" or (into == i - 1 and tokens[i].keyword in _INTO_WORDS)):
            into = i
        if depth == 0 and into and tokens[i].keyword == "FROM":
            target = tokens[into + 1]
            is_name = target.kind in ("word", "name") and target.text[0] not in "@#"
            return ("unread", into) if is_name and target.keyword not in _TEMPORARY else ("", 0)
    return "", 0


def name_tokens(tokens: Sequence[Token], start: int) -> Iterator[Token]:
    """Yields the tokens of the dotted name that begins at `start`, behind words such as IF NOT EXISTS."""
    expects_name = True
    for i in range(start, len(tokens)):
        token = tokens[i]
        if token.kind in ("comment", "run"):
            continue
        if expects_name and token.keyword in ("IF", "NOT", "EXISTS", "ONLY", "CONCURRENTLY", "NONCONCURRENTLY"):
            continue
        if token.text == "." or (token.text == "-" and not expects_name):
            expects_name = True
        elif not expects_name or token.kind == "sign":
            return
        else:
            expects_name = False
        yield token


# sqlglot loops forever on the bracketed options of these if it does not know one of them.
_ENDLESS = ("SYSTEM_VERSIONING", "DATA_DELETION")


def variants(prepared: Prepared) -> Iterator[tuple[str, int]]:
    """Yields texts to try in turn, the most faithful first; each with the offset to subtract to get the source's."""
    base = _blank(prepared.text, _always_blank(prepared))
    if prepared.kind == "alter":
        yield from _alter_variants(prepared, base)
        return
    yield base, 0
    spans = list(_modifier_spans(prepared))
    if prepared.kind == "index":
        yield _blank(base, [*spans, *_index_spans(prepared)]), 0
    elif prepared.body.close >= 0:
        yield _blank(base, [*spans, *_tail_spans(prepared)]), 0
        yield _blank(base, [*spans, *_tail_spans(prepared), *_noise_spans(prepared.body.items)]), 0
    else:
        yield _blank(base, [*spans, *_option_spans(prepared)]), 0


def head_texts(prepared: Prepared) -> Iterator[str]:
    """Yields texts of the statement with its list replaced by one dummy column, the most faithful first."""
    if prepared.kind == "alter":
        yield "CREATE TABLE t (x int)"
        return
    body, base = prepared.body, _blank(prepared.text, _always_blank(prepared))
    if not 0 <= body.close < len(prepared.tokens):
        yield f"{base[: prepared.tokens[body.open].end]}x int)"
        return
    start, end = prepared.tokens[body.open].end, prepared.tokens[body.close].start
    bare = _blank(base, [*_modifier_spans(prepared), *_tail_spans(prepared)])
    yield from (f"{text[:start]}x int{text[end:]}" for text in (base, bare))


def clean_entries(prepared: Prepared, items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    """Yields two texts of each entry: as written, and without the words that change neither columns nor keys."""
    base = _blank(prepared.text, _always_blank(prepared))
    clean = _blank(base, _noise_spans(items))
    for item in items:
        start, end = item.tokens[0].start, item.tokens[-1].end
        yield base[start:end], clean[start:end]


def _blank(text: str, spans: Iterable[tuple[int, int]]) -> str:
    parts, position = [], 0
    for start, end in sorted(spans):
        if end > position:
            parts += [text[position:start], re.sub(r"[^\n]", " ", text[max(start, position) : end])]
            position = end
    return "".join([*parts, text[position:]])


def _always_blank(prepared: Prepared) -> Iterator[tuple[int, int]]:
    tokens = prepared.tokens
    yield from ((index.tokens[0].start, index.tokens[-1].end) for index in prepared.body.indexes)
    for i, token in enumerate(tokens):
        if token.keyword in _ENDLESS:
            yield from _endless_span(tokens, i + 1)
        if token.kind in ("comment", "run") or (token.text == ";" and token.end == len(prepared.text)):
            yield token.start, token.end


def _endless_span(tokens: Sequence[Token], at: int) -> Iterator[tuple[int, int]]:
    """Yields the span of the bracket that follows, after an optional = and ON."""
    for optional in ("=", "ON"):
        if at < len(tokens) and tokens[at].text.upper() == optional:
            at += 1
    if at < len(tokens) and tokens[at].text == "(":
        yield tokens[at].start, tokens[min(group_end(tokens, at), len(tokens) - 1)].end


def _modifier_spans(prepared: Prepared) -> Iterator[tuple[int, int]]:
    for token in prepared.tokens[1 : prepared.at]:
        if token.keyword not in ("CREATE", "MATERIALIZED"):
            yield token.start, token.end


def _tail_spans(prepared: Prepared) -> Iterator[tuple[int, int]]:
    tail = prepared.tokens[prepared.body.close + 1 :]
    if prepared.kind != "table":
        start = next((i for i, token in enumerate(tail) if token.keyword == "AS"), 0)
        yield from ((token.start, token.end) for token in tail[:start])
        yield from _view_end_spans(tail)
        return
    names_end = _after_name(prepared.tokens, prepared.at, prepared.name_tokens)
    yield from ((token.start, token.end) for token in prepared.tokens[names_end : prepared.body.open])
    keep_until = -1
    for i, token in enumerate(tail):
        if token.keyword == "PARTITIONED":
            keep_until = group_end(tail, i)
        if i > keep_until:
            yield token.start, token.end


def _option_spans(prepared: Prepared) -> Iterator[tuple[int, int]]:
    """Yields the tokens between the name and AS of a view or a CREATE TABLE AS, and the options after the query."""
    tokens = prepared.tokens
    after_name = _after_name(tokens, prepared.at, prepared.name_tokens)
    start = next((i for i in range(after_name, len(tokens)) if tokens[i].keyword == "AS"), after_name)
    yield from ((token.start, token.end) for token in tokens[after_name:start])
    yield from _view_end_spans(tokens[start:])


def _view_end_spans(tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    for i, token in enumerate(tokens[:-1]):
        rest = [later.keyword for later in tokens[i + 1 : i + 5]]
        is_end = token.keyword == "WITH" and (
            {"DATA", "CHECK", "BINDING", "READ"} & set(rest[:3]) and "AS" not in rest and len(tokens) - i <= 6
        )
        if is_end:
            yield token.start, tokens[-1].end


def _index_spans(prepared: Prepared) -> Iterator[tuple[int, int]]:
    tokens = prepared.tokens
    on = next((i for i, token in enumerate(tokens) if token.keyword == "ON"), len(tokens))
    start = next((i for i in range(on, len(tokens)) if tokens[i].text == "("), len(tokens))
    table = list(name_tokens(tokens, on + 1))
    yield from (
        (token.start, token.end) for token in prepared.name_tokens[:-1]
    )  # sqlglot allows no schema in the name of an index
    yield from ((token.start, token.end) for token in tokens[on + 1 : start] if token not in table)
    yield from ((token.start, token.end) for token in tokens[group_end(tokens, start) + 1 :])


def _noise_spans(items: Iterable[Item]) -> Iterator[tuple[int, int]]:
    for item in items:
        tokens = item.tokens
        is_setting = len(tokens) > 1 and tokens[1].text == "="  # of a virtual table
        if (tokens[0].keyword in _SKIPPED_ITEMS and not item.is_column) or is_setting:
            yield tokens[0].start, tokens[-1].end
            continue
        yield from _item_noise_spans(tokens)


def _item_noise_spans(tokens: Sequence[Token]) -> Iterator[tuple[int, int]]:
    is_key = {"PRIMARY", "UNIQUE", "FOREIGN", "REFERENCES"} & {token.keyword for token in tokens}
    depth = 0
    for i, token in enumerate(tokens[1:], 1):
        depth += (token.text == "(") - (token.text == ")")
        if depth:
            # PostgreSQL's keys over time: (id, period WITHOUT OVERLAPS) and (id, PERIOD period).
            is_over_time = token.keyword in ("WITHOUT", "OVERLAPS") or is_period(tokens, i)
            if is_key and (token.keyword in ("ASC", "DESC") or is_over_time):
                yield token.start, token.end
            continue
        follower = tokens[i + 1].keyword if i + 1 < len(tokens) else ""
        if is_key and token.keyword == "USING" and follower == "INDEX":
            yield token.start, tokens[-1].end
            return
        is_negated = token.keyword == "NOT" and follower in (*_KEY_NOISE, "FOR", "VALID")
        ends_negated = token.keyword in ("FOR", "REPLICATION", "VALID") and tokens[i - 1].keyword in ("NOT", "FOR")
        if token.keyword in _KEY_NOISE or is_negated or ends_negated:
            yield token.start, token.end
        elif token.keyword == "WITH" and i + 1 < len(tokens) and tokens[i + 1].text == "(" and is_key:
            yield token.start, tokens[min(group_end(tokens, i), len(tokens) - 1)].end
        elif token.keyword == "ON" and is_key and follower not in ("DELETE", "UPDATE"):
            yield token.start, tokens[min(i + 1, len(tokens) - 1)].end


def _alter_variants(prepared: Prepared, base: str) -> Iterator[tuple[str, int]]:
    items = prepared.body.items
    if not items:
        return
    kept = [(item.tokens[0].start, item.tokens[-1].end) for item in items]
    start, prefix = kept[0][0], "CREATE TABLE t ("
    for noise in ([], list(_noise_spans(prepared.body.items))):
        clean = _blank(base, noise)
        entries = [clean[begin:end] for begin, end in kept]
        # In the source at least a comma separates the entries, so each gap has room for one.
        text = entries[0]
        for (_, end), (begin, _), entry in zip(kept, kept[1:], entries[1:], strict=False):
            text += "," + " " * max(0, begin - end - 1) + entry
        yield f"{prefix}{text})", len(prefix) - start
