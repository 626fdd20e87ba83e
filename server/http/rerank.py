"""Implements the rerank APIs that programs already call: Jina's, Cohere's and text-embeddings-inference's.

Each request is converted to the proto's, and each response from the proto's. As with the vendors, all documents are
scored. Vendors read only the first tokens of a document; this server reads long documents in full, window by window,
and the response says so where that makes a difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic import WithJsonSchema as Schema
from pydantic_core import ErrorDetails, PydanticCustomError

from shortlist.schemas.errors import InvalidInput, LimitExceeded, nearest
from shortlist.server.dispatcher import Call
from shortlist.server.limits import MAX_DOCUMENTS, MAX_QUERY_CHARS, NOT_BLANK
from shortlist.v1 import router_pb2 as pb

__all__ = ["ParsedRequest", "RerankV1", "RerankV2", "TeiRerank", "read_tei", "read_v1", "read_v2", "write_tei_info"]

_MAX_DEPTH = 32
_MAX_WARNED = 5
# Cohere bills a query with up to this many documents as one search.
_DOCUMENTS_PER_SEARCH = 100
# The sigmoid of a larger logit rounds to 1, so the logit cannot be recovered.
_MAX_LOGIT = 36.0

BodyT = TypeVar("BodyT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request as a proto message, a function to write its response, and this API's names of the proto's fields."""

    request: Any
    write: Callable[[Any, Call], Any]
    names: Mapping[str, str] = field(default_factory=dict)


def _read_text(value: Any) -> str:
    """Reads a text, given as a string or as `{"text": …}`."""
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise PydanticCustomError("text", "should be a string, or an object with a string as `text`")
    return text


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read_document(value: Any) -> Any:
    if not isinstance(value, str | dict):
        raise PydanticCustomError("document", "should be a string or an object")
    if isinstance(value, dict) and not isinstance(value.get("text", ""), str):
        raise PydanticCustomError("document", "should have a string as `text`")
    if _depth_exceeds(value, _MAX_DEPTH):
        raise PydanticCustomError("document", "is nested too deeply")
    return value


_QUERY = {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARS, "pattern": NOT_BLANK}
_QueryText = Annotated[
    str,
    PlainValidator(_read_text),
    Schema({"anyOf": [_QUERY, {"type": "object", "properties": {"text": _QUERY}, "required": ["text"]}]}),
]
_Document = Annotated[
    Any,
    PlainValidator(_read_document),
    Schema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            ]
        }
    ),
]
# JSON has one type of number, and some programs write an integer as 3.0.
_Count = Annotated[StrictInt, Field(ge=1), BeforeValidator(_whole)]
_QUERY_TEXT = "The query, as a string or as an object with `text`."


class RerankV2(BaseModel):
    """A request in the form of Cohere's v2; unknown fields are ignored, with a warning."""

    model_config = ConfigDict(extra="allow")

    query: _QueryText = Field(description=_QUERY_TEXT)
    documents: list[_Document] = Field(
        max_length=MAX_DOCUMENTS, description="The documents to rank, as strings or as objects with `text`."
    )
    model: StrictStr | None = Field(None, description="Any name is accepted; the response names the model that scored.")
    top_n: _Count | None = Field(None, description="The most documents to return; all if absent.")
    return_documents: StrictBool | None = Field(None, description="Whether results include the documents.")
    max_tokens_per_doc: _Count | None = Field(
        None, description="Accepted but not applied: long documents are read in full, and `meta.warnings` says so."
    )


class RerankV1(RerankV2):
    """A request in the form of Jina's v1 and Cohere's v1; by default, results include the documents."""

    rank_fields: list[StrictStr] | None = Field(
        None,
        min_length=1,
        description="The fields to read of documents that are objects, in this order; `text` if none is present.",
    )
    max_chunks_per_doc: _Count | None = Field(
        None, description="Accepted but not applied: long documents are read in full, and `meta.warnings` says so."
    )


class TeiRerank(BaseModel):
    """A request in the form of text-embeddings-inference; unknown fields are ignored."""

    query: StrictStr = Field(
        description="The query.",
        min_length=1,
        max_length=MAX_QUERY_CHARS,
        json_schema_extra={"pattern": NOT_BLANK},
    )
    texts: list[StrictStr] = Field(max_length=MAX_DOCUMENTS, description="The texts to rank.")
    raw_scores: StrictBool | None = Field(None, description="Whether to return logits instead of scores of 0..1.")
    return_text: StrictBool | None = Field(None, description="Whether results include the texts.")
    truncate: StrictBool | None = Field(None, description="Accepted but not needed: long texts are read in full.")
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = Field(
        None, description="Accepted but not needed, like `truncate`."
    )


def read_v1(body: Mapping[str, Any]) -> ParsedRequest:
    """Reads a request of `/v1/rerank`.

    Raises:
        InvalidInput: a field is missing or wrong; the error's `field` names it.
    """
    return _parsed(_validated(RerankV1, body), api_version="1", returns_documents=True)


def read_v2(body: Mapping[str, Any]) -> ParsedRequest:
    """Reads a request of `/v2/rerank`; raises as `read_v1`."""
    return _parsed(_validated(RerankV2, body), api_version="2", returns_documents=False)


def read_tei(body: Mapping[str, Any]) -> ParsedRequest:
    """Reads a request of `/rerank`; raises as `read_v1`."""
    valid = _validated(TeiRerank, body)
    request = _request(valid.query, valid.texts, None)
    return ParsedRequest(request, partial(_write_tei, valid), {"query.text": "query", "documents": "texts"})


def write_tei_info(info: pb.GetInfoResponse) -> dict[str, Any]:
    """Writes the model's data in the form of text-embeddings-inference, as far as it applies here."""
    return {
        "model_id": info.model_name,
        "model_sha": info.model_version,
        "model_dtype": info.dtype,
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        "max_input_length": info.max_pair_tokens,
        "max_client_batch_size": MAX_DOCUMENTS,
        "auto_truncate": True,
        "version": info.server_version,
    }


def _parsed(body: RerankV2, *, api_version: str, returns_documents: bool) -> ParsedRequest:
    rank_fields = getattr(body, "rank_fields", None)
    texts = [_text_of(document, rank_fields, place) for place, document in enumerate(body.documents)]
    if body.return_documents is not None:
        returns_documents = body.return_documents
    returned = [_returned(*pair) for pair in zip(body.documents, texts, strict=True)] if returns_documents else None
    write = partial(
        _write, api_version=api_version, num_documents=len(texts), returned=returned, warnings=_warnings(body, texts)
    )
    return ParsedRequest(_request(body.query, texts, body.top_n), write, {"query.text": "query"})


def _request(query: str, documents: Sequence[str], top_n: int | None) -> pb.RerankRequest:
    most = 0 if top_n is None else min(top_n, max(1, len(documents)))
    return pb.RerankRequest(
        query=pb.Query(text=query), documents=documents, top_n=most, max_candidates=0, return_documents=False
    )


def _text_of(document: Any, rank_fields: Sequence[str] | None, place: int) -> str:
    if isinstance(document, str):
        return document
    name = f"documents[{place}]"
    found = [document[wanted] for wanted in rank_fields or () if document.get(wanted) is not None]
    if found:
        return "\n".join(map(str, found))
    if "text" not in document:
        missing = (
            "none of the rank_fields and no `text`"
            if rank_fields
            else "no `text`; only texts can be ranked, not images"
        )
        raise InvalidInput(f"has {missing}", field=name)
    return str(document["text"])


def _returned(document: Any, text: str) -> dict[str, Any]:
    return {"text": text, **document} if isinstance(document, dict) else {"text": text}


def _warnings(body: RerankV2, texts: Sequence[str]) -> list[str]:
    warnings = []
    unknown = list(body.model_extra or ())
    for name in unknown[:_MAX_WARNED]:
        hint = nearest(name, type(body).model_fields)
        warnings.append(f"{name[:100]}: is not a known field and was ignored{hint}")
    limit = body.max_tokens_per_doc
    # A token has at least one byte, so a text of fewer bytes is certainly within the limit.
    if limit is not None and any(len(text) * 4 > limit and len(text.encode()) > limit for text in texts):
        warnings.append("max_tokens_per_doc: was not applied; long documents are read in full, window by window")
    if getattr(body, "max_chunks_per_doc", None) is not None:
        warnings.append("max_chunks_per_doc: was not applied; long documents are read in full, window by window")
    return warnings


def _write(
    response: pb.RerankResponse,
    call: Call,
    *,
    api_version: str,
    num_documents: int,
    returned: Sequence[Any] | None,
    warnings: Sequence[str],
) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    for item in response.items:
        result: dict[str, Any] = {"index": item.index, "relevance_score": item.score}
        results.append(result if returned is None else {**result, "document": returned[item.index]})
    searches = max(1, math.ceil(num_documents / _DOCUMENTS_PER_SEARCH))
    meta: dict[str, Any] = {"api_version": {"version": api_version}, "billed_units": {"search_units": searches}}
    if all_warnings := [*warnings, *response.report.warnings]:
        meta["warnings"] = all_warnings
    return {
        "id": call.request_id,
        "object": "list",
        "model": response.report.model_name,
        "usage": {"total_tokens": response.report.num_tokens},
        "results": results,
        "meta": meta,
    }


def _write_tei(body: TeiRerank, response: pb.RerankResponse, call: Call) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for item in response.items:
        result: dict[str, Any] = {"index": item.index, "score": _logit(item.score) if body.raw_scores else item.score}
        results.append({**result, "text": body.texts[item.index]} if body.return_text else result)
    return results


def _logit(score: float) -> float:
    """Returns the logit of a score: the inverse of the sigmoid."""
    if not 0.0 < score < 1.0:
        return _MAX_LOGIT if score else -_MAX_LOGIT
    return max(-_MAX_LOGIT, min(_MAX_LOGIT, math.log(score / (1.0 - score))))


def _validated(kind: type[BodyT], body: Mapping[str, Any]) -> BodyT:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] in ("too_long", "string_too_long"):
            raise _limit_error(first) from None
        problem = first["msg"].removeprefix("Input ").replace(" after validation", "")
        problem = "is missing" if first["type"] == "missing" else problem[:1].lower() + problem[1:]
        raise InvalidInput(problem, field=_path(first["loc"])) from None


def _limit_error(error: ErrorDetails) -> LimitExceeded:
    """Makes the error for a list or text that is too long."""
    context, field = error["ctx"], _path(error["loc"])
    most = context["max_length"]
    if error["type"] == "too_long":
        return LimitExceeded(f"may have at most {most} items", limit=most, actual=context["actual_length"], field=field)
    return LimitExceeded(f"may have at most {most} characters", limit=most, actual=most + 1, field=field)


def _path(places: Sequence[int | str]) -> str:
    path = ""
    for place in places:
        dot = "." if path else ""
        path += f"[{place}]" if isinstance(place, int) else f"{dot}{place}"
    return path


def _depth_exceeds(value: Any, most: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return most < 0 or any(_depth_exceeds(part, most - 1) for part in inner)
