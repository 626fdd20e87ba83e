"""Reads PostgreSQL scripts with libpg_query, the server's own parser, statement by statement as psql sends them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from facts import TableFacts, foreign_key

# What psql's scanner tells apart. A backslash outside quotes begins a command for psql itself.
_SCAN = re.compile(
    r"(?P<skip>--[^\n]*|(?<!\w)[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    r"|(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)"
    r"|(?P<comment>/\*)|(?P<command>\\[^\n]*)|(?<![:\w]):(?P<variable>\w+|'\w+'|\"\w+\")(?!:)"
    r"|(?P<open>\()|(?P<close>\))|(?P<semicolon>;)"
    r"|(?P<atomic>\bBEGIN\s+ATOMIC\b)|(?P<case>\bCASE\b)|(?P<end>\bEND\b)",
    re.DOTALL | re.IGNORECASE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_COPY = re.compile(r"\s*COPY\b.*\bFROM\s+STDIN\b", re.DOTALL | re.IGNORECASE)
_COPY_END = re.compile(r"^\\\.[ \t\r]*$", re.MULTILINE)
_CONNECT = re.compile(r"\\c(?:onnect)?\s+(?!-?\s*$)", re.IGNORECASE)
_FALSE = frozenset({"false", "off", "no", "0", "f", "n"})
# What a statement that libpg_query refuses was meant to create.
_CREATED = re.compile(r"\bCREATE\s[\w\s]*?\b(?:TABLE|VIEW)\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w.\"]+)", re.IGNORECASE)
_LIKE_COMMENTS, _LIKE_INDEXES = 1 << 0, 1 << 6  # of TableLikeOption
_ADDITIONS = frozenset({"AT_AddColumn", "AT_AddConstraint"})
_RELATIONS = frozenset({"OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE"})


def read_postgres(script: str) -> tuple[list[TableFacts], list[str]]:
    """Returns the tables and views that a script leaves, and a line for each statement that was not understood."""
    from pglast import parse_sql
    from pglast.parser import ParseError

    book, notes = Book(), []
    for start, statement in split(script):
        if statement.startswith("\\"):
            book.change_database()
            continue
        try:
            for node in parse_sql(statement):
                book.read(node.stmt, statement)
        except ParseError as error:
            names = [_names(name) for name in _CREATED.findall(_without_comments(statement))]
            book.tables += [TableFacts(name[-1], ".".join(name[:-1]), is_optional=True) for name in names]
            line = script.count("\n", 0, start) + 1
            notes.append(f"line {line}: libpg_query: {str(error).splitlines()[0]}")
    return book.tables, notes + book.notes


def split(script: str) -> Iterator[tuple[int, str]]:
    r"""Yields the offset and text of each statement that psql sends, and each ``\connect``.

    psql's other commands, the data of COPY and the branches of ``\if false`` are left out; a variable is replaced by
    its name.
    """
    return _Splitter(script).run()


class _Splitter:
    def __init__(self, script: str) -> None:
        self._script = script
        self._start = self._position = 0
        self._depth = self._num_blocks = 0  # open brackets, open BEGIN ATOMIC and CASE
        self._pieces: list[str] = []
        self._skipped: list[bool] = []  # for each open \if, whether this branch is skipped

    def run(self) -> Iterator[tuple[int, str]]:
        while match := _SCAN.search(self._script, self._position):
            kind, self._position = str(match.lastgroup), match.end()
            if kind == "comment":
                self._position = self._comment_end(match.start())
            elif kind == "command":
                self._cut(match, "")
                self._follow(match[0])
                if _CONNECT.match(match[0]) and not any(self._skipped):
                    yield match.start(), match[0]
            elif kind == "variable":
                self._cut(match, match["variable"])
            elif kind == "semicolon" and self._depth <= 0 and not self._num_blocks:
                yield from self._finish(self._position)
            else:
                self._depth += (kind == "open") - (kind == "close")
                self._num_blocks += kind == "atomic" or (kind == "case" and self._num_blocks > 0)
                self._num_blocks -= kind == "end" and self._num_blocks > 0
        yield from self._finish(len(self._script))

    def _cut(self, match: re.Match[str], instead: str) -> None:
        self._pieces += [self._script[self._start : match.start()], instead]
        self._start = match.end()

    def _comment_end(self, start: int) -> int:
        depth = 0
        for edge in _COMMENT_EDGE.finditer(self._script, start):
            depth += 1 if edge[0] == "/*" else -1
            if not depth:
                return edge.end()
        return len(self._script)

    def _follow(self, command: str) -> None:
        verb, *values = [*command[1:].lower().split(), ""]
        if verb == "if":
            self._skipped.append(values[0] in _FALSE)
        elif verb in ("else", "elif") and self._skipped:
            self._skipped[-1] = not self._skipped[-1]
        elif verb == "endif" and self._skipped:
            self._skipped.pop()

    def _finish(self, end: int) -> Iterator[tuple[int, str]]:
        text = "".join([*self._pieces, self._script[self._start : end]])
        first = end - len(text.lstrip())
        self._pieces, self._start, self._depth = [], end, 0
        if text.strip() and not any(self._skipped):
            yield max(0, first), text.strip()
        if _COPY.match(_without_comments(text)):
            data_end = _COPY_END.search(self._script, end)
            self._start = self._position = data_end.end() if data_end else len(self._script)


def _names(dotted: str) -> list[str]:
    return dotted.replace('"', "").lower().split(".")


def _without_comments(text: str) -> str:
    return re.sub(r"--[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)


class Book:
    """The tables of a server, as the statements of a script make them one after another."""

    def __init__(self) -> None:
        self.tables: list[TableFacts] = []
        self.notes: list[str] = []
        self._first = 0  # of the tables in the present database
        self._types: dict[str, list[str]] = {}  # the columns of composite types
        self._indexes: dict[str, tuple[str, ...]] = {}  # the columns of indexes
        self._steps: dict[str, Callable[[Any], None]] = {
            "CreateStmt": self._create,
            "CreateForeignTableStmt": lambda node: self._create(node.base),
            "ViewStmt": self._view,
            "CreateTableAsStmt": self._create_as,
            "AlterTableStmt": self._alter,
            "RenameStmt": self._rename,
            "AlterObjectSchemaStmt": self._move,
            "CommentStmt": self._comment,
            "DropStmt": self._drop,
            "CreateSchemaStmt": self._schema,
            "CompositeTypeStmt": self._type,
            "IndexStmt": self._index,
        }

    def read(self, node: Any, statement: str = "") -> None:
        """Applies one statement; one that is not about tables changes nothing."""
        kind = type(node).__name__
        if kind == "DoStmt":
            self._do(statement)
        elif kind in self._steps:
            self._steps[kind](node)

    def change_database(self) -> None:
        """Makes the tables so far invisible to the statements that follow."""
        self._first = len(self.tables)

    def _find(self, parts: Sequence[str]) -> TableFacts | None:
        """Returns the table of that name: with its schema if it is given, or else the last one made."""
        *schemas, name = parts
        namespace = schemas[-1] if schemas else ""
        same = [table for table in self.tables[self._first :] if table.name == name and not table.is_optional]
        exact = [table for table in same if table.namespace.split(".")[-1] == namespace]
        loose = [table for table in same if not namespace or not table.namespace]
        return next(iter([*reversed(exact), *reversed(loose)]), None)

    def _exists(self, parts: Sequence[str]) -> bool:
        table = self._find(parts)
        return table is not None and table.full_name.split(".") == list(parts)

    def _add(self, relation: Any, schema: str = "", *, is_view: bool = False) -> TableFacts:
        *namespace, name = _parts(relation, schema)
        table = TableFacts(name, ".".join(namespace), is_view)
        self.tables.append(table)
        return table

    def _create(self, node: Any, schema: str = "") -> None:
        if node.if_not_exists and self._exists(_parts(node.relation, schema)):
            return
        table = self._add(node.relation, schema)
        for parent in node.inhRelations or ():
            self._inherit(table, parent)
        if node.ofTypename:
            table.columns += self._types.get(_strings(node.ofTypename.names)[-1], [])
        for element in [*(node.tableElts or ()), *(node.constraints or ())]:
            self._element(table, element)

    def _inherit(self, table: TableFacts, relation: Any) -> None:
        if parent := self._find(_parts(relation)):
            table.columns += [name for name in parent.columns if name not in table.columns]
        else:
            table.is_open = True

    def _element(self, table: TableFacts, element: Any) -> None:
        kind = type(element).__name__
        if kind == "ColumnDef":
            self._column(table, element)
        elif kind == "Constraint":
            self._constraint(table, element, ())
        elif kind == "TableLikeClause":
            self._like(table, element)

    def _like(self, table: TableFacts, element: Any) -> None:
        self._inherit(table, element.relation)
        source = self._find(_parts(element.relation))
        if source and element.options & _LIKE_COMMENTS:
            table.column_comments |= source.column_comments
        if source and element.options & _LIKE_INDEXES:
            table.primary_key = table.primary_key or source.primary_key

    def _column(self, table: TableFacts, element: Any) -> None:
        name = element.colname.lower()
        if name not in table.columns:
            table.columns.append(name)
        for constraint in element.constraints or ():
            self._constraint(table, constraint, (name,))

    def _constraint(self, table: TableFacts, node: Any, columns: tuple[str, ...]) -> None:
        kind = node.contype.name
        if kind == "CONSTR_PRIMARY":
            listed = columns or _strings(node.keys)
            table.primary_key = listed or self._indexes.get((node.indexname or "").lower(), ())
        elif kind == "CONSTR_FOREIGN":
            listed = columns or _strings(node.fk_attrs)
            table.foreign_keys.append(foreign_key(listed, node.pktable.relname, _strings(node.pk_attrs)))

    def _view(self, node: Any, schema: str = "") -> None:
        earlier = self._find(_parts(node.view, schema))
        if node.replace and earlier:
            self.tables.remove(earlier)
        _select(self._add(node.view, schema, is_view=True), node.query, _strings(node.aliases))

    def _create_as(self, node: Any) -> None:
        if node.if_not_exists and self._exists(_parts(node.into.rel)):
            return
        is_view = node.objtype.name == "OBJECT_MATVIEW"
        _select(self._add(node.into.rel, is_view=is_view), node.query, _strings(node.into.colNames))

    def _alter(self, node: Any) -> None:
        table = self._find(_parts(node.relation))
        if table is None and any(command.subtype.name in _ADDITIONS for command in node.cmds):
            self.notes.append(f"ALTER TABLE of {'.'.join(_parts(node.relation))}, which is not created earlier")
        for command in node.cmds if table else ():
            self._alter_command(table, command)

    def _alter_command(self, table: Any, command: Any) -> None:
        kind = command.subtype.name
        if kind in _ADDITIONS:
            self._element(table, command.def_)
        elif kind == "AT_DropColumn":
            _drop_column(table, command.name.lower())
        elif kind == "AT_AddInherit":
            self._inherit(table, command.def_)

    def _rename(self, node: Any) -> None:
        table = self._find(_parts(node.relation)) if node.relation else None
        if table is None:
            return
        new = node.newname.lower()
        if node.renameType.name == "OBJECT_COLUMN":
            self._rename_column(table, node.subname.lower(), new)
        elif node.renameType.name in _RELATIONS:
            for other in self.tables[self._first :]:
                other.foreign_keys = [
                    (columns, new if target == table.name else target, targets)
                    for columns, target, targets in other.foreign_keys
                ]
            table.name = new

    def _rename_column(self, table: TableFacts, old: str, new: str) -> None:
        table.columns = [new if name == old else name for name in table.columns]
        table.primary_key = tuple(new if name == old else name for name in table.primary_key)
        if old in table.column_comments:
            table.column_comments[new] = table.column_comments.pop(old)
        for other in self.tables[self._first :]:
            other.foreign_keys = [
                (
                    tuple(new if other is table and name == old else name for name in columns),
                    target,
                    tuple(new if target == table.name and name == old else name for name in targets),
                )
                for columns, target, targets in other.foreign_keys
            ]

    def _move(self, node: Any) -> None:
        if node.relation and (table := self._find(_parts(node.relation))):
            table.namespace = node.newschema.lower()

    def _comment(self, node: Any) -> None:
        kind, text = node.objtype.name, node.comment or ""
        if kind not in _RELATIONS | {"OBJECT_COLUMN"}:
            return
        parts = _strings(node.object)
        table = self._find(parts[:-1] if kind == "OBJECT_COLUMN" else parts)
        if table is None:
            self.notes.append(f"COMMENT ON {'.'.join(parts)}, which is not created earlier")
        elif kind == "OBJECT_COLUMN":
            table.column_comments[parts[-1]] = text
        else:
            table.comment = text

    def _drop(self, node: Any) -> None:
        for names in node.objects if node.removeType.name in _RELATIONS else ():
            if table := self._find(_strings(names)):
                table.is_optional = True

    def _schema(self, node: Any) -> None:
        schema = node.schemaname or node.authrole.rolename or ""
        for element in node.schemaElts or ():
            kind = type(element).__name__
            if kind == "CreateStmt":
                self._create(element, schema)
            elif kind == "ViewStmt":
                self._view(element, schema)
            else:
                self.read(element)

    def _type(self, node: Any) -> None:
        self._types[node.typevar.relname.lower()] = [column.colname.lower() for column in node.coldeflist or ()]

    def _index(self, node: Any) -> None:
        if node.idxname:
            self._indexes[node.idxname.lower()] = tuple(part.name.lower() for part in node.indexParams if part.name)

    def _do(self, statement: str) -> None:
        """Applies all statements of a DO block, whatever its conditions; SQL that it puts together stays unknown."""
        from pglast import parse_plpgsql, parse_sql
        from pglast.parser import ParseError

        try:
            for query in _queries(parse_plpgsql(statement)):
                if re.match(r"\s*(?:CREATE|ALTER|COMMENT|DROP)\b", query, re.IGNORECASE):
                    for node in parse_sql(query):
                        self.read(node.stmt)
        except ParseError as error:
            self.notes.append(f"DO block: libpg_query: {str(error).splitlines()[0]}")


def _queries(value: Any) -> Iterator[str]:
    """Yields the SQL statements in the tree of a PL/pgSQL block, in order."""
    if isinstance(value, dict):
        if "PLpgSQL_stmt_execsql" in value:
            yield value["PLpgSQL_stmt_execsql"]["sqlstmt"]["PLpgSQL_expr"]["query"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _queries(part)


def _select(table: TableFacts, query: Any, listed: Sequence[str]) -> None:
    """Sets the columns of a view: the listed ones, then those that the query names itself."""
    while getattr(query, "larg", None) is not None:
        query = query.larg
    targets = getattr(query, "targetList", None) or ()
    names = [_target_name(target) for target in targets]
    table.columns = [*listed, *filter(None, names[len(listed) :])]
    table.is_open = (not targets and not listed) or "" in names[len(listed) :]


def _target_name(target: Any) -> str:
    if target.name:
        return str(target.name).lower()
    fields = getattr(target.val, "fields", None)
    last = fields[-1] if fields else None
    return str(last.sval).lower() if last is not None and hasattr(last, "sval") else ""


def _drop_column(table: TableFacts, name: str) -> None:
    table.columns = [column for column in table.columns if column != name]
    table.primary_key = () if name in table.primary_key else table.primary_key
    table.foreign_keys = [key for key in table.foreign_keys if name not in key[0]]
    table.column_comments.pop(name, None)


def _parts(relation: Any, schema: str = "") -> list[str]:
    names = [relation.catalogname, relation.schemaname or schema, relation.relname]
    return [name.lower() for name in names if name]


def _strings(nodes: Any) -> tuple[str, ...]:
    return tuple(node.sval.lower() for node in nodes or ())
