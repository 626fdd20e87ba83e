"""Checks that what is like a table is read or named, and that what is none is no table."""

from __future__ import annotations

import pytest
from shown_tables import shown

from shortlist.schemas.sql.parse import parse_tables

READ = {
    "ATTACH TABLE": (
        "ATTACH TABLE hits UUID '1b2c' (id UInt64, url String) ENGINE = MergeTree ORDER BY id;",
        ["hits(id, url)"],
    ),
    "ATTACH DICTIONARY": ("ATTACH DICTIONARY d ON CLUSTER c (id UInt64) SOURCE(NULL());", ["d(id)"]),
    "ATTACH VIEW": ("ATTACH MATERIALIZED VIEW v (id UInt64) ENGINE = Log AS SELECT id FROM h;", ["v(id)"]),
    "CREATE DICTIONARY": (
        "CREATE DICTIONARY d (id UInt64, label String) PRIMARY KEY id SOURCE(HTTP(url 'x')) LAYOUT(FLAT());",
        ["d(id*, label)"],
    ),
    "CREATE STREAM": (
        "CREATE STREAM clicks (user_id INT KEY, url VARCHAR) WITH (kafka_topic='x');",
        ["clicks(user_id*, url)"],
    ),
    "REPLACE VIEW": ("REPLACE VIEW a.v AS LOCKING ROW FOR ACCESS SEL id, b AS name FROM a.t;", ["a.v(id, name)"]),
    "ALTER VIEW": ("CREATE VIEW v AS SELECT 1 AS x;\nALTER VIEW v AS SELECT 2 AS y, 3 AS z;", ["v(y, z)"]),
    "a view in a string": (
        "EXEC dbo.sp_executesql @statement = N'CREATE VIEW v AS SELECT id, name FROM t'",
        ["v(id, name)"],
    ),
    "a table in a string": ("BEGIN\n EXECUTE IMMEDIATE 'CREATE TABLE t (id NUMBER)';\nEND;\n/\n", ["t(id)"]),
    "a table behind a condition": ("IF OBJECT_ID('t') IS NULL CREATE TABLE t (id int, name text);", ["t(id, name)"]),
    "tables behind conditions without semicolons": (
        "IF OBJECT_ID(N'c', N'U') IS NULL CREATE TABLE c (id int)\nIF NOT EXISTS (SELECT 1) CREATE TABLE d (id int)\n"
        "CREATE TABLE\n  IF NOT EXISTS e (id int)",
        ["c(id)", "d(id)", "e(id)"],
    ),
    "a key in a DO block": (
        "CREATE TABLE t (id serial);\nDO $$ BEGIN IF NOT EXISTS (SELECT 1) THEN ALTER TABLE t ADD CONSTRAINT f"
        " FOREIGN KEY (id) REFERENCES u(id); END IF; EXCEPTION WHEN duplicate_object THEN NULL; END $$;",
        ["t(id) id -> u(id)"],
    ),
    "a view that sqlglot cannot parse": (
        "CREATE VIEW v AS SELECT t.id, TRANSLATE(n USING NCHAR_CS) AS name, qualify, port FROM t;",
        ["v(id, name, qualify, port)"],
    ),
    "a key behind the list": (
        "CREATE TABLE t (a INT64, b INT64) PRIMARY KEY(a, b DESC), INTERLEAVE IN PARENT p;",
        ["t(a*, b*)"],
    ),
    "options before the list": (
        "CREATE MULTISET TABLE t ,FALLBACK , MAP = M1 (id INTEGER) PRIMARY INDEX (id);",
        ["t(id)"],
    ),
    "a comment before the list": ("CREATE CACHED TABLE t COMMENT 'all'(id INT, n INT);", ["t(id, n)"]),
    "a constraint's name with a schema": (
        "CREATE TABLE s.t (a INT);\nALTER TABLE s.t ADD CONSTRAINT s.f FOREIGN KEY(a) REFERENCES s.u(b) NOCHECK;",
        ["s.t(a) a -> s.u(b)"],
    ),
    "a constraint in brackets": (
        "CREATE TABLE t (a int);\nALTER TABLE t ADD CONSTRAINT (FOREIGN KEY (a) REFERENCES u CONSTRAINT x.r1);",
        ["t(a) a -> u"],
    ),
    "a line of a log": ("Executing (default): CREATE TABLE IF NOT EXISTS t (id INTEGER, n TEXT);", ["t(id, n)"]),
    "SQLite's full-text search": (
        "CREATE VIRTUAL TABLE notes USING fts5(title, body);\n"
        "CREATE TABLE IF NOT EXISTS 'notes_data'(id INTEGER PRIMARY KEY, block BLOB);\n"
        "CREATE TABLE IF NOT EXISTS 'notes_content'(id INTEGER PRIMARY KEY, c0, c1);\nCREATE TABLE notes_log (id INT);",
        ["notes(title, body)", "notes_log(id)"],
    ),
    "SQLite's full-text search in a dump": (
        "PRAGMA writable_schema=ON;\nINSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)"
        "VALUES('table','notes','notes',0,'CREATE VIRTUAL TABLE notes USING fts5(title)');\n"
        "CREATE TABLE IF NOT EXISTS 'notes_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID;",
        ["notes(title)"],
    ),
    "a hashed key": ("CREATE TABLE t (a int, PRIMARY KEY NONCLUSTERED HASH (a) WITH (BUCKET_COUNT = 64));", ["t(a*)"]),
}


@pytest.mark.parametrize("name", READ)
def test_an_unusual_statement_is_read(name: str) -> None:
    script, expected = READ[name]
    assert [line.replace(" 'all'", "") for line in shown(script)] == expected


@pytest.mark.parametrize(
    ("script", "dialect", "name"),
    [
        ("SELECT id, z INTO kept FROM p;", "tsql", "kept"),
        ("SELECT id INTO s.kept FROM p;", "postgres", "s.kept"),
        ("WITH c AS (SELECT 1 AS x) SELECT x INTO kept FROM c;", "postgres", "kept"),
        ("SELECT id INTO UNLOGGED TABLE kept FROM t;", "postgres", "kept"),
        ("CREATE STREAM changes ON TABLE t;", "snowflake", "changes"),
    ],
)
def test_what_cannot_be_read_is_named(script: str, dialect: str, name: str) -> None:
    parsed = parse_tables(f"CREATE TABLE t (id int);\n{script}", dialect=dialect)
    assert [table.name for table in parsed.tables] == ["t"]
    assert [(left_out.name, left_out.line) for left_out in parsed.unparsed] == [(name, 2)]


ONE_LINE = {
    "PRINT": ("PRINT 'x' CREATE TABLE c (id int)", ["c(id)"]),
    "USE": ("USE x CREATE TABLE c (id int)", ["c(id)"]),
    "SET": (
        "SET NOCOUNT ON SET ANSI_NULLS ON CREATE TABLE c (id int) PRINT 'x' CREATE TABLE d (id int)",
        ["c(id)", "d(id)"],
    ),
    "IF and DROP": ("CREATE TABLE c (id int)\nGO\nIF 1 = 1 DROP TABLE c CREATE TABLE c (id int, n int)", ["c(id, n)"]),
    "BEGIN and END": ("IF 1 = 1 BEGIN DROP TABLE c END CREATE TABLE c (id int)", ["c(id)"]),
    "ALTER and IF": (
        "CREATE TABLE c (id int)\nALTER TABLE c ADD n int IF OBJECT_ID('d') IS NULL CREATE TABLE d (id int)",
        ["c(id, n)", "d(id)"],
    ),
    "ALTER and DROP": ("CREATE TABLE c (id int) ALTER TABLE c ADD n int DROP TABLE d", ["c(id, n)"]),
    "two calls": (
        "CREATE TABLE c (a int, b int)\nGO\nEXEC sp_rename 'c.a', 'd', 'COLUMN' EXEC sys.sp_rename 'c', 'e'",
        ["e(d, b)"],
    ),
    "a permission": ("GRANT CREATE TABLE TO bob\nCREATE TABLE c (id int)", ["c(id)"]),
    "a procedure": (
        "CREATE PROCEDURE p AS SELECT 1 CREATE TABLE d (id int) DROP TABLE d\nGO\nCREATE TABLE c (id int)",
        ["c(id)"],
    ),
}


@pytest.mark.parametrize("name", ONE_LINE)
def test_statements_of_t_sql_may_share_a_line(name: str) -> None:
    script, expected = ONE_LINE[name]
    assert shown(script, "tsql") == expected


def test_a_statement_in_a_block_that_cannot_be_read_costs_itself_alone() -> None:
    script = (
        "DO $$ BEGIN\nCREATE TABLE a (id int);\nCREATE TABLE b AS SELECT (( FROM;\nCREATE TABLE c (id int);\nEND $$;"
    )
    parsed = parse_tables(script, dialect="postgres")
    assert [table.name for table in parsed.tables] == ["a", "c"]
    assert [(left_out.name, left_out.line) for left_out in parsed.unparsed] == [("b", 3)]


NO_TABLES = {
    "an alias": 'CREATE ALIAS "s"."a" FOR TABLE "s"."t";',
    "a table function": "CREATE TABLE FUNCTION d.f(x INT64) AS SELECT x;",
    "a log of a view": "CREATE MATERIALIZED VIEW LOG ON t;",
    "a variable": "SELECT count(*) INTO @n FROM t;",
    "rows behind a WITH": "WITH c AS (SELECT 1) INSERT INTO t SELECT * FROM c;",
    "a temporary table of a query": "SELECT * INTO TEMP tmp1 FROM t;",
    "a database": "ATTACH DATABASE 'x.db' AS x;",
    "a temporary target": "SELECT id INTO #tmp FROM t;",
    "a synonym": "CREATE PUBLIC SYNONYM x FOR s.t;",
    "a publication": "CREATE PUBLICATION p FOR TABLE t;",
    "an index without a name": "CREATE INDEX NONCONCURRENTLY ON t (id);",
    "a type of tables": "CREATE TYPE dbo.ids AS TABLE (id int);",
}


@pytest.mark.parametrize("name", NO_TABLES)
def test_what_is_no_table_is_no_candidate(name: str) -> None:
    parsed = parse_tables(f"CREATE TABLE t (id int);\n{NO_TABLES[name]}")
    assert [(table.name, parsed.unparsed, parsed.warnings) for table in parsed.tables] == [("t", (), ())]


@pytest.mark.parametrize(
    "entry",
    [
        "DISTRIBUTE BY id",
        "DISTRIBUTE BY id, n",
        "PARTITION BY n",
        "INVERTED INDEX (n)",
        "INVERTED INDEX i (n)",
        "VECTOR INDEX v (n)",
    ],
)
def test_an_entry_about_storage_is_no_column(entry: str) -> None:
    assert shown(f"CREATE TABLE t (id int, n varchar(20), {entry});") == ["t(id, n)"]


ODD_COLUMNS = {
    "HANA": (
        "CREATE COLUMN TABLE t (id BIGINT CS_FIXED NOT NULL, at LONGDATE CS_LONGDATE, PRIMARY KEY (id));",
        ["t(id*, at)"],
    ),
    "Derby": ("CREATE TABLE t (id int, raw long varchar for bit data, PRIMARY KEY (id));", ["t(id*, raw)"]),
    "Db2": (
        "CREATE TABLE t (id int, doc CLOB(1048576) LOGGED NOT COMPACT, b CHAR(3) FOR BIT DATA);",
        ["t(id, doc, b)"],
    ),
    "Firebird": (
        "CREATE TABLE t (id int, total COMPUTED BY (net * 1.2), m BLOB SUB_TYPE TEXT SEGMENT SIZE 80);",
        ["t(id, total, m)"],
    ),
    "Informix": (
        "CREATE TABLE t (id int, at DATETIME YEAR TO FRACTION(5), f DATETIME HOUR TO MINUTE);",
        ["t(id, at, f)"],
    ),
    "Exasol": ("CREATE TABLE t (id DECIMAL(18,0), n VARCHAR(20) UTF8);", ["t(id, n)"]),
    "Oracle objects": (
        "CREATE TABLE t (id int, boss REF person_t SCOPE IS people, n varchar(20));",
        ["t(id, boss, n)"],
    ),
    "Vertica": ("CREATE TABLE t (id int, n long varchar(32000) ENCODING ZSTD_COMP);", ["t(id, n)"]),
    "Greenplum": ("CREATE TABLE t (id int ENCODING (compresstype=zstd), n text);", ["t(id, n)"]),
    "Flink": ("CREATE TABLE t (id INT, at TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL);", ["t(id, at)"]),
    "SQLite": ("CREATE TABLE t (id int, a whatever it is);", ["t(id, a)"]),
    "a dot in a name": ("CREATE TABLE t (id int, Order No. int, n text);", ["t(id, Order No., n)"]),
    "keys over time": (
        "CREATE TABLE t (id int, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS),"
        " FOREIGN KEY (id, PERIOD at) REFERENCES u (id, PERIOD at));",
        ["t(id*, at*) id, at -> u(id, at)"],
    ),
    "a blank in a name": ("CREATE TABLE t (id int, first name varchar(20));", ["t(id, first name)"]),
    "options of a reference": (
        "CREATE TABLE t (id int, u_id int, CONSTRAINT f FOREIGN KEY (u_id) REFERENCES WITH NO CHECK OPTION u (id));",
        ["t(id, u_id) u_id -> u(id)"],
    ),
    "a reference of a column": (
        "CREATE TABLE t (id int, u_id int REFERENCES u (id) NEVER MIND, n text);",
        ["t(id, u_id, n) u_id -> u(id)"],
    ),
    "a schema that is called like a type": (
        "CREATE TABLE money.t (id int); CREATE TABLE money.u (LIKE money.t INCLUDING ALL);",
        ["money.t(id)", "money.u(id)"],
    ),
    "a missing comma before a key": (
        "CREATE TABLE t (id int PRIMARY KEY, u_id int NOT NULL FOREIGN KEY (u_id) REFERENCES u (id));",
        ["t(id*, u_id) u_id -> u(id)"],
    ),
    "Exasol's comment": ("CREATE TABLE t (id INT COMMENT IS 'number', n INT);", ["t(id 'number', n)"]),
}


@pytest.mark.parametrize("name", ODD_COLUMNS)
def test_an_odd_column_costs_no_other(name: str) -> None:
    script, expected = ODD_COLUMNS[name]
    assert shown(script) == expected


@pytest.mark.parametrize(
    "addition",
    [
        "ROLLUP r (id)",
        "ROLLUP r (id, n) FROM t, r2 (id)",
        "PARTITION p VALUES LESS THAN (10)",
        "TEMPORARY PARTITION p VALUES LESS THAN (10)",
        "SYSTEM VERSIONING",
        "OVERFLOW",
        "OVERFLOW TABLESPACE x",
        "PERIOD FOR SYSTEM_TIME (a, b)",
        "SUPPLEMENTAL LOG DATA (ALL) COLUMNS",
        "ROW DELETION POLICY (OLDER_THAN(at, INTERVAL 1 DAY))",
    ],
)
def test_an_addition_about_storage_is_no_column(addition: str) -> None:
    parsed = parse_tables(f"CREATE TABLE t (id int);\nALTER TABLE t ADD {addition};")
    assert ([column.name for column in parsed.tables[0].columns], parsed.warnings) == (["id"], ())


@pytest.mark.parametrize("name", ["rollup", "system", "overflow", "temporary", "period", "tag", "search", "row"])
def test_a_column_may_be_called_like_storage(name: str) -> None:
    assert shown(f"CREATE TABLE t (id int);\nALTER TABLE t ADD {name} text;", "postgres") == [f"t(id, {name})"]


@pytest.mark.parametrize("name", ["system", "overflow", "period", "tag", "search", "row"])
def test_a_column_called_like_storage_may_have_any_type(name: str) -> None:
    assert shown(f"CREATE TABLE t (id int);\nALTER TABLE t ADD {name} citext;", "postgres") == [f"t(id, {name})"]


def test_warnings_of_one_kind_are_counted() -> None:
    script = "".join(f"ALTER TABLE gone{number} ADD x int;\n" for number in range(50))
    (warning,) = parse_tables(script).warnings
    assert warning == (
        "ALTER TABLE names tables that the script does not create before: "
        + ", ".join(f"'gone{number}'" for number in range(10))
        + " and 40 more"
    )
