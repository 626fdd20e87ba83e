"""Limits what a request may contain, whatever the transport; `router.proto` states the same numbers.

The message size limits the bytes. The limits here are for counts, which a small message can make large, and for texts
that are useless when they are long.
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
    "check_documents",
    "check_tables",
    "check_tools",
    "tokens_of_documents",
    "tokens_of_tables",
    "tokens_of_tools",
]

MAX_QUERY_CHARS = 1_000_000
MAX_MESSAGES = 10_000
MAX_TOOL_TEXTS = 20_000
MAX_DOCUMENTS = 20_000
MAX_NAMES = 1_000
MAX_NAME_CHARS = 1_000
# Matches a text of which `str.strip` leaves something; `\s` of JSON Schema (ECMA 262) has slightly other characters.
NOT_BLANK = r"[^\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"

# A candidate tool or table usually has at most this many tokens, query included.
_ITEM_TOKENS = 160
_CHARS_PER_TOKEN = 4
# A column is scored together with its table's name and the query, hence a multiple of its own tokens. An estimate, not
# a fit (one schema of three tables gave 3): admission corrects all estimates by what it counts.
_TOKENS_PER_COLUMN_TOKEN = 5


def check_tools(request: pb.SelectToolsRequest) -> None:
    """Checks a request for tools.

    Raises:
        LimitExceeded: a part of it is above its limit; the error names the field.
    """
    _check_common(request)
    _hold("tools", len(request.tools), MAX_TOOL_TEXTS, "texts; put several tools into one text")
    for place, tool in enumerate(request.tools):
        _hold(f"tools[{place}].namespace", len(tool.namespace), MAX_NAME_CHARS, "characters")
    _check_names(request.always_include)


def check_tables(request: pb.SelectTablesRequest) -> None:
    """Checks a request for tables; raises as `check_tools`."""
    _check_common(request)
    _hold("dialect", len(request.dialect), MAX_NAME_CHARS, "characters")
    _check_names(request.always_include)


def check_documents(request: pb.RerankRequest) -> None:
    """Checks a request for documents; raises as `check_tools`."""
    _check_common(request)
    _hold("documents", len(request.documents), MAX_DOCUMENTS, "documents; send them in several requests")


def tokens_of_tools(request: pb.SelectToolsRequest) -> int:
    """Estimates how many tokens the engine will read for a request, before any of it is parsed."""
    return _tokens_of_items(request, sum(len(tool.json) for tool in request.tools))


def tokens_of_tables(request: pb.SelectTablesRequest) -> int:
    """Estimates the tokens of a request for tables, those of their columns included."""
    tokens = _tokens_of_items(request, len(request.ddl))
    if not request.keep_columns:
        return tokens
    top_n = request.top_n if request.HasField("top_n") else DEFAULTS.top_n
    return tokens + _TOKENS_PER_COLUMN_TOKEN * (min(tokens, top_n * _ITEM_TOKENS) if top_n else tokens)


def tokens_of_documents(request: pb.RerankRequest) -> int:
    """Estimates the tokens of a request for documents."""
    most, num_documents = _max_candidates(request), len(request.documents)
    share = min(1.0, most / num_documents) if most and num_documents else 1.0
    return int(sum(map(len, request.documents)) * share) // _CHARS_PER_TOKEN


def _tokens_of_items(request: pb.SelectToolsRequest | pb.SelectTablesRequest, num_chars: int) -> int:
    tokens, most = num_chars // _CHARS_PER_TOKEN, _max_candidates(request)
    return min(tokens, most * _ITEM_TOKENS) if most else tokens


def _max_candidates(request: Any) -> int:
    return request.max_candidates if request.HasField("max_candidates") else DEFAULTS.max_candidates


def _check_common(request: Any) -> None:
    _check_query(request.query)
    for field in ("expected_model", "expected_version"):
        _hold(field, len(getattr(request, field)), MAX_NAME_CHARS, "characters")


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
            f"has {actual} {noun}, but at most {limit} are allowed{advice}", limit=limit, actual=actual, field=field
        )
