"""Holds an example request and response for each ranking route of the REST API; the documentation shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["EXAMPLES"]

_QUERY = "capital of France"
_DOCUMENTS = ["Berlin is the capital of Germany.", "Paris is the capital of France."]
_ASKED = {"model": "any", "query": _QUERY, "documents": _DOCUMENTS, "top_n": 1}
_REPORT: dict[str, Any] = {
    "num_candidates": 2,
    "num_scored": 2,
    "num_dropped": 0,
    "unparsed": [],
    "truncated": [],
    "warnings": [],
    "model_name": "shortlist",
    "model_version": "1",
    "num_tokens": 61,
    "timings": {
        "queue_ms": 0.2,
        "parse_ms": 0.4,
        "retrieve_ms": 1.1,
        "tokenize_ms": 0.3,
        "infer_ms": 9.0,
        "total_ms": 11.0,
    },
    "degraded": False,
    "dialect": "",
}


def _vendor(version: str) -> dict[str, Any]:
    return {
        "id": "8f0f9c1c4a1f4d0e9c8f6a51f0b2c3d4",
        "object": "rerank",
        "model": "shortlist",
        "usage": {"prompt_tokens": 30, "total_tokens": 30},
        "results": [{"index": 1, "relevance_score": 0.98}],
        "meta": {
            "api_version": {"version": version},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": 30, "output_tokens": 0},
        },
    }


def _item(name: str, source: str, columns: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    return {
        "name": name,
        "index": 0,
        "rank": 1,
        "score": 0.97,
        "source": source,
        "namespace": "",
        "always_included": False,
        "columns": list(columns),
        "members": [],
    }


_DDL = "create table orders (id int primary key, total int);\ncreate table refunds (id int, order_id int);"

# By route: an example request and its response.
EXAMPLES: dict[str, tuple[dict[str, Any], Any]] = {
    "/v1/rerank": (
        {"model": "any", "query": _QUERY, "documents": _DOCUMENTS, "top_n": 1, "return_documents": False},
        _vendor("1"),
    ),
    "/v2/rerank": (_ASKED, _vendor("2")),
    "/v1/v2/rerank": (_ASKED, _vendor("2")),
    "/infinity/rerank": (
        _ASKED,
        {**_vendor("1"), "results": [{"index": 1, "relevance_score": 0.98, "document": _DOCUMENTS[1]}]},
    ),
    "/rerank": ({"query": _QUERY, "texts": _DOCUMENTS}, [{"index": 1, "score": 0.98}, {"index": 0, "score": 0.11}]),
    "/v1/tools:select": (
        {
            "query": "refund the last order",
            "tools": [
                {"name": "create_refund", "description": "Refund a payment", "input_schema": {"type": "object"}},
                {"name": "list_orders", "description": "List the orders", "input_schema": {"type": "object"}},
            ],
            "top_n": 1,
        },
        {
            "items": [
                _item(
                    "create_refund",
                    '{"name": "create_refund", "description": "Refund a payment", "input_schema": {"type": "object"}}',
                )
            ],
            "report": _REPORT,
        },
    ),
    "/v1/tables:select": (
        {"query": "what did orders come to", "ddl": _DDL, "dialect": "postgres", "top_n": 1, "keep_columns": 0.5},
        {
            "items": [
                _item(
                    "orders",
                    "create table orders (id int primary key, total int)",
                    [{"name": "total", "score": 0.91}],
                )
            ],
            "report": {**_REPORT, "dialect": "postgres"},
        },
    ),
}
