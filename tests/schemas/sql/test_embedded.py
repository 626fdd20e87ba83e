"""Checks that the statements in strings of programs and shell scripts, and in logs, are read, each of them."""

from __future__ import annotations

import time

import pytest
from shown_tables import shown

from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.sql.script.embedded import plain_statements

BOTH = ["lots(id*, kind)", "bids(id, lot_id) lot_id -> lots(id)"]

PROGRAMS = {
    "a shell script": (
        "#!/bin/sh\nset -e\npsql -d shop -c \"CREATE TABLE lots (id int PRIMARY KEY, kind text DEFAULT 'new')\"\n"
        'psql -d shop -c "CREATE TABLE bids (id int, lot_id int REFERENCES lots(id))"\n'
    ),
    "a shell script with single quotes": (
        "mysql shop -e 'CREATE TABLE lots (id int PRIMARY KEY, kind text)'\n"
        "mysql shop -e 'CREATE TABLE bids (id int, lot_id int, FOREIGN KEY (lot_id) REFERENCES lots(id))'\n"
    ),
    "two options on a line": (
        "psql -c 'CREATE TABLE lots (id int PRIMARY KEY, kind text)' "
        "-c 'CREATE TABLE bids (id int, lot_id int REFERENCES lots(id))'\n"
    ),
    "the prompt of Db2": (
        'db2 "CREATE TABLE lots (id INTEGER NOT NULL PRIMARY KEY, kind CHAR(3))"\n'
        'db2 "CREATE TABLE bids (id INTEGER, lot_id INTEGER)"\n'
        'db2 "ALTER TABLE bids ADD FOREIGN KEY (lot_id) REFERENCES lots(id)"\n'
    ),
    "Alembic": (
        "def upgrade():\n    op.execute('CREATE TABLE lots (id int PRIMARY KEY, kind text)')\n"
        '    op.execute("""\n        CREATE TABLE bids (\n            id int, lot_id int\n        )\n    """)\n'
        '    op.execute("ALTER TABLE bids ADD FOREIGN KEY (lot_id) REFERENCES lots(id)")\n'
    ),
    "a cursor": (
        'import sqlite3\n\nconn = sqlite3.connect("shop.db")  # don\'t share\ncursor = conn.cursor()\n'
        'cursor.execute("""CREATE TABLE IF NOT EXISTS lots (\n    id INTEGER PRIMARY KEY,\n    kind TEXT\n)""")\n'
        'cursor.execute("""CREATE TABLE bids (id INTEGER, lot_id INTEGER REFERENCES lots(id));""")\nconn.commit()\n'
    ),
    "TypeORM": (
        'await queryRunner.query(`CREATE TABLE "lots" ("id" SERIAL, "kind" text, PRIMARY KEY ("id"))`);\n'
        'await queryRunner.query(`CREATE TABLE "bids" ("id" integer, "lot_id" integer)`);\n'
        'await queryRunner.query(`ALTER TABLE "bids" ADD FOREIGN KEY ("lot_id") REFERENCES "lots"("id")`);\n'
    ),
    "PHP": (
        "$db->exec('CREATE TABLE lots (id int PRIMARY KEY, kind varchar(9) DEFAULT \\'new\\')');\n"
        '$sql = "CREATE TABLE bids (\n  id int, lot_id int REFERENCES lots(id)\n)";\n'
    ),
    "C#": (
        'migrationBuilder.Sql(@"CREATE TABLE ""lots"" (\n    ""id"" int PRIMARY KEY,\n    ""kind"" text\n)");\n'
        'migrationBuilder.Sql("CREATE TABLE \\"bids\\" (\\"id\\" int, lot_id int REFERENCES \\"lots\\"(id))");\n'
    ),
    "Go": (
        "var schema = []string{\n\t`CREATE TABLE lots (id int PRIMARY KEY, kind text)`,\n"
        "\t`CREATE TABLE bids (id int, lot_id int REFERENCES lots(id))`,\n}\n"
    ),
    "strings in parts": (
        'TABLES["lots"] = (\n    "CREATE TABLE lots ("\n    "  id int PRIMARY KEY,"\n    "  kind text"\n    ")")\n'
        'String bids = "CREATE TABLE bids (id int, " +\n    "lot_id int REFERENCES lots(id))";\n'
    ),
    "names from variables": (
        'String lots = "CREATE TABLE " + lots + " (" + Lots.id + " INTEGER PRIMARY KEY," +\n    Lots.kind + " TEXT)";\n'
        'String bids = "CREATE TABLE bids (id int, lot_id int REFERENCES lots(id))";\n'
    ),
    "a prefix from a variable": (
        '$q[] = "CREATE TABLE `" . PREFIX . "lots` (id int PRIMARY KEY, kind text)";\n'
        '$wpdb->query("CREATE TABLE {$wpdb->prefix}bids (id int, lot_id int REFERENCES lots(id))");\n'
    ),
    "Scala": (
        'val lots = """\n  |CREATE TABLE lots (\n  |  id int PRIMARY KEY, kind text\n  |)""".stripMargin\n'
        'run("CREATE TABLE bids (id int, lot_id int REFERENCES lots(id))")\n'
    ),
    "YAML": (
        "statements:\n  - 'CREATE TABLE lots (id int PRIMARY KEY, kind text)'\n"
        '  - sql: "CREATE TABLE bids (id int, lot_id int REFERENCES lots(id))"\n'
    ),
    "XML": (
        '<changeSet id="1"><sql>CREATE TABLE lots (id int PRIMARY KEY, kind text)</sql></changeSet>\n'
        '<changeSet id="2"><sql>CREATE TABLE bids (id int, lot_id int REFERENCES lots(id))</sql></changeSet>\n'
    ),
    "EXEC in T-SQL": (
        "EXEC('CREATE TABLE lots (id int PRIMARY KEY, kind text)')\n"
        "EXEC('CREATE TABLE bids (id int, lot_id int REFERENCES lots(id))')\nEXEC(N'DROP TABLE x')\n"
    ),
    "EXECUTE in a DO block": (
        "DO $$\nBEGIN\n  IF NOT EXISTS (SELECT 1) THEN\n"
        "    EXECUTE 'CREATE TABLE lots (id int PRIMARY KEY, kind text)';\n"
        "  END IF;\n  EXECUTE 'CREATE TABLE bids (id int, lot_id int REFERENCES lots(id))';\nEND $$;\n"
    ),
    "Ruby": (
        'execute "CREATE TABLE lots (id int PRIMARY KEY, kind text)"\n'
        "execute <<-SQL\n  CREATE TABLE bids (id int, lot_id int REFERENCES lots(id));\nSQL\n"
    ),
    "JSON": (
        '[{"name": "lots", "ddl": "CREATE TABLE lots (\\n  id int PRIMARY KEY,\\n  kind text\\n);"},'
        ' {"name": "bids", "ddl": "CREATE TABLE bids (\\n  id int,\\n  lot_id int REFERENCES lots(id)\\n);"}]'
    ),
    "the log of Hibernate": (
        "Hibernate: create table lots (id bigint not null, kind varchar(255), primary key (id))\n"
        "Hibernate: create table bids (id bigint, lot_id bigint references lots(id))\n"
    ),
    "the log of Sequelize": (
        "Executing (default): CREATE TABLE IF NOT EXISTS lots (id INTEGER PRIMARY KEY, kind TEXT);\n"
        "Executing (default): CREATE TABLE IF NOT EXISTS bids (id INTEGER, lot_id INTEGER REFERENCES lots(id));\n"
    ),
    "a session": (
        "mysql> CREATE TABLE lots (id int PRIMARY KEY, kind text);\nQuery OK, 0 rows affected (0.01 sec)\n\n"
        "mysql> CREATE TABLE bids (\n    ->   id int,\n    ->   lot_id int REFERENCES lots(id)\n    -> );\n"
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_statement_of_another_language_is_read(program: str) -> None:
    assert shown(PROGRAMS[program]) == BOTH


SQL = {
    "rows": (
        "INSERT INTO docs VALUES (1, 'CREATE TABLE p (x int)', 'x'),\n  (2, 'CREATE TABLE p (x int)'),\n"
        "  (3,\n   'CREATE TABLE p (x int)');\n"
    ),
    "a default": "CREATE TABLE docs (text varchar(30) DEFAULT 'CREATE TABLE p (x int)');\n",
    "a check": "CREATE TABLE docs (text varchar(30) CHECK (text IN ('CREATE TABLE p (x int)')));\n",
    "a comment": "COMMENT ON TABLE t IS\n  'CREATE TABLE p (x int)';\n",
    "a routine": (
        "CREATE FUNCTION f() RETURNS void AS $$\nBEGIN\n  EXECUTE 'CREATE TABLE p (x int)';\n"
        "  q := 'CREATE TABLE p (x int)';\n  PERFORM g('CREATE TABLE p (x int)');\nEND $$ LANGUAGE plpgsql;\n"
    ),
    "a commented-out line": "-- psql -c \"CREATE TABLE p (x int)\"\n# db.run('CREATE TABLE p (x int)')\n",
    "a named argument": "EXEC sp_executesql\n  @stmt = N'CREATE TABLE p (x int)';\n",
    "two statements on a line": "CREATE TABLE a (id int); CREATE TABLE b (id int);\n",
}


@pytest.mark.parametrize("text", SQL)
def test_the_strings_of_sql_stay_as_they_are(text: str) -> None:
    assert plain_statements(SQL[text]) == SQL[text]


def test_a_statement_in_a_string_has_the_text_and_the_place_of_its_file() -> None:
    script = '[\n{"ddl": "CREATE TABLE lots (\\n\\n\\n id int)"},\n{"ddl": "CREATE TABLE {} (id int)"}\n]'
    parsed = parse_tables(script)
    assert "CREATE TABLE lots (\\n\\n\\n id int)" in parsed.tables[0].source
    assert [unparsed.line for unparsed in parsed.unparsed] == [3]


@pytest.mark.parametrize(
    "line",
    [
        'x("CREATE TABLE a (id int)")\n',
        '"CREATE TABLE a',
        'x("/*',
        'x("CREATE TABLE a (" + \n',
        "log: CREATE TABLE a (",
    ],
)
def test_many_strings_are_read_in_time_that_grows_with_the_script(line: str) -> None:
    began = time.process_time()
    assert len(plain_statements(line * 20_000)) == len(line) * 20_000
    assert time.process_time() - began < 10
