import json
import time
import tracemalloc

import pytest
from counting import num_calls
from paths import TESTS

from shortlist.schemas.document import ParsedTools
from shortlist.schemas.tools.parameters import MAX_DEPTH, MAX_ENUM_VALUES, MAX_PARAMETERS
from shortlist.schemas.tools.parse import parse_tools

FIXTURES = TESTS / "fixtures" / "tools"


def parse(schema: object, **members: object) -> ParsedTools:
    return parse_tools([json.dumps({"name": "tool", "parameters": schema, **members})])


def test_nested_parameters_are_flattened_in_reading_order() -> None:
    (tool,) = parse_tools([(FIXTURES / "nested.json").read_text(encoding="utf-8")]).tools

    lines = [f"{p.path} | {p.type} | {'required' if p.required else 'optional'}" for p in tool.parameters]

    assert lines == (FIXTURES / "nested.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("schema", "phrase"),
    [
        ({"type": ["integer", "null"]}, "integer or null"),
        ({"type": "string", "nullable": True}, "string or null"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"type": "BOOLEAN"}, "boolean"),
        ({"enum": ["a", 1]}, "string or integer"),
        ({"type": "array"}, "array"),
        ({"properties": {}}, ""),
        (True, ""),
    ],
    ids=["list", "nullable", "any-of", "upper-case", "from-enum", "bare-array", "unknown", "boolean-schema"],
)
def test_types_read_as_phrases(schema: object, phrase: str) -> None:
    parsed = parse({"type": "object", "properties": {"x": schema}})

    assert (parsed.tools[0].parameters[0].type, parsed.warnings) == (phrase, ())


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"properties": {"x": {"type": "float"}}}, "/parameters/properties/x/type: 'float' is not a JSON Schema type"),
        ({"properties": {"x": {"type": "any"}}}, "/parameters/properties/x/type: 'any'"),
        ({"properties": {"x": {"type": "string", "required": True}}}, "/parameters/properties/x/required: True"),
        ({"properties": {"a/b": {"description": 5}, "x": {}}}, "/parameters/properties/a~1b/description: 5"),
        ({"properties": {"x": "string"}}, "/parameters/properties/x: 'string'"),
        (
            {"type": "dict", "properties": {"x": {}}},
            "/parameters/type: 'dict' is not a JSON Schema type; it is read as",
        ),
        ([{"name": "x", "type": "string"}, 5], "/parameters: not a JSON Schema"),
        ({"$schema": "https://example.com/own", "properties": {"x": {}}}, "is not a known draft"),
        ({"properties": {"x": {"exclusiveMinimum": True}}}, "/parameters/properties/x/exclusiveMinimum"),
    ],
    ids=["float", "any", "required", "escaped", "text", "dict", "list", "dialect", "draft-4-keyword"],
)
def test_a_tool_with_an_invalid_schema_is_ranked_with_a_warning(schema: object, complaint: str) -> None:
    parsed = parse(schema)

    assert "x" in [parameter.name for parameter in parsed.tools[0].parameters]
    (warning,) = parsed.warnings
    assert warning.startswith("tool 'tool': ")
    assert complaint in warning


@pytest.mark.parametrize(
    "schema",
    [
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "properties": {"x": {"minimum": 0, "exclusiveMinimum": True}},
        },
        {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"x": {"items": [{"type": "string"}]}}},
        {"$schema": "http://json-schema.org/draft-03/schema#", "properties": {"x": {"type": "any", "required": True}}},
    ],
    ids=["draft-4", "draft-7", "draft-3"],
)
def test_a_schema_is_checked_against_the_draft_it_names(schema: object) -> None:
    assert parse(schema).warnings == ()


@pytest.mark.parametrize("schema", [None, True, {}, {"type": "object", "properties": {}}], ids=repr)
def test_a_tool_without_parameters_gives_no_warning(schema: object) -> None:
    parsed = parse(schema)

    assert (parsed.tools[0].parameters, parsed.warnings) == ((), ())


@pytest.mark.parametrize(
    "reference",
    ["https://example.com/schema.json", "file:///etc/passwd", "other.json#/x"],
    ids=["http", "file", "relative"],
)
def test_a_remote_reference_is_not_fetched_and_gives_a_warning(reference: str) -> None:
    parsed = parse({"properties": {"x": {"$ref": reference}}})

    assert parsed.tools[0].parameters[0].name == "x"
    assert "/parameters/properties/x/$ref" in parsed.warnings[0]
    assert "a remote reference is not fetched" in parsed.warnings[0]


def test_a_local_reference_to_nothing_is_a_warning() -> None:
    assert "there is nothing at that place" in parse({"properties": {"x": {"$ref": "#/$defs/Gone"}}}).warnings[0]


@pytest.mark.parametrize(
    ("reference", "definition"),
    [
        ("#/$defs/a~1b", {"type": "integer"}),
        ("#here", {"$anchor": "here", "type": "integer"}),
        ("own.json", {"$id": "own.json", "type": "integer"}),
    ],
    ids=["pointer", "anchor", "id"],
)
def test_local_references_resolve(reference: str, definition: dict[str, object]) -> None:
    parsed = parse({"properties": {"x": {"$ref": reference}}, "$defs": {"a/b": definition}})

    assert (parsed.tools[0].parameters[0].type, parsed.warnings) == ("integer", ())


@pytest.mark.parametrize(
    "definitions",
    [
        {"A": {"$ref": "#/$defs/A"}},
        {"A": {"properties": {"next": {"$ref": "#/$defs/A"}}}},
        {"A": {"allOf": [{"$ref": "#/$defs/B"}]}, "B": {"anyOf": [{"$ref": "#/$defs/A"}]}},
        {"A": {"$ref": "#"}},
    ],
    ids=["itself", "child", "two", "root"],
)
def test_recursive_schemas_do_not_loop_forever(definitions: dict[str, object]) -> None:
    (tool,) = parse({"properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": definitions}).tools

    assert tool.parameters[0].path == "x"
    assert len(tool.parameters) <= 2


def test_references_that_unfold_without_end_are_cut_with_a_warning() -> None:
    levels = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 10} for n in range(14)}

    parsed = parse({"$ref": "#/$defs/d0", "$defs": {**levels, "d14": {"type": "object"}}})

    assert "too often to be unfolded" in parsed.warnings[0]


LARGE = {
    "enum": [f"value {number}" for number in range(9_000)],
    "properties": {f"p{number}": {"type": "string"} for number in range(2_000)},
}
REFERRED = {
    "alternatives": {"properties": {"x": {"anyOf": [{"$ref": "#/$defs/large"}] * 9_000}}},
    "parameters": {"properties": {f"x{n}": {"$ref": "#/$defs/large"} for n in range(450)}},
    "alternatives by other names": {"properties": {"x": {"anyOf": [{"$ref": f"#/$defs/r{n}"} for n in range(4_000)]}}},
}


@pytest.mark.parametrize("name", REFERRED)
def test_a_large_schema_costs_its_size_once_however_often_it_is_referred_to(name: str) -> None:
    names = {f"r{number}": {"$ref": "#/$defs/large"} for number in range(4_000)}
    text = json.dumps({"name": "t", "parameters": {**REFERRED[name], "$defs": {"large": LARGE, **names}}})
    tracemalloc.start()
    began = time.process_time()
    (tool,) = parse_tools([text]).tools
    seconds, (_, peak_bytes) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(tool.parameters) == MAX_PARAMETERS
    assert tool.parameters[0].enum[:2] == ("value 0", "value 1")
    assert len(tool.parameters[0].enum) == MAX_ENUM_VALUES
    assert seconds < 20
    assert peak_bytes < 64 * 1024 * 1024


def test_equal_alternatives_keep_their_own_required_parameters() -> None:
    part = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    (tool,) = parse(
        {"$defs": {"p": part}, "anyOf": [{"$ref": "#/$defs/p"}] * 2, "allOf": [{"$ref": "#/$defs/p"}]}
    ).tools
    assert [(parameter.path, parameter.required) for parameter in tool.parameters] == [("a", True)]


def test_depth_is_bounded_with_a_warning() -> None:
    schema: dict[str, object] = json.loads('{"properties": {"a": ' * 9 + "{}" + "}}" * 9)

    parsed = parse(schema)

    assert [parameter.depth for parameter in parsed.tools[0].parameters] == list(range(MAX_DEPTH))
    assert f"more than {MAX_DEPTH} levels deep" in parsed.warnings[0]


def test_the_number_of_parameters_is_bounded_and_shallow_ones_are_kept_first() -> None:
    wide = {"properties": {f"p{n}": {"type": "string"} for n in range(MAX_PARAMETERS)}}

    parsed = parse({"properties": {"deep": wide, "last": {"type": "string"}}})

    paths = [parameter.path for parameter in parsed.tools[0].parameters]
    assert (len(paths), paths[0], paths[-1]) == (MAX_PARAMETERS, "deep", "last")
    assert f"more than {MAX_PARAMETERS} parameters" in parsed.warnings[0]


def test_the_work_on_a_tool_grows_with_its_size_alone() -> None:
    def read(num_properties: int) -> None:
        properties = {f"p{n}": {"type": "string", "description": "x" * 20} for n in range(num_properties)}
        assert len(parse({"type": "object", "properties": properties}).tools) == 1

    assert num_calls(lambda: read(6_000)) < 2.2 * num_calls(lambda: read(3_000))


def test_the_work_on_a_catalog_grows_with_its_number_of_tools_alone() -> None:
    tool = json.loads((FIXTURES / "neutral.json").read_text())

    def read(num_tools: int) -> None:
        tools = [tool | {"name": f"tool_{n}"} for n in range(num_tools)]
        parsed = parse_tools([json.dumps({"jsonrpc": "2.0", "result": {"tools": tools}})])
        assert [tool.index for tool in parsed.tools] == list(range(num_tools))

    assert num_calls(lambda: read(1_000)) < 2.2 * num_calls(lambda: read(500))
