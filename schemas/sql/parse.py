"""Reads the tables and views that an SQL script defines, and ignores everything else in it."""

from __future__ import annotations

import contextvars
import logging
import re
from bisect import bisect_left

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from shortlist.schemas.document import ParsedTables, Unparsed
from shortlist.schemas.errors import LimitExceeded
from shortlist.schemas.sql.columns import Item, clean_comment, comment_clause, join_comments
from shortlist.schemas.sql.constraints import Definition, dotted, read_definitions
from shortlist.schemas.sql.dialect import DIALECTS, likely_dialects, resolve_dialect
from shortlist.schemas.sql.drafts import DraftBook, TableDraft
from shortlist.schemas.sql.families.clauses import read_moves
from shortlist.schemas.sql.families.grouping import group_families
from shortlist.schemas.sql.families.lineage import Lineage
from shortlist.schemas.sql.lexing import lexer_for, line_starts, locate
from shortlist.schemas.sql.piecewise import PiecewiseReader
from shortlist.schemas.sql.preparing import Prepared, prepare, variants
from shortlist.schemas.sql.statements import Statement, split_statements

__all__ = ["DIALECTS", "MAX_DDL_CHARS", "MAX_TABLES", "parse_tables"]

MAX_DDL_CHARS = 32 * 1024 * 1024
MAX_TABLES = 20_000

_MAX_CANDIDATES = 5  # dialects that are tried
_SAMPLED_CHARS = 400_000  # of a script, to detect its dialect
_MAX_STATEMENT_CHARS = 1_000_000
_MAX_NESTING = 200
_MAX_WARNINGS = 50
_MAX_REREAD_CHARS = 20_000_000
_MAX_RESTARTS = 100
_SAMPLED_STATEMENTS = 40
# sqlglot's parser raises these too, on deep nesting and unusual input.
_PARSER_FAILURES = (SqlglotError, RecursionError, AttributeError, IndexError, KeyError, TypeError, ValueError)
# Where the next statement may begin inside one that cannot be read: an open quote or bracket includes too much.
_NEXT_START = re.compile(r"^[ \t]*(?=(?:CREATE|ALTER\s+TABLE|COMMENT\s+ON|INSERT\s+INTO|DROP)\s)", re.M | re.I)
# Where a script changes to another database or schema.
_DATABASE_CHANGE = re.compile(
    r"^[ \t]*+(?:USE\s|\\c(?:onnect)?\s|SET\s++(?:SESSION\s++)?(?:search_path|SCHEMA)\b)", re.M | re.I
)
# Kinds of statements that say little about the dialect.
_NOT_SAMPLED = frozenset({"comment", "property", "enum", "type", "alter", "drop"})

_is_reading: contextvars.ContextVar[bool] = contextvars.ContextVar("is_reading", default=False)
# sqlglot logs SQL that it cannot parse as a warning. A caller's SQL must not reach the log; it is reported instead.
logging.getLogger("sqlglot").addFilter(lambda record: not _is_reading.get())


def parse_tables(ddl: str, *, dialect: str | None = None) -> ParsedTables:
    """Returns the tables and views of a script, in script order, and the statements that could not be parsed.

    Without `dialect` the dialect is detected. The result names it, or has an empty name for SQL common to all
    dialects. Statements that are not about tables are ignored. Broken SQL is reported and never raises.

    Raises:
        UnknownDialect: no dialect has the given name.
        LimitExceeded: the script is longer than MAX_DDL_CHARS, or defines more tables than MAX_TABLES.
    """
    if len(ddl) > MAX_DDL_CHARS:
        raise LimitExceeded(
            f"the script has {len(ddl):,} characters, the limit is {MAX_DDL_CHARS:,}; remove its data or split it",
            limit=MAX_DDL_CHARS,
            actual=len(ddl),
            field="ddl",
        )
    chosen = resolve_dialect(dialect) if dialect else _detect(ddl)
    return _ScriptReader(ddl, chosen).read()


def _detect(ddl: str) -> str:
    """Returns the dialect that fails on the fewest of the sampled statements, the likeliest one if several do."""
    sample = ddl[:_SAMPLED_CHARS]
    candidates = [*likely_dialects(sample)[:_MAX_CANDIDATES], "", "sqlite", "mysql"]
    best, fewest = "", -1
    for candidate in dict.fromkeys(candidates):
        failures = _count_failures(sample, candidate)
        if failures == 0:
            return candidate
        if fewest < 0 or failures < fewest:
            best, fewest = candidate, failures
    return best


def _count_failures(script: str, dialect: str) -> int:
    """Returns how many of the script's sampled definitions cannot be parsed in a dialect."""
    lexer = lexer_for(dialect)
    prepared_statements = (prepare(statement.text, lexer) for statement in split_statements(script, dialect))
    relevant = [prepared for prepared in prepared_statements if prepared and prepared.kind not in _NOT_SAMPLED]
    step = max(1, len(relevant) // _SAMPLED_STATEMENTS)
    failures = 0
    for prepared in relevant[::step]:
        try:
            _parse_statement(prepared, dialect)
        except _StatementError:
            failures += 1
    return failures


class _ScriptReader:
    """Reads one script in one dialect, statement by statement."""

    def __init__(self, script: str, dialect: str) -> None:
        self._script = script
        self._dialect = dialect
        self._lexer = lexer_for(dialect)
        self._piecewise = PiecewiseReader(lambda text: _try_parse(text, dialect))
        self._book = DraftBook()
        self._lineage = Lineage(self._book, dialect)
        self._unparsed: list[Unparsed] = []
        self._warnings: list[str] = []
        self._starts = line_starts(script)
        self._changes = [change.start() for change in _DATABASE_CHANGE.finditer(script)]
        self._num_restarts = 0
        self._num_reread = 0

    def read(self) -> ParsedTables:
        """Reads the whole script."""
        start, base = 0, 0
        while start >= 0:
            start, base = self._read_from(start, base)
        self._warnings += self._lineage.finish()[: max(0, _MAX_WARNINGS - len(self._warnings))]
        tables = group_families(self._book)
        return ParsedTables(tables, tuple(self._unparsed), tuple(self._warnings), self._dialect)

    def _read_from(self, start: int, base: int) -> tuple[int, int]:
        """Reads the statements from offset `start` on, up to one that may include others.

        Returns the offset and statement index to go on from; the offset is -1 at the end of the script.
        """
        for statement in split_statements(self._script, self._dialect, start=start):
            prepared = prepare(statement.text, self._lexer)
            if prepared is None:
                continue
            try:
                self._read_statement(statement, prepared)
            except _StatementError as error:
                self._report(statement, prepared, error, base)
                restart = _NEXT_START.search(statement.text, 1)
                if restart and self._num_restarts < _MAX_RESTARTS and self._num_reread < _MAX_REREAD_CHARS:
                    self._num_restarts += 1
                    self._num_reread += len(statement.text)
                    return statement.start + restart.end(), base + statement.index + 1
        return -1, 0

    def _report(self, statement: Statement, prepared: Prepared, error: _StatementError, base: int) -> None:
        line, column = locate(self._starts, statement.start + error.offset)
        self._unparsed.append(Unparsed(base + statement.index, prepared.name, error.reason, line, column))

    def _read_statement(self, statement: Statement, prepared: Prepared) -> None:
        if prepared.kind == "comment":
            self._read_comment_statement(statement, prepared)
        elif prepared.kind == "property":
            self._read_property(statement, prepared)
        elif prepared.kind == "enum":
            values = tuple(self._lexer.content(token.text) for token in prepared.tokens if token.kind == "string")
            self._book.enums[prepared.name.lower()] = values
        elif prepared.kind == "type":
            self._lineage.add_type(prepared)
        elif prepared.kind == "index":
            self._read_index(statement, prepared)
        elif prepared.kind == "drop":
            for name in prepared.all_names:
                self._book.drop(name, self._database(statement))
        elif prepared.kind == "alter":
            self._read_alter(statement, prepared)
        else:
            self._read_create(statement, prepared)

    def _read_create(self, statement: Statement, prepared: Prepared) -> None:
        node = self._parse(prepared)
        namespace, name = dotted(node.this)
        if prepared.name.startswith("#"):
            name = prepared.name  # T-SQL marks a temporary table by #, which sqlglot drops
        draft = TableDraft(name, namespace, prepared.kind, database=self._database(statement))
        earlier = self._book.last(draft.full_name, draft.database)
        if earlier and not earlier.is_dropped and prepared.has("IF", "NOT", "EXISTS"):
            return
        if earlier and self._lineage.restores(draft, prepared.derivation, earlier):
            earlier.attach(statement)
            earlier.is_dropped = False
            return
        draft.add(self._define(node, prepared))
        self._lineage.derive(draft, prepared, node)
        tail = prepared.tokens[prepared.body.close + 1 :] if prepared.body.close >= 0 else prepared.tokens
        beside = [*statement.leading, *prepared.body.comments, statement.trailing]
        draft.comment = join_comments([comment_clause(tail, self._lexer), clean_comment(list(filter(None, beside)))])
        draft.attach(statement)
        self._book.add(draft, replaces=prepared.has("OR", "REPLACE") or prepared.has("OR", "ALTER"))
        if len(self._book) > MAX_TABLES:
            raise LimitExceeded(
                f"the script defines more than {MAX_TABLES:,} tables; split it",
                limit=MAX_TABLES,
                actual=len(self._book),
                field="ddl",
            )

    def _parse(self, prepared: Prepared) -> exp.Create:
        """Returns the node of a statement; parses its list entry by entry if it cannot be parsed whole."""
        try:
            return _parse_statement(prepared, self._dialect)
        except _StatementError as error:
            includes_another = _NEXT_START.search(prepared.text, 1)
            if error.is_final or includes_another:
                raise
            found = self._piecewise.read(prepared) or self._read_without_list(prepared)
            if found is None:
                raise
            node, num_partial = found
            if num_partial and len(self._warnings) < _MAX_WARNINGS:
                entries = f"{num_partial} of the {len(prepared.body.items)} entries"
                self._warnings.append(f"{entries} of {prepared.name[:80]!r} were read in part ({error.reason})")
            return node

    def _read_without_list(self, prepared: Prepared) -> tuple[exp.Create, int] | None:
        """Reads a table whose columns are those of another one; its list says only more about them."""
        if prepared.derivation is None or prepared.derivation.kind == "inherits":
            return None
        node = _try_parse(prepared.text[: prepared.tokens[prepared.derivation.start].start], self._dialect)
        return (node, len(prepared.body.items)) if node else None

    def _database(self, statement: Statement) -> int:
        """Returns how often the script has changed databases: equal names in different ones are different tables."""
        return bisect_left(self._changes, statement.start)

    def _define(self, node: exp.Create, prepared: Prepared) -> Definition:
        items: dict[str, Item] = {}
        for item in prepared.body.items:
            items.setdefault(item.name, item)
        entries = list(node.this.expressions) if isinstance(node.this, exp.Schema) else []
        properties = node.args.get("properties")
        for part in properties.expressions if properties else []:
            if isinstance(part, exp.PartitionedByProperty) and isinstance(part.this, exp.Schema):
                entries += [entry for entry in part.this.expressions if isinstance(entry, exp.ColumnDef)]
            elif isinstance(part, exp.PrimaryKey):
                entries.append(part)
        return read_definitions(entries, items, self._dialect)

    def _read_alter(self, statement: Statement, prepared: Prepared) -> None:
        for move in read_moves(prepared.tokens, prepared.at):
            if child := self._lineage.move(move):
                child.attach(statement)
            elif not move.is_end:
                self._find(move.child, "ALTER TABLE")  # warns
        found = Definition()
        if prepared.body.items:
            try:
                found = self._define(self._parse(prepared), prepared)
            except _StatementError:
                words = {token.keyword for item in prepared.body.items for token in item.tokens}
                if words & {"PRIMARY", "FOREIGN", "UNIQUE", "REFERENCES"}:
                    raise
        found.has_index = found.has_index or bool(prepared.body.indexes)
        if not found.is_empty and (draft := self._find(prepared.name, "ALTER TABLE")):
            draft.add(found)
            draft.attach(statement)

    def _read_index(self, statement: Statement, prepared: Prepared) -> None:
        if any(token.text == "(" for token in prepared.tokens):
            index = _parse_statement(prepared, self._dialect).this
            target = ".".join(filter(None, dotted(index.args.get("table"))))
        else:
            target = _after_on(prepared)
        if draft := self._find(target, "CREATE INDEX"):
            draft.attach(statement)

    def _read_comment_statement(self, statement: Statement, prepared: Prepared) -> None:
        found = _read_comment(prepared)
        if found is None:
            return
        kind, parts, literal = found
        text = " ".join(self._lexer.content(literal).split()) if literal else ""
        target, column = (parts[:-1], parts[-1]) if kind == "COLUMN" else (parts, "")
        if draft := self._find(".".join(target), "COMMENT ON"):
            draft.describe(column, text)
            draft.attach(statement)

    def _read_property(self, statement: Statement, prepared: Prepared) -> None:
        values = [self._lexer.content(token.text) for token in prepared.tokens if token.kind == "string"]
        if len(values) < 6 or values[0].lower() != "ms_description" or values[4].upper() not in ("TABLE", "VIEW"):
            return
        column = values[7] if len(values) > 7 and values[6].upper() == "COLUMN" else ""
        if len(values) > 6 and not column:
            return  # the comment of an index or a constraint
        if draft := self._find(f"{values[3]}.{values[5]}", "sp_addextendedproperty"):
            draft.describe(column, " ".join(values[1].split()))
            draft.attach(statement)

    def _find(self, full_name: str, verb: str) -> TableDraft | None:
        draft = self._book.find(full_name)
        if draft is None and len(self._warnings) < _MAX_WARNINGS:
            self._warnings.append(f"{verb} refers to {full_name[:80]!r}, which is not created earlier in the script")
        return draft


def _after_on(prepared: Prepared) -> str:
    on = next((i for i, token in enumerate(prepared.tokens) if token.keyword == "ON"), len(prepared.tokens))
    return ".".join(token.value for token in prepared.tokens[on + 1 :] if token.kind in ("word", "name"))


def _read_comment(prepared: Prepared) -> tuple[str, list[str], str] | None:
    tokens = [token for token in prepared.tokens[prepared.at + 1 :] if token.kind not in ("comment", "run")]
    target = next((i for i, token in enumerate(tokens) if token.keyword in ("TABLE", "VIEW", "COLUMN")), 9)
    end = next((i for i, token in enumerate(tokens) if token.keyword == "IS"), len(tokens))
    if target > 1 or end + 1 >= len(tokens):
        return None
    parts = [token.value for token in tokens[target + 1 : end] if token.kind != "sign"]
    literal = next((token.text for token in tokens[end + 1 :] if token.kind == "string"), "")
    return (tokens[target].keyword, parts, literal) if parts else None


def _parse_statement(prepared: Prepared, dialect: str) -> exp.Create:
    """Returns the CREATE node of the most faithful text of a statement that sqlglot can parse.

    Raises:
        _StatementError: sqlglot can parse none; the reason is that of the last.
    """
    _check_size(prepared)
    failure = _StatementError("there is nothing to parse")
    for text, shift in variants(prepared):
        try:
            return _parse_create(text, dialect)
        except _PARSER_FAILURES as error:
            failure = _explain(error, text, shift)
        except _StatementError as error:
            failure = error
    raise failure


def _parse_create(text: str, dialect: str) -> exp.Create:
    reading = _is_reading.set(True)
    try:
        node = sqlglot.parse_one(text, dialect=dialect or None)
    finally:
        _is_reading.reset(reading)
    if isinstance(node, exp.Create) and node.this is not None:
        return node
    raise _StatementError("sqlglot does not support this form of CREATE")


def _try_parse(text: str, dialect: str) -> exp.Create | None:
    try:
        return _parse_create(text, dialect)
    except (_StatementError, *_PARSER_FAILURES):
        return None


def _check_size(prepared: Prepared) -> None:
    if len(prepared.text) > _MAX_STATEMENT_CHARS:
        raise _StatementError(f"the statement is longer than {_MAX_STATEMENT_CHARS:,} characters", is_final=True)
    depth = 0
    for token in prepared.tokens:
        depth += (token.text in ("(", "[", "<")) - (token.text in (")", "]", ">"))
        if depth > _MAX_NESTING:
            raise _StatementError(f"nested more than {_MAX_NESTING} levels deep", token.start, is_final=True)


def _explain(error: BaseException, text: str, shift: int) -> _StatementError:
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        word = str(first.get("highlight") or "")
        starts = line_starts(text)
        line = min(max(int(first.get("line") or 1), 1), len(starts))
        offset = starts[line - 1] + int(first.get("col") or 1) - max(len(word), 1)
        near = f" near {word[:40]!r}" if word else ""
        reason = f"{str(first.get('description') or 'syntax error').split(' but got')[0].rstrip('.')[:120]}{near}"
        return _StatementError(reason, max(0, min(offset, len(text) - 1) - shift))
    if isinstance(error, RecursionError):
        return _StatementError("nested too deeply")
    if isinstance(error, SqlglotError):
        return _StatementError("cannot be split into tokens; look for a quote or bracket that is not closed")
    return _StatementError(f"sqlglot fails with {type(error).__name__}")


class _StatementError(Exception):
    """A statement cannot be parsed; `offset` is the place in its text, `reason` a short phrase.

    `is_final` says that it is too large to be parsed entry by entry either.
    """

    def __init__(self, reason: str, offset: int = 0, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.is_final = is_final
