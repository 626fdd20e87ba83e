"""What JSON decoders disagree about: a tool that holds it is read in one way, with a warning, and costs no other."""

from __future__ import annotations

import json

import pytest

from shortlist.schemas.tools.jsontext import decode_at
from shortlist.schemas.tools.oddities import read_value
from shortlist.schemas.tools.parse import parse_tools

DEEP, A_LITTLE_TOO_DEEP = ("[" * depth + "]" * depth for depth in (3000, 250))
LONG = "7" * 5000


def property_of(schema: str) -> str:
    return f'{{"name": "odd", "parameters": {{"properties": {{"p": {schema}}}}}}}'


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (property_of('{"maximum": Infinity}'), "a number that is not finite is left out: Infinity"),
        (property_of('{"default": NaN, "minimum": -Infinity}'), "not finite is left out: NaN, -Infinity"),
        (property_of('{"maximum": 1e400}'), "a number that is not finite is left out: 1e400"),
        (property_of(f'{{"maximum": {LONG}}}'), "more than 1000 digits is left out: 777777777777… (5000 digits)"),
        ('{"name": "odd", "description": "\\ud83d"}', "is read as U+FFFD: \\ud83d"),
        ('{"name": "odd", "description": "\ude00"}', "is read as U+FFFD: \\ude00"),
        ('{"name": "odd", "title": "a", "title": "b"}', 'the last one counts: "title"'),
        (f'{{"name": "odd", "parameters": {DEEP}}}', "nested more than 200 levels deep"),
        (property_of(f'{{"default": {A_LITTLE_TOO_DEEP}}}'), "nested more than 200 levels deep"),
    ],
    ids=["infinity", "NaN", "1e400", "digits", "escaped", "unescaped", "twice", "deep", "a-little-too-deep"],
)
def test_an_odd_tool_is_read_with_a_warning_that_names_it_and_costs_no_other(text: str, warning: str) -> None:
    parsed = parse_tools(['{"name": "a"}', f'[{{"name": "b"}}, {text}, {{"name": "c"}}]'])

    assert [(tool.name, tool.index) for tool in parsed.tools] == [("a", 0), ("b", 1), ("odd", 2), ("c", 3)]
    assert parsed.tools[2].source == text
    assert parsed.unparsed == ()
    assert parsed.warnings[0].startswith("tools[2]: tool 'odd': ")
    assert warning in parsed.warnings[0]


def test_a_tool_may_be_odd_in_several_ways_and_each_is_one_warning() -> None:
    text = '{"name": "odd", "x": [NaN, 1e999, 1, NaN], "y": 1, "y": -1e999, "x": "\\udc00\\udc01"}'

    (warnings,) = [parse_tools([text]).warnings]

    assert [warning.removeprefix("tools[0]: tool 'odd': ") for warning in warnings] == [
        'a key is written twice in one object, and the last one counts: "y", "x"',
        "a number that is not finite is left out: NaN, 1e999, -1e999",
        "half of a surrogate pair is not a character and is read as U+FFFD: \\udc00, \\udc01",
    ]


def test_many_odd_values_are_one_short_warning() -> None:
    numbers = ", ".join(f"1e{place}" for place in range(400, 900))

    (warning,) = parse_tools([f'{{"name": "odd", "x": [{numbers}]}}']).warnings

    assert warning.endswith(": 1e400, 1e401, 1e402, …")


def test_an_odd_number_is_not_shown() -> None:
    (tool,) = parse_tools([property_of('{"type": "number", "default": NaN, "enum": [1, Infinity, 2]}')]).tools

    assert (tool.parameters[0].default, tool.parameters[0].enum) == (None, ("1", "2"))


def test_the_last_of_two_values_counts() -> None:
    (tool,) = parse_tools(['{"name": "first", "description": "one", "name": "last"}']).tools

    assert (tool.name, tool.description) == ("last", "one")


def test_a_list_of_tools_that_another_replaces_is_a_warning() -> None:
    parsed = parse_tools(['{"tools": [{"name": "a"}], "tools": [{"name": "b"}]}'])

    assert [tool.name for tool in parsed.tools] == ["b"]
    assert parsed.warnings == ('tools[0]: the key "tools" is written twice in one object, and the last one counts',)


@pytest.mark.parametrize("depth", [3, 200])
def test_a_value_that_nests_no_deeper_than_the_limit_is_kept(depth: int) -> None:
    text = "[" * depth + "]" * depth

    assert read_value(text, decode_at(text, 0)).value == json.loads(text)


@pytest.mark.parametrize(
    "text",
    ['"\\ud83d\\ude00"', '"😀"', '"\\\\ud83d"', '{"a": {"b": 1}, "c": {"b": 2}}', "1e308", "[" + "[], " * 300 + "0]"],
    ids=["escaped-pair", "emoji", "escaped-backslash", "the-same-key-in-two-objects", "large", "wide"],
)
def test_what_only_looks_odd_gives_no_warning(text: str) -> None:
    reading = read_value(text, decode_at(text, 0))

    assert (reading.value, reading.oddities) == (json.loads(text), ())


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "a", "x": [' + "NaN," * 200_000 + "1]}",
        '{"name": "a", ' + '"x": 1, ' * 200_000 + '"x": 1}',
        '{"name": "a", ' + ", ".join(f'"k{n}": 1, "k{n}": 2' for n in range(50_000)) + "}",
        '{"name": "a", "x": "' + "\\ud800" * 200_000 + '"}',
        '{"name": "a", "x": ' + '{"y":' * 200_000 + "1" + "}" * 200_000 + "}",
        '{"name": "a", "x": [' + ("9" * 1001 + ",") * 1_000 + "1]}",
    ],
    ids=["numbers", "one-key", "keys", "halves", "levels", "digits"],
)
def test_a_tool_full_of_oddities_is_read_quickly(text: str) -> None:
    parsed = parse_tools([text])

    assert [tool.name for tool in parsed.tools] == ["a"]
    assert 1 <= len(parsed.warnings) <= 4
    assert all(len(warning) <= 520 for warning in parsed.warnings)
