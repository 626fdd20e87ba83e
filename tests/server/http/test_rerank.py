"""The rerank APIs of vendors, called over HTTP as in their documentation."""

from __future__ import annotations

import json
import math
from typing import Any

import httpx
import pytest
from rest_fixtures import detail_of, field_of, reason_of

from shortlist.server.dispatcher import Call
from shortlist.server.http.rerank import read_tei, read_v2
from shortlist.v1 import router_pb2 as pb

DOCUMENTS = ["Berlin", "Paris is the capital of France", "the capital"]
QUESTION: dict[str, Any] = {"model": "jina-reranker-v2-base-multilingual", "query": "capital of France"}


def rerank(web: httpx.Client, path: str = "/v1/rerank", **fields: Any) -> dict[str, Any]:
    answer = web.post(path, json={**QUESTION, "documents": DOCUMENTS, **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def warnings_of(answer: dict[str, Any]) -> list[str]:
    return list(answer["meta"].get("warnings", []))


def test_v1_ranks_all_documents_and_returns_them(web: httpx.Client) -> None:
    answer = rerank(web)
    assert answer["results"] == [
        {"index": 1, "relevance_score": 1.0, "document": {"text": DOCUMENTS[1]}},
        {"index": 2, "relevance_score": pytest.approx(1 / 3), "document": {"text": DOCUMENTS[2]}},
        {"index": 0, "relevance_score": 0.0, "document": {"text": DOCUMENTS[0]}},
    ]


def test_v2_ranks_all_documents_and_does_not_return_them(web: httpx.Client) -> None:
    answer = rerank(web, "/v2/rerank")
    assert [sorted(result) for result in answer["results"]] == [["index", "relevance_score"]] * 3


@pytest.mark.parametrize(("path", "version"), [("/v1/rerank", "1"), ("/v2/rerank", "2")])
def test_a_response_names_the_model_that_scored_and_its_usage(web: httpx.Client, path: str, version: str) -> None:
    answer = rerank(web, path)
    read = answer["usage"]["total_tokens"]
    assert (answer["object"], answer["model"], read > 0) == ("rerank", "fake", True)
    assert answer["usage"] == {"prompt_tokens": read, "total_tokens": read}
    assert answer["meta"] == {
        "api_version": {"version": version},
        "billed_units": {"search_units": 1},
        "tokens": {"input_tokens": read, "output_tokens": 0},
    }


def test_the_id_of_a_response_is_that_of_the_request(web: httpx.Client) -> None:
    answer = web.post("/v2/rerank", json={**QUESTION, "documents": DOCUMENTS}, headers={"X-Request-Id": "mine"})
    assert answer.json()["id"] == "mine"


@pytest.mark.parametrize(("path", "returns"), [("/v1/rerank", False), ("/v2/rerank", True)])
def test_a_request_chooses_whether_documents_are_returned(web: httpx.Client, path: str, returns: bool) -> None:
    answer = rerank(web, path, return_documents=returns)
    assert ["document" in result for result in answer["results"]] == [returns] * 3


@pytest.mark.parametrize(("text", "returns"), [("true", True), ("True", True), ("FALSE", False)])
def test_a_boolean_may_be_a_text(web: httpx.Client, text: str, returns: bool) -> None:
    answer = rerank(web, return_documents=text)
    assert ["document" in result for result in answer["results"]] == [returns] * 3


@pytest.mark.parametrize("fields", [{"topN": 2}, {"topN": 2, "top_n": None}, {"topN": None, "top_n": 2}])
def test_top_n_may_be_written_in_camel_case(web: httpx.Client, fields: dict[str, Any]) -> None:
    answer = rerank(web, **fields)
    assert (len(answer["results"]), warnings_of(answer)) == (2, [])


def test_a_number_of_results_is_given_only_once(web: httpx.Client) -> None:
    answer = web.post("/v1/rerank", json={**QUESTION, "documents": DOCUMENTS, "topN": 2, "top_n": 2})
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "topN: cannot be combined with top_n; give one of them",
    )


@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (2.0, 2), ("2", 2), (3, 3), (10**30, 3), (None, 3), (0, 3)])
def test_top_n_limits_the_response(web: httpx.Client, top_n: float | str | None, count: int) -> None:
    assert len(rerank(web, top_n=top_n)["results"]) == count


def test_every_document_is_scored_however_many_there_are(web: httpx.Client) -> None:
    answer = rerank(web, documents=["word"] * 250, query="word")
    assert {result["relevance_score"] for result in answer["results"]} == {1.0}
    assert (len(answer["results"]), answer["meta"]["billed_units"]["search_units"]) == (250, 3)


def test_no_documents_give_an_empty_answer(web: httpx.Client) -> None:
    assert rerank(web, documents=[])["results"] == []


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_documents_may_be_objects_and_are_returned_whole(web: httpx.Client, path: str) -> None:
    documents = [{"text": "berlin", "id": 7}, "capital of France"]
    answer = rerank(web, path, documents=documents, return_documents=True)
    returned = [result["document"] for result in answer["results"]]
    assert returned == [{"text": "capital of France"}, {"text": "berlin", "id": 7}]


def test_rank_fields_choose_the_fields_of_an_object(web: httpx.Client) -> None:
    documents = [{"title": "capital", "body": "of France"}, {"title": "x", "text": "capital of France"}]
    answer = rerank(web, documents=documents, rank_fields=["title", "body"])
    assert [(result["index"], result["relevance_score"]) for result in answer["results"]] == [(0, 1.0), (1, 0.0)]
    assert answer["results"][0]["document"] == {"title": "capital", "body": "of France", "text": "capital\nof France"}


def test_a_document_without_any_of_the_rank_fields_is_read_by_its_text(web: httpx.Client) -> None:
    documents = [{"text": "capital of France"}, {"title": "capital"}]
    answer = rerank(web, documents=documents, rank_fields=["title"])
    assert [result["relevance_score"] for result in answer["results"]] == [1.0, pytest.approx(1 / 3)]


def test_a_query_may_be_an_object(web: httpx.Client) -> None:
    assert rerank(web, query={"text": "France"})["results"][0]["index"] == 1


@pytest.mark.parametrize("limit", [4096, 10, None])
def test_a_limit_that_cuts_nothing_is_not_mentioned(web: httpx.Client, limit: int | None) -> None:
    assert warnings_of(rerank(web, documents=["Paris", "Berlin"], max_tokens_per_doc=limit)) == []


@pytest.mark.parametrize("field", ["max_tokens_per_doc", "max_chunks_per_doc"])
def test_a_limit_that_is_not_applied_is_a_warning(web: httpx.Client, field: str) -> None:
    [warning] = warnings_of(rerank(web, **{field: 5}))
    assert warning.startswith(f"{field}: was not applied")


def test_an_unknown_field_is_ignored_with_a_warning(web: httpx.Client) -> None:
    [warning] = warnings_of(rerank(web, topn=1))
    assert warning == "topn: is not a known field and was ignored; did you mean top_n?"


def test_many_unknown_fields_are_counted(web: httpx.Client) -> None:
    warnings = warnings_of(rerank(web, **{f"qqq{place}": place for place in range(9)}))
    assert warnings[4:] == ["qqq4: is not a known field and was ignored", "more unknown fields that were ignored: 4"]


def test_a_score_threshold_is_a_warning_and_leaves_nothing_out(web: httpx.Client) -> None:
    answer = rerank(web, score_threshold=0.9)
    assert len(answer["results"]) == 3
    assert warnings_of(answer) == ["score_threshold: was not applied; leave out results by their relevance_score"]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/v1/v2/rerank", "/infinity/rerank", "/rerank"])
def test_a_query_that_was_cut_is_a_warning(web: httpx.Client, path: str) -> None:
    answer = rerank(web, path, query="Paris " * 900)
    assert warnings_of(answer) == ["query: was cut from 900 to 128 tokens"]


def test_documents_that_were_cut_are_named_and_many_of_them_are_counted() -> None:
    cuts = [pb.TruncatedItem(index=place, kept_tokens=5, total_tokens=10 + place) for place in range(8)]
    report = pb.SelectionReport(truncated=cuts, warnings=["something else"])
    answer = read_v2({"query": "x", "documents": ["a"] * 8}).write(pb.RerankResponse(report=report), Call("Rerank"))
    assert answer["meta"]["warnings"][:2] == [
        "documents[0]: was cut from 10 to 5 tokens",
        "documents[1]: was cut from 11 to 5 tokens",
    ]
    assert answer["meta"]["warnings"][5:] == ["more documents that were cut: 3", "something else"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"query": None}, "query", id="null query"),
        pytest.param({"query": ""}, "query", id="empty query"),
        pytest.param({"query": " \n"}, "query", id="blank query"),
        pytest.param({"query": ["x"]}, "query", id="list as query"),
        pytest.param({"query": {"image": "x"}}, "query", id="image as query"),
        pytest.param({"documents": "x"}, "documents", id="one document"),
        pytest.param({"documents": None}, "documents", id="null documents"),
        pytest.param({"documents": ["a", 3]}, "documents[1]", id="a number"),
        pytest.param({"documents": ["a", "b", None]}, "documents[2]", id="a null"),
        pytest.param({"documents": [{"text": 3}]}, "documents[0]", id="a number as text"),
        pytest.param({"documents": [{"image": "x"}]}, "documents[0]", id="an image"),
        pytest.param({"documents": [{"a": "x"}], "rank_fields": ["b"]}, "documents[0]", id="no ranked field"),
        pytest.param({"documents": [{"text": "x", "a": [[[{}] * 2]] * 2}], "top_n": -1}, "top_n", id="negative"),
        pytest.param({"top_n": -1}, "top_n", id="negative"),
        pytest.param({"top_n": "one"}, "top_n", id="text"),
        pytest.param({"top_n": 1.5}, "top_n", id="fraction"),
        pytest.param({"top_n": True}, "top_n", id="boolean as number"),
        pytest.param({"return_documents": 1}, "return_documents", id="number as boolean"),
        pytest.param({"max_tokens_per_doc": 0}, "max_tokens_per_doc", id="no tokens"),
        pytest.param({"max_chunks_per_doc": "x"}, "max_chunks_per_doc", id="no number"),
        pytest.param({"rank_fields": []}, "rank_fields", id="no fields"),
        pytest.param({"rank_fields": ["a", 1]}, "rank_fields[1]", id="a number as field"),
        pytest.param({"model": 3}, "model", id="a number as model"),
    ],
)
def test_a_wrong_field_is_named(web: httpx.Client, fields: dict[str, Any], field: str) -> None:
    answer = web.post("/v1/rerank", json={**QUESTION, "documents": DOCUMENTS, **fields})
    assert (answer.status_code, field_of(answer)) == (400, field)
    assert answer.json()["message"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("path", "fields", "field", "limit", "actual"),
    [
        pytest.param("/v1/rerank", {"documents": ["x"] * 20_002}, "documents", 20_000, 20_002, id="documents"),
        pytest.param("/v2/rerank", {"documents": ["x"] * 20_002}, "documents", 20_000, 20_002, id="v2"),
        pytest.param("/rerank", {"texts": ["x"] * 20_002}, "texts", 20_000, 20_002, id="texts"),
        pytest.param("/rerank", {"texts": [], "query": "x" * 1_000_009}, "query", 1_000_000, 1_000_001, id="query"),
    ],
)
def test_a_request_above_a_limit_is_refused_with_the_limit(
    web: httpx.Client, path: str, fields: dict[str, Any], field: str, limit: int, actual: int
) -> None:
    answer = web.post(path, json={**QUESTION, **fields})
    assert (answer.status_code, field_of(answer), reason_of(answer)) == (413, field, "LIMIT_EXCEEDED")
    metadata = detail_of(answer, "ErrorInfo")["metadata"]
    assert (int(metadata["limit"]), int(metadata["actual"])) == (limit, actual)


@pytest.mark.parametrize("field", ["query", "documents"])
def test_a_missing_field_is_named(web: httpx.Client, field: str) -> None:
    fields = {**QUESTION, "documents": DOCUMENTS}
    del fields[field]
    answer = web.post("/v2/rerank", json=fields)
    assert answer.json()["message"] == f"{field}: is missing"


def test_a_too_deeply_nested_object_is_ranked_and_returned_without_its_deepest_levels(web: httpx.Client) -> None:
    inner = "[" * 50 + "]" * 50
    body = f'{{"query": "x", "documents": ["x", {{"text": "a", "more": {inner}}}]}}'
    answer = web.post("/v1/rerank", content=body, headers={"Content-Type": "application/json"}).json()
    assert [result["index"] for result in answer["results"]] == [0, 1]
    assert answer["meta"]["warnings"] == ["documents[1]: nested more than 32 levels deep; deeper levels are not read"]


def test_the_tei_response_is_a_plain_list_best_first(web: httpx.Client) -> None:
    answer = web.post("/rerank", json={"query": "capital of France", "texts": DOCUMENTS, "truncate": True})
    assert answer.json() == [
        {"index": 1, "score": 1.0},
        {"index": 2, "score": pytest.approx(1 / 3)},
        {"index": 0, "score": 0.0},
    ]


LONG = {"query": "Paris " * 900, "texts": DOCUMENTS}


def told(answer: httpx.Response) -> list[str]:
    """Reads the warnings of an answer whose body has no place for them."""
    return list(json.loads(answer.headers.get("X-Shortlist-Warnings", "[]")))


def test_the_tei_response_has_no_warnings_if_there_is_nothing_to_say(web: httpx.Client) -> None:
    answer = web.post("/rerank", json={"query": "berlin", "texts": DOCUMENTS, "truncation_direction": "left"})
    assert "X-Shortlist-Warnings" not in answer.headers


@pytest.mark.parametrize("truncate", [True, None, "true"])
def test_a_tei_query_that_was_cut_is_told_in_a_header(web: httpx.Client, truncate: bool | str | None) -> None:
    answer = web.post("/rerank", json={**LONG, "truncate": truncate})
    assert (answer.status_code, told(answer)) == (200, ["query: was cut from 900 to 128 tokens"])


def test_a_direction_of_cutting_that_is_not_applied_is_told(web: httpx.Client) -> None:
    answer = web.post("/rerank", json={**LONG, "truncation_direction": "Left"})
    assert told(answer)[1:] == ["truncation_direction: was not applied"]


@pytest.mark.parametrize("truncate", [False, "False"])
def test_a_tei_query_that_must_not_be_cut_is_rejected(web: httpx.Client, truncate: bool | str) -> None:
    answer = web.post("/rerank", json={**LONG, "truncate": truncate})
    assert (answer.status_code, field_of(answer), reason_of(answer)) == (413, "query", "LIMIT_EXCEEDED")
    assert answer.json()["message"] == (
        "query: has 900 tokens, but only 128 are read; shorten it, or leave out `truncate: false`"
    )


def test_a_tei_query_that_fits_may_forbid_cutting(web: httpx.Client) -> None:
    assert web.post("/rerank", json={"query": "berlin", "texts": ["a"], "truncate": False}).status_code == 200


def test_unknown_tei_fields_are_told_in_a_header(web: httpx.Client) -> None:
    answer = web.post("/rerank", json={"query": "x", "texts": ["a"], "raw_score": True})
    assert told(answer) == ["raw_score: is not a known field and was ignored; did you mean raw_scores?"]


def test_a_name_of_any_characters_is_safe_in_a_header(web: httpx.Client) -> None:
    answer = web.post("/rerank", json={"query": "x", "texts": ["a"], "é\r\nSet-Cookie: a=b\x7f": 1})
    assert (answer.status_code, answer.headers.get("Set-Cookie")) == (200, None)
    assert told(answer) == ["é\r\nSet-Cookie: a=b\x7f: is not a known field and was ignored"]


def test_a_header_of_warnings_stays_short(web: httpx.Client) -> None:
    answer = web.post(
        "/rerank", json={"query": "x", "texts": ["a"], **{f"{place}{'😀' * 99}": 1 for place in range(3)}}
    )
    assert len(answer.headers["X-Shortlist-Warnings"]) < 2100
    assert told(answer)[1:] == ["2 more are left out"]


@pytest.mark.parametrize("name", ["top_n", "topN"])
def test_the_number_of_tei_results_may_be_limited(web: httpx.Client, name: str) -> None:
    answer = web.post("/rerank", json={"query": "capital of France", "texts": DOCUMENTS, name: 1})
    assert answer.json() == [{"index": 1, "score": 1.0}]


def test_the_tei_response_includes_texts_on_demand(web: httpx.Client) -> None:
    answer = web.post("/rerank", json={"query": "berlin", "texts": DOCUMENTS, "return_text": True})
    assert [result["text"] for result in answer.json()] == DOCUMENTS


@pytest.mark.parametrize("logit", [-30.0, -3.25, 0.0, 1.5, 12.0])
def test_raw_scores_are_the_logits(logit: float) -> None:
    asked = read_tei({"query": "x", "texts": ["a"], "raw_scores": True})
    response = pb.RerankResponse(items=[pb.SelectedItem(score=1 / (1 + math.exp(-logit)))])
    assert asked.write(response, None)[0]["score"] == pytest.approx(logit, abs=1e-6)


@pytest.mark.parametrize(("score", "logit"), [(0.0, -36.0), (1.0, 36.0)])
def test_raw_scores_are_finite_if_the_score_is_rounded_to_0_or_1(score: float, logit: float) -> None:
    asked = read_tei({"query": "x", "texts": ["a"], "raw_scores": True})
    assert asked.write(pb.RerankResponse(items=[pb.SelectedItem(score=score)]), None)[0]["score"] == logit


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"texts": ["a", 1]}, "texts[1]", id="a number"),
        pytest.param({"texts": [{"text": "a"}]}, "texts[0]", id="an object"),
        pytest.param({"query": ""}, "query", id="empty query"),
        pytest.param({"query": "\t"}, "query", id="blank query"),
        pytest.param({"raw_scores": "yes"}, "raw_scores", id="text as boolean"),
        pytest.param({"truncation_direction": "up"}, "truncation_direction", id="no direction"),
    ],
)
def test_a_wrong_field_has_its_tei_name(web: httpx.Client, fields: dict[str, Any], field: str) -> None:
    answer = web.post("/rerank", json={"query": "x", "texts": ["a"], **fields})
    assert (answer.status_code, field_of(answer), reason_of(answer)) == (400, field, "INVALID_FIELD")


TAKEN = "/rerank takes either `texts`, as text-embeddings-inference does, or `documents`, as vLLM, Jina and Cohere do"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({}, "is missing, and so is texts", id="neither"),
        pytest.param({"texts": None, "documents": None}, "is missing, and so is texts", id="nulls"),
        pytest.param({"passages": ["a"]}, "is missing, and so is texts", id="another name"),
        pytest.param({"texts": ["a"], "documents": ["a"]}, "cannot be combined with texts", id="both"),
        pytest.param({"texts": [], "documents": []}, "cannot be combined with texts", id="both empty"),
    ],
)
def test_rerank_takes_either_texts_or_documents(web: httpx.Client, fields: dict[str, Any], problem: str) -> None:
    answer = web.post("/rerank", json={"query": "x", **fields})
    assert (answer.status_code, field_of(answer), reason_of(answer)) == (400, "documents", "INVALID_FIELD")
    assert answer.json()["message"] == f"documents: {problem}; {TAKEN}"


def test_the_name_that_has_no_value_is_as_good_as_absent(web: httpx.Client) -> None:
    with_texts = web.post("/rerank", json={"query": "x", "texts": ["a"], "documents": None})
    with_documents = web.post("/rerank", json={"query": "x", "texts": None, "documents": ["a"]})
    assert (with_texts.status_code, told(with_texts)) == (200, [])
    assert (with_documents.status_code, warnings_of(with_documents.json())) == (200, [])


def test_rerank_returns_documents_as_objects_only_if_it_should(web: httpx.Client) -> None:
    plain = rerank(web, "/rerank", top_n=1)
    with_documents = rerank(web, "/rerank", top_n=1, return_documents=True)
    assert plain["results"] == [{"index": 1, "relevance_score": 1.0}]
    assert with_documents["results"] == [{"index": 1, "relevance_score": 1.0, "document": {"text": DOCUMENTS[1]}}]


@pytest.mark.parametrize(
    ("fields", "returned"),
    [
        pytest.param({}, [DOCUMENTS[1]], id="by default"),
        pytest.param({"return_documents": False}, [None], id="not wanted"),
        pytest.param({"documents": [{"text": "a", "id": 7}, {"text": "France", "id": 8}]}, ["France"], id="objects"),
    ],
)
def test_infinity_returns_documents_as_strings(
    web: httpx.Client, fields: dict[str, Any], returned: list[str | None]
) -> None:
    answer = rerank(web, "/infinity/rerank", top_n=1, **fields)
    assert [result.get("document") for result in answer["results"]] == returned
    assert "None" not in str(answer)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/v1/v2/rerank", "/infinity/rerank"])
def test_texts_where_documents_are_taken_is_explained(web: httpx.Client, path: str) -> None:
    answer = web.post(path, json={"query": "x", "texts": ["a"]})
    assert (answer.status_code, field_of(answer)) == (400, "documents")
    assert answer.json()["message"].endswith("; give the texts as `documents`, or send `texts` to /rerank")


def test_the_tei_info_describes_this_server(web: httpx.Client) -> None:
    facts = web.get("/info").json()
    assert (facts["model_id"], facts["max_input_length"], list(facts["model_type"])) == ("fake", 512, ["reranker"])
