"""Lists the sets, the measures shown for each with their goals, and the methods that are compared.

The realistic sets come first, with their dev splits, by which models are chosen; the test splits after them choose
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from shortlist.schemas.errors import InvalidInput

DEPTHS = (1, 2, 3, 5, 10, 20, 50)
CANDIDATES = 50
# With fewer queries, a language's mean is too uncertain to report it as the lowest.
MIN_LANGUAGE_QUERIES = 30

HEADINGS = {
    "rerank": "Shortlist",
    "bm25": "BM25",
    "encoder": "encoder alone",
    "fused": "first stage",
    "base": "base embedder",
}
METHODS = tuple(HEADINGS)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Shown:
    """One row of the table: a measure, and the goal for `method`; with a `style`, over the queries of that style alone.

    With `is_lowest_language` the row shows the measure of the language with the lowest mean, among those with at least
    `MIN_LANGUAGE_QUERIES` queries.
    """

    measure: str
    goal: float | None = None
    method: str = "rerank"
    is_lowest_language: bool = False
    style: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A set with its split and scope, the measures to show, and an optional condition on its queries.

    If `passages_of` is given, the set has the pools of passages of that set under docs/, or of all but xquad if it is
    empty.
    """

    name: str
    shown: tuple[Shown, ...]
    scope: str = "corpus"
    where: str | None = None
    split: str = "test"
    passages_of: str | None = None

    @property
    def short_name(self) -> str:
        """The name without the kind."""
        return PurePosixPath(self.name).name

    @property
    def key(self) -> str:
        """The name as part of a file name."""
        return f"{self.name.replace('/', '-')}-{self.scope}" + ("" if self.split == "test" else f"-{self.split}")


# The cross-encoder cannot recover a document that the first stage dropped.
FIRST_STAGE = Shown("recall@50", 0.97, "fused")
CASES = (
    Case(
        "tools/tasks",
        (
            Shown("hit@1", 0.85),
            Shown("recall@5", 0.95),
            Shown("complete@5", 0.92),
            Shown("hit@1", 0.80, style="conversation"),
            Shown("hit@1", 0.80, style="the wish is buried in several sentences of context"),
            Shown("hit@1", 0.65, style="vague goal or a problem"),
            Shown("complete@5", 0.85, style="two or three steps"),
        ),
        split="dev",
    ),
    Case(
        "tables/real_schemas",
        (Shown("complete@5", 0.70), Shown("complete@10", 0.85), Shown("recall@50", 0.98, "fused")),
        scope="group",
        split="dev",
    ),
    Case(
        "docs/passages",
        (
            Shown("hit@1", 0.85, style="same language"),
            Shown("hit@1", 0.80, style="across languages"),
            Shown("hit@1", is_lowest_language=True),
        ),
        split="dev",
        passages_of="",
    ),
    Case(
        "docs/xquad",
        (Shown("hit@1", 0.85, style="same language"), Shown("hit@1", 0.80, style="across languages")),
        passages_of="xquad",
    ),
    Case("tools/stabletoolbench", (Shown("recall@3", 0.785), Shown("hit@1", 0.88), FIRST_STAGE)),
    Case("tools/toole", (Shown("ndcg@10", 0.95), Shown("recall@3", 0.97), FIRST_STAGE)),
    Case("tools/sealtools", (Shown("recall@5", 0.93), Shown("recall@3"), FIRST_STAGE)),
    Case("tools/bfcl_pool", (Shown("recall@5", 0.95), Shown("recall@3"), FIRST_STAGE), where="sgd_like=false"),
    Case("tools/bfcl_given", (Shown("hit@1", 0.97), FIRST_STAGE), where="sgd_like=false"),
    Case("tools/ha_intents", (Shown("hit@1", 0.90), Shown("hit@1", 0.75, is_lowest_language=True), FIRST_STAGE)),
    Case("tables/spider", (Shown("complete@5", 0.97), FIRST_STAGE)),
    Case("tables/spider_syn", (Shown("complete@5", 0.90), FIRST_STAGE)),
    Case("tables/spider_realistic", (Shown("complete@5", 0.95), FIRST_STAGE)),
    Case("tables/statbot_swiss", (Shown("complete@3", 0.90), FIRST_STAGE)),
)


def choose_cases(names: str) -> tuple[Case, ...]:
    """Returns the cases named in a list separated by commas or spaces; all cases if it is empty.

    A name may include the kind (`tools/toole`) or leave it out (`toole`).

    Raises:
        InvalidInput: there is no such set.
    """
    by_name = {case.name: case for case in CASES} | {case.short_name: case for case in CASES}
    return _choose(names, by_name, tuple(case.short_name for case in CASES), "set") or CASES


def choose_methods(names: str) -> tuple[str, ...]:
    """Returns the methods named in a list separated by commas or spaces; all methods if it is empty.

    Raises:
        InvalidInput: there is no such method.
    """
    return _choose(names, {name: name for name in METHODS}, METHODS, "method") or METHODS


def _choose(names: str, by_name: dict[str, _T], listed: tuple[str, ...], what: str) -> tuple[_T, ...]:
    wanted = names.replace(",", " ").split()
    for name in wanted:
        if name not in by_name:
            raise InvalidInput(f"unknown {what} {name!r}; use some of {', '.join(listed)}", field=f"{what}s")
    order = list(dict.fromkeys(by_name.values()))
    return tuple(sorted({by_name[name] for name in wanted}, key=order.index))
