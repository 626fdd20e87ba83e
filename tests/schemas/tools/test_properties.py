import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft7Validator, Draft201909Validator, Draft202012Validator

from shortlist.schemas.tools.parse import parse_tools

texts = st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
KEYWORDS = [
    "$defs",
    "$id",
    "$ref",
    "$anchor",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "default",
    "definitions",
    "dependencies",
    "dependentRequired",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxItems",
    "maximum",
    "minLength",
    "minimum",
    "multipleOf",
    "not",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "x-own",
]
types = st.sampled_from(["string", "integer", "object", "array", "null", "float", "any", 5])
schemas = st.recursive(
    st.booleans()
    | st.dictionaries(st.sampled_from(KEYWORDS), scalars | types | st.lists(types, max_size=3), max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from(KEYWORDS),
        inner | st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3) | types,
        max_size=4,
    ),
    max_leaves=8,
)
tool_keys = st.sampled_from(
    [
        "name",
        "title",
        "function",
        "tools",
        "result",
        "parameters",
        "inputSchema",
        "properties",
        "type",
        "functionDeclarations",
        "annotations",
        "$ref",
        "items",
        "anyOf",
        "enum",
        "required",
        "description",
        "custom",
        "toolSpec",
        "cachePoint",
        "data",
        "servers",
        "namespace",
        "json",
        "args",
        "operationId",
        "requestBody",
        "$defs",
        "const",
        "oneOf",
        "city",
    ]
)
words = st.sampled_from(["object", "string", "List[str]", "namespace", "function", "{}", '{"a": "int"}', "int: x"])
toolish = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(tool_keys, inner, max_size=5),
    max_leaves=20,
)
quiet = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quiet
@given(st.lists(values, max_size=5), st.sampled_from([None, 0, 3]), st.booleans())
def test_sources_decode_to_the_tools_that_were_written(extras: list[Any], indent: int | None, is_ascii: bool) -> None:
    tools = [{"name": f"tool_{number}", "x": extra} for number, extra in enumerate(extras)]
    text = json.dumps({"tools": tools}, indent=indent, ensure_ascii=is_ascii)

    parsed = parse_tools([text])

    assert [json.loads(tool.source) for tool in parsed.tools] == tools
    assert all(tool.source in text for tool in parsed.tools)


@quiet
@given(toolish | values)
def test_any_json_is_read_without_an_error_and_each_index_once(value: Any) -> None:
    parsed = parse_tools([json.dumps(value), '{"name": "last"}'])

    indexes = sorted([tool.index for tool in parsed.tools] + [left_out.index for left_out in parsed.unparsed])
    assert indexes == list(range(len(indexes)))
    assert parsed.tools[-1].name == "last"
    assert bool(parsed.tools[:-1] or parsed.unparsed or parsed.warnings)


@quiet
@given(st.text(alphabet='{}[]",:\\ntrue1 ', max_size=40) | st.text(max_size=40))
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_tools([text])


@quiet
@given(toolish, st.data())
def test_any_json_cut_short_is_read_without_an_error(value: Any, data: st.DataObject) -> None:
    text = json.dumps([{"name": "first"}, value])

    parsed = parse_tools([text[: data.draw(st.integers(0, len(text)))]])

    assert all(json.loads(tool.source) for tool in parsed.tools)


@pytest.mark.parametrize(
    ("uri", "validator"),
    [
        ("https://json-schema.org/draft/2020-12/schema", Draft202012Validator),
        ("https://json-schema.org/draft/2019-09/schema", Draft201909Validator),
        ("http://json-schema.org/draft-07/schema#", Draft7Validator),
        ("http://json-schema.org/draft-04/schema#", Draft4Validator),
    ],
    ids=["2020-12", "2019-09", "7", "4"],
)
@quiet
@given(schema=schemas.filter(lambda schema: isinstance(schema, dict)))
def test_a_schema_is_invalid_exactly_if_jsonschema_rejects_it(uri: str, validator: Any, schema: Any) -> None:
    schema = {**schema, "$schema": uri}
    assume(json.dumps(schema).isascii() and not {"Infinity", "NaN"} & set(re.findall(r"\w+", json.dumps(schema))))

    warnings = parse_tools([json.dumps({"name": "tool", "parameters": schema})]).warnings

    complaints = [warning for warning in warnings if "/parameters" in warning and "does not resolve" not in warning]
    assert bool(complaints) is not validator(validator.META_SCHEMA).is_valid(schema)
