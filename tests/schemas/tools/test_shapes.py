"""Objects whose keys mislead: only the whole object says whether it is a tool, a container or a schema."""

import json
from typing import Any

import pytest

from shortlist.schemas.document import ParsedTools, Tool
from shortlist.schemas.tools.parse import parse_tools

SCHEMA = {"type": "object", "properties": {"berth": {"type": "string", "description": "Berth of the ship"}}}
TEXT = {"name": "find_ship", "description": "Finds a ship"}
SHIP = {**TEXT, "parameters": SCHEMA}


def parse(*values: object) -> ParsedTools:
    return parse_tools([json.dumps(value) for value in values])


def only(value: object) -> Tool:
    parsed = parse(value)
    assert parsed.unparsed == ()
    (tool,) = parsed.tools
    return tool


def paths(value: object) -> list[str]:
    return [parameter.path for parameter in only(value).parameters]


@pytest.mark.parametrize("key", ["parameters", "inputSchema", "input_schema", "parametersJsonSchema"])
@pytest.mark.parametrize("member", ["custom", "function", "tool", "toolSpec", "definition", "data"])
@pytest.mark.parametrize(
    "metadata",
    [{"owner": "harbour"}, {"name": "harbour-team"}, {"name": "other", "parameters": SCHEMA}, {}],
    ids=["facts", "name", "tool", "empty"],
)
def test_the_name_and_the_schema_of_a_tool_outweigh_any_other_member(
    key: str, member: str, metadata: dict[str, object]
) -> None:
    tool = only({**TEXT, key: SCHEMA, member: metadata})

    assert (tool.name, tool.description, [parameter.path for parameter in tool.parameters]) == (
        *TEXT.values(),
        ["berth"],
    )


@pytest.mark.parametrize("member", ["custom", "function", "tool"])
def test_a_tool_without_parameters_keeps_its_name_beside_metadata_with_a_name(member: str) -> None:
    tool = only({**TEXT, member: {"name": "harbour-team", "description": "Who to ask"}})

    assert (tool.name, tool.description) == ("find_ship", "Finds a ship")


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": SHIP},
        {"name": "row 7", "function": SHIP},
        {"type": "custom", "name": "row 7", "custom": TEXT},
        {"toolSpec": {**TEXT, "inputSchema": {"json": SCHEMA}}},
        {"tool": SHIP, "enabled": True},
        {"type": "tool_definition", "definition": {**TEXT, "input_schema": SCHEMA}},
        {"type": "toolbox.Tool", "data": {**SHIP, "function": "ships.find"}},
        {"id": 7, "entry": SHIP},
        {"function": {"runtime": "python"}, "toolSpec": SHIP},
        {"tools": {"type": "function", "function": SHIP}},
    ],
    ids=["openai", "row", "custom", "bedrock", "tool", "definition", "data", "any-key", "two", "not-a-list"],
)
def test_a_tool_is_read_from_the_object_that_holds_it(tool: object) -> None:
    assert only(tool).name == "find_ship"


def test_a_name_outside_and_a_schema_inside_are_one_tool() -> None:
    tool = only({"name": "find_ship", "type": "function", "function": {"description": "Finds", "parameters": SCHEMA}})

    assert (tool.name, tool.description, len(tool.parameters)) == ("find_ship", "Finds", 1)


@pytest.mark.parametrize(
    ("value", "namespace"),
    [
        ({"type": "namespace", "name": "port", "description": "Harbour", "tools": [SHIP]}, "port"),
        ({"name": "port", "description": "Harbour", "tools": [SHIP]}, "port"),
        ({"name": "port", "functions": [{"type": "function", "function": SHIP}]}, "port"),
        ({"server_label": "port", "type": "mcp_list_tools", "tools": [SHIP]}, "port"),
        ({"serverInfo": {"name": "port", "version": "1"}, "tools": [SHIP]}, "port"),
        ({"name": "port", "parameters": {"temperature": 0.1}, "tools": [SHIP]}, "port"),
        ({"servers": [{"name": "port", "tools": [SHIP]}]}, "port"),
        ({"mcpServers": {"port": {"tools": [SHIP]}}}, "port"),
        ({"port": {"tools": [SHIP]}}, "port"),
        ({"port": [SHIP]}, "port"),
        ({"name": "sea", "tools": [{"name": "port", "tools": [SHIP]}]}, "sea.port"),
        ({"name": "sea", "agents": [{"name": "port", "tools": [SHIP]}]}, "sea.port"),
        ({**SHIP, "namespace": "port"}, "port"),
        ({**SHIP, "plugin_name": "port"}, "port"),
        ({"model": "large", "tools": [SHIP]}, ""),
        ({"name": "my deployment", "messages": [], "tools": [SHIP]}, ""),
        ({"result": {"tools": [SHIP]}}, ""),
        ({"toolConfig": {"tools": [SHIP]}}, ""),
        ({"model": "large", "parameters": {"top_k": 5}, "tools": [SHIP]}, ""),
    ],
    ids=[
        "openai-namespace",
        "agent",
        "plugin",
        "mcp-label",
        "mcp-server",
        "agent-with-settings",
        "list-of-servers",
        "map-of-servers",
        "bare-map-of-servers",
        "map-of-lists",
        "nested",
        "team",
        "own-member",
        "own-plugin",
        "request",
        "named-request",
        "result",
        "tool-config",
        "request-with-settings",
    ],
)
def test_the_name_of_what_holds_tools_is_their_namespace_but_a_request_is_none(value: object, namespace: str) -> None:
    tool = only(value)

    assert (tool.name, tool.namespace) == ("find_ship", namespace)


def test_the_description_of_a_namespace_comes_with_its_tools() -> None:
    named = {"name": "sea", "description": "Ships at sea", "tools": [SHIP, {"name": "b"}]}
    keyed = {"port": {"description": "Berths", "tools": [SHIP]}}

    parsed = parse(named, keyed, SHIP)

    descriptions = [tool.namespace_description for tool in parsed.tools]
    assert descriptions == ["Ships at sea", "Ships at sea", "Berths", ""]


def test_a_given_namespace_is_joined_with_the_one_in_the_object() -> None:
    text = json.dumps([{"name": "sea", "tools": [SHIP]}, {"name": "fleet", "tools": [SHIP]}, SHIP])

    assert [tool.namespace for tool in parse_tools([text], namespaces=["fleet"]).tools] == [
        "fleet.sea",
        "fleet",
        "fleet",
    ]


def test_one_broken_tool_does_not_cost_its_neighbours_their_namespace() -> None:
    text = '{"name": "sea", "description": "Ships", "tools": [{"name": "a"}, {"name": }, {"name": "c"}]}'

    parsed = parse_tools([text])

    assert [(tool.name, tool.namespace) for tool in parsed.tools] == [("a", "sea"), ("c", "sea")]
    assert len(parsed.unparsed) == 1


def test_an_object_that_lists_the_names_of_its_tools_is_a_tool() -> None:
    assert only({"name": "reviewer", "description": "Reviews code", "tools": ["read", "search"]}).name == "reviewer"


def test_an_empty_namespace_is_a_warning_with_its_name() -> None:
    parsed = parse({"type": "namespace", "name": "sea", "tools": []})

    assert (parsed.tools, parsed.unparsed, parsed.warnings) == (
        (),
        (),
        ("tools[0]: 'sea' holds an empty list of tools",),
    )


def test_a_tool_that_also_lists_tools_says_that_they_are_not_read() -> None:
    parsed = parse({**SHIP, "tools": [{"name": "inner"}]})

    assert [tool.name for tool in parsed.tools] == ["find_ship"]
    assert 'its list "tools" is not read' in parsed.warnings[0]


@pytest.mark.parametrize(
    "value",
    [
        {"find_ship": {"description": "Finds a ship", "inputSchema": SCHEMA}},
        {"find_ship": {"description": "Finds a ship", "inputSchema": {"jsonSchema": SCHEMA}}},
        {"find_ship": {"type": "function", "function": {"description": "Finds a ship", "parameters": SCHEMA}}},
        {"tools": {"find_ship": {"description": "Finds a ship", "parameters": SCHEMA}}},
        {"model": "large", "tools": {"find_ship": {"description": "Finds a ship", "args_schema": SCHEMA}}},
        {"id-7": SHIP},
    ],
    ids=["bare", "ai-sdk", "wrapped", "tools", "request", "own-name"],
)
def test_tools_are_read_from_an_object_with_a_member_for_each(value: object) -> None:
    tool = only(value)

    assert (tool.name, tool.description, [parameter.path for parameter in tool.parameters]) == (
        *TEXT.values(),
        ["berth"],
    )


def test_the_names_of_tools_in_an_object_may_be_words_that_mean_something_elsewhere() -> None:
    names = ["data", "tools", "result", "function", "parameters", "name_ship"]

    parsed = parse({"tools": {name: {"description": "x", "parameters": SCHEMA} for name in names}})

    assert [tool.name for tool in parsed.tools] == names


@pytest.mark.parametrize("other", ["items", "config", "data", "functions", "tools", "definition", "tool", "function"])
def test_a_tool_beside_others_may_have_any_name(other: str) -> None:
    tools = {name: {"description": "x", "inputSchema": SCHEMA} for name in (other, "find_ship")}

    for value in (tools, {"tools": tools}):
        parsed = parse(value)
        assert [tool.name for tool in parsed.tools] == [other, "find_ship"]
        assert parsed.unparsed == ()


def test_a_member_of_an_object_of_tools_that_is_not_a_tool_does_not_cost_the_others() -> None:
    parsed = parse([{"tools": {"a": {"description": "x"}, "": {"description": "y"}}}, {"name": "c"}])

    assert [tool.name for tool in parsed.tools] == ["a", "c"]
    assert "it has no name" in parsed.unparsed[0].reason


@pytest.mark.parametrize(
    "value",
    [
        SCHEMA,
        {"properties": {"parameters": {"type": "object"}}, "$defs": {"parameters": {"type": "object"}}},
        {"berth": {"type": "string", "description": "x"}},
        {"description": "Finds", "parameters": SCHEMA},
        {"parameters": SCHEMA, "returns": {"description": "x"}},
        {"function": {"description": "Finds", "parameters": SCHEMA}},
    ],
    ids=["schema", "definitions", "map-of-parameters", "nameless", "nameless-parts", "nameless-function"],
)
def test_a_schema_or_a_tool_without_a_name_is_not_mistaken_for_an_object_of_tools(value: object) -> None:
    parsed = parse(value)

    assert parsed.tools == ()
    assert "it has no name" in parsed.unparsed[0].reason


def test_cache_points_are_neither_tools_nor_errors() -> None:
    point = {"cachePoint": {"type": "default"}}

    parsed = parse({"toolConfig": {"tools": [{"toolSpec": SHIP}, point, {"toolSpec": {"name": "b"}}]}}, [point])

    assert [(tool.name, tool.index) for tool in parsed.tools] == [("find_ship", 0), ("b", 1)]
    assert parsed.unparsed == ()
    assert parsed.warnings == ("tools[1]: holds no tools, only cache points",)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ({"type": "web_search_preview"}, "a tool that the provider runs itself"),
        ({"googleSearch": {}}, "a tool that the provider runs itself"),
        ({"type": "mcp", "server_label": "port", "server_url": "https://x"}, "an MCP server is not a tool"),
        ({"mcpServers": {"port": {"command": "npx", "args": ["-y"]}}}, "an MCP server is not a tool"),
        ({"openapi": "3.1.0", "paths": {"/ships": {"get": {}}}}, "give each operation"),
        ({"type": "function", "function": json.dumps(SHIP)}, '"function" is a string that holds JSON'),
        ({"tools": json.dumps([SHIP])}, '"tools" is a string that holds JSON'),
        ({"type": "namespace", "name": "sea"}, 'must have a list "tools"'),
    ],
    ids=["openai", "gemini", "mcp", "mcp-servers", "openapi", "encoded-twice", "list-encoded-twice", "namespace"],
)
def test_what_is_not_a_tool_is_left_out_with_advice(value: object, hint: str) -> None:
    parsed = parse([value, SHIP])

    assert [tool.name for tool in parsed.tools] == ["find_ship"]
    assert hint in parsed.unparsed[0].reason


def test_a_provider_s_own_tool_with_a_name_is_read_by_it() -> None:
    assert only({"type": "computer_20250124", "name": "computer", "display_width_px": 1024}).name == "computer"


@pytest.mark.parametrize("depth", [3, 9, 40])
@pytest.mark.parametrize("key", ["data", "toolConfig", "servers", "tools", "anything"])
def test_objects_in_objects_are_read_in_time_that_their_depth_does_not_multiply(key: str, depth: int) -> None:
    wide: Any = {f"k{number}": {} for number in range(2_000)}
    for _ in range(depth):
        wide = {key: wide}

    parsed = parse(wide, SHIP)

    assert parsed.tools[-1].name == "find_ship"
    assert len(parsed.tools) + len(parsed.unparsed) > 1
