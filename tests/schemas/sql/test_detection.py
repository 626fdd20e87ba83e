"""Checks that the dialect of a script is detected by its statements, and that files of any system are read."""

from __future__ import annotations

import pytest
from shown_tables import shown

from shortlist.schemas.sql.parse import parse_tables

ROWS = (
    "INSERT INTO genre (id, name) VALUES (1, N'Rock [dbo].[x] VARCHAR2 ENGINE=InnoDB');\n"
    "INSERT INTO genre (id, name) VALUES (2, N'DISTKEY, Nullable(x), \\nAUTO_INCREMENT\\n');\n"
) * 50
SCRIPTS = {
    "sqlite": "CREATE TABLE [Album]\n(\n    [AlbumId] INTEGER  NOT NULL,\n    [Title] NVARCHAR(160)  NOT NULL,\n"
    "    [At] DATETIME,\n    CONSTRAINT [PK_Album] PRIMARY KEY  ([AlbumId])\n);\n",
    "tsql": "CREATE TABLE [dbo].[Album]\n(\n    [AlbumId] INT NOT NULL IDENTITY,\n    [Title] NVARCHAR(160) NOT NULL,\n"
    "    CONSTRAINT [PK_Album] PRIMARY KEY CLUSTERED ([AlbumId])\n);\nGO\n",
    "mysql": "CREATE TABLE `Album`\n(\n    `AlbumId` INT NOT NULL AUTO_INCREMENT,\n    `Title` NVARCHAR(160),\n"
    "    CONSTRAINT `PK_Album` PRIMARY KEY  (`AlbumId`)\n);\n",
    "oracle": "CREATE TABLE Album\n(\n    AlbumId NUMBER NOT NULL,\n    Title VARCHAR2(160) NOT NULL,\n"
    "    CONSTRAINT PK_Album PRIMARY KEY  (AlbumId)\n);\n",
    "postgres": "CREATE TABLE album\n(\n    album_id INT NOT NULL,\n    title VARCHAR(160),\n    total NUMERIC(10,2),\n"
    "    CONSTRAINT album_pkey PRIMARY KEY  (album_id)\n);\n",
    "": 'CREATE TABLE "Album"\n(\n    "AlbumId" INT NOT NULL,\n    "Total" NUMERIC(10,2) NOT NULL,\n'
    '    CONSTRAINT "PK_Album" PRIMARY KEY  ("AlbumId")\n);\n',
}


@pytest.mark.parametrize("dialect", SCRIPTS)
@pytest.mark.parametrize("place", ["before", "behind"])
def test_rows_of_data_say_nothing_about_the_dialect(dialect: str, place: str) -> None:
    script = ROWS + SCRIPTS[dialect] if place == "before" else SCRIPTS[dialect] + ROWS
    assert parse_tables(script).dialect == dialect


def test_a_small_migration_of_postgres_is_not_taken_for_mysql() -> None:
    script = (
        "CREATE TYPE \"Role\" AS ENUM ('A', 'B');\n"
        'CREATE TABLE "U" ("id" TEXT NOT NULL, "role" "Role" NOT NULL DEFAULT \'A\', PRIMARY KEY ("id"));'
    )
    assert (parse_tables(script).dialect, shown(script)) == ("postgres", ["U(id*, role)"])


def test_comments_that_only_mysql_executes_decide_the_dialect() -> None:
    script = "/*!50001 CREATE TABLE x (id int) */;\nCREATE TABLE y (id int);"
    assert (parse_tables(script).dialect, shown(script)) == ("mysql", ["x(id)", "y(id)"])


@pytest.mark.parametrize(
    "script",
    [
        "\ufeffCREATE TABLE a (id int);\n\ufeffCREATE TABLE b (id int);\n\ufeff-- all\nCREATE TABLE c (id int);",
        "CREATE TABLE a (id int);\r\n\ufeffCREATE TABLE b (id int);\r\n-- all\r\nCREATE TABLE c (id int);\r\n",
        "CREATE TABLE a (id int);\rCREATE TABLE b (id int);\r-- all\rCREATE TABLE c (id int);\r",
    ],
    ids=["byte-order marks", "CR LF", "CR"],
)
def test_marks_and_line_ends_of_any_system_are_read(script: str) -> None:
    assert shown(script) == ["a(id)", "b(id)", "c(id) 'all'"]


def test_a_source_is_what_the_caller_wrote() -> None:
    script = "CREATE TABLE @cdm.a\r(id int);\r"
    assert parse_tables(script).tables[0].source == "CREATE TABLE @cdm.a\r(id int);"
