import json

import pytest

from shortlist.schemas.tools.parse import parse_tools


def warnings_about(schema: object) -> tuple[str, ...]:
    tool = {"name": "tool", "parameters": {"type": "object", "properties": {"x": schema}}}
    return parse_tools([json.dumps(tool)]).warnings


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"enum": ["a" * 201, "b"]}, "values longer than 200 characters, with their titles, are cut"),
        (
            {"oneOf": [{"const": "a", "description": "word " * 60}, {"const": "b"}]},
            "values longer than 200 characters, with their titles, are cut",
        ),
        ({"default": "a" * 201}, "default values longer than 200 characters are cut"),
        (
            {"anyOf": [{"type": "string", "description": "d" * 1_001}, {"type": "integer"}]},
            "descriptions of alternatives longer than 1,000 characters are cut",
        ),
        (
            {"items": {"items": {"items": {"items": {"items": {"type": "string"}}}}}},
            "arrays nested more than 4 levels deep are read in part",
        ),
    ],
    ids=["value", "title-of-a-value", "default", "alternative", "arrays"],
)
def test_what_is_cut_in_a_parameter_is_named_by_its_place(schema: object, kind: str) -> None:
    assert warnings_about(schema) == (f"tool 'tool': {kind}: 'x'",)


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["a" * 200]},
        {"default": "a" * 200},
        {"anyOf": [{"type": "string", "description": "d" * 1_000}, {"type": "integer"}]},
    ],
    ids=["value", "default", "alternative"],
)
def test_texts_at_their_limits_give_no_warning(schema: object) -> None:
    assert warnings_about(schema) == ()


def test_many_cuts_of_a_kind_are_one_warning() -> None:
    properties = {f"p{number}": {"default": "a" * 300} for number in range(30)}
    tool = {"name": "tool", "parameters": {"type": "object", "properties": properties}}

    (warning,) = parse_tools([json.dumps(tool)]).warnings

    assert warning.startswith("tool 'tool': default values longer than 200 characters are cut: 'p0', 'p1'")
    assert warning.endswith("'p9' and 20 more")


def test_cut_texts_of_namespaces_are_told_once() -> None:
    server = {"name": "n" * 201, "description": "d" * 1_001, "tools": [{"name": "a"}, {"name": "b"}]}

    parsed = parse_tools([json.dumps(server)])

    assert {len(tool.namespace) for tool in parsed.tools} == {200}
    assert {len(tool.namespace_description) for tool in parsed.tools} == {1_000}
    assert [warning.partition(": ")[0] for warning in parsed.warnings] == [
        "names of namespaces longer than 200 characters are cut",
        "descriptions of namespaces longer than 1,000 characters are cut",
    ]


def test_the_cut_name_of_a_namespace_that_a_tool_names_is_told() -> None:
    parsed = parse_tools([json.dumps({"name": "a", "namespace": "n" * 201})])

    assert len(parsed.tools[0].namespace) == 200
    assert parsed.warnings[0].startswith("names of namespaces longer than 200 characters are cut: 'nnn")


def test_a_long_key_of_a_tool_stays_its_name() -> None:
    parsed = parse_tools([json.dumps({"tools": {"n" * 300: {"description": "d", "inputSchema": {}}}})])

    assert parsed.tools[0].name == "n" * 300


@pytest.mark.parametrize(("num_tools", "num_warnings"), [(3, 3), (30, 1)])
def test_a_warning_about_many_tools_is_counted(num_tools: int, num_warnings: int) -> None:
    schema = '{"type": "object", "properties": {"x": {"maximum": NaN}}}'
    parsed = parse_tools([f'{{"name": "t{number}", "parameters": {schema}}}' for number in range(num_tools)])

    assert len(parsed.warnings) == num_warnings
    assert all("a number that is not finite is left out: NaN" in warning for warning in parsed.warnings)


def test_a_counted_warning_names_the_first_tools() -> None:
    parsed = parse_tools([f'{{"name": "t{number}", "x": NaN}}' for number in range(30)])

    (warning,) = parsed.warnings
    assert warning.startswith("30 tools: a number that is not finite is left out: NaN: 't0', 't1', 't2'")
    assert warning.endswith("'t9' and 20 more")
