from __future__ import annotations

import grpc
import pytest

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


def test_every_error_class_but_the_base_has_a_foreseen_code() -> None:
    classes = [getattr(errors, name) for name in errors.__all__ if name != "ShortlistError"]
    foreseen = [any(base in KINDS for base in kind.__mro__) for kind in classes]
    assert foreseen == [True] * len(classes)


def test_a_request_cancelled_past_its_deadline_is_told_so() -> None:
    assert status_of(errors.RequestCancelled("x"), is_expired=True).code is Code.DEADLINE_EXCEEDED


def test_the_field_travels_as_metadata() -> None:
    assert status_of(errors.InvalidInput("is odd", field="tools[ä]")).metadata[0] == ("shortlist-field", "tools[?]")


def test_a_long_text_is_cut_to_what_a_header_holds() -> None:
    for letter, most in (("a", 3000), ("é", 500), ("語", 333)):
        assert len(status_of(errors.InvalidInput(letter * 10_000)).text) == most


def test_the_log_of_a_defect_holds_the_stack_but_not_the_text(caplog: pytest.LogCaptureFixture) -> None:
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
