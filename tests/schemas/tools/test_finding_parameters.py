"""Parameters under other keys than "parameters", and written in other ways than as a JSON Schema."""

import json

import pytest

from shortlist.schemas.document import ParsedTools
from shortlist.schemas.serialise import tool_document
from shortlist.schemas.tools.parse import parse_tools

SCHEMA = {"type": "object", "properties": {"berth": {"type": "string", "description": "Berth of the ship"}}}
MAP = {"berth": {"type": "string", "description": "Berth of the ship"}}
LIST = [{"name": "berth", "type": "string", "description": "Berth of the ship"}]
TOOL = {"name": "find_ship", "description": "Finds a ship"}


def parse(tool: object) -> ParsedTools:
    return parse_tools([json.dumps(tool)])


def described(schema: object) -> list[str]:
    parameters = parse({**TOOL, "parameters": schema}).tools[0].parameters
    return [" ".join(filter(None, (p.path, p.type, "required" * p.required, p.description))) for p in parameters]


@pytest.mark.parametrize(
    "members",
    [
        {"parameter_definitions": {"berth": {"type": "str", "description": "Berth of the ship"}}},
        {"parameterDefinitions": MAP},
        {"inputs": MAP},
        {"inputs": LIST},
        {"input": SCHEMA},
        {"args": MAP},
        {"args_schema": SCHEMA},
        {"arguments": LIST},
        {"params": SCHEMA},
        {"schema": SCHEMA},
        {"fn_schema": SCHEMA},
        {"parameters": {}, "inputSchema": SCHEMA},
        {"parameters": {"type": "object", "properties": {}}, "input_schema": SCHEMA},
        {"parameters": None, "args_schema": SCHEMA},
        {"inputSchema": {"json": SCHEMA}},
        {"inputSchema": {"jsonSchema": SCHEMA}},
        {"inputSchema": {"schema": SCHEMA}},
        {"inputSchema": {"jsonSchema": SCHEMA, "_type": None}},
        {"properties": MAP},
    ],
    ids=lambda members: "+".join(members),
)
def test_parameters_are_read_under_every_key_that_frameworks_use(members: dict[str, object]) -> None:
    parsed = parse({**TOOL, **members})

    (parameter,) = parsed.tools[0].parameters
    assert (parameter.path, parameter.type, parameter.description) == ("berth", "string", "Berth of the ship")
    assert parsed.warnings == ()


def test_parameters_beside_the_function_are_read() -> None:
    parsed = parse({"type": "function", "function": TOOL, "parameters": SCHEMA})

    assert [parameter.path for parameter in parsed.tools[0].parameters] == ["berth"]


def test_parameters_that_were_encoded_twice_are_read_with_a_warning() -> None:
    parsed = parse({"type": "function", "function": {**TOOL, "parameters": json.dumps(SCHEMA)}})

    assert [parameter.path for parameter in parsed.tools[0].parameters] == ["berth"]
    assert parsed.warnings == (
        "tool 'find_ship': /function/parameters: is JSON that was encoded twice; it is read, but send it as an object",
    )


@pytest.mark.parametrize("text", ["{", '{"berth": ', "a town", "[1, 2", "[" * 5_000])
def test_parameters_that_are_other_text_give_a_warning(text: str) -> None:
    parsed = parse({**TOOL, "parameters": text})

    assert "not a JSON Schema" in parsed.warnings[0]


@pytest.mark.parametrize("value", [SCHEMA, MAP, LIST], ids=["schema", "map", "list"])
def test_what_looks_like_parameters_under_an_unknown_key_is_named_in_a_warning(value: object) -> None:
    (warning,) = parse({**TOOL, "knobs": value}).warnings

    assert 'no parameters were found, but "knobs" looks like them' in warning


@pytest.mark.parametrize(
    "members",
    [
        {"outputSchema": SCHEMA},
        {"output": {"type": "string", "description": "x"}},
        {"returns": SCHEMA},
        {"annotations": {"title": "Ship finder", "readOnlyHint": True}},
        {"_meta": {"tags": ["a"], "team": {"name": "x"}}},
        {"format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"args": ["-y", "server"]},
        {"arguments": {"berth": "Seven"}},
        {"metadata": {"owner": "port", "version": 2}},
        {"input": "text"},
    ],
    ids=lambda members: "+".join(members),
)
def test_other_members_are_neither_parameters_nor_a_warning(members: dict[str, object]) -> None:
    parsed = parse({**TOOL, **members})

    assert (parsed.tools[0].parameters, parsed.warnings) == ((), ())


@pytest.mark.parametrize("value", [{"top_k": 5}, {"_def": {"typeName": "ZodObject"}, "~standard": {"vendor": "zod"}}])
def test_an_object_that_holds_no_parameters_is_a_warning(value: object) -> None:
    assert 'no parameters could be read from "parameters"' in parse({**TOOL, "parameters": value}).warnings[0]


@pytest.mark.parametrize(
    ("schema", "lines"),
    [
        (
            {"items": {"type": "array", "items": {"type": "string"}}, "words": {"type": "string"}},
            ["items array of string", "words string"],
        ),
        ({"items": {"type": "array", "items": {"type": "string"}}}, ["items array of string"]),
        (
            {"type": {"type": "string", "description": "kind"}, "words": {"type": "string"}},
            ["type string kind", "words string"],
        ),
        ({"enum": {"type": "string"}, "required": {"type": "boolean"}}, ["enum string", "required boolean"]),
        (
            {"properties": {"type": "object", "description": "facts"}, "id": {"type": "string"}},
            ["properties object facts", "id string"],
        ),
        ({"title": {"type": "string"}, "description": {"type": "string"}}, ["title string", "description string"]),
        ({"berth": "string", "days": "how long the ship stays"}, ["berth string", "days how long the ship stays"]),
        ({"n": "int: how many", "berth": "string (required)"}, ["n integer how many", "berth string required"]),
        ({"title": "string", "description": "string"}, ["title string", "description string"]),
        (
            {"berth": {"type": "string"}, "days": "int", "required": ["berth"]},
            ["berth string required", "days integer"],
        ),
        ({"type": "object", "berth": {"type": "string"}, "required": ["berth"]}, ["berth string required"]),
        ({"berth": {"type": "string"}, "additionalProperties": False}, ["berth string"]),
        (
            {"tags": {"type": "List[str]"}, "n": "Optional[int]", "all": "dict[str, list[int]]"},
            ["tags array of string", "n integer or null", "all object"],
        ),
        (
            {"place": {"street": {"type": "string"}, "number": "int"}},
            ["place object", "place.street string", "place.number integer"],
        ),
        ({"schema": {"type": "object", "description": "rows"}}, ["schema object rows"]),
        ({"json": {"type": "string"}}, ["json string"]),
        ({"units": ["km", "miles"]}, ["units string"]),
        ([{"name": "berth", "schema": {"type": "string"}, "required": True}], ["berth string required"]),
        ([{"name": "berth", "type_": "str", "is_required": True, "default_value": "a"}], ["berth string required"]),
        (
            [{"name": "berth", "type": "string", "llm_description": "which", "label": {"en_US": "Berth"}}],
            ["berth string which"],
        ),
        (
            [{"name": "berth", "type": "string", "human_description": {"zh_Hans": "泊位", "en_US": "which"}}],
            ["berth string which"],
        ),
    ],
    ids=[
        "items",
        "items-alone",
        "type",
        "enum-and-required",
        "properties",
        "title",
        "text",
        "type-and-text",
        "title-as-text",
        "required",
        "inline",
        "closed",
        "python",
        "nested",
        "name-schema",
        "name-json",
        "list-of-values",
        "openapi",
        "semantic-kernel",
        "dify",
        "languages",
    ],
)
def test_a_bare_map_or_list_is_read_as_parameters(schema: object, lines: list[str]) -> None:
    assert described(schema) == lines


@pytest.mark.parametrize(
    ("schema", "lines"),
    [
        ({"type": "object", "properties": {"type": {"type": "string"}, "items": {}}}, ["type string", "items"]),
        ({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}, ["[].a string"]),
        ({"additionalProperties": {"type": "string", "description": "x"}}, ["* string x"]),
        ({"properties": {"a": {"type": "string"}}, "ui": {"theme": {"type": "string"}}}, ["a string"]),
        ({"allOf": [{"properties": {"a": {"type": "string"}}}], "x-ui": {"type": "string"}}, ["a string"]),
        ({"description": "Nothing to give", "title": "Empty"}, []),
        ({"type": "object", "properties": {}, "additionalProperties": False}, []),
    ],
    ids=["names", "array", "open", "extra", "x", "annotations", "empty"],
)
def test_a_json_schema_is_not_mistaken_for_a_bare_map(schema: object, lines: list[str]) -> None:
    assert described(schema) == lines


@pytest.mark.parametrize("key", ["$defs", "definitions"])
@pytest.mark.parametrize("wrap", [lambda tool: tool, lambda tool: {"type": "function", "function": tool}])
def test_definitions_beside_the_parameters_are_found(key: str, wrap) -> None:
    schema = {"type": "object", "properties": {"place": {"$ref": f"#/{key}/place"}}}

    parsed = parse(wrap({**TOOL, "parameters": schema, key: {"place": {"type": "integer"}}}))

    assert [parameter.type for parameter in parsed.tools[0].parameters] == ["integer"]
    assert parsed.warnings == ()


def test_definitions_beside_the_function_are_found() -> None:
    schema = {"type": "object", "properties": {"place": {"$ref": "#/$defs/place"}}}

    parsed = parse({"function": {**TOOL, "parameters": schema}, "$defs": {"place": {"type": "integer"}}})

    assert [parameter.type for parameter in parsed.tools[0].parameters] == ["integer"]


def test_an_operation_of_openapi_is_read_with_its_body() -> None:
    (tool,) = parse(
        {
            "operationId": "book_berth",
            "summary": "Books a berth",
            "parameters": [{"name": "port", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "requestBody": {
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]}
                    }
                }
            },
        }
    ).tools

    assert (tool.name, tool.description) == ("book_berth", "Books a berth")
    assert [(p.path, p.type, p.required) for p in tool.parameters] == [
        ("port", "integer", True),
        ("note", "string", True),
    ]


@pytest.mark.parametrize(
    ("schema", "enum"),
    [
        ({"oneOf": [{"const": "fast", "title": "Fast delivery"}, {"const": "slow"}]}, ("fast: Fast delivery", "slow")),
        (
            {
                "anyOf": [
                    {"const": 1, "description": "By sea"},
                    {"const": 2, "title": "By air", "description": "Costly"},
                ]
            },
            ("1: By sea", "2: By air - Costly"),
        ),
        (
            {"oneOf": [{"enum": ["km"], "title": "Kilometres"}, {"enum": ["mi"], "title": "Miles"}]},
            ("km: Kilometres", "mi: Miles"),
        ),
        (
            {"oneOf": [{"const": "fast", "title": "Fast"}, {"const": "very_slow", "title": "Very slow"}]},
            ("fast", "very_slow"),
        ),
        ({"enum": ["f", "s"], "enumNames": ["Fast", "Slow"]}, ("f: Fast", "s: Slow")),
        ({"enum": ["f", "s"], "enumNames": ["Fast"]}, ("f", "s")),
        ({"type": "array", "items": {"oneOf": [{"const": "f", "title": "Fast"}, {"const": "s"}]}}, ("f: Fast", "s")),
        ({"oneOf": [{"$ref": "#/$defs/fast"}, {"const": "s"}]}, ("f: Fast", "s")),
        ({"const": "f", "title": "Fast"}, ("f",)),
        ({"oneOf": [{"const": "", "title": "Any"}, {"const": "f"}]}, ('"": Any', "f")),
    ],
    ids=[
        "title",
        "description",
        "single-enum",
        "same-words",
        "enum-names",
        "too-few-names",
        "items",
        "reference",
        "no-alternative",
        "empty-value",
    ],
)
def test_the_title_of_a_value_stays_with_it(schema: object, enum: tuple[str, ...]) -> None:
    root = {"properties": {"speed": schema}, "$defs": {"fast": {"const": "f", "title": "Fast"}}}

    (parameter,) = parse({**TOOL, "parameters": root}).tools[0].parameters

    assert parameter.enum == enum


@pytest.mark.parametrize(
    ("schema", "description"),
    [
        (
            {
                "anyOf": [
                    {"type": "integer", "description": "The number"},
                    {"type": "string", "description": "The code"},
                ]
            },
            "integer: The number; string: The code",
        ),
        (
            {
                "description": "Which.",
                "oneOf": [
                    {"type": "object", "title": "By code", "description": "Exact"},
                    {"type": "object", "title": "By place"},
                ],
            },
            "Which. By code - Exact; By place",
        ),
        ({"anyOf": [{"type": "string", "description": "The code"}, {"type": "null"}]}, "The code"),
        ({"anyOf": [{"type": "string", "description": "The code"}, {"type": "integer"}]}, "The code"),
        ({"description": "Which", "anyOf": [{"type": "string", "description": "Which"}, {"type": "integer"}]}, "Which"),
    ],
    ids=["types", "titles", "optional", "one-described", "repeated"],
)
def test_the_descriptions_of_alternatives_stay_with_them(schema: object, description: str) -> None:
    (parameter,) = parse({**TOOL, "parameters": {"properties": {"x": schema}}}).tools[0].parameters

    assert parameter.description == description


def test_titles_of_values_reach_the_document() -> None:
    schema = {"properties": {"speed": {"oneOf": [{"const": "f", "title": "Overnight"}, {"const": "s"}]}}}

    (tool,) = parse({**TOOL, "parameters": schema}).tools

    assert "[f: Overnight, s]" in tool_document(tool)


def test_many_described_alternatives_are_cut_with_a_warning() -> None:
    alternatives = [{"type": "object", "description": f"Kind {number}"} for number in range(60)]

    parsed = parse({**TOOL, "parameters": {"properties": {"x": {"anyOf": alternatives}}}})

    assert "more than 20 described alternatives" in parsed.warnings[0]
