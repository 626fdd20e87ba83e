"""Reads the schemas of the OpenAPI document: those in `schemas/json`, which `make json-schemas` writes."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

__all__ = ["REF", "Json", "schemas"]

Json = dict[str, Any]

REF = "#/components/schemas/"
_FILES = (
    "select_tools_request",
    "select_tools_response",
    "select_tables_request",
    "select_tables_response",
    "get_info_response",
    "rerank_v1",
    "rerank_v2",
    "rerank_results",
    "infinity_results",
    "tei_rerank",
    "tei_results",
    "error",
)


def schemas() -> Json:
    """Returns all of them by name; what several files define alike is there once."""
    made: Json = {}
    for name in _FILES:
        schema = json.loads(_text_of(name).replace("#/$defs/", REF))
        definitions = schema.pop("$defs", {})
        del schema["$schema"], schema["$id"]
        made |= {**definitions, schema.pop("title"): schema}
    return made


def _text_of(name: str) -> str:
    return resources.files("shortlist.schemas").joinpath(f"json/{name}.schema.json").read_text("utf-8")
