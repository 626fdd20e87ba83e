"""Implements the rerank APIs that programs already call: Jina's, Cohere's, vLLM's, Infinity's and TEI's.

TEI is text-embeddings-inference. Each request is converted to the proto's, and each response from the proto's. As with
the vendors, all documents are scored. Vendors read only the first tokens of a document; this server reads long
documents in full, window by window, and the response says so where that makes a difference.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, islice
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic import WithJsonSchema as Schema
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails, PydanticCustomError

from shortlist.schemas.errors import InvalidInput, LimitExceeded, nearest
from shortlist.server.dispatcher import Call
from shortlist.server.limits import MAX_DOCUMENTS, MAX_QUERY_CHARS, NOT_BLANK
from shortlist.v1 import router_pb2 as pb

__all__ = [
    "READ_FIELDS",
    "WARNINGS_HEADER",
    "ParsedRequest",
    "RerankV1",
    "RerankV2",
    "TeiRerank",
    "read_either",
    "read_infinity",
    "read_tei",
    "read_v1",
    "read_v2",
    "write_tei_info",
]

# Holds the warnings where the body has no place for them: a JSON list of strings.
WARNINGS_HEADER = "X-Shortlist-Warnings"

_MAX_DEPTH = 32
# This many of one kind are named, the others are counted.
_MAX_WARNED = 5
# Proxies reserve as little as 4 KiB for all headers of a response.
_MAX_HEADER_CHARS = 2000
# Cohere bills a query with up to this many documents as one search.
_DOCUMENTS_PER_SEARCH = 100
# The sigmoid of a larger logit rounds to 1, so the logit cannot be recovered.
_MAX_LOGIT = 36.0

BodyT = TypeVar("BodyT", bound=BaseModel)


def _no_headers(response: Any) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request as a proto message, and how to answer it.

    `write` makes the body of the answer and `headers` its additional headers. `names` maps the proto's fields to this
    API's.
    """

    request: Any
    write: Callable[[Any, Call], Any]
    names: Mapping[str, str] = field(default_factory=dict)
    headers: Callable[[Any], Mapping[str, str]] = _no_headers


def _read_text(value: Any) -> str:
    """Reads a text, given as a string or as `{"text": …}`."""
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise PydanticCustomError("text", "should be a string, or an object with a string as `text`")
    return text


def _whole(value: Any) -> Any:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read_flag(value: Any) -> bool:
    """Reads a boolean, also one written as a text: some programs send "true"."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise PydanticCustomError("flag", "should be true or false")
    return value


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
# JSON has one type of number, and some programs write an integer as 3.0 or as "3".
_Count = Annotated[StrictInt, Field(ge=1), BeforeValidator(_whole)]
_TopN = Annotated[StrictInt, Field(ge=0), BeforeValidator(_whole)]
_Flag = Annotated[
    bool,
    PlainValidator(_read_flag),
    Schema({"type": ["boolean", "string"], "pattern": "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"}),
]
_TOP_NS = ("top_n", "topN")
# JSON Schema's way to forbid that both names have a value.
_ONE_TOP_N: JsonDict = {
    "not": {"required": [*_TOP_NS], "properties": {name: {"not": {"type": "null"}} for name in _TOP_NS}}
}
_TOP_N_CAMEL = "Another name of `top_n`; give one of them."
_QUERY_TEXT = "The query, as a string or as an object with `text`."


class RerankV2(BaseModel):
    """A request in the form of Cohere's v2; unknown fields are ignored, with a warning."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_ONE_TOP_N)

    query: _QueryText = Field(description=_QUERY_TEXT)
    documents: list[_Document] = Field(
        max_length=MAX_DOCUMENTS, description="The documents to rank, as strings or as objects with `text`."
    )
    model: StrictStr | None = Field(None, description="Any name is accepted; the response names the model that scored.")
    top_n: _TopN | None = Field(None, description="The most documents to return; all if absent or 0.")
    top_n_camel: _TopN | None = Field(None, alias="topN", description=_TOP_N_CAMEL)
    return_documents: _Flag | None = Field(None, description="Whether results include the documents.")
    score_threshold: Any = Field(
        None,
        description="Accepted but not applied: programs that send it compare the scores themselves. "
        "`meta.warnings` says so.",
    )
    max_tokens_per_doc: _Count | None = Field(
        None, description="Accepted but not applied: long documents are read in full, and `meta.warnings` says so."
    )

    rank_fields: list[StrictStr] | None = Field(
        None,
        min_length=1,
        description="The fields to read of documents that are objects, in this order; `text` if none is present.",
    )
    max_chunks_per_doc: _Count | None = Field(
        None, description="Accepted but not applied: long documents are read in full, and `meta.warnings` says so."
    )


class RerankV1(RerankV2):
    """A request in the form of Jina's v1, Cohere's v1, vLLM or Infinity; unknown fields give a warning."""


class TeiRerank(BaseModel):
    """A request in the form of text-embeddings-inference; unknown fields are ignored, with a warning in a header."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_ONE_TOP_N)

    query: StrictStr = Field(
        description="The query.",
        min_length=1,
        max_length=MAX_QUERY_CHARS,
        json_schema_extra={"pattern": NOT_BLANK},
    )
    texts: list[StrictStr] = Field(max_length=MAX_DOCUMENTS, description="The texts to rank.")
    raw_scores: _Flag | None = Field(None, description="Whether to return logits instead of scores of 0..1.")
    return_text: _Flag | None = Field(None, description="Whether results include the texts.")
    top_n: _TopN | None = Field(
        None, description="The most results to return; all if absent or 0. Only some clients of this API send it."
    )
    top_n_camel: _TopN | None = Field(None, alias="topN", description=_TOP_N_CAMEL)
    truncate: _Flag | None = Field(
        None,
        description="False rejects a query of more tokens than are read, with 413; otherwise it is cut, and a header "
        "says so. Long texts are read in full.",
    )
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = Field(
        None, description="Accepted but not applied: the server chooses what it reads of a long query."
    )


READ_FIELDS = frozenset(
    one.alias or name for kind in (RerankV2, TeiRerank) for name, one in kind.model_fields.items()
) - {"score_threshold"}
"""The fields of all these requests whose values matter."""


def read_v1(body: Mapping[str, Any]) -> ParsedRequest:
    """Reads a request of `/v1/rerank`.

    Raises:
        InvalidInput: a field is missing or wrong; the error's `field` names it.
    """
    _check_is_not_tei(body)
    return _parsed(_validated(RerankV1, body), returns_documents=True)


def read_v2(body: Mapping[str, Any]) -> ParsedRequest:
    """Reads a request of `/v2/rerank`; raises as `read_v1`."""
    _check_is_not_tei(body)
    return _parsed(_validated(RerankV2, body), api_version="2")


def read_infinity(body: Mapping[str, Any]) -> ParsedRequest:
    """Reads a request of `/infinity/rerank`, whose answer has each document as a string; raises as `read_v1`."""
    _check_is_not_tei(body)
    return _parsed(_validated(RerankV1, body), returns_documents=True, as_returned=_text_alone)


def read_either(body: Mapping[str, Any]) -> ParsedRequest:
    """Reads a request of `/rerank`: with `texts` TEI's, with `documents` vLLM's; raises as `read_v1`."""
    given = [name for name in ("texts", "documents") if body.get(name) is not None]
    if len(given) != 1:
        problem = "cannot be combined with texts" if given else "is missing, and so is texts"
        raise InvalidInput(
            f"{problem}; /rerank takes either `texts`, as text-embeddings-inference does, or `documents`, as vLLM, "
            "Jina and Cohere do",
            field="documents",
        )
    if given == ["texts"]:
        return read_tei({name: value for name, value in body.items() if name != "documents"})
    return _parsed(_validated(RerankV1, {name: value for name, value in body.items() if name != "texts"}))


def read_tei(body: Mapping[str, Any]) -> ParsedRequest:
    """Reads a request in the form of text-embeddings-inference; raises as `read_v1`."""
    valid = _validated(TeiRerank, body)
    return ParsedRequest(
        _request(valid.query, valid.texts, _top_n_of(valid)),
        partial(_write_tei, valid),
        {"query.text": "query", "documents": "texts"},
        lambda response: _warnings_header(_all_warnings(_tei_warnings(valid, response), response.report, "texts")),
    )


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


def _check_is_not_tei(body: Mapping[str, Any]) -> None:
    if body.get("documents") is None and body.get("texts") is not None:
        problem = "is missing; give the texts as `documents`, or send `texts` to /rerank"
        raise InvalidInput(problem, field="documents")


def _parsed(
    body: RerankV2,
    *,
    api_version: str = "1",
    returns_documents: bool = False,
    as_returned: Callable[[Any, str], Any] | None = None,
) -> ParsedRequest:
    """Reads a valid body; `returns_documents` is the default, and `as_returned` writes a document, given its text."""
    texts = [_text_of(document, body.rank_fields, place) for place, document in enumerate(body.documents)]
    if body.return_documents is not None:
        returns_documents = body.return_documents
    made = map(as_returned or _with_text, body.documents, texts)
    write = partial(
        _write,
        api_version=api_version,
        num_documents=len(texts),
        returned=list(made) if returns_documents else None,
        warnings=_warnings(body, texts),
    )
    return ParsedRequest(_request(body.query, texts, _top_n_of(body)), write, {"query.text": "query"})


def _top_n_of(body: RerankV2 | TeiRerank) -> int | None:
    if body.top_n is not None and body.top_n_camel is not None:
        raise InvalidInput("cannot be combined with top_n; give one of them", field="topN")
    return body.top_n_camel if body.top_n is None else body.top_n


def _request(query: str, documents: Sequence[str], top_n: int | None) -> pb.RerankRequest:
    most = 0 if not top_n else min(top_n, max(1, len(documents)))
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


def _with_text(document: Any, text: str) -> dict[str, Any]:
    return {"text": text, **document} if isinstance(document, dict) else {"text": text}


def _text_alone(document: Any, text: str) -> str:
    return text


def _warnings(body: RerankV2, texts: Sequence[str]) -> list[str]:
    warnings = _unknown_warnings(body)
    limit = body.max_tokens_per_doc
    # A token has at least one byte, so a text of fewer bytes is certainly within the limit.
    if limit is not None and any(len(text) * 4 > limit and len(text.encode()) > limit for text in texts):
        warnings.append("max_tokens_per_doc: was not applied; long documents are read in full, window by window")
    if body.max_chunks_per_doc is not None:
        warnings.append("max_chunks_per_doc: was not applied; long documents are read in full, window by window")
    if body.score_threshold is not None:
        warnings.append("score_threshold: was not applied; leave out results by their relevance_score")
    return warnings


def _tei_warnings(body: TeiRerank, response: pb.RerankResponse) -> list[str]:
    warnings = _unknown_warnings(body)
    if response.report.truncated and body.truncation_direction in ("left", "Left"):
        warnings.append("truncation_direction: was not applied")
    return warnings


def _unknown_warnings(body: BaseModel) -> list[str]:
    known = [one.alias or name for name, one in type(body).model_fields.items()]
    unknown = list(body.model_extra or ())
    named = (f"{name[:100]}: is not a known field and was ignored{nearest(name, known)}" for name in unknown)
    return _counted(named, len(unknown), "unknown fields that were ignored")


def _all_warnings(warnings: Sequence[str], report: pb.SelectionReport, documents: str) -> list[str]:
    """Lists what was cut, what is odd about the request, and the Router's warnings; `documents` is a field's name."""
    return [*_cut_warnings(report.truncated, documents), *warnings, *report.warnings]


def _cut_warnings(truncated: Sequence[pb.TruncatedItem], documents: str) -> list[str]:
    named = (
        f"{_name_of(cut, documents)}: was cut from {cut.total_tokens} to {cut.kept_tokens} tokens" for cut in truncated
    )
    return _counted(named, len(truncated), f"{documents} that were cut")


def _counted(warnings: Iterable[str], count: int, kind: str) -> list[str]:
    """Lists the first warnings and the number of the others."""
    named = list(islice(warnings, _MAX_WARNED))
    return [*named, f"more {kind}: {count - len(named)}"] if count > len(named) else named


def _name_of(cut: pb.TruncatedItem, documents: str) -> str:
    return "query" if cut.index < 0 else f"{documents}[{cut.index}]"


def _warnings_header(warnings: Sequence[str]) -> dict[str, str]:
    """Writes warnings as a header in ASCII; those that make it too long are counted."""
    lengths = accumulate(len(json.dumps(warning)) for warning in warnings)
    kept = [warning for warning, length in zip(warnings, lengths, strict=True) if length <= _MAX_HEADER_CHARS]
    if more := len(warnings) - len(kept):
        kept.append(f"{more} more are left out")
    # JSON escapes all control characters but DEL, which a header must not have either.
    return {WARNINGS_HEADER: json.dumps(kept).replace("\x7f", "\\u007f")} if kept else {}


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
    report = response.report
    meta: dict[str, Any] = {
        "api_version": {"version": api_version},
        "billed_units": {"search_units": searches},
        "tokens": {"input_tokens": report.num_tokens, "output_tokens": 0},
    }
    if all_warnings := _all_warnings(warnings, report, "documents"):
        meta["warnings"] = all_warnings
    return {
        "id": call.request_id,
        "object": "rerank",
        "model": report.model_name,
        "usage": {"prompt_tokens": report.num_tokens, "total_tokens": report.num_tokens},
        "results": results,
        "meta": meta,
    }


def _write_tei(body: TeiRerank, response: pb.RerankResponse, call: Call) -> list[dict[str, Any]]:
    if body.truncate is False:
        _raise_if_cut(response.report)
    results: list[dict[str, Any]] = []
    for item in response.items:
        result: dict[str, Any] = {"index": item.index, "score": _logit(item.score) if body.raw_scores else item.score}
        results.append({**result, "text": body.texts[item.index]} if body.return_text else result)
    return results


def _raise_if_cut(report: pb.SelectionReport) -> None:
    """Raises where TEI does, after the fact: only the Router counts tokens, and it reports what it has cut."""
    for cut in report.truncated:
        raise LimitExceeded(
            f"has {cut.total_tokens} tokens, but only {cut.kept_tokens} are read; shorten it, or leave out "
            "`truncate: false`",
            limit=cut.kept_tokens,
            actual=cut.total_tokens,
            field=_name_of(cut, "texts"),
        )


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
