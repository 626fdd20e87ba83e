import json

import pytest
from paths import TESTS

from shortlist.schemas.document import Parameter
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.tools.parse import parse_tools

FIXTURES = TESTS / "fixtures" / "tools"
FORMATS = [
    "anthropic",
    "gemini",
    "gemini_request",
    "json_schema",
    "mcp",
    "mcp_list",
    "mcp_rpc",
    "neutral",
    "openai_chat",
    "openai_responses",
]


def read(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_gives_the_same_tool(form: str) -> None:
    parsed = parse_tools([read(f"{form}.json")])

    assert (parsed.unparsed, parsed.warnings) == ((), ())
    (tool,) = parsed.tools
    assert (tool.name, tool.description, tool.index) == ("get_weather", "Weather for a place", 0)
    assert tool.parameters == (
        Parameter("city", "city", "string", "Town or city", required=True),
        Parameter("units", "units", "string", enum=("metric", "imperial"), default="metric"),
    )


@pytest.mark.parametrize("form", FORMATS)
def test_the_source_is_a_slice_of_the_text_and_valid_json(form: str) -> None:
    text = read(f"{form}.json")

    (tool,) = parse_tools([text]).tools

    assert tool.source in text
    assert "get_weather" in json.dumps(json.loads(tool.source))
    assert parse_tools([tool.source]).tools[0].parameters == tool.parameters


def test_the_source_keeps_white_space_escapes_and_duplicate_keys() -> None:
    source = '{ "name" : "a",\t"name":"b\\u00e9" ,\r\n "x": 1e0, "y":[ ] }'

    (tool,) = parse_tools([f" [ {source} ] "]).tools

    assert (tool.name, tool.source) == ("bé", source)


@pytest.mark.parametrize(("form", "title"), [("mcp", "Weather"), ("mcp_list", "Weather"), ("neutral", "")])
def test_a_title_is_read_from_the_tool_or_its_annotations(form: str, title: str) -> None:
    assert parse_tools([read(f"{form}.json")]).tools[0].title == title


def test_json_lines_are_read_as_several_tools() -> None:
    assert [tool.name for tool in parse_tools([read("lines.jsonl")]).tools] == ["first", "second"]


def test_a_byte_order_mark_is_ignored() -> None:
    assert parse_tools(['\ufeff{"name": "a"}']).tools[0].source == '{"name": "a"}'


def test_indexes_count_over_all_texts_and_what_is_left_out_keeps_its_own() -> None:
    parsed = parse_tools(['[{"name": "a"}, {"description": "no name"}]', "7", '{"tools": [{"name": "b"}]}'])

    assert [(tool.name, tool.index) for tool in parsed.tools] == [("a", 0), ("b", 3)]
    assert [left_out.index for left_out in parsed.unparsed] == [1, 2]


def test_a_namespace_applies_to_every_tool_of_its_text() -> None:
    parsed = parse_tools(['[{"name": "a"}, {"name": "b"}]', '{"name": "c"}'], namespaces=["mail"])

    assert [tool.namespace for tool in parsed.tools] == ["mail", "mail", ""]


def test_more_namespaces_than_texts_are_rejected() -> None:
    with pytest.raises(InvalidInput, match="2 namespaces for 1 texts"):
        parse_tools(['{"name": "a"}'], namespaces=["x", "y"])


def test_one_text_instead_of_a_list_is_rejected() -> None:
    with pytest.raises(InvalidInput, match="put it in a list"):
        parse_tools('{"name": "a"}')


def test_an_empty_container_is_a_warning_and_takes_no_index() -> None:
    parsed = parse_tools(['{"tools": []}', '{"name": "a"}'])

    assert parsed.tools[0].index == 0
    assert parsed.warnings == ("tools[0]: holds an empty list of tools",)


@pytest.mark.parametrize("key", ["parameters", "inputSchema", "input_schema", "parametersJsonSchema", "properties"])
def test_a_tool_with_parameters_is_a_tool_even_if_it_has_a_list_of_its_own(key: str) -> None:
    parsed = parse_tools([f'{{"name": "search", "{key}": {{}}, "tools": [{{"name": "inner"}}]}}'])

    assert [tool.name for tool in parsed.tools] == ["search"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the text is blank"),
        ("7", "this is a number"),
        ("null", "this is null"),
        ('"get_weather"', "this is a string"),
        (json.dumps('{"name": "a"}'), "encoded twice"),
        ("{}", "an empty object"),
        ('{"name": " "}', '"name" is blank'),
        ('{"name": 5}', '"name" is a number'),
        ('{"type": "function", "function": {"description": "x"}}', 'it has no name, only "description"'),
        ('{"title": "x", "inputSchema": {}}', "it has no name"),
    ],
    ids=[
        "blank",
        "number",
        "null",
        "string",
        "encoded-twice",
        "object",
        "blank-name",
        "number-name",
        "function",
        "mcp",
    ],
)
def test_an_entry_that_is_not_a_tool_is_left_out_and_the_reason_says_what_was_found(text: str, reason: str) -> None:
    parsed = parse_tools([text])

    assert parsed.tools == ()
    assert reason in parsed.unparsed[0].reason


@pytest.mark.parametrize(
    ("text", "kept", "place"),
    [
        ('[{"name": "a"},\n {"name": "bad", "x": },\n {"name": "c"}]', ["a", "c"], (2, 23)),
        ('{"tools": [{"name": "a"},\n{"name": "bad" 1}]}', ["a"], (2, 16)),
        ('[{"name": "a"}, {"name": "bad", "desc', ["a"], (1, 33)),
        ('{"name": "a"}\n{"name": "bad", nope}\n{"name": "c"}', ["a", "c"], (2, 17)),
        ('{"name": "bad",, "x": 1}', [], (1, 16)),
    ],
    ids=["in-a-list", "in-a-container", "truncated", "json-lines", "alone"],
)
def test_invalid_json_is_reported_by_line_and_column_and_the_rest_is_parsed(
    text: str, kept: list[str], place: tuple[int, int]
) -> None:
    parsed = parse_tools([text])

    assert [tool.name for tool in parsed.tools] == kept
    (left_out,) = parsed.unparsed
    assert (left_out.name, left_out.line, left_out.column) == ("bad", *place)
    assert "not valid JSON" in left_out.reason


@pytest.mark.parametrize(
    "text", ["[1,", '[{"name": "a"}', '{"tools": [{"name": "a"}]', '[{"name": "a"},]', '{"name": "a"} and more']
)
def test_a_text_that_is_not_whole_json_is_always_reported(text: str) -> None:
    assert any("not valid JSON" in left_out.reason for left_out in parse_tools([text]).unparsed)


def test_lone_surrogates_become_replacement_signs_in_what_is_read() -> None:
    (tool,) = parse_tools(['{"name": "a\\ud800", "parameters": {"properties": {"\\udc00": {"type": "string"}}}}']).tools

    assert (tool.name, tool.parameters[0].name) == ("a\ufffd", "\ufffd")


@pytest.mark.parametrize("depth", [9, 600, 5_000])
@pytest.mark.parametrize("inner", ['{"tools": [{"name": "deep"}]}', "{}", "["])
def test_results_nested_without_end_are_reported_as_too_deep(depth: int, inner: str) -> None:
    parsed = parse_tools(['{"result": ' * depth + inner + "}" * depth, '{"name": "next"}'])

    assert [tool.name for tool in parsed.tools][-1] == "next"
    assert len(parsed.unparsed) + len(parsed.tools) > 1


def test_results_nested_a_little_are_still_read() -> None:
    parsed = parse_tools(['{"result": ' * 6 + '{"tools": [{"name": "a"}]}' + "}" * 6])
    assert [tool.name for tool in parsed.tools] == ["a"]


def test_a_tool_nested_beyond_the_decoder_is_ranked_without_what_lies_too_deep() -> None:
    deep = '{"name": "deep", "parameters": ' + '{"properties": {"a": ' * 5000 + "{}" + "}}" * 5000 + "}"

    parsed = parse_tools([f'[{deep}, {{"name": "next"}}]'])

    assert [(tool.name, tool.source == deep) for tool in parsed.tools] == [("deep", True), ("next", False)]
    assert "nested more than 200 levels" in parsed.warnings[0]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 300_000,
        "[" * 300_000 + "]" * 300_000,
        '{"a":' * 300_000,
        "[" + '"' * 300_001,
        '{"name": "' + '\\"' * 300_000,
        "[" + "," * 300_000,
        "[" + "0," * 300_000,
        "[" + "{}," * 300_000,
        "[" + "[]," * 300_000,
        "9" * 10_000,
    ],
    ids=[
        "open",
        "closed",
        "objects",
        "quotes",
        "escapes",
        "commas",
        "numbers",
        "empty-objects",
        "empty-lists",
        "digits",
    ],
)
def test_hostile_texts_are_rejected_quickly_with_few_reports(text: str) -> None:
    parsed = parse_tools([text])

    assert parsed.tools == ()
    assert 1 <= len(parsed.unparsed) <= 102
