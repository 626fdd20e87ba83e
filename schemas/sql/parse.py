"""Reads the tables and views that an SQL script defines, and ignores everything else in it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from shortlist.schemas.document import ParsedTables, Unparsed
from shortlist.schemas.errors import LimitExceeded
from shortlist.schemas.remarks import Remarks
from shortlist.schemas.sql.altering import Change, read_changes, read_renames
from shortlist.schemas.sql.arguments import procedure_arguments, read_variables
from shortlist.schemas.sql.definitions.columns import comment_clause
from shortlist.schemas.sql.definitions.constraints import Definition, dotted
from shortlist.schemas.sql.definitions.nodes import StatementError
from shortlist.schemas.sql.definitions.reader import NEXT_START, DefinitionReader
from shortlist.schemas.sql.descriptions import read_comments, read_property
from shortlist.schemas.sql.detection import detect_dialect
from shortlist.schemas.sql.dialect import DIALECTS, resolve_dialect
from shortlist.schemas.sql.drafts import DraftBook, TableDraft
from shortlist.schemas.sql.families.clauses import read_moves
from shortlist.schemas.sql.families.grouping import group_families
from shortlist.schemas.sql.families.lineage import Lineage
from shortlist.schemas.sql.preparing import Prepared, dotted_name, name_tokens, prepare
from shortlist.schemas.sql.script.comments import clean_comment, join_comments
from shortlist.schemas.sql.script.embedded import plain_statements
from shortlist.schemas.sql.script.lexing import Lexer, Token, lexer_for, line_starts, locate
from shortlist.schemas.sql.script.namespaces import changes_database, new_schema
from shortlist.schemas.sql.script.statements import Statement, split_statements
from shortlist.schemas.sql.script.templates import plain_names

__all__ = ["DIALECTS", "MAX_DDL_CHARS", "MAX_TABLES", "parse_tables"]

MAX_DDL_CHARS = 32 * 1024 * 1024
MAX_TABLES = 20_000

_MAX_REREAD_CHARS = 20_000_000
_MAX_RESTARTS = 100
_MAX_DYNAMIC_DEPTH = 3
# Where a script changes to another database, whose name is not a part of the names of tables.
_CONNECT = re.compile(r"^[ \t]*+\\c(?:onnect)?\s", re.MULTILINE)
# Marks at the start of a file that are not part of its text, and line ends of old systems; all are one character long.
_MARK = re.compile(r"^[\ufeff\u200b\u2060]", re.MULTILINE)
_OLD_LINE_END = re.compile(r"\r(?!\n)")


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
    readable = plain_names(plain_statements(_MARK.sub(" ", _OLD_LINE_END.sub("\n", ddl))))
    chosen = resolve_dialect(dialect) if dialect else detect_dialect(readable)
    return _ScriptReader(readable, ddl, chosen).read()


class _ScriptReader:
    """Reads one script in one dialect, statement by statement.

    `script` is what is read; `written` is what the caller wrote, of the same length, from which sources are cut.
    """

    def __init__(self, script: str, written: str, dialect: str) -> None:
        self._script, self._written = script, written
        self._dialect = dialect
        self._lexer = lexer_for(dialect)
        self._book = DraftBook()
        self._unparsed: list[Unparsed] = []
        self._remarks = Remarks()
        self._lineage = Lineage(self._book, dialect, self._remarks)
        self._definer = DefinitionReader(dialect, self._lexer, self._remarks)
        self._variables: dict[str, str] = {}  # of T-SQL, whose texts may be given by variables
        self._starts = line_starts(_OLD_LINE_END.sub("\n", written))
        self._changes = [change.start() for change in _CONNECT.finditer(script)]
        self._num_databases = 0  # that T-SQL's USE has changed to
        self._schema = ""  # of plain names, as the last USE or SET search_path says
        self._element_schema = ""  # of the statements inside a CREATE SCHEMA
        self._first_start = -1  # of the first statement; the comments above it may be about the file
        self._num_before = 0  # statements before those that are being read
        self._num_restarts = 0
        self._num_reread = 0
        self._readers: dict[str, Callable[[Statement, Prepared], None]] = {
            "comment": self._read_comment,
            "property": self._read_property,
            "enum": self._read_enum,
            "enum values": self._read_enum_change,
            "type": self._read_type,
            "index": self._read_index,
            "drop": self._read_drop,
            "alter": self._read_alter,
            "schema": self._read_schema,
            "rename": self._read_rename,
            "sp_rename": self._read_sp_rename,
            "transfer": self._read_transfer,
            "dynamic": self._read_dynamic,
            "unread": self._read_unread,
        }

    def read(self) -> ParsedTables:
        """Reads the whole script."""
        start = 0
        while start >= 0:
            start = self._read_from(start)
        self._lineage.finish()
        self._book.finish_keys()
        tables = group_families(self._book)
        return ParsedTables(tables, tuple(self._unparsed), self._remarks.texts(), self._dialect)

    def _read_from(self, start: int) -> int:
        """Reads the statements from offset `start` on, up to one that may include others.

        Returns the offset to go on from, or -1 at the end of the script.
        """
        for statement in split_statements(self._script, self._dialect, start=start):
            self._first_start = statement.start if self._first_start < 0 else self._first_start
            self._note_open_quote(statement)
            if (schema := new_schema(statement.text, self._dialect)) is not None:
                self._schema = schema
                continue
            self._num_databases += changes_database(statement.text, self._dialect)
            self._variables.update(read_variables(statement.text, self._lexer))
            prepared = prepare(statement.text, self._lexer)
            if prepared is None:
                continue
            try:
                self._read_prepared(statement, prepared)
            except StatementError as error:
                self._report(statement, prepared, error)
                restart = NEXT_START.search(statement.text, 1)
                if restart and self._num_restarts < _MAX_RESTARTS and self._num_reread < _MAX_REREAD_CHARS:
                    self._num_restarts += 1
                    self._num_reread += len(statement.text)
                    self._num_before += statement.index + 1
                    return statement.start + restart.end()
            if not statement.is_continued:
                self._element_schema = ""
        return -1

    def _read_prepared(self, statement: Statement, prepared: Prepared) -> None:
        self._readers.get(prepared.kind, self._read_create)(statement, prepared)

    def _read_dynamic(self, statement: Statement, prepared: Prepared, depth: int = 0) -> None:
        """Reads the statements in a string: of EXEC, of EXECUTE IMMEDIATE, or the body of a DO block."""
        texts = [self._lexer.content(token.text) for token in prepared.tokens if token.kind == "string"]
        place = 0
        for inner in split_statements(max(texts, key=len, default=""), self._dialect):
            found = prepare(inner.text, self._lexer)
            if found is None or found.kind == "unread":
                continue
            place = max(place, statement.text.find(inner.text, place))
            # The statement around it is the source: the text inside a string has no place of its own.
            placed = replace(inner, start=statement.start, end=statement.end)
            if found.kind == "dynamic":
                if depth < _MAX_DYNAMIC_DEPTH and _is_whole(found):
                    self._read_dynamic(placed, found, depth + 1)
                continue
            try:
                self._read_prepared(placed, found)
            except StatementError as error:
                self._report(statement, found, error, offset=place)

    def _note_open_quote(self, statement: Statement) -> None:
        if statement.open_quote < 0:
            return
        line, _ = locate(self._starts, statement.open_quote)
        end, _ = locate(self._starts, statement.end)
        mark = self._script[statement.open_quote : statement.open_quote + 2].strip()
        place = f"line {line}" if end == line else f"lines {line} to {end}"
        self._remarks.add(
            "a quote or comment does not close before the next statement, so the text behind it was passed over",
            f"{mark[:1] if mark[:2] != '/*' else mark} in {place}",
        )

    def _report(self, statement: Statement, prepared: Prepared, error: StatementError, *, offset: int = 0) -> None:
        """Lists a statement as unparsed; `offset` is where it begins in the text of `statement`."""
        line, column = locate(self._starts, statement.start + offset + error.offset)
        index = self._num_before + statement.index
        self._unparsed.append(Unparsed(index, prepared.name, error.reason, line, column))

    def _source(self, statement: Statement) -> str:
        return self._written[statement.start : statement.end]

    def _database(self, statement: Statement) -> int:
        """Returns how often the script has changed databases: equal names in different ones are different tables."""
        return bisect_left(self._changes, statement.start) + self._num_databases

    def _read_create(self, statement: Statement, prepared: Prepared) -> None:
        node, found = self._definer.read(prepared)
        namespace, name = dotted(node.this)
        if prepared.name.startswith("#"):
            name = prepared.name  # T-SQL marks a temporary table by #, which sqlglot drops
        schema = self._element_schema or self._schema
        draft = TableDraft(name, namespace or schema, prepared.kind, schema=schema, database=self._database(statement))
        earlier = self._book.last(draft.full_name, draft.database)
        if earlier and not earlier.is_dropped and prepared.has("IF", "NOT", "EXISTS"):
            return
        if earlier and self._lineage.restores(draft, prepared.derivation, earlier):
            earlier.attach(self._source(statement))
            earlier.is_dropped = False
            return
        if prepared.has("VIRTUAL"):
            self._book.virtual.add(name.lower())
        draft.add(found)
        self._lineage.derive(draft, prepared, node)
        draft.described.update(_column_clauses(prepared))
        draft.described[""], draft.comment = self._comment_of(statement, prepared)
        draft.attach(self._source(statement))
        replaces = prepared.has("OR", "REPLACE") or prepared.has("OR", "ALTER") or not _is_create(statement)
        self._book.add(draft, replaces=replaces)
        if len(self._book) > MAX_TABLES:
            raise LimitExceeded(
                f"the script defines more than {MAX_TABLES:,} tables; split it",
                limit=MAX_TABLES,
                actual=len(self._book),
                field="ddl",
            )

    def _comment_of(self, statement: Statement, prepared: Prepared) -> tuple[str, str]:
        """Returns the comment in the statement's own clause, and that one with the comments around the statement."""
        body = prepared.body
        # H2 writes a comment before the list of columns, all others behind it.
        tail = (
            [*prepared.tokens[: body.open], *prepared.tokens[body.close + 1 :]] if body.close >= 0 else prepared.tokens
        )
        clause = comment_clause(tail, self._lexer)
        above = clean_comment(statement.leading, table=prepared.name, is_first=statement.start == self._first_start)
        beside = clean_comment([*prepared.body.comments, *filter(None, [statement.trailing])])
        return clause, join_comments([clause, above, beside])

    def _read_alter(self, statement: Statement, prepared: Prepared) -> None:
        self._read_moves(statement, prepared)
        found = Definition()
        if prepared.body.items:
            _, found = self._definer.read(prepared)
        found.has_index = found.has_index or bool(prepared.body.indexes)
        changes = read_changes(prepared, self._lexer)
        if found.is_empty and not changes:
            return
        # pg_dump --clean drops the constraints of tables that it creates below.
        is_drop = found.is_empty and all(change.kind in ("drop constraint", "drop key") for change in changes)
        find = self._search if is_drop else partial(self._find, verb="ALTER TABLE")
        if draft := find(prepared.name):
            draft.attach(self._source(statement))
            for change in changes:
                self._apply(draft, change)
            draft.add(found)
            draft.described.update(_column_clauses(prepared))

    def _read_moves(self, statement: Statement, prepared: Prepared) -> None:
        """Reads ATTACH PARTITION, DETACH PARTITION, INHERIT and NO INHERIT."""
        for move in read_moves(prepared.tokens, prepared.at):
            find = self._search if move.is_end else partial(self._find, verb="ALTER TABLE")
            if child := find(move.child):
                self._lineage.move(move, child, self._search(move.parent))
                child.attach(self._source(statement))

    def _apply(self, draft: TableDraft, change: Change) -> None:
        if change.kind == "rename table":
            *above, name = change.new.split(".")
            self._book.rename(draft, ".".join(above) or draft.namespace, name)
        elif change.kind == "move":
            self._book.rename(draft, change.new, draft.name)
        elif change.kind == "rename column":
            self._book.rename_column(draft, change.name, change.new)
        elif change.kind == "drop column":
            draft.drop_column(change.name)
        elif change.kind == "drop key":
            draft.drop_key()
        elif change.kind == "drop constraint":
            self._book.drop_constraint(draft, change.name)
        elif change.kind == "rename constraint":
            draft.rename_constraint(change.name, change.new)
        elif change.kind == "replace columns":
            draft.replace_columns(change.items)
        elif change.kind == "comment":
            draft.describe(change.name, change.new)
        elif change.item is not None:
            draft.redefine(change.item)

    def _read_rename(self, statement: Statement, prepared: Prepared) -> None:
        is_column = prepared.tokens[prepared.at].keyword == "COLUMN"  # Derby's RENAME COLUMN t.a TO b
        for old, new in read_renames(prepared):
            table, _, column = old.rpartition(".") if is_column else (old, "", "")
            if draft := self._find(table, "RENAME"):
                change = Change("rename column", column, new) if is_column else Change("rename table", new=new)
                self._apply(draft, change)
                draft.attach(self._source(statement))

    def _read_sp_rename(self, statement: Statement, prepared: Prepared) -> None:
        arguments = procedure_arguments(prepared.tokens, self._lexer)
        kind = arguments.get("objtype", "OBJECT").upper()
        target, new = _plain_parts(arguments.get("objname", "")), arguments.get("newname", "")
        is_column = kind == "COLUMN" and len(target) > 1
        if not new or kind not in ("OBJECT", "COLUMN"):
            return
        if draft := self._find(".".join(target[:-1] if is_column else target), "sp_rename"):
            new_name = new.strip("[]")
            change = (
                Change("rename column", target[-1], new_name) if is_column else Change("rename table", new=new_name)
            )
            self._apply(draft, change)
            draft.attach(self._source(statement))

    def _read_transfer(self, statement: Statement, prepared: Prepared) -> None:
        """Reads ``ALTER SCHEMA a TRANSFER [OBJECT ::] b.t``."""
        at = next(i for i, token in enumerate(prepared.tokens) if token.keyword == "TRANSFER")
        behind = max((i for i, token in enumerate(prepared.tokens) if token.text == ":"), default=at)
        if draft := self._find(dotted_name(list(name_tokens(prepared.tokens, behind + 1))), "ALTER SCHEMA"):
            self._apply(draft, Change("move", new=prepared.name))
            draft.attach(self._source(statement))

    def _read_schema(self, statement: Statement, prepared: Prepared) -> None:
        if statement.is_continued:
            tokens = [token for token in prepared.name_tokens if token.keyword != "AUTHORIZATION"]
            self._element_schema = dotted_name(tokens) or prepared.tokens[-1].value

    def _read_enum(self, statement: Statement, prepared: Prepared) -> None:
        values = tuple(self._lexer.content(token.text) for token in prepared.tokens if token.kind == "string")
        name = prepared.name.lower()
        self._book.enums |= {name: values, name.rpartition(".")[2]: values}

    def _read_enum_change(self, statement: Statement, prepared: Prepared) -> None:
        """Reads ``ALTER TYPE t ADD VALUE 'a' [BEFORE 'b']``, ``RENAME VALUE 'a' TO 'b'`` and ``RENAME TO u``."""
        name, bare = prepared.name.lower(), prepared.name.lower().rpartition(".")[2]
        values = self._book.enums.get(name) or self._book.enums.get(bare)
        if values is None:  # a composite type, or one of another script
            return
        # A plain name may be that of a type whose schema columns name.
        same = [key for key in self._book.enums if name == bare == key.rpartition(".")[2]]
        new_name, values = changed_values(prepared.tokens, values, self._lexer)
        names = (name, bare, *same, *filter(None, [new_name.lower()]))
        self._book.enums |= dict.fromkeys(names, values)

    def _read_type(self, statement: Statement, prepared: Prepared) -> None:
        self._lineage.add_type(prepared)

    def _read_drop(self, statement: Statement, prepared: Prepared) -> None:
        for name in prepared.all_names:
            self._book.drop(self._qualified(name), self._database(statement))

    def _read_index(self, statement: Statement, prepared: Prepared) -> None:
        tokens = prepared.tokens
        on = next((i for i, token in enumerate(tokens) if token.keyword == "ON"), len(tokens))
        is_of_cluster = on + 1 < len(tokens) and tokens[on + 1].keyword == "CLUSTER"
        target = dotted_name(list(name_tokens(tokens, on + 1)))
        if not target:
            raise StatementError("it names no table")
        if not is_of_cluster and (draft := self._find(target, "CREATE INDEX")):
            draft.attach(self._source(statement))

    def _read_comment(self, statement: Statement, prepared: Prepared) -> None:
        for target, column, text in read_comments(prepared, self._lexer):
            if draft := self._find(target, "COMMENT ON"):
                if not draft.describe(column, text):
                    self._remarks.add("COMMENT ON names columns that their tables do not have", f"{target}.{column}")
                draft.attach(self._source(statement))

    def _read_property(self, statement: Statement, prepared: Prepared) -> None:
        arguments = procedure_arguments(prepared.tokens, self._lexer, variables=self._variables)
        found = read_property(arguments)
        if found is None:
            return
        target, column, text = found
        # To drop what is not there, as scripts do before they create it, changes nothing.
        draft = self._find(target, "sp_addextendedproperty") if text else self._search(target)
        if draft and draft.describe(column, text):
            draft.attach(self._source(statement))
        elif draft and text:
            kind = "sp_addextendedproperty names columns that their tables do not have"
            self._remarks.add(kind, f"{target}.{column}")

    def _read_unread(self, statement: Statement, prepared: Prepared) -> None:
        """Reports a statement that makes something like a table in a way that is not read."""
        if prepared.tokens[0].keyword in ("SELECT", "WITH") and self._dialect in _INTO_VARIABLES:
            return
        raise StatementError(_UNREAD[prepared.tokens[0].keyword])

    def _qualified(self, name: str) -> str:
        schema = self._element_schema or self._schema
        return f"{schema}.{name}" if schema and "." not in name else name

    def _search(self, name: str) -> TableDraft | None:
        return self._book.find(self._qualified(name)) or self._book.find(name)

    def _find(self, name: str, verb: str) -> TableDraft | None:
        draft = self._search(name)
        if draft is None:
            self._remarks.add(f"{verb} names tables that the script does not create before", name)
        return draft


# SELECT … INTO fills a variable in these.
_INTO_VARIABLES = frozenset({"oracle", "mysql", "doris", "starrocks"})
_UNREAD = {
    "WITH": "the columns of SELECT … INTO are not read; write CREATE TABLE",
    "SELECT": "the columns of SELECT … INTO are not read; write CREATE TABLE",
    "CREATE": "it lists no columns, so it is not read; add a CREATE TABLE with its columns",
}


def _is_whole(prepared: Prepared) -> bool:
    """Returns whether an EXECUTE runs one string, not one that format() or an operator puts together."""
    code = [token for token in prepared.tokens if token.kind not in ("comment", "run")]
    at = next((i for i, token in enumerate(code) if token.kind == "string"), 0)
    is_direct = code[at - 1].keyword in ("EXECUTE", "EXEC", "IMMEDIATE")
    return is_direct and all(token.text == ";" or token.keyword in ("INTO", "USING") for token in code[at + 1 : at + 2])


def _column_clauses(prepared: Prepared) -> dict[str, str]:
    """Returns the texts of the comment clauses of a list's columns, which a later statement may replace."""
    return {item.name.lower(): item.clause for item in prepared.body.items if item.is_column and item.clause}


def changed_values(tokens: Sequence[Token], values: tuple[str, ...], lexer: Lexer) -> tuple[str, tuple[str, ...]]:
    """Returns the new name of an enumerated type, empty if it stays, and its values after an ALTER TYPE."""
    words = [token.keyword for token in tokens]
    texts = [lexer.content(token.text) for token in tokens if token.kind == "string"]
    if "VALUE" not in words:
        is_renamed = words[-3:-1] == ["RENAME", "TO"] or words[-4:-2] == ["RENAME", "TO"]
        return (next(t.value for t in reversed(tokens) if t.kind in ("word", "name")) if is_renamed else ""), values
    if "RENAME" in words and len(texts) == 2:
        return "", tuple(texts[1] if value == texts[0] else value for value in values)
    if "ADD" not in words or not texts or texts[0] in values:
        return "", values
    added, *beside = texts
    place = values.index(beside[0]) + ("AFTER" in words) if beside and beside[0] in values else len(values)
    return "", (*values[:place], added, *values[place:])


def _is_create(statement: Statement) -> bool:
    return not statement.text[:7].upper().startswith(("ALTER", "REPLACE"))


def _plain_parts(name: str) -> list[str]:
    return [part.strip('[]"') for part in name.split(".") if part]
