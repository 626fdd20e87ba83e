"""Checks that tables get the schema and the description that a script gives them, however it is written."""

from __future__ import annotations

import pytest
from shown_tables import shown

TEMPLATES = {
    "@cdm.": "cdm.",
    "{{ schema }}.": "schema.",
    "{{ var('schema') }}.": "schema.",
    "{{{schema}}}.": "schema.",
    "${schema}.": "schema.",
    "&owner..": "owner.",
    "&&owner..": "owner.",
    "&{db}.": "db.",
    ":schema.": "schema.",
    "#{schema}.": "schema.",
    "{schema}.": "schema.",
    "%(schema)s.": "schema.",
    "<%= schema %>.": "schema.",
    "###schema###.": "schema.",
    # Those that are only a part of the name, or say no name, are left out.
    "<%=prefix%>": "",
    "%PREFIX%": "",
    "%%prefix%%_": "",
    "{databaseOwner}{objectQualifier}": "",
    "/*_*/": "",
    "/*$wgDBprefix*/": "",
    "{}.": "",
    "{0}.": "",
    "%s.": "",
}


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("dialect", ["", "postgres", "snowflake", "mysql", "oracle"])
def test_a_template_is_a_name_in_every_statement(template: str, dialect: str) -> None:
    script = (
        f"CREATE TABLE {template}patient (id int NOT NULL);\nCREATE TABLE {template}visit (id int, patient_id int);\n"
        f"ALTER TABLE {template}patient ADD CONSTRAINT p PRIMARY KEY (id);\n"
        f"ALTER TABLE {template}visit ADD CONSTRAINT f FOREIGN KEY (patient_id) REFERENCES {template}patient (id);\n"
        f"COMMENT ON TABLE {template}patient IS 'who is ill';\n"
    )
    schema = TEMPLATES[template]
    assert shown(script, dialect) == [
        f"{schema}patient(id*) 'who is ill'",
        f"{schema}visit(id, patient_id) patient_id -> {schema}patient(id)",
    ]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("${prefix}users", "users"),
        ("`#__users`", "users"),
        ("[$(db)].[dbo].[users]", "db.dbo.users"),
        ("$pre$users", "users"),
        ("${p}_users", "users"),
        ("${schema}.${p}users", "schema.users"),
        ("{databaseOwner}[{objectQualifier}users]", "users"),
    ],
)
def test_a_template_that_is_part_of_a_name_is_left_out(written: str, name: str) -> None:
    script = f"CREATE TABLE {written} (id int);\nCREATE TABLE x (id int);\nALTER TABLE {written} ADD n int;"
    assert shown(script) == [f"{name}(id, n)", "x(id)"]


def test_the_comments_of_mediawiki_describe_no_table() -> None:
    script = (
        "CREATE TABLE /*_*/user (id int PRIMARY KEY) /*$wgDBTableOptions*/;\nCREATE INDEX /*i*/u ON /*_*/user (id);\n"
        "CREATE TABLE /*_*/page (user_id int REFERENCES /*_*/user(id)) /*$wgDBTableOptions*/;\n"
    )
    assert shown(script, "mysql") == ["user(id*)", "page(user_id) user_id -> user(id)"]


SCHEMAS = {
    "search_path of old dumps": "SET search_path = hr, pg_catalog;",
    "search_path of a session": 'SET SESSION search_path TO "hr", public;',
    "SET SCHEMA": "SET SCHEMA 'hr';",
    "Db2": "SET CURRENT SCHEMA = hr;",
    "Oracle": "ALTER SESSION SET CURRENT_SCHEMA = hr;",
    "Exasol": "OPEN SCHEMA hr;",
    "USE": "USE hr;",
    "USE SCHEMA": "USE SCHEMA hr;",
    "Teradata": "DATABASE hr;",
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_plain_names_get_the_schema_that_the_script_has_set(name: str) -> None:
    script = (
        f"CREATE TABLE person (name text);\n{SCHEMAS[name]}\nCREATE TABLE person (id int PRIMARY KEY);\n"
        "CREATE TABLE call (person_id int REFERENCES person, CHECK (person_id > 0));\n"
        "COMMENT ON TABLE person IS 'staff';"
    )
    assert shown(script, "") == ["person(name)", "hr.person(id*) 'staff'", "hr.call(person_id) person_id -> hr.person"]


def test_an_empty_search_path_sets_no_schema() -> None:
    change = "SELECT pg_catalog.set_config('search_path', '', false);"
    script = f"{change}\nCREATE TABLE public.t (id int);\nCREATE TABLE u (id int);"
    assert shown(script, "postgres") == ["public.t(id)", "u(id)"]


@pytest.mark.parametrize(
    "script",
    [
        "CREATE SCHEMA shop\n  CREATE TABLE lot (id int PRIMARY KEY)\n  CREATE TABLE bid (lot_id int);\n"
        "CREATE TABLE other (id int);",
        "create schema shop create table lot (id int primary key) create table bid (lot_id int);\n"
        "create table other (id int);",
        "CREATE SCHEMA IF NOT EXISTS shop AUTHORIZATION joe CREATE TABLE lot (id int PRIMARY KEY)\n"
        "CREATE TABLE bid (lot_id int);\nCREATE TABLE other (id int);",
    ],
    ids=["lines", "one line", "owner"],
)
def test_the_elements_of_a_schema_are_in_it(script: str) -> None:
    assert shown(script) == ["shop.lot(id*)", "shop.bid(lot_id)", "other(id)"]


PROPERTIES = {
    "names in brackets": (
        "EXECUTE [sys].[sp_addextendedproperty] N'MS_Description', N'{text}', N'SCHEMA', [dbo], N'TABLE', [Lot]"
    ),
    "bare names": "EXEC sys.sp_addextendedproperty 'MS_Description', '{text}', 'SCHEMA', dbo, 'TABLE', Lot",
    "another property name": (
        "EXECUTE sp_addextendedproperty @name = N'Description', @value = N'{text}', @level0type = N'SCHEMA',"
        " @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'Lot'"
    ),
    "another order": (
        "EXEC sp_addextendedproperty @level1name = N'Lot', @level1type = N'TABLE', @level0type = N'SCHEMA',"
        " @level0name = N'dbo', @value = N'{text}', @name = N'MS_Description'"
    ),
    "nulls at the end": (
        "EXEC sp_addextendedproperty N'MS_Description', N'{text}', N'SCHEMA', N'dbo', N'TABLE', N'Lot', NULL, NULL;"
    ),
    "no EXEC": "sp_addextendedproperty 'MS_Description', '{text}', 'SCHEMA', 'dbo', 'TABLE', 'Lot'",
    "a text in two parts": (
        "EXEC sp_addextendedproperty N'MS_Description', N'' + N'{text}', N'SCHEMA', [dbo], N'TABLE', [Lot]"
    ),
    "a variable": (
        "DECLARE @d AS sql_variant;\nSET @d = N'{text}';\n"
        "EXEC sp_addextendedproperty 'MS_Description', @d, 'SCHEMA', N'dbo', 'TABLE', N'Lot';"
    ),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_an_extended_property_describes_its_table(name: str) -> None:
    script = f"CREATE TABLE [dbo].[Lot] ([Id] [int] NOT NULL)\nGO\n{PROPERTIES[name].format(text='What is sold')}\nGO\n"
    assert shown(script) == ["dbo.Lot(Id) 'What is sold'"]


def test_an_extended_property_describes_its_column() -> None:
    script = (
        "CREATE TABLE [dbo].[Lot] ([Id] [int] NOT NULL)\nGO\n"
        "EXEC sp_addextendedproperty N'MS_Description', N'Key', N'SCHEMA', [dbo], N'TABLE', [Lot], N'COLUMN', [Id]\n"
        "EXEC sp_addextendedproperty N'MS_Description', N'Fast', N'SCHEMA', [dbo], N'TABLE', [Lot], N'INDEX', [Ix]\n"
    )
    assert shown(script) == ["dbo.Lot(Id 'Key')"]


def test_comments_in_a_list_describe_their_columns() -> None:
    script = (
        "CREATE TABLE s.t (a int, b int);\nCOMMENT ON s.t (a IS 'one', b IS 'two');\nCOMMENT ON TABLE s.t IS 'all';"
    )
    assert shown(script) == ["s.t(a 'one', b 'two') 'all'"]


BANNERS = {
    "Liquibase": "--liquibase formatted sql\n--changeset ann:3 labels:x\n",
    "a caption": "/* Create Tables */\n",
    "a file": "-- Shop schema, version 2.1\n-- Generated on Monday\n",
    "a licence": "/*\n * Copyright Acme.\n * Licensed under MIT.\n */\n",
    "goose": "-- +goose Up\n-- +goose StatementBegin\n",
    "dbmate": "-- migrate:up\n",
    "Prisma": "-- CreateTable\n",
    "Django": "--\n-- Create model Album\n--\n",
    "DBeaver": "-- public.album definition\n\n-- Drop table\n\n-- DROP TABLE public.album;\n",
    "phpMyAdmin": "--\n-- Tabellenstruktur für Tabelle `album`\n--\n",
    "a banner over the first table's caption": "-- Music shop database\n/* Tables */\n",
}


@pytest.mark.parametrize("name", BANNERS)
def test_a_banner_is_no_description(name: str) -> None:
    assert shown(f"{BANNERS[name]}CREATE TABLE album (id int);") == ["album(id)"]


@pytest.mark.parametrize(
    "comment",
    ["Records that we sell", "Create table to store what the jobs report", "Please see the comment above `artist`"],
)
def test_a_comment_about_the_table_stays(comment: str) -> None:
    assert shown(f"-- {comment}\nCREATE TABLE album (id int);") == [f"album(id) '{comment}'"]


def test_a_comment_above_a_statement_without_a_semicolon_before_it_describes_it() -> None:
    script = "CREATE TABLE a (x int) -- one\n-- two\n-- and more\nCREATE TABLE b (y int)"
    assert shown(script) == ["a(x)", "b(y) 'two and more'"]


@pytest.mark.parametrize("text", ["goes into table <T>_x", "read from ${source}.t", "references {{ x }}"])
def test_a_template_in_a_text_is_text(text: str) -> None:
    assert shown(f"CREATE TABLE a (id int);\nCOMMENT ON TABLE a IS '{text}';") == [f"a(id) '{text}'"]
