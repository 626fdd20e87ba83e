"""Replays the request of each program that is known to call rerank APIs, and reads the answer as that program does.

The requests and readers are those of the named versions, as their source code has them; nothing of them is installed.
`vendor_clients.py` runs the clients that can be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

QUERY = "capital of France"
DOCUMENTS = ["Berlin", "Paris is the capital of France", "the capital"]
BEST_FIRST = [1, 2, 0]
ANY_KEY = {"Authorization": "Bearer x"}

# Reads the JSON of an answer and returns the order of the documents.
Reader = Callable[[Any], Sequence[int]]


@dataclass(frozen=True)
class Caller:
    """A program: where it posts to, what it sends, and how it reads the answer."""

    path: str
    body: Mapping[str, Any]
    read: Reader
    headers: Mapping[str, str] = field(default_factory=lambda: ANY_KEY)


def order_of(results: Sequence[Mapping[str, Any]]) -> list[int]:
    """Reads `results` as almost all do: trusting the order, with a number as the score."""
    assert all(0.0 <= result["relevance_score"] <= 1.0 for result in results)
    return [result["index"] for result in results]


def litellm_infinity(answer: Any) -> list[int]:
    """Puts a document into `{"text": …}` itself, so it must be a string; counts both kinds of tokens."""
    assert answer["usage"]["total_tokens"] - answer["usage"]["prompt_tokens"] == 0
    assert [result["document"] for result in answer["results"]] == [DOCUMENTS[place] for place in BEST_FIRST]
    return order_of(answer["results"])


def litellm_vllm(answer: Any) -> list[int]:
    """Calls `.get("text")` on a document, validates `meta`, and needs both fields of a result."""
    texts = [str(result.get("document", {}).get("text", "")) for result in answer["results"]]
    assert texts == [DOCUMENTS[place] for place in BEST_FIRST]
    assert all(isinstance(count, int) for count in answer["meta"]["billed_units"].values())
    assert isinstance(answer["usage"]["total_tokens"], int)
    return order_of(answer["results"])


def litellm_jina(answer: Any) -> list[int]:
    """Takes a document as a string or as an object; the id must be a string, and the usage numbers."""
    assert isinstance(answer["id"], str)
    assert all(isinstance(count, int) for count in answer["usage"].values())
    return order_of([{**result, "document": dict(result["document"])} for result in answer["results"]])


def cohere(answer: Any) -> list[int]:
    """Validates the whole answer: a document is an object with a text, or absent, and never null."""
    assert isinstance(answer["id"], str)
    assert isinstance(answer["meta"]["api_version"]["version"], str)
    assert answer["meta"]["billed_units"]["search_units"] == 1
    assert answer["meta"]["tokens"]["input_tokens"] > 0
    assert all("text" in result["document"] for result in answer["results"] if "document" in result)
    return order_of(answer["results"])


def cohere_without_documents(answer: Any) -> list[int]:
    assert all(set(result) == {"index", "relevance_score"} for result in answer["results"])
    return cohere(answer)


def tei(answer: Any) -> list[int]:
    """Reads a bare list of `index`, `score` and, on demand, `text`."""
    assert all(0.0 <= result["score"] <= 1.0 for result in answer)
    return [result["index"] for result in answer]


def tei_with_texts(answer: Any) -> list[int]:
    assert [result["text"] for result in answer] == [DOCUMENTS[place] for place in BEST_FIRST]
    return tei(answer)


def open_webui(answer: Any) -> list[int]:
    """Sorts the results by index and takes the scores by position, so none may be left out."""
    scores = [result["relevance_score"] for result in sorted(answer["results"], key=lambda result: result["index"])]
    assert len(scores) == len(DOCUMENTS)
    return sorted(range(len(scores)), key=lambda place: -scores[place])


def dify_sdk(answer: Any) -> list[int]:
    """Spreads the scores over 0..1 itself, and reads a document that is an object or a string."""
    scores = [result["relevance_score"] for result in answer["results"]]
    assert min(scores) < max(scores)
    assert all(result.get("document", {}).get("text") for result in answer["results"])
    return order_of(answer["results"])


def dify_plugin(answer: Any) -> list[int]:
    """Calls `.get("text")` on `document`; a string has no such method."""
    assert [item["document"].get("text") for item in answer["results"]] == [DOCUMENTS[place] for place in BEST_FIRST]
    assert answer["usage"]["total_tokens"] > 0
    return order_of(answer["results"])


def ragflow(answer: Any) -> list[int]:
    """Writes each score to its document's place; the total of tokens is read where it is there."""
    scores = {result["index"]: result["relevance_score"] for result in answer["results"]}
    assert sorted(scores) == [0, 1, 2]
    assert answer.get("usage", {}).get("total_tokens", 0) > 0
    return sorted(scores, key=lambda place: -scores[place])


def ragflow_xinference(answer: Any) -> list[int]:
    """Its earlier versions add up both numbers of tokens in `meta`."""
    assert answer["meta"]["tokens"]["input_tokens"] + answer["meta"]["tokens"]["output_tokens"] > 0
    return ragflow(answer)


def jina(answer: Any) -> list[int]:
    """Takes anything without `results` for an error, and then needs `detail`."""
    assert "results" in answer or answer["detail"]
    return order_of(answer["results"])


def haystack(answer: Any) -> list[int]:
    """Also hands on the model and the usage, and needs both."""
    assert {"model": answer["model"], "usage": answer["usage"]}["model"] == "fake"
    return jina(answer)


def infinity_client(answer: Any) -> list[int]:
    """Is generated from Infinity's schema: `object` must be the one value that it has there."""
    assert answer["object"] == "rerank"
    assert {"results", "model", "usage"} <= answer.keys()
    assert {"prompt_tokens", "total_tokens"} <= answer["usage"].keys()
    return order_of(answer["results"])


ASKED: dict[str, Any] = {"model": "any", "query": QUERY, "documents": DOCUMENTS}
TEXTS: dict[str, Any] = {"query": QUERY, "texts": DOCUMENTS}
OBJECTS: dict[str, Any] = {**ASKED, "documents": [{"text": document} for document in DOCUMENTS]}

CALLERS = {
    "LiteLLM 1.110 infinity": Caller(
        "/infinity/rerank", {**ASKED, "top_n": 3, "return_documents": True}, litellm_infinity
    ),
    "LiteLLM 1.110 hosted_vllm": Caller("/rerank", {**ASKED, "top_n": 3, "return_documents": True}, litellm_vllm),
    "LiteLLM 1.110 hosted_vllm, base /v1": Caller(
        "/v1/rerank",
        {
            **ASKED,
            "top_n": 3,
            "return_documents": True,
            "instruction": "find the answer",
            "max_tokens_per_doc": 512,
            "truncate_prompt_tokens": 512,
            "truncation_side": "left",
            "max_tokens_per_query": 64,
        },
        litellm_vllm,
    ),
    "LiteLLM 1.110 jina_ai": Caller("/v1/rerank", {**ASKED, "top_n": 3, "return_documents": True}, litellm_jina),
    "LiteLLM 1.110 cohere": Caller("/v2/rerank", {**ASKED, "top_n": 3, "return_documents": True}, cohere),
    "LiteLLM 1.110 cohere, base /v1": Caller("/v1/v2/rerank", {**ASKED, "return_documents": True}, cohere),
    "LiteLLM 1.110 cohere, no documents": Caller(
        "/v2/rerank", {**ASKED, "return_documents": False}, cohere_without_documents
    ),
    "LiteLLM 1.110 huggingface": Caller(
        "/rerank",
        {**TEXTS, "raw_scores": False, "truncation_direction": "Right", "top_n": 3, "return_text": True},
        tei_with_texts,
    ),
    "Open WebUI 0.12": Caller("/v1/rerank", {**ASKED, "top_n": 3}, open_webui),
    "Open WebUI 0.12, /rerank": Caller("/rerank", {**ASKED, "top_n": 3}, open_webui),
    "Dify SDK 0.7": Caller("/rerank", {**ASKED, "top_n": None, "return_documents": True}, dify_sdk),
    "Dify SDK 0.7, base /v1": Caller("/v1/rerank", {**ASKED, "top_n": None, "return_documents": True}, dify_sdk),
    "Dify plugin": Caller("/v1/rerank", {**ASKED, "top_n": 4, "score_threshold": 0.8}, dify_plugin, {}),
    "Dify plugin, empty key": Caller(
        "/rerank",
        {**ASKED, "top_n": 4, "return_documents": True, "score_threshold": 0.8},
        dify_plugin,
        {"Authorization": ""},
    ),
    "RAGFlow OpenAI-API-Compatible": Caller("/v1/rerank", {**ASKED, "top_n": 3}, ragflow),
    "RAGFlow LocalAI": Caller("/rerank", {**ASKED, "top_n": 3}, ragflow),
    "RAGFlow Xinference": Caller(
        "/v1/rerank", {**ASKED, "return_documents": "true", "return_len": "true"}, ragflow_xinference, {}
    ),
    "RAGFlow Cohere": Caller("/v1/rerank", {**ASKED, "top_n": 3, "return_documents": False}, cohere_without_documents),
    "RAGFlow HuggingFace": Caller("/rerank", {**TEXTS, "raw_scores": False, "truncate": True}, tei),
    "LlamaIndex JinaRerank 0.6": Caller("/v1/rerank", {**ASKED, "top_n": 3}, jina),
    "LlamaIndex JinaRerank 0.6, no /v1": Caller("/rerank", {**ASKED, "top_n": 3}, jina),
    "LlamaIndex TextEmbeddingInference 0.6": Caller("/rerank", TEXTS, tei),
    "Haystack JinaRanker 2.0": Caller("/v1/rerank", {**ASKED, "top_n": None}, haystack),
    "Cohere SDK 7.3 v1": Caller(
        "/v1/rerank", {**OBJECTS, "top_n": 3, "return_documents": True, "max_chunks_per_doc": 10}, cohere
    ),
    "Cohere SDK 7.3 v2": Caller(
        "/v2/rerank", {**ASKED, "top_n": 3, "max_tokens_per_doc": 4096}, cohere_without_documents
    ),
    "Flowise Cohere": Caller(
        "/v1/rerank",
        {**ASKED, "topN": 3, "max_chunks_per_doc": 10, "return_documents": False},
        cohere_without_documents,
    ),
    "Infinity client 0.0.78": Caller("/rerank", {**ASKED, "return_documents": False}, infinity_client, {}),
}


@pytest.mark.parametrize("caller", [pytest.param(caller, id=name) for name, caller in CALLERS.items()])
def test_a_known_caller_reads_the_best_document_first(web: httpx.Client, caller: Caller) -> None:
    answer = web.post(caller.path, json=caller.body, headers=caller.headers)
    assert answer.status_code == 200, answer.text
    assert list(caller.read(answer.json())) == BEST_FIRST
    assert "null" not in answer.text


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/v1/v2/rerank", "/infinity/rerank"])
def test_clients_find_the_text_of_an_error(web: httpx.Client, path: str) -> None:
    body = web.post(path, json={**ASKED, "top_n": "many"}, headers=ANY_KEY).json()
    assert body["detail"] == body["message"] == body["error"]["message"] == "top_n: should be a valid integer"
