"""Holds what a request may at most contain, whatever way it came; `router.proto` states the same numbers.

The size of a message bounds the bytes. These bound the counts, which a small message can make large, and the texts that
are of no use when they are long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shortlist.schemas.errors import LimitExceeded
from shortlist.schemas.options import DEFAULTS
from shortlist.v1 import router_pb2 as pb

__all__ = [
    "MAX_DOCUMENTS",
    "MAX_MESSAGES",
    "MAX_NAMES",
    "MAX_NAME_CHARS",
    "MAX_QUERY_CHARS",
    "MAX_TOOL_TEXTS",
    "NOT_BLANK",
    "check",
    "expected_tokens",
]

MAX_QUERY_CHARS = 1_000_000
MAX_MESSAGES = 10_000
MAX_TOOL_TEXTS = 20_000
MAX_DOCUMENTS = 20_000
MAX_NAMES = 1_000
MAX_NAME_CHARS = 1_000
# What `str.strip` leaves something of; `\s` is not quite the same in JSON Schema's regular expressions (ECMA 262).
NOT_BLANK = r"[^\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"

# Texts of tools and tables come to this many tokens per candidate at most, as a rule, query included.
_ITEM_TOKENS = 160
_CHARS_PER_TOKEN = 4
# A column that is scored is read with its table's name and the query. Estimated, not fitted (one schema of three tables
# came to 3): what admission counts corrects all guesses together.
_TOKENS_PER_COLUMN_TOKEN = 5


def check(request: Any) -> None:
    """Checks a request of one of the three selections.

    Raises:
        LimitExceeded: a part of it is larger than is taken; the error names the field.
    """
    _check_query(request.query)
    for field in ("expected_model", "expected_version"):
        _hold(field, len(getattr(request, field)), MAX_NAME_CHARS, "characters")
    match request:
        case pb.SelectToolsRequest():
            _hold("tools", len(request.tools), MAX_TOOL_TEXTS, "texts; put several tools into one")
            for place, tool in enumerate(request.tools):
                _hold(f"tools[{place}].namespace", len(tool.namespace), MAX_NAME_CHARS, "characters")
            _check_names(request.always_include)
        case pb.SelectTablesRequest():
            _hold("dialect", len(request.dialect), MAX_NAME_CHARS, "characters")
            _check_names(request.always_include)
        case pb.RerankRequest():
            _hold("documents", len(request.documents), MAX_DOCUMENTS, "documents; send them in several requests")


def expected_tokens(request: Any) -> int:
    """Guesses how many tokens the engine will read for a request, before anything of it is parsed."""
    most = request.max_candidates if request.HasField("max_candidates") else DEFAULTS.max_candidates
    match request:
        case pb.RerankRequest():
            chars, num_items = sum(map(len, request.documents)), len(request.documents)
            share = min(1.0, most / num_items) if most and num_items else 1.0
            return int(chars * share) // _CHARS_PER_TOKEN
        case pb.SelectToolsRequest():
            chars = sum(len(tool.json) for tool in request.tools)
        case _:
            chars = len(request.ddl)
    tokens = chars // _CHARS_PER_TOKEN
    of_items = min(tokens, most * _ITEM_TOKENS) if most else tokens
    if isinstance(request, pb.SelectTablesRequest) and request.keep_columns:
        top_n = request.top_n if request.HasField("top_n") else DEFAULTS.top_n
        of_items += _TOKENS_PER_COLUMN_TOKEN * (min(of_items, top_n * _ITEM_TOKENS) if top_n else of_items)
    return of_items


def _check_query(query: pb.Query) -> None:
    _hold("query.text", len(query.text), MAX_QUERY_CHARS, "characters")
    messages = query.conversation.messages
    field = "query.conversation.messages"
    _hold(field, len(messages), MAX_MESSAGES, "messages; leave out the oldest")
    _hold(field, sum(len(message.content) for message in messages), MAX_QUERY_CHARS, "characters; leave out the oldest")
    for place, message in enumerate(messages):
        _hold(f"{field}[{place}].role", len(message.role), MAX_NAME_CHARS, "characters")


def _check_names(names: Sequence[str]) -> None:
    _hold("always_include", len(names), MAX_NAMES, "names")
    for place, name in enumerate(names):
        _hold(f"always_include[{place}]", len(name), MAX_NAME_CHARS, "characters")


def _hold(field: str, actual: int, limit: int, unit: str) -> None:
    if actual > limit:
        noun, _, remedy = unit.partition("; ")
        advice = f"; {remedy}" if remedy else ""
        raise LimitExceeded(
            f"has {actual} {noun}, and may have {limit}{advice}", limit=limit, actual=actual, field=field
        )
