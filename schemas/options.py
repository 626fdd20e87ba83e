"""Defines every option of a request once: its default, its range, its description and what it applies to.

The Router, the client, the command line's flags, the protobuf conversions and the JSON Schemas all derive from
`SelectionOptions`. To add an option, add it here (to the class, and to `OptionArguments`, which types it as a keyword),
add a field of the same name to the proto, and implement it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from dataclasses import replace as replace_fields
from typing import Any, Literal, TypedDict

from shortlist.schemas.arguments import check_text, checked_texts
from shortlist.schemas.errors import InvalidInput, nearest

__all__ = [
    "DEFAULTS",
    "OPTIONS",
    "Kind",
    "Option",
    "OptionArguments",
    "SelectionOptions",
    "make_options",
    "options_of",
]

# The arguments of a Router's and a client's methods that are not options.
_OTHER_ARGUMENTS = ("namespaces", "dialect", "timeout_seconds", "cancel")
# What a request selects.
Kind = Literal["tools", "tables", "documents"]
_ALL: tuple[Kind, ...] = ("tools", "tables", "documents")


@dataclass(frozen=True, slots=True)
class Option:
    """Describes one option; `advice` ends the error for a value that is out of range."""

    name: str
    default: Any
    description: str
    kinds: tuple[Kind, ...] = _ALL
    least: float | None = None
    most: float | None = None
    advice: str = ""


def _option(
    default: Any,
    description: str,
    *,
    kinds: tuple[Kind, ...] = _ALL,
    least: float | None = None,
    most: float | None = None,
    advice: str = "",
) -> Any:
    about = {"description": description, "kinds": kinds, "least": least, "most": most, "advice": advice}
    return field(default=default, metadata=about)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions:
    """Holds the options of a request; None means the default.

    Raises:
        InvalidInput: a value has the wrong type or is out of range; the error's `field` names the option.
    """

    top_n: int = _option(5, "how many to return at most; 0 returns all", least=0, advice="give 0 or more")
    min_score: float = _option(
        0.0, "leave out results with a lower score, 0..1", least=0, most=1, advice="a score lies between 0 and 1"
    )
    always_include: tuple[str, ...] = _option(
        (), "names to return whatever their score, in addition to the `top_n` others", kinds=("tools", "tables")
    )
    max_candidates: int = _option(
        50, "how many the cross-encoder scores at most; 0 scores all", least=0, advice="give 0 or more"
    )
    keep_columns: float = _option(
        0.0,
        "share of the selected tables' columns to list too, 0..1; 0 lists none",
        kinds=("tables",),
        least=0,
        most=1,
        advice="give a share of the columns, up to 1, or 0 for none",
    )
    max_query_tokens: int | None = _option(
        None,
        "tokens of the query to read at most; unset: the model's default",
        kinds=("documents",),
        least=1,
        advice="give at least 1, or leave it out for the model's default",
    )
    max_pair_tokens: int | None = _option(
        None,
        "tokens of the query and a document window together, at most; unset: the model's default",
        kinds=("documents",),
        least=1,
        advice="give at least 1, or leave it out for the model's default",
    )
    overlap_tokens: int = _option(
        80,
        "tokens shared by neighbouring windows of a long document, at most a quarter of a window",
        kinds=("documents",),
        least=0,
        advice="give 0 or more",
    )
    return_documents: bool = _option(True, "return the documents' texts", kinds=("documents",))
    return_sources: bool = _option(True, "return the tools or tables as they were sent", kinds=("tools", "tables"))
    expected_model: str = _option("", "fail if another model is loaded")
    expected_version: str = _option("", "fail if another version of the model is loaded")
    allow_degraded: bool = _option(
        False, "when time runs out, return the first stage's order, not an error; needs a time limit"
    )

    def __post_init__(self) -> None:
        for option in OPTIONS.values():
            value = getattr(self, option.name)
            object.__setattr__(self, option.name, _checked(option, value))

    def check_kind(self, kind: Kind) -> None:
        """Rejects options that are set but do not apply to `kind`.

        Raises:
            InvalidInput: such an option is set; the error's `field` names it.
        """
        for option in OPTIONS.values():
            if kind not in option.kinds and getattr(self, option.name) != option.default:
                raise InvalidInput(
                    f"does not apply to {kind}, only to {' and '.join(option.kinds)}; leave it out", field=option.name
                )


class OptionArguments(TypedDict, total=False):
    """The options as keyword arguments; None means the default."""

    top_n: int | None
    min_score: float | None
    always_include: Sequence[str] | None
    max_candidates: int | None
    keep_columns: float | None
    max_query_tokens: int | None
    max_pair_tokens: int | None
    overlap_tokens: int | None
    return_documents: bool | None
    return_sources: bool | None
    expected_model: str | None
    expected_version: str | None
    allow_degraded: bool | None


OPTIONS: dict[str, Option] = {
    one.name: Option(one.name, one.default, **one.metadata) for one in fields(SelectionOptions)
}


def options_of(kind: Kind) -> list[Option]:
    """Returns the options that apply to `kind`, in the order of the class."""
    return [option for option in OPTIONS.values() if kind in option.kinds]


def make_options(kind: Kind, options: SelectionOptions | None, more: OptionArguments) -> SelectionOptions:
    """Combines `options` with keywords; keywords win.

    Raises:
        InvalidInput: an option is unknown, does not apply to `kind`, has the wrong type or is out of range; the error's
            `field` names it.
    """
    if options is not None and not isinstance(options, SelectionOptions):
        raise InvalidInput(f"is {type(options).__name__}; give SelectionOptions or keywords", field="options")
    for name in more:
        if name not in OPTIONS:
            raise InvalidInput(f"is not an option{nearest(name, (*OPTIONS, *_OTHER_ARGUMENTS))}", field=name)
    given: dict[str, Any] = dict(more)
    made = replace_fields(options or DEFAULTS, **given) if given else options or DEFAULTS
    made.check_kind(kind)
    return made


def _checked(option: Option, value: Any) -> Any:
    """Checks a value and returns it in the type of the default."""
    if value is None:
        return option.default
    match option.default:
        case bool():
            if not isinstance(value, bool):
                raise InvalidInput(f"is {value!r:.60}; give True or False", field=option.name)
            return value
        case str():
            return check_text(option.name, value)
        case tuple():
            return checked_texts(option.name, value)
        case float():
            return _in_range(option, _number(option, value))
        case _:
            return _in_range(option, _whole(option, value))


def _whole(option: Option, value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise InvalidInput(f"is {value!r:.60}; give a whole number", field=option.name) from None


def _number(option: Option, value: Any) -> float:
    try:
        if isinstance(value, bool | str):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"is {value!r:.60}; give a number", field=option.name) from None


def _in_range(option: Option, value: Any) -> Any:
    least = float("-inf") if option.least is None else option.least
    most = float("inf") if option.most is None else option.most
    if not least <= value <= most:  # false for NaN too
        raise InvalidInput(f"is {value}; {option.advice}", field=option.name)
    return value


# Defined last because creating it runs the checks above.
DEFAULTS = SelectionOptions()
