"""Defines what a selection answers: the selected items, and how they came about."""

from __future__ import annotations

from dataclasses import dataclass

from shortlist.schemas.document import Unparsed
from shortlist.schemas.options import Kind

__all__ = [
    "CacheCounts",
    "ModelInfo",
    "Selected",
    "SelectedColumn",
    "Selection",
    "ServerInfo",
    "Timings",
    "Truncation",
    "describe_nothing",
]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What runs, where, and its limits in tokens; a query's special tokens count towards `max_query_tokens`."""

    name: str
    version: str
    license: str
    device: str
    dtype: str
    attention: str
    max_query_tokens: int
    max_pair_tokens: int
    default_query_tokens: int
    default_pair_tokens: int
    num_parameters: int
    vocabulary_size: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What answers: the model, the program's version, the largest message in bytes (0: no limit), the SQL dialects."""

    model: ModelInfo
    server_version: str
    max_message_bytes: int
    dialects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SelectedColumn:
    """A column of a selected table that is worth keeping, with its score (0..1)."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Selected:
    """One tool, table or document that was selected.

    `index` is its place in the request, from 0; `rank` its place in the ranking, from 1; `score` lies in 0..1. A table
    is counted among all tables and views of the script; a family has the place of its parent, or of its first member.
    `source` is its original text verbatim, empty where the caller did not want it. `name` is empty for a document.
    `columns` are those of a table that are to be kept, in the table's order, where the caller asked for them.
    `members` are the full names of the partitions or shards that a table represents, in script order.
    """

    name: str
    index: int
    rank: int
    score: float
    source: str = ""
    namespace: str = ""
    always_included: bool = False
    columns: tuple[SelectedColumn, ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Truncation:
    """A candidate of which only `kept_tokens` of `total_tokens` were scored; `index` -1 stands for the query."""

    index: int
    name: str
    kept_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """How often a cache had what was asked for since it was made, how often not, and how many things it holds."""

    num_hits: int = 0
    num_misses: int = 0
    num_kept: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """The wall time of each stage of one request, in milliseconds."""

    queue_ms: float = 0.0
    parse_ms: float = 0.0
    retrieve_ms: float = 0.0
    tokenize_ms: float = 0.0
    infer_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Selection:
    """What a Router or a client answers: the selected items, best first, and how the selection came about.

    `num_candidates` were read, `num_scored` of them went through the cross-encoder, `num_dropped` were left out by the
    first stage. `num_tokens` counts what the cross-encoder read, the query once per pair. `is_degraded` says that the
    time did not suffice for the cross-encoder: the order is the first stage's, and scores are positions. `dialect` is
    the one that a DDL script was read in, given or detected; it is empty for SQL that every dialect reads alike.
    """

    items: tuple[Selected, ...]
    num_candidates: int
    num_scored: int
    num_dropped: int
    unparsed: tuple[Unparsed, ...]
    warnings: tuple[str, ...]
    truncated: tuple[Truncation, ...]
    model_name: str
    model_version: str
    num_tokens: int
    timings: Timings
    is_degraded: bool = False
    dialect: str = ""


def describe_nothing(kind: Kind, num_unparsed: int) -> str:
    """Returns the warning of a request in which there is nothing to rank, of which `num_unparsed` could not be read."""
    if kind == "tables":
        are = "statement is" if num_unparsed == 1 else "statements are"
        left_out = f" that can be read; {num_unparsed} {are} left out" if num_unparsed else ""
        return f"the script defines no table{left_out}"
    if num_unparsed == 1:
        return f"the only {kind.removesuffix('s')} could not be read"
    return f"none of the {num_unparsed} {kind} could be read" if num_unparsed else f"no {kind} were given"
