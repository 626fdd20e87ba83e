"""Checks that hostile scripts and schemas are read in time that grows with their length, and open no file or socket."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools

# If the time grew with the square of the length, each of these would take between 15 seconds and many hours.
_SECONDS = 10
_LENGTH = 80_000

SCRIPTS = {
    "blanks after GO": ("GO" + " " * _LENGTH + "x", "tsql"),
    "blanks after GO, detected": ("GO" + " " * _LENGTH + "x", None),
    "blanks after ENGINE": ("ENGINE" + " " * _LENGTH + "x", None),
    "brackets that do not close": (",[a" * (_LENGTH // 3), None),
    "COPY without an end": ("copy a from stdin;\n" * (_LENGTH // 19), "postgres"),
    "q-strings that do not close": ("q'[" * (_LENGTH // 3), "oracle"),
    "q-strings of another mark": ("q'! " * (_LENGTH // 4), "oracle"),
    "nested comments that do not close": ("/*/**/ " * (_LENGTH // 7), "databricks"),
    "a statement of such comments": ("create table a (b int " + "/*/**/ " * (_LENGTH // 7), "duckdb"),
    "entries that no parser knows": (f"create table t ({','.join(['a b c d'] * (_LENGTH // 24))})", "tsql"),
    "quotes that close behind the next statement": ("'\ncreate table a (x int);\n" * (_LENGTH // 26), None),
    "dollar quotes that do not close": (
        "".join(f"$a{n}$\ncreate table t (x int);\n" for n in range(3_000)),
        "postgres",
    ),
    "templates": ("on @a.b " * (_LENGTH // 8), None),
    "templates that do not close": ("create table {{ a " * (_LENGTH // 18), None),
    "an INTO far behind": ("select " + "a," * (_LENGTH // 2) + " into b", None),
    "renamed columns that others refer to": (
        "".join(f"create table t{n} (a0 int references t0(a0));" for n in range(1_000))
        + "".join(f"alter table t0 rename column a{n} to a{n + 1};" for n in range(1_000)),
        None,
    ),
    "blanks in a path": ("SET search_path = " + " " * _LENGTH + "';x';\ncreate table t (a int);", None),
    "blanks behind USE": ("USE a" + " " * _LENGTH + "x;\ncreate table t (a int);", None),
    "blanks behind a setting": ("select set_config('search_path','x'" + " " * _LENGTH + "';x';", None),
    "empty comments": ("create table a (x int)\n" + "--\n" * _LENGTH + "create table b (y int)", None),
    "hash signs": ("create table " + "#" * _LENGTH, None),
    "dots in a caption": ("-- create table " + "." * _LENGTH + " a\ncreate table b (x int)", None),
    "many keys": (
        "create table t (a int," + ",".join(f"c{n} int, key k{n} (c{n})" for n in range(5_000)) + ")",
        "mysql",
    ),
    "statements in strings": ("exec('create table a (x int)');\n" * (_LENGTH // 33), "tsql"),
    "tables of such entries": ("create table t (a b c d, e f g h);" * (_LENGTH // 120), "tsql"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_read_in_time_that_grows_with_its_length(name: str) -> None:
    script, dialect = SCRIPTS[name]
    began = time.process_time()
    parse_tables(script, dialect=dialect)
    assert time.process_time() - began < _SECONDS


ENDLESS = """
import sys
from shortlist.schemas.sql.parse import parse_tables
print([table.name for table in parse_tables(sys.argv[1], dialect=sys.argv[2]).tables])
"""


@pytest.mark.parametrize("dialect", ["", "tsql", "postgres"])
@pytest.mark.parametrize(
    "option", ["SYSTEM_VERSIONING = ON", "SYSTEM_VERSIONING=", "SYSTEM_VERSIONING", "DATA_DELETION = ON"]
)
@pytest.mark.parametrize("end", ["(x)", "(HISTORY_TABLE = [dbo].[h], APPEND_ONLY = ON)", "(x"])
def test_an_option_that_the_parser_does_not_know_does_not_make_it_loop(dialect: str, option: str, end: str) -> None:
    script = (
        f"CREATE TABLE t (a int) WITH ({option} {end}); ALTER TABLE t SET ({option} {end}); CREATE TABLE u (b int);"
    )
    command = [sys.executable, "-c", ENDLESS, script, dialect]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "'t'" in done.stdout or end == "(x"


def test_copied_rows_are_still_skipped() -> None:
    script = (
        "copy a from stdin;\n1\t;create table no (x int);\n\\.\ncreate table yes (x int);\ncopy b from stdin;\n2;\n"
    )
    assert [table.name for table in parse_tables(script, dialect="postgres").tables] == ["yes"]


def test_comments_nested_in_comments_still_end_with_the_outer_one() -> None:
    script = "/* a /* create table no (x int); */ create table nor (x int); */ create table yes (x int);"
    assert [table.name for table in parse_tables(script, dialect="duckdb").tables] == ["yes"]


@pytest.mark.parametrize("line", ["GO", "go 5", " GO ; ", "GO -- done", "GO\r"])
def test_a_batch_line_still_ends_a_statement(line: str) -> None:
    script = f"create table a (b int)\n{line}\ncreate table c (d int)"
    assert [table.name for table in parse_tables(script, dialect="tsql").tables] == ["a", "c"]


def test_a_string_of_oracle_still_holds_quotes() -> None:
    script = "create table a (b varchar2(9) default q'[it's]', c number);\ncreate table d (e number)"
    assert [len(table.columns) for table in parse_tables(script, dialect="oracle").tables] == [2, 1]


def test_a_pattern_in_a_schema_is_never_run() -> None:
    evil = {"type": "string", "pattern": "^(a+)+$", "default": "a" * 64 + "!", "examples": ["a" * 64 + "!"]}
    schema = {"type": "object", "properties": {"a": evil}, "patternProperties": {"^(a+)+$": evil}}
    text = json.dumps({"name": "t", "parameters": schema | {"a" * 64 + "!": 1}})
    began = time.process_time()
    assert [tool.name for tool in parse_tools([text]).tools] == ["t"]
    assert time.process_time() - began < _SECONDS


# Runs in its own process: an audit hook sees every file and socket that the interpreter opens, and cannot be removed.
_WATCHED = """
import sys
from shortlist.schemas.serialise import table_document, tool_document
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools
TOOL = '{"name":"a","parameters":{"$schema":"%s","$id":"%s","properties":{"x":{"$ref":"%s"},"y":{"$dynamicRef":"%s"}}}}'
SCRIPT = '''create table a (b int);
\\\\i /etc/hostname
.read /etc/hostname
source /etc/hostname;
@/etc/hostname
copy a from '/etc/hostname';
attach '/etc/hostname' as x;
create table c as select * from read_csv('/etc/hostname');
load data infile '/etc/hostname' into table a;'''
seen = []
def read(uri):
    for tool in parse_tools([TOOL % (uri, uri, uri, uri)]).tools:
        tool_document(tool)
    for dialect in (None, 'postgres', 'mysql', 'duckdb', 'sqlite', 'tsql'):
        for table in parse_tables(SCRIPT, dialect=dialect).tables:
            table_document(table)
read('x')  # what is imported only now
def hook(event, arguments):
    if event == 'open' or event.startswith(('socket.', 'subprocess.', 'os.exec', 'os.system', 'urllib.')):
        seen.append((event, str(arguments)[:200]))
sys.addaudithook(hook)
for uri in ('file:///etc/hostname', '/etc/hostname', 'http://127.0.0.1:9/x', 'https://example.com/schema', '../x.json'):
    read(uri)
print(seen)
"""


def test_no_reference_and_no_statement_opens_a_file_or_a_socket() -> None:
    done = subprocess.run([sys.executable, "-c", _WATCHED], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout == "[]\n"
