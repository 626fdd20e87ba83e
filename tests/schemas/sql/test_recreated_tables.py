"""Checks that a script that creates a table twice gives the tables that a database would have in the end."""

from __future__ import annotations

import pytest

from shortlist.schemas.sql.parse import parse_tables

VIEW_OF_A = "VIEW `v` AS SELECT `a`.`id` AS `id`, `a`.`name` AS `label` FROM `a`"
DUMPS = {
    "mysqldump 5": f"""
/*!50001 CREATE TABLE `v` (
  `id` tinyint NOT NULL,
  `label` tinyint NOT NULL
) ENGINE=MyISAM */;
/*!50001 DROP TABLE IF EXISTS `v`*/;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */
/*!50001 {VIEW_OF_A} */;
""",
    "mysqldump 8": f"""
/*!50001 DROP VIEW IF EXISTS `v`*/;
/*!50001 CREATE VIEW `v` AS SELECT
 1 AS `id`,
 1 AS `label`*/;
/*!50001 DROP VIEW IF EXISTS `v`*/;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50001 {VIEW_OF_A} */;
""",
    "phpMyAdmin": f"""
-- --------------------------------------------------------
-- Stand-in structure for view `v`
-- (See below for the actual view)
--
CREATE TABLE `v` (
`id` int
,`label` text
);
--
-- Structure for view `v`
--
DROP TABLE IF EXISTS `v`;
CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`localhost` SQL SECURITY DEFINER {VIEW_OF_A};
""",
}


def shown(script: str, dialect: str | None = None) -> list[tuple[str, str, list[str]]]:
    parsed = parse_tables(script, dialect=dialect)
    assert (parsed.unparsed, parsed.warnings) == ((), ())
    assert [table.index for table in parsed.tables] == list(range(len(parsed.tables)))
    return [(table.full_name, table.kind, [column.name for column in table.columns]) for table in parsed.tables]


@pytest.mark.parametrize("name", DUMPS)
def test_a_view_replaces_its_placeholder_table(name: str) -> None:
    script = f"CREATE TABLE `a` (id int, name text) ENGINE=InnoDB;\n{DUMPS[name]}"
    assert shown(script) == [("a", "table", ["id", "name"]), ("v", "view", ["id", "label"])]
    assert parse_tables(script).tables[1].comment == ""


def test_a_table_dropped_and_created_again_has_its_new_definition() -> None:
    script = "CREATE TABLE t (a int); CREATE TABLE u (a int); DROP TABLE IF EXISTS x, T CASCADE; CREATE TABLE t (z int)"
    assert shown(script) == [("u", "table", ["a"]), ("t", "table", ["z"])]


def test_a_table_that_is_only_dropped_is_kept_as_scripts_often_undo_themselves() -> None:
    assert shown("CREATE TABLE t (a int); DROP TABLE t") == [("t", "table", ["a"])]


def test_what_is_replaced_is_gone() -> None:
    script = "CREATE VIEW v AS SELECT a FROM t; CREATE OR REPLACE VIEW v AS SELECT a, b FROM t"
    assert shown(script) == [("v", "view", ["a", "b"])]


def test_create_if_not_exists_keeps_the_earlier_table() -> None:
    script = "CREATE TABLE IF NOT EXISTS t (a int); CREATE TABLE IF NOT EXISTS t (a int, b int)"
    assert shown(script) == [("t", "table", ["a"])]


@pytest.mark.parametrize(
    ("turn", "name"),
    [
        ("USE two", "two.t"),
        ("USE `two`", "two.t"),
        ("\\connect two\n", "t"),
        ("SET search_path = two", "two.t"),
        ("SET SCHEMA 'two'", "two.t"),
    ],
)
def test_equal_names_of_different_databases_are_different_tables(turn: str, name: str) -> None:
    script = f"CREATE TABLE t (a int);\n{turn};\nDROP TABLE IF EXISTS t;\nCREATE TABLE IF NOT EXISTS t (b int);"
    assert shown(script, "mysql" if "`" in turn else "postgres") == [("t", "table", ["a"]), (name, "table", ["b"])]


def test_equal_names_of_different_schemas_are_different_tables() -> None:
    script = "CREATE TABLE x.t (a int); CREATE OR REPLACE TABLE y.t (a int); DROP TABLE x.t; CREATE TABLE t (c int)"
    assert [name for name, _, _ in shown(script)] == ["x.t", "y.t", "t"]


def test_statements_about_a_recreated_table_go_to_the_new_one() -> None:
    script = "CREATE TABLE t (a int); DROP TABLE t; CREATE TABLE t (b int); COMMENT ON TABLE t IS 'new'"
    assert [table.comment for table in parse_tables(script).tables] == ["new"]
