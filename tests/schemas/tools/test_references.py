import json

import pytest

from shortlist.schemas.tools.parse import parse_tools

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
IN_COMPONENTS = {"$ref": "#/components/schemas/Weather"}
COMPONENTS = {"schemas": {"Weather": WEATHER}}
IN_DEFS = {"$ref": "#/$defs/Weather"}
DEFS = {"Weather": WEATHER}


def body(schema: object) -> dict[str, object]:
    return {"content": {"application/json": {"schema": schema}}}


def read(tool: object) -> tuple[list[str], tuple[str, ...]]:
    parsed = parse_tools([json.dumps(tool)])
    return [parameter.path for parameter in parsed.tools[0].parameters], parsed.warnings


@pytest.mark.parametrize(
    ("tool", "paths"),
    [
        ({"requestBody": body(IN_COMPONENTS), "components": COMPONENTS}, ["city"]),
        (
            {"requestBody": body({"properties": {"w": IN_COMPONENTS}}), "components": COMPONENTS},
            ["w", "w.city"],
        ),
        ({"requestBody": body({"allOf": [IN_COMPONENTS]}), "components": COMPONENTS}, ["body", "body.city"]),
        (
            {
                "requestBody": {"$ref": "#/components/requestBodies/B"},
                "components": {"requestBodies": {"B": body(WEATHER)}},
            },
            ["city"],
        ),
        ({"parameters": [{"name": "w", "schema": IN_COMPONENTS}], "components": COMPONENTS}, ["w", "w.city"]),
        ({"parameters": [{"name": "w", **body(WEATHER)}]}, ["w", "w.city"]),
        (
            {"parameters": [{"$ref": "#/components/parameters/P"}], "components": {"parameters": {"P": {"name": "p"}}}},
            ["p"],
        ),
        (
            {
                "parameters": [{"name": "b", "in": "body", "schema": {"$ref": "#/definitions/Weather"}}],
                "definitions": DEFS,
            },
            ["b", "b.city"],
        ),
    ],
    ids=["body", "in-body", "all-of", "request-body", "parameter", "content", "whole-parameter", "swagger"],
)
def test_references_of_an_operation_are_followed(tool: dict[str, object], paths: list[str]) -> None:
    assert read({"operationId": "tool", **tool}) == (paths, ())


def test_an_operation_finds_the_components_of_the_object_around_it() -> None:
    operation = {"operationId": "tool", "requestBody": body(IN_COMPONENTS)}

    assert read({"components": COMPONENTS, "tools": [operation]}) == (["city"], ())


def test_an_operation_s_own_component_counts_before_one_around_it() -> None:
    own = {"schemas": {"Weather": {"properties": {"town": {}}}}}
    operation = {"operationId": "tool", "requestBody": body(IN_COMPONENTS), "components": own}

    assert read({"components": COMPONENTS, "tools": [operation]}) == (["town"], ())


@pytest.mark.parametrize(
    "members",
    [
        {"parameter_definitions": {"type": "object", "properties": {"w": IN_DEFS}}, "$defs": DEFS},
        {"parameters": [{"name": "w", "schema": IN_DEFS}], "$defs": DEFS},
        {"inputSchema": {"jsonSchema": {"type": "object", "properties": {"w": IN_DEFS}}, "$defs": DEFS}},
        {"args": {"w": IN_DEFS, "$defs": DEFS}},
    ],
    ids=["full-schema-under-definitions", "list", "wrapped", "map"],
)
def test_definitions_beside_parameters_resolve(members: dict[str, object]) -> None:
    assert read({"name": "tool", **members}) == (["w", "w.city"], ())


@pytest.mark.parametrize(
    ("tool", "reference"),
    [
        ({"operationId": "tool", "requestBody": body(IN_COMPONENTS)}, "#/components/schemas/Weather"),
        ({"name": "tool", "args": {"w": IN_DEFS}}, "#/$defs/Weather"),
        ({"name": "tool", "parameters": [{"name": "w", "schema": IN_DEFS}]}, "#/$defs/Weather"),
        ({"name": "tool", "parameter_definitions": {"properties": {"w": IN_DEFS}}}, "#/$defs/Weather"),
    ],
    ids=["operation", "map", "list", "full-schema-under-definitions"],
)
def test_a_reference_that_leads_nowhere_is_told(tool: dict[str, object], reference: str) -> None:
    _, (warning,) = read(tool)

    assert f"'{reference}' does not resolve: there is nothing at that place" in warning


@pytest.mark.parametrize(
    ("members", "note"),
    [
        (
            {"parameters": [{"$ref": "#/components/parameters/P"}]},
            "1 of its parameters have no name, or are references",
        ),
        ({"requestBody": {"$ref": "#/components/requestBodies/B"}}, "its body is a reference that does not resolve"),
        ({"requestBody": {"$ref": "#/requestBody"}}, "its body is a reference that does not resolve"),
    ],
    ids=["parameter", "body", "cycle"],
)
def test_an_operation_without_a_part_that_it_refers_to_is_told(members: dict[str, object], note: str) -> None:
    _, warnings = read({"operationId": "tool", **members})

    assert note in warnings[0]


def test_a_list_of_parameters_that_is_read_gives_no_warning() -> None:
    assert read({"name": "tool", "parameters": [{"name": "x", "type": "string"}, "y"]}) == (["x", "y"], ())
