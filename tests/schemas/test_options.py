"""The options of a request are defined once: their defaults, ranges and types."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import DEFAULTS, OPTIONS, OptionArguments, SelectionOptions, make_options, options_of


def test_every_option_is_a_keyword_of_the_same_type() -> None:
    keywords, fields = get_type_hints(OptionArguments), get_type_hints(SelectionOptions)

    assert list(keywords) == list(fields) == list(OPTIONS)
    plain = {name: kind | None for name, kind in fields.items() if kind != tuple[str, ...]}
    assert {name: keywords[name] for name in plain} == plain


def test_every_option_is_described_and_applies_to_something() -> None:
    assert [option.name for option in OPTIONS.values() if not option.description or not option.kinds] == []


def test_an_option_with_a_range_says_what_to_give_instead() -> None:
    ranged = [option for option in OPTIONS.values() if (option.least, option.most) != (None, None)]

    assert [option.name for option in ranged if not option.advice] == []


def test_the_options_of_documents_leave_out_those_of_tables() -> None:
    assert "keep_columns" not in {option.name for option in options_of("documents")}


def test_none_stands_for_the_default() -> None:
    options: Any = dict.fromkeys(OPTIONS)

    assert SelectionOptions(**options) == DEFAULTS


def test_keywords_win_over_options() -> None:
    made = make_options("tools", SelectionOptions(top_n=3, min_score=0.5), {"top_n": 1})

    assert (made.top_n, made.min_score) == (1, 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"top_n": -1}, "top_n: is -1; give 0 or more"),
        ({"top_n": 2.5}, "top_n: is 2.5; give a whole number"),
        ({"top_n": "5"}, "top_n: is '5'; give a whole number"),
        ({"top_n": True}, "top_n: is True; give a whole number"),
        ({"min_score": float("nan")}, "min_score: is nan; a score lies between 0 and 1"),
        ({"min_score": "high"}, "min_score: is 'high'; give a number"),
        ({"keep_columns": 1.5}, "keep_columns: is 1.5; give a share"),
        ({"always_include": "refund"}, "always_include: is one text; give a list of texts"),
        ({"always_include": ["refund", 7]}, r"always_include\[1\]: is int; give a text"),
        ({"always_include": 7}, "always_include: is int; give a list of texts"),
        ({"expected_model": 7}, "expected_model: is int; give a text"),
        ({"allow_degraded": "yes"}, "allow_degraded: is 'yes'; give True or False"),
        ({"max_pair_tokens": 0}, "max_pair_tokens: is 0; give at least 1"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_option(values: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        SelectionOptions(**values)

    assert caught.value.field.partition("[")[0] == next(iter(values))


def test_a_number_of_another_library_is_a_number() -> None:
    numpy = pytest.importorskip("numpy")

    assert SelectionOptions(top_n=numpy.int64(3), min_score=numpy.float32(0.5)) == SelectionOptions(
        top_n=3, min_score=0.5
    )


def test_an_option_of_something_else_is_refused() -> None:
    with pytest.raises(InvalidInput, match="keep_columns: does not apply to tools, only to tables; leave it out"):
        make_options("tools", None, {"keep_columns": 0.5})


def test_an_unknown_option_is_refused_with_the_nearest_known_one() -> None:
    more: Any = {"top_m": 3}
    with pytest.raises(InvalidInput, match=r"top_m: is not an option; did you mean top_n\?"):
        make_options("tools", None, more)


def test_something_else_in_place_of_options_is_refused() -> None:
    options: Any = {"top_n": 3}
    with pytest.raises(InvalidInput, match="options: is dict; give SelectionOptions or keywords"):
        make_options("tools", options, {})
