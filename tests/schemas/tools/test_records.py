import json

import pytest

from shortlist.schemas.document import ParsedTools
from shortlist.schemas.tools.parse import parse_tools

WEATHER = {"description": "Tells the weather", "inputSchema": {"type": "object"}}
TOOL = {"name": "refund", "description": "Refunds a payment"}


def read(value: object) -> ParsedTools:
    return parse_tools([json.dumps(value)])


def names(parsed: ParsedTools) -> list[str]:
    return [tool.name for tool in parsed.tools]


@pytest.mark.parametrize("odd", [None, "x", 5, {}], ids=["null", "text", "number", "empty"])
@pytest.mark.parametrize("is_listed", [True, False], ids=["under-tools", "alone"])
def test_an_odd_member_of_a_record_costs_itself_alone(odd: object, is_listed: bool) -> None:
    record = {"weather": WEATHER, "time": WEATHER, "now": odd}

    parsed = read({"tools": record} if is_listed else record)

    assert names(parsed) == ["weather", "time"]
    assert [unparsed.name for unparsed in parsed.unparsed] == ["now"]


@pytest.mark.parametrize(
    "note",
    [{"_meta": {"v": 1}}, {"$schema": "https://example.com/x"}, {"_comment": "mine"}, {"_tags": ["a"]}],
    ids=lambda note: next(iter(note)),
)
@pytest.mark.parametrize("is_listed", [True, False], ids=["under-tools", "alone"])
def test_notes_in_a_record_are_no_tools(note: dict[str, object], is_listed: bool) -> None:
    record = {"weather": WEATHER, **note}

    parsed = read({"tools": record} if is_listed else record)

    assert (names(parsed), parsed.unparsed) == (["weather"], ())


def test_a_described_member_with_an_underscore_is_a_tool() -> None:
    assert names(read({"tools": {"weather": WEATHER, "_now": {"description": "Tells the time"}}})) == [
        "weather",
        "_now",
    ]


def test_a_record_of_notes_alone_is_reported() -> None:
    parsed = read({"tools": {"_meta": {"v": 1}}})

    assert (names(parsed), len(parsed.unparsed)) == ([], 1)


@pytest.mark.parametrize("key", ["results", "actions", "input", "kwargs", "skills"])
def test_a_key_that_says_nothing_is_no_namespace(key: str) -> None:
    assert [tool.namespace for tool in read({key: [{**TOOL, "parameters": {}}]}).tools] == [""]


@pytest.mark.parametrize("key", ["handoffs", "sub_agents"])
def test_agents_in_an_agent_are_namespaces(key: str) -> None:
    inner = {"name": "refunds", "tools": [TOOL]}

    assert [tool.namespace for tool in read({"name": "triage", "description": "d", key: [inner]}).tools] == [
        "triage.refunds"
    ]


def test_agents_in_a_tool_are_told() -> None:
    parsed = read({**TOOL, "inputSchema": {}, "handoffs": [{"name": "refunds", "tools": [TOOL]}]})

    (warning,) = parsed.warnings
    assert warning.startswith("tool 'refund': its list \"handoffs\" is not read")


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "a"}, {"name": "b", "inputSchema": {"type": "object"}, {"name": "c"}]',
        '{"name": "a"}\n{"name": "b"\n{"name": "c"}',
        '[{"name": "a"} {"name": "c"}, {"name": "d"}]',
    ],
    ids=["in-a-list", "in-a-row", "comma"],
)
def test_what_follows_a_missing_sign_is_said_to_be_unread(text: str) -> None:
    parsed = parse_tools([text])

    assert names(parsed) == ["a"]
    assert parsed.unparsed[-1].reason.endswith("what follows it in its text is not read")
