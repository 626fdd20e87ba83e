"""What a stranger's bytes reach, as functions of bytes: each returns, or raises where something is wrong with us.

Nothing here needs a fuzzer: `tests/project/test_fuzz_targets.py` runs every target on its seeds and on what was found
before, `make fuzz` lets a coverage-guided fuzzer look for more.
"""

from __future__ import annotations

import json
import math
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import server_fakes
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from shortlist.router.engine.protocols import CancelToken, PairScores
from shortlist.router.ranking.windows import chunk_spans
from shortlist.schemas.conversation import Message, query_text
from shortlist.schemas.errors import InvalidInput, InvalidTool, ModelMismatch, ShortlistError, UnknownDialect
from shortlist.schemas.serialise import column_document, lexical_text, table_document, tool_document
from shortlist.schemas.sql.parse import DIALECTS, parse_tables
from shortlist.schemas.tools.parse import parse_tools
from shortlist.server.dispatcher import new_request_id
from shortlist.server.http import proto_json, rerank
from shortlist.server.http.body import Body, read_json
from shortlist.server.services import router_service
from shortlist.server.settings import Settings
from shortlist.server.status import status_of
from shortlist.v1 import router_pb2 as pb

FIXTURES = Path(__file__).parents[1] / "fixtures"
_BUDGET_TOKENS = 24
_MAX_LISTED = 200
_MAX_HEADER_BYTES = 8192
_REQUESTS = (pb.SelectToolsRequest, pb.SelectTablesRequest, pb.RerankRequest)
# In the order of the requests.
_BODY_READERS: Sequence[Callable[[Body], Any]] = (
    proto_json.read_tools,
    proto_json.read_tables,
    lambda body: rerank.read_v1(body.fields).request,
)
_METHODS = {method.request_class: method for method in router_service(Settings()).methods}


@dataclass(frozen=True)
class Target:
    """`run` takes any bytes; `seeds` are good ones to begin with, `words` what a fuzzer may put in."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    words: Sequence[str] = field(default=())


def tools(data: bytes) -> None:
    """Any text is tools, or it is said what is wrong with it; documents are made of the tools and keep their budget."""
    text = _text(data)
    parsed = parse_tools([text])
    found = [*parsed.tools, *parsed.unparsed]
    assert sorted(item.index for item in found) == list(range(len(found)))
    assert all(item.reason for item in parsed.unparsed)
    for tool in parsed.tools[:_MAX_LISTED]:
        assert tool.source in text
        _writable(tool_document(tool), lexical_text(tool), tool.name)
        tool_document(tool, count_tokens=_count_tokens, budget_tokens=_BUDGET_TOKENS).encode()


def tables(data: bytes) -> None:
    """Any text is a script; the first byte chooses the dialect, or that none is given."""
    names = ("", *DIALECTS)
    text = _text(data[1:])
    parsed = parse_tables(text, dialect=names[data[0] % len(names)] or None if data else None)
    assert all(item.reason for item in parsed.unparsed)
    for table in parsed.tables[:_MAX_LISTED]:
        _writable(table_document(table), lexical_text(table), table.full_name)
        table_document(table, count_tokens=_count_tokens, budget_tokens=_BUDGET_TOKENS).encode()
        for column in table.columns[:_MAX_LISTED]:
            _writable(column_document(table, column))


def messages(data: bytes) -> None:
    """Any bytes are a request, after the first, which says of what kind."""
    request = _REQUESTS[data[0] % 3]() if data else pb.RerankRequest()
    try:
        request.ParseFromString(data[1:])
    except DecodeError:
        return
    _answer(request)


def bodies(data: bytes) -> None:
    """Any bytes are the body of a REST request, after the first byte, which says of what kind."""
    read = _BODY_READERS[data[0] % 3] if data else _BODY_READERS[0]
    try:
        body = read_json(data[1:])
        request = read(body)
    except InvalidInput as error:
        _writable(str(error), error.field)
        return
    _writable(*body.warnings)
    _answer(request)


def chunks(data: bytes) -> None:
    """Any three numbers cut a document so that every token is in a window, in order, and none is over-long."""
    num_tokens, max_chunk, overlap = (int.from_bytes(data[at : at + 3], "little") for at in (0, 3, 6))
    num_tokens, max_chunk = num_tokens % 20_000, 1 + max_chunk % 4_000
    spans = list(chunk_spans(num_tokens, max_chunk, overlap))
    assert (spans[0][0], spans[-1][1]) == (0, num_tokens)
    assert all(0 <= stop - start <= max_chunk for start, stop in spans)
    assert all(start < next_start <= stop < next_stop for (start, stop), (next_start, next_stop) in pairwise(spans))


def statuses(data: bytes) -> None:
    """Any text in an error fits the headers that carry it, which hold ASCII alone; so does any id of a request."""
    text = _text(data)
    request_id = new_request_id(text)
    assert set(request_id) <= set(string.ascii_letters + string.digits + "._:/+=-")
    for error in (InvalidInput(text, field=text), UnknownDialect(text, DIALECTS), ModelMismatch(text, wanted=text)):
        status = status_of(error, request_id=request_id)
        json.dumps(status.as_json()).encode("ascii")
        assert all(value.isascii() for _, value in status.metadata if isinstance(value, str))
        assert sum(len(value) for _, value in status.metadata) + _percent_encoded(status.text) < _MAX_HEADER_BYTES


def _answer(request: Any) -> None:
    """Answers as the server does, with a Router that scores by words, and holds the answer to what the proto says."""
    method = _METHODS[type(request)]
    assert method.expected_tokens is not None
    try:
        method.check(request)
        assert method.expected_tokens(request) >= 0 or request.max_candidates < 0
        response: Any = method.handle(server_fakes.Router(scorer=_ByWords()), request, CancelToken(), 0.0)
    except InvalidTool:
        raise AssertionError("one bad tool must not fail a request") from None
    except ShortlistError:
        return
    response.SerializeToString()
    assert all(math.isfinite(item.score) for item in response.items)
    turns = request.query.conversation.messages
    query_text([Message(turn.role, turn.content) for turn in turns] if turns else request.query.text)


class _ByWords:
    """Scores as the fake engine does, without the words at which that one fails."""

    def score(self, pairs: Sequence[Any], *, cancel: CancelToken | None = None) -> PairScores:
        return PairScores([server_fakes.overlap(pair.query, pair.chunk) for pair in pairs], 0, 0.0, 0.0)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _count_tokens(text: str) -> int:
    return len(text.split())


def _writable(*texts: str) -> None:
    for text in texts:
        text.encode()


def _percent_encoded(text: str) -> int:
    return sum(1 if 32 <= byte < 127 and byte != 37 else 3 for byte in text.encode("utf-8", "replace"))


def _tool_seeds() -> Iterable[bytes]:
    yield from (path.read_bytes() for path in sorted(FIXTURES.glob("tools/*.json*")))
    yield from (path.read_bytes() for path in sorted(FIXTURES.glob("serialise/*.json")))


def _table_seeds() -> Iterable[bytes]:
    dialects = ("", *DIALECTS)
    for path in sorted(FIXTURES.glob("tables/*/*.sql")):
        script = path.read_bytes()
        yield bytes([0]) + script
        yield bytes([dialects.index(path.parent.name)]) + script


def _requests() -> Iterable[Any]:
    query = pb.Query(text="refund the order")
    turns = pb.Conversation(messages=[pb.ChatMessage(role="user", content="refund"), pb.ChatMessage(role="tool")])
    tool = pb.ToolText(json='[{"name":"refund","parameters":{"type":"object"}}]', namespace="pay")
    yield pb.SelectToolsRequest(query=query, tools=[tool], top_n=3, min_score=0.1, always_include=["refund"])
    yield pb.SelectToolsRequest(query=pb.Query(conversation=turns), tools=[tool, tool], max_candidates=0)
    yield pb.SelectTablesRequest(query=query, ddl="create table a (id int primary key)", dialect="postgres", top_n=0)
    yield pb.RerankRequest(query=query, documents=["one", ""], max_query_tokens=9, max_pair_tokens=99, overlap_tokens=1)
    yield pb.RerankRequest(query=query, documents=["a"], expected_model="fake", return_documents=False)


def _message_seeds() -> Iterable[bytes]:
    yield from (bytes([_REQUESTS.index(type(each))]) + each.SerializeToString() for each in _requests())


def _body_seeds() -> Iterable[bytes]:
    for each in _requests():
        yield bytes([_REQUESTS.index(type(each))]) + json_format.MessageToJson(each, indent=None).encode()
    odd = '{"name": "a", "name": "b", "x": [NaN, 1e999, "\\ud800"], "y": ' + "9" * 1001 + "}"
    turns = '[{"type": "human", "content": [{"text": "refund"}]}, {"role": "MODEL", "parts": [{"functionCall": {}}]}]'
    yield b"\0" + f'{{"query": {turns}, "tools": [{odd}, {{"tools": [{odd}, {{"name": "c"}}]}}]}}'.encode()
    yield b"\2" + f'{{"query": "a", "documents": ["a\\ud800", {{"text": "b", "more": {odd}}}]}}'.encode()


_JSON_WORDS = (
    '"name"', '"title"', '"description"', '"parameters"', '"inputSchema"', '"input_schema"', '"function"', '"tools"',
    '"result"', '"functionDeclarations"', '"properties"', '"items"', '"$ref"', '"#/$defs/a"', '"#"', '"$defs"', '"$id"',
    '"$schema"', '"allOf"', '"anyOf"', '"oneOf"', '"not"', '"enum"', '"const"', '"default"', '"pattern"', '"required"',
    '"patternProperties"', '"additionalProperties"', '"prefixItems"', '"$dynamicRef"', '"$anchor"', '"type"',
    '"object"', '"array"', '"string"', "null", "true", "1e999", "NaN", '\\ud800', '"http://json-schema.org/draft-04/schema#"',
)  # fmt: skip
_SQL_WORDS = (
    "create table ", "create view ", "materialized ", "if not exists ", "primary key", "foreign key", "references ",
    "comment on column ", "alter table ", "add constraint ", "create index ", " as select ", "partitioned by ", "enum(",
    "struct<", "array<", "map<", "nullable(", "decimal(10,2)", "go\n", "delimiter //", "$$", "--", "/*", "*/", "``",
    "[dbo].[", "engine=", "tblproperties", "generated always as ", "like ", "inherits (",
    "copy a from stdin;\n", "\\.\n",
)  # fmt: skip
_BODY_WORDS = (
    '"query"', '"text"', '"conversation"', '"messages"', '"role"', '"content"', '"json"', '"ddl"', '"documents"',
    '"topN"', "NaN", "1e999", "null", "-1", '"-Infinity"', '"tools"', '"name"', '"parts"', '"type"', '"human"',
    "\\ud800",
)  # fmt: skip

TARGETS = {
    "tools": Target(tools, _tool_seeds, _JSON_WORDS),
    "tables": Target(tables, _table_seeds, _SQL_WORDS),
    "messages": Target(messages, _message_seeds),
    "bodies": Target(bodies, _body_seeds, _BODY_WORDS),
    "chunks": Target(chunks, lambda: [bytes([99, 0, 0, 20, 0, 0, 3, 0, 0]), b""]),
    "statuses": Target(statuses, lambda: [b"tools[3]: is empty", "größer als 漢字 \n\r\t".encode() * 9, b""]),
}
