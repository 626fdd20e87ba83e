from __future__ import annotations

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import status_pb2

from shortlist.schemas import errors
from shortlist.server.status import KINDS, status_of

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidInput("x", field="top_n"), Code.INVALID_ARGUMENT),
        (errors.InvalidTool("x"), Code.INVALID_ARGUMENT),
        (errors.LimitExceeded("x", limit=1, actual=2), Code.INVALID_ARGUMENT),
        (errors.UnknownDialect("x", ("y",)), Code.INVALID_ARGUMENT),
        (errors.ModelMismatch("x"), Code.FAILED_PRECONDITION),
        (errors.ModelNotFound("x"), Code.FAILED_PRECONDITION),
        (errors.RequestCancelled("x"), Code.CANCELLED),
        (errors.ServerBusy("x"), Code.RESOURCE_EXHAUSTED),
        (errors.ServerUnavailable("x"), Code.UNAVAILABLE),
        (errors.ShortlistError("x"), Code.INTERNAL),
        (KeyError("x"), Code.INTERNAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_each_error_has_its_code(error: Exception, code: grpc.StatusCode) -> None:
    assert status_of(error).code is code


def test_every_error_class_but_the_base_has_a_code() -> None:
    classes = [getattr(errors, name) for name in errors.__all__ if name != "ShortlistError"]
    foreseen = [any(base in KINDS for base in kind.__mro__) for kind in classes]
    assert foreseen == [True] * len(classes)


def test_a_request_cancelled_past_its_deadline_has_its_own_code() -> None:
    assert status_of(errors.RequestCancelled("x"), is_expired=True).code is Code.DEADLINE_EXCEEDED


def test_the_field_is_sent_as_metadata() -> None:
    assert status_of(errors.InvalidInput("is odd", field="tools[ä]")).metadata[0] == ("shortlist-field", "tools[?]")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(
            errors.LimitExceeded("is 3", limit=1, actual=3, field="top_n"),
            {
                "ErrorInfo": {
                    "reason": "LIMIT_EXCEEDED",
                    "domain": "shortlist",
                    "metadata": {"limit": "1", "actual": "3"},
                },
                "BadRequest": {
                    "fieldViolations": [{"field": "top_n", "description": "is 3", "reason": "LIMIT_EXCEEDED"}]
                },
            },
            id="a field",
        ),
        pytest.param(
            errors.ServerBusy("full", retry_seconds=1.25),
            {"ErrorInfo": {"reason": "OVERLOADED", "domain": "shortlist"}, "RetryInfo": {"retryDelay": "1.250s"}},
            id="overload",
        ),
        pytest.param(
            errors.ModelMismatch("other", wanted="jina"),
            {
                "ErrorInfo": {"reason": "MODEL_MISMATCH", "domain": "shortlist"},
                "ResourceInfo": {
                    "resourceType": "shortlist.v1/Model",
                    "resourceName": "jina",
                    "description": "other",
                },
            },
            id="another model",
        ),
    ],
)
def test_the_details_hold_the_error_for_programs(error: Exception, expected: dict[str, object]) -> None:
    status = status_of(error, request_id="r-1")
    sent = status_pb2.Status.FromString(bytes(dict(status.metadata)["grpc-status-details-bin"]))  # type: ignore[arg-type]
    details = {detail["@type"].rsplit(".", 1)[1]: detail for detail in map(json_format.MessageToDict, sent.details)}
    for detail in details.values():
        del detail["@type"]
    assert details == expected | {"RequestInfo": {"requestId": "r-1"}}
    assert (sent.code, sent.message) == (status.code.value[0], str(error))


@pytest.mark.parametrize(
    ("error", "pushback"),
    [
        pytest.param(errors.ServerBusy("full", retry_seconds=1.25), "1250", id="overload"),
        pytest.param(errors.RateLimited("slow down", retry_seconds=2), "2000", id="rate"),
        pytest.param(errors.ServerUnavailable("loading"), "1000", id="starting"),
        pytest.param(errors.ServerBusy("too large for the memory"), "-1", id="of no use"),
        pytest.param(errors.DeadlineTooShort("late", retry_seconds=1), "-1", id="deadline too short"),
        pytest.param(errors.InvalidInput("is odd", field="top_n"), None, id="not a matter of time"),
    ],
)
def test_clients_with_a_retry_policy_of_grpcs_own_learn_when_to_retry(error: Exception, pushback: str | None) -> None:
    assert dict(status_of(error).metadata).get("grpc-retry-pushback-ms") == pushback


def test_a_caller_is_not_asked_to_repeat_what_may_have_changed_something() -> None:
    status = status_of(errors.ServerUnavailable("stopping"), is_retriable=False)
    kinds = [detail["@type"].rsplit(".", 1)[1] for detail in status.as_json()["error"]["details"]]
    assert (status.retry_seconds, status.pushback_ms, kinds) == (None, -1, ["ErrorInfo"])


def test_an_http_answer_says_the_same(caplog: pytest.LogCaptureFixture) -> None:
    body = status_of(errors.RateLimited("slow down", retry_seconds=2)).as_json()
    assert body["message"] == body["detail"] == body["error"]["message"] == "slow down"
    assert (body["error"]["code"], body["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert [detail["@type"].rsplit(".", 1)[1] for detail in body["error"]["details"]] == ["ErrorInfo", "RetryInfo"]


def test_reasons_are_stable_and_each_has_its_http_status() -> None:
    # Programs rely on these: only add, never change.
    assert {kind.reason: kind.http for kind in KINDS.values()} == {
        "INVALID_FIELD": 400,
        "LIMIT_EXCEEDED": 413,
        "UNKNOWN_DIALECT": 400,
        "INVALID_TOOL": 400,
        "MODEL_UNUSABLE": 409,
        "MODEL_MISMATCH": 409,
        "CANCELLED": 499,
        "NOT_SERVING": 503,
        "OVERLOADED": 429,
        "DEADLINE_TOO_SHORT": 429,
        "RATE_LIMITED": 429,
        "UNAUTHENTICATED": 401,
        "PERMISSION_DENIED": 403,
        "INVALID_CONFIGURATION": 500,
        "UNSUPPORTED_CONTENT": 415,
    }


def test_the_longest_text_fits_the_header_limits_of_clients() -> None:
    status = status_of(errors.InvalidInput("\U0001f600" * 10_000, field="tools[3].namespace"), request_id="r" * 128)
    text = sum(1 if char.isascii() else 3 * len(char.encode()) for char in status.text)
    details = len(bytes(dict(status.metadata)["grpc-status-details-bin"])) * 4 / 3  # type: ignore[arg-type]
    assert text + details < 7500


def test_a_long_text_is_cut_to_fit_a_header() -> None:
    for letter, most in (("a", 3000), ("é", 500), ("語", 333)):
        assert len(status_of(errors.InvalidInput(letter * 10_000)).text) == most


def test_the_log_of_an_internal_error_has_the_stack_but_not_the_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    status = status_of(raised("".join(["car", "go"])))
    assert ("ValueError" in caplog.text, "KeyError" in caplog.text, "in raised" in caplog.text) == (True, True, True)
    assert "cargo" not in caplog.text + status.text


def raised(payload: str) -> Exception:
    with pytest.raises(ValueError) as caught:  # noqa: PT011, PT012 - raised here to have a stack
        try:
            raise KeyError(payload)
        except KeyError as error:
            raise ValueError(payload) from error
    return caught.value
