import json

import pytest

from shortlist.schemas.document import Parameter
from shortlist.schemas.tools.parse import parse_tools

TEXT = {"type": "string"}


def read(parameters: object) -> tuple[Parameter, ...]:
    parsed = parse_tools([json.dumps({"name": "tool", "parameters": parameters})])
    assert parsed.warnings == ()
    return parsed.tools[0].parameters


def read_one(schema: object) -> Parameter:
    return read({"type": "object", "properties": {"x": schema}})[0]


@pytest.mark.parametrize(
    "labels",
    [
        {"enumDescriptions": {"a": "Alpha", "b": "Beta"}},
        {"x-enum-descriptions": {"a": "Alpha", "b": "Beta"}},
        {"x-enumDescriptions": ["Alpha", "Beta"]},
        {"x-enum-varnames": ["Alpha", "Beta"]},
        {"meta:enum": {"a": "Alpha", "b": "Beta"}},
    ],
    ids=lambda labels: next(iter(labels)),
)
def test_values_have_the_labels_of_a_list_or_a_map(labels: dict[str, object]) -> None:
    assert read_one({"enum": ["a", "b"], **labels}).enum == ("a: Alpha", "b: Beta")


def test_a_map_may_label_some_values() -> None:
    assert read_one({"enum": [1, 2], "x-enum-descriptions": {"1": "One"}}).enum == ("1: One", "2")


def test_the_only_value_of_a_choice_keeps_its_title() -> None:
    assert read_one({"oneOf": [{"const": "a", "title": "Zebra"}]}).enum == ("a: Zebra",)


@pytest.mark.parametrize(
    ("schema", "description"),
    [
        ({"type": "array", "items": {"type": "string", "title": "Zebra"}}, "Zebra"),
        ({"title": "Own", "description": "d", "items": {"title": "Zebra"}}, "Own - Zebra - d"),
        ({"anyOf": [{"type": "string", "title": "City code"}, {"type": "null"}]}, "City code"),
        ({"type": "array", "items": {"type": "string", "title": "X"}}, ""),
    ],
    ids=["items", "both", "only-alternative", "like-the-name"],
)
def test_titles_are_read_unless_they_repeat_the_name(schema: object, description: str) -> None:
    assert read_one(schema).description == description


@pytest.mark.parametrize(
    "schema",
    [
        {
            "oneOf": [
                {"title": "By passport", "description": "Look it up", "properties": {"id": TEXT}},
                {"description": "By name", "properties": {"name": TEXT}},
            ]
        },
        {
            "properties": {"id": TEXT, "name": TEXT},
            "anyOf": [
                {"required": ["id"], "title": "By passport", "description": "Look it up"},
                {"required": ["name"], "title": "By name"},
            ],
        },
        {
            "oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}],
            "$defs": {
                "A": {"title": "By passport", "description": "Look it up", "properties": {"id": TEXT}},
                "B": {"title": "By name", "properties": {"name": TEXT}},
            },
        },
    ],
    ids=["properties", "required", "references"],
)
def test_what_alternatives_of_a_tool_say_is_put_with_their_parameters(schema: dict[str, object]) -> None:
    described = [(parameter.name, parameter.description) for parameter in read({"type": "object", **schema})]

    assert described == [("id", "By passport - Look it up"), ("name", "By name")]


def test_an_alternative_is_put_with_a_parameter_of_its_own() -> None:
    branches = [
        {"title": "Cards", "properties": {"kind": {"const": "card"}, "number": TEXT}},
        {"title": "Banks", "properties": {"kind": {"const": "bank"}, "iban": TEXT}},
    ]

    described = [(parameter.name, parameter.description) for parameter in read({"oneOf": branches})]

    assert described == [("kind", ""), ("number", "Cards"), ("iban", "Banks")]


@pytest.mark.parametrize(("kind", "path"), [("object", "x.y"), ("object[]", "x[].y")])
def test_attributes_of_a_listed_object_are_parameters(kind: str, path: str) -> None:
    attributes = [{"name": "y", "type": "string", "description": "d"}]

    outer, inner = read([{"name": "x", "type": kind, "attributes": attributes}])

    assert (outer.name, inner.path, inner.type, inner.description) == ("x", path, "string", "d")
