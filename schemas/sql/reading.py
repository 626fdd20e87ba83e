"""Reads the statements of a script one by one and gathers what they say of each table."""

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
from shortlist.schemas.sql.constraints import Definition, dotted, read_definitions, read_projections
from shortlist.schemas.sql.drafts import DraftBook, TableDraft
from shortlist.schemas.sql.lexing import lexer_for, line_starts, locate
from shortlist.schemas.sql.piecewise import PiecewiseReader
from shortlist.schemas.sql.preparing import Prepared, prepare, variants
from shortlist.schemas.sql.statements import Statement, split_statements

__all__ = ["MAX_TABLES", "ScriptReader", "count_failures"]

MAX_TABLES = 20_000

_MAX_STATEMENT_CHARS = 1_000_000
_MAX_NESTING = 200
_MAX_WARNINGS = 50
_MAX_REREAD_CHARS = 20_000_000
_MAX_RESTARTS = 100
_SAMPLED_STATEMENTS = 40
# Deep nesting and odd input surface from the parser as more than its own errors.
_PARSER_FAILURES = (SqlglotError, RecursionError, AttributeError, IndexError, KeyError, TypeError, ValueError)
# Where a statement may begin anew inside one that an open quote or bracket has swallowed.
_FRESH_START = re.compile(r"^[ \t]*(?=(?:CREATE|ALTER\s+TABLE|COMMENT\s+ON|INSERT\s+INTO|DROP)\s)", re.M | re.I)

# Where a script turns to another database or schema.
_TURN = re.compile(r"^[ \t]*+(?:USE\s|\\c(?:onnect)?\s|SET\s++(?:SESSION\s++)?(?:search_path|SCHEMA)\b)", re.M | re.I)

_READ_BY_HAND = frozenset({"comment", "property", "enum", "alter", "drop"})

_is_reading: contextvars.ContextVar[bool] = contextvars.ContextVar("is_reading", default=False)
# sqlglot logs the SQL it gives up on as a warning; a caller's SQL is not for the log, and is reported as unparsed.
logging.getLogger("sqlglot").addFilter(lambda record: not _is_reading.get())


class StatementError(Exception):
    """A statement could not be read; `offset` is the place in its text, `reason` a short phrase.

    `is_final` says that its parts are not to be read either: it is too large.
    """

    def __init__(self, reason: str, offset: int = 0, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.is_final = is_final


class ScriptReader:
    """Reads one script in one dialect."""

    def __init__(self, script: str, dialect: str) -> None:
        self._script = script
        self._dialect = dialect
        self._lexer = lexer_for(dialect)
        self._piecewise = PiecewiseReader(lambda text: _try_parse(text, dialect))
        self._book = DraftBook()
        self._unparsed: list[Unparsed] = []
        self._warnings: list[str] = []
        self._starts = line_starts(script)
        self._turns = [turn.start() for turn in _TURN.finditer(script)]
        self._num_restarts = 0
        self._num_reread = 0

    def read(self) -> ParsedTables:
        """Returns all that the script defines."""
        start, base = 0, 0
        while start >= 0:
            start, base = self._read_from(start, base)
        return ParsedTables(self._book.tables(), tuple(self._unparsed), tuple(self._warnings), self._dialect)

    def _read_from(self, start: int, base: int) -> tuple[int, int]:
        """Reads the statements from `start` on; returns where and with which index to begin again, or -1 at the end."""
        for statement in split_statements(self._script, self._dialect, start=start):
            prepared = prepare(statement.text, self._lexer)
            if prepared is None:
                continue
            try:
                self._take(statement, prepared)
            except StatementError as error:
                self._report(statement, prepared, error, base)
                restart = _FRESH_START.search(statement.text, 1)
                if restart and self._num_restarts < _MAX_RESTARTS and self._num_reread < _MAX_REREAD_CHARS:
                    self._num_restarts += 1
                    self._num_reread += len(statement.text)
                    return statement.start + restart.end(), base + statement.index + 1
        return -1, 0

    def _report(self, statement: Statement, prepared: Prepared, error: StatementError, base: int) -> None:
        line, column = locate(self._starts, statement.start + error.offset)
        self._unparsed.append(Unparsed(base + statement.index, prepared.name, error.reason, line, column))

    def _take(self, statement: Statement, prepared: Prepared) -> None:
        if prepared.kind == "comment":
            self._take_comment(statement, prepared)
        elif prepared.kind == "property":
            self._take_property(statement, prepared)
        elif prepared.kind == "enum":
            values = tuple(self._lexer.content(token.text) for token in prepared.tokens if token.kind == "string")
            self._book.enums[prepared.name.lower()] = values
        elif prepared.kind == "index":
            self._take_index(statement, prepared)
        elif prepared.kind == "drop":
            for name in prepared.all_names:
                self._book.drop(name, self._era(statement))
        elif prepared.kind == "alter":
            self._take_alter(statement, prepared)
        else:
            self._take_create(statement, prepared)

    def _take_create(self, statement: Statement, prepared: Prepared) -> None:
        node = self._parse(prepared)
        namespace, name = dotted(node.this)
        if prepared.name.startswith("#"):
            name = prepared.name  # T-SQL's mark of a temporary table, which sqlglot drops
        draft = TableDraft(name, namespace, prepared.kind, era=self._era(statement))
        earlier = self._book.standing(draft.full_name, draft.era)
        if earlier and not earlier.is_dropped and prepared.has("IF", "NOT", "EXISTS"):
            return
        found = self._define(node, prepared)
        draft.add(found)
        tail = prepared.tokens[prepared.body.close + 1 :] if prepared.body.close >= 0 else prepared.tokens
        beside = [*statement.leading, *prepared.body.comments, statement.trailing]
        draft.comment = join_comments([comment_clause(tail, self._lexer), clean_comment(list(filter(None, beside)))])
        draft.attach(statement)
        self._book.open(draft, replaces=prepared.has("OR", "REPLACE") or prepared.has("OR", "ALTER"))
        if len(self._book) > MAX_TABLES:
            raise LimitExceeded(
                f"the script defines more than {MAX_TABLES:,} tables; split it",
                limit=MAX_TABLES,
                actual=len(self._book),
                field="ddl",
            )

    def _parse(self, prepared: Prepared) -> exp.Create:
        """Returns the statement's node, read entry by entry where it cannot be read whole."""
        try:
            return parse_statement(prepared, self._dialect)
        except StatementError as error:
            swallows_another = _FRESH_START.search(prepared.text, 1)
            if error.is_final or swallows_another:
                raise
            found = self._piecewise.read(prepared)
            if found is None:
                raise
            node, num_partial = found
            if num_partial and len(self._warnings) < _MAX_WARNINGS:
                entries = f"{num_partial} of the {len(prepared.body.items)} entries"
                self._warnings.append(f"{entries} of {prepared.name[:80]!r} were read in part ({error.reason})")
            return node

    def _era(self, statement: Statement) -> int:
        """Returns which database the script has turned to: equal names of different ones are different tables."""
        return bisect_left(self._turns, statement.start)

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
        found = read_definitions(entries, items, self._dialect)
        found.columns = read_projections(node.expression, found.columns, self._dialect)
        return found

    def _take_alter(self, statement: Statement, prepared: Prepared) -> None:
        found = Definition()
        if prepared.body.items:
            try:
                found = self._define(self._parse(prepared), prepared)
            except StatementError:
                words = {token.keyword for item in prepared.body.items for token in item.tokens}
                if words & {"PRIMARY", "FOREIGN", "UNIQUE", "REFERENCES"}:
                    raise
        found.has_index = found.has_index or bool(prepared.body.indexes)
        if not found.is_empty and (draft := self._find(prepared.name, "ALTER TABLE")):
            draft.add(found)
            draft.attach(statement)

    def _take_index(self, statement: Statement, prepared: Prepared) -> None:
        if any(token.text == "(" for token in prepared.tokens):
            index = parse_statement(prepared, self._dialect).this
            target = ".".join(filter(None, dotted(index.args.get("table"))))
        else:
            target = _after_on(prepared)
        if draft := self._find(target, "CREATE INDEX"):
            draft.attach(statement)

    def _take_comment(self, statement: Statement, prepared: Prepared) -> None:
        spoken = _read_comment(prepared)
        if spoken is None:
            return
        kind, parts, literal = spoken
        text = " ".join(self._lexer.content(literal).split()) if literal else ""
        target, column = (parts[:-1], parts[-1]) if kind == "COLUMN" else (parts, "")
        if draft := self._find(".".join(target), "COMMENT ON"):
            draft.describe(column, text)
            draft.attach(statement)

    def _take_property(self, statement: Statement, prepared: Prepared) -> None:
        values = [self._lexer.content(token.text) for token in prepared.tokens if token.kind == "string"]
        if len(values) < 6 or values[0].lower() != "ms_description" or values[4].upper() not in ("TABLE", "VIEW"):
            return
        column = values[7] if len(values) > 7 and values[6].upper() == "COLUMN" else ""
        if len(values) > 6 and not column:
            return  # of an index or a constraint
        if draft := self._find(f"{values[3]}.{values[5]}", "sp_addextendedproperty"):
            draft.describe(column, " ".join(values[1].split()))
            draft.attach(statement)

    def _find(self, full_name: str, verb: str) -> TableDraft | None:
        draft = self._book.find(full_name)
        if draft is None and len(self._warnings) < _MAX_WARNINGS:
            self._warnings.append(f"{verb} names {full_name[:80]!r}, which the script does not create before it")
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


def parse_statement(prepared: Prepared, dialect: str) -> exp.Create:
    """Returns the CREATE node of a statement, read as faithfully as sqlglot can.

    Raises:
        StatementError: no reading succeeds; it speaks of the last.
    """
    _check_size(prepared)
    failure = StatementError("nothing to read")
    for text, shift in variants(prepared):
        try:
            return _parse_create(text, dialect)
        except _PARSER_FAILURES as error:
            failure = _explain(error, text, shift)
        except StatementError as error:
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
    raise StatementError("sqlglot cannot read it: this form of CREATE is not supported")


def _try_parse(text: str, dialect: str) -> exp.Create | None:
    try:
        return _parse_create(text, dialect)
    except (StatementError, *_PARSER_FAILURES):
        return None


def _check_size(prepared: Prepared) -> None:
    if len(prepared.text) > _MAX_STATEMENT_CHARS:
        raise StatementError(f"longer than {_MAX_STATEMENT_CHARS:,} characters", is_final=True)
    depth = 0
    for token in prepared.tokens:
        depth += (token.text in ("(", "[", "<")) - (token.text in (")", "]", ">"))
        if depth > _MAX_NESTING:
            raise StatementError(f"nested more than {_MAX_NESTING} deep", token.start, is_final=True)


def _explain(error: BaseException, text: str, shift: int) -> StatementError:
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        word = str(first.get("highlight") or "")
        starts = line_starts(text)
        line = min(max(int(first.get("line") or 1), 1), len(starts))
        offset = starts[line - 1] + int(first.get("col") or 1) - max(len(word), 1)
        near = f" near {word[:40]!r}" if word else ""
        reason = f"{str(first.get('description') or 'syntax error').split(' but got')[0].rstrip('.')[:120]}{near}"
        return StatementError(reason, max(0, min(offset, len(text) - 1) - shift))
    if isinstance(error, RecursionError):
        return StatementError("nested too deeply")
    if isinstance(error, SqlglotError):
        return StatementError("cannot be cut into tokens: is a quote or a bracket left open?")
    return StatementError(f"sqlglot fails on it ({type(error).__name__})")


def count_failures(script: str, dialect: str) -> int:
    """Returns how many of a sample of the script's definitions cannot be read in a dialect."""
    lexer = lexer_for(dialect)
    prepared_statements = (prepare(statement.text, lexer) for statement in split_statements(script, dialect))
    relevant = [prepared for prepared in prepared_statements if prepared and prepared.kind not in _READ_BY_HAND]
    step = max(1, len(relevant) // _SAMPLED_STATEMENTS)
    failures = 0
    for prepared in relevant[::step]:
        try:
            parse_statement(prepared, dialect)
        except StatementError:
            failures += 1
    return failures
