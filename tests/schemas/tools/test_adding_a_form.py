import json

import pytest
from paths import TESTS

from shortlist.schemas.document import Parameter
from shortlist.schemas.tools.forms import FORMS, ToolForm, has_object, has_value
from shortlist.schemas.tools.parse import parse_tools

SCHEMA = {"properties": {"city": {"type": "string", "minLength": "3"}}}
# A form of our own, unlike all others: {"commands": [{"command": {"id": …, "usage": …, "arguments": {…}}}]}
TOY = ToolForm(
    label="toy",
    recognises=has_object("command"),
    wrapper="command",
    name_key="id",
    description_key="usage",
    parameters_keys=("arguments",),
    list_keys=("commands",),
    envelope_keys=("catalogue",),
)
TOY_TOOL = {"command": {"id": "get_weather", "usage": "Weather for a place", "arguments": SCHEMA}}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tool: tool,
        lambda tool: [tool],
        lambda tool: {"tools": [tool]},
        lambda tool: {"commands": [tool]},
        lambda tool: {"catalogue": {"commands": [tool]}},
    ],
    ids=["alone", "list", "shared-list", "own-list", "envelope"],
)
def test_a_tool_of_a_form_that_was_added_to_the_list_is_parsed(wrap) -> None:
    parsed = parse_tools([json.dumps(wrap(TOY_TOOL))], forms=[*FORMS, TOY])

    assert parsed.unparsed == ()
    (tool,) = parsed.tools
    assert (tool.name, tool.description) == ("get_weather", "Weather for a place")
    assert tool.parameters == (Parameter("city", "city", "string"),)
    assert json.loads(tool.source) == TOY_TOOL


def test_a_schema_problem_of_an_added_form_is_located_in_the_tool() -> None:
    parsed = parse_tools([json.dumps(TOY_TOOL)], forms=[*FORMS, TOY])

    assert "/command/arguments/properties/city" in parsed.warnings[0]


def test_a_form_with_text_counts_takes_them_in_its_own_lists_only() -> None:
    tolerant = ToolForm(
        label="tolerant",
        recognises=has_value("arguments"),
        parameters_keys=("arguments",),
        list_keys=("commands",),
        has_text_counts=True,
    )
    tool = {"name": "get_weather", "arguments": SCHEMA}

    own = parse_tools([json.dumps({"commands": [tool]})], forms=[tolerant])
    shared = parse_tools([json.dumps({"tools": [tool]})], forms=[tolerant])

    assert (len(own.warnings), len(shared.warnings)) == (0, 1)


def test_without_its_form_the_tool_is_left_out() -> None:
    (left_out,) = parse_tools([json.dumps(TOY_TOOL)]).unparsed

    assert "it has no name" in left_out.reason


def test_the_first_form_that_recognises_a_tool_reads_it() -> None:
    tool = json.dumps({"name": "neutral", "parameters": {}, "command": {"id": "toy"}})

    assert [parse_tools([tool], forms=forms).tools[0].name for forms in ([*FORMS, TOY], [TOY, *FORMS])] == [
        "neutral",
        "toy",
    ]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("OpenAI chat completions", "OpenAI custom tools"),
        ("OpenAI custom tools", "neutral, OpenAI responses, Gemini"),
        ("neutral, OpenAI responses, Gemini", "MCP"),
        ("MCP", "Anthropic"),
        ("Anthropic", "Gemini"),
        ("Gemini", "name alone, or JSON Schema with a name"),
    ],
)
def test_a_tool_that_fits_two_forms_is_read_by_the_earlier_one(earlier: str, later: str) -> None:
    examples = {
        "OpenAI chat completions": {"function": {"name": "a", "parameters": _named("OpenAI chat completions")}},
        "OpenAI custom tools": {"custom": {"name": "a", "parameters": _named("OpenAI custom tools")}},
        "neutral, OpenAI responses, Gemini": {"name": "a", "parameters": _named("neutral, OpenAI responses, Gemini")},
        "MCP": {"name": "a", "inputSchema": _named("MCP")},
        "Anthropic": {"name": "a", "input_schema": _named("Anthropic")},
        "Gemini": {"name": "a", "parametersJsonSchema": _named("Gemini")},
        "name alone, or JSON Schema with a name": {"name": "a", "properties": {"last": {}}},
    }

    (tool,) = parse_tools([json.dumps({**examples[later], **examples[earlier]})]).tools

    assert [parameter.name for parameter in tool.parameters] == [earlier]


def test_the_order_of_the_forms_is_this_one() -> None:
    assert [form.label for form in FORMS] == [
        "OpenAI chat completions",
        "OpenAI custom tools",
        "Bedrock, or a tool under any other key",
        "OpenAPI operation",
        "neutral, OpenAI responses, Gemini",
        "MCP",
        "Anthropic",
        "Gemini",
        "Cohere",
        "JSON Schema with a title",
        "name alone, or JSON Schema with a name",
    ]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.label)
def test_every_form_reads_a_tool_that_it_recognises(form: ToolForm) -> None:
    files = (TESTS / "fixtures" / "tools").glob("*.json")
    tools = [json.loads(tool.source) for path in files for tool in parse_tools([path.read_text("utf-8")]).tools]
    tools += [{"custom": {"name": "run"}}, {"name": "now"}, {"name": "gemini", "parametersJsonSchema": SCHEMA}]
    tools += [{"toolSpec": {"name": "bedrock"}}, {"operationId": "openapi"}]
    tools += [{"name": "cohere", "parameter_definitions": {"city": {"type": "str"}}}]

    recognised = [tool for tool in tools if form.recognises(tool)]

    assert recognised
    assert all(form.read(tool).name for tool in recognised)


def _named(parameter: str) -> dict[str, object]:
    return {"type": "object", "properties": {parameter: {"type": "string"}}}
