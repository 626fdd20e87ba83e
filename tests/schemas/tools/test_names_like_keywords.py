import json

import pytest

from shortlist.schemas.document import Tool
from shortlist.schemas.tools.parse import parse_tools

TEXT = {"type": "string"}
WEATHER = {"type": "object", "properties": {"city": TEXT}}


def read(tool: object) -> Tool:
    parsed = parse_tools([json.dumps(tool)])
    assert (parsed.warnings, parsed.unparsed) == ((), ())
    return parsed.tools[0]


def paths(members: dict[str, object]) -> list[str]:
    return [parameter.path for parameter in read({"name": "tool", **members}).parameters]


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"if": TEXT, "then": TEXT}, ["if", "then"]),
        ({"if": TEXT, "then": TEXT, "else": TEXT}, ["if", "then", "else"]),
        ({"patternProperties": TEXT, "q": TEXT}, ["patternProperties", "q"]),
        ({"$filter": TEXT, "$top": {"type": "integer"}}, ["$filter", "$top"]),
        ({"json": {"title": "Json", "type": "object"}}, ["json"]),
        ({"properties": {"title": "Properties", "type": "object"}}, ["properties"]),
    ],
    ids=["if-then", "if-then-else", "pattern", "odata", "json", "properties"],
)
@pytest.mark.parametrize("key", ["args", "parameters"])
def test_keywords_are_names_in_a_map_of_parameters(key: str, parameters: object, names: list[str]) -> None:
    assert paths({key: parameters}) == names


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"inputSchema": {"json": {"city": TEXT}}}, ["city"]),
        ({"inputSchema": {"json": {"type": "object", "description": "No input"}}}, []),
        ({"inputSchema": {"json": WEATHER}}, ["city"]),
        ({"parameters": {"schema": WEATHER}}, ["city"]),
        ({"parameters": {"schema": {**WEATHER, "description": "The schema to check"}}}, ["schema", "schema.city"]),
        ({"args": {"json": {"city": TEXT}}}, ["json", "json.city"]),
    ],
    ids=["map", "no-input", "schema", "wrapped-schema", "described-parameter", "parameter"],
)
def test_a_wrapper_of_a_schema_is_told_from_a_parameter(members: dict[str, object], expected: list[str]) -> None:
    assert paths(members) == expected


def test_conditions_of_a_schema_stay_conditions() -> None:
    condition = {"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}}

    assert paths({"parameters": {"type": "object", "properties": {"a": TEXT, "b": TEXT}, **condition}}) == ["a", "b"]


def test_the_function_of_letta_is_unwrapped() -> None:
    function = {"name": "tool", "description": "d", "parameters": WEATHER}

    assert paths({"description": "d", "json_schema": function}) == ["city"]


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ({"type": "function", "name": "ping", "description": "d", "function": {"name": "handler.main"}}, "ping"),
        ({"type": "function", "name": "ping", "function": {"name": "handler.main"}}, "ping"),
        ({"type": "function", "name": "n", "function": {"name": "ping", "description": "d"}}, "ping"),
        ({"type": "function", "function": {"name": "ping"}}, "ping"),
        ({"type": "function", "function": {"name": "ping", "parameters": WEATHER}}, "ping"),
    ],
    ids=["described", "named", "described-inside", "wrapped", "wrapped-with-schema"],
)
def test_a_tool_s_own_name_outweighs_a_member_like_a_wrapper(tool: object, name: str) -> None:
    assert read(tool).name == name
