"""Loads what is measured: BM25, a model, or the embedder from which the built-in model was trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from cases import CANDIDATES

from shortlist import Router
from shortlist.evaluation.ranking import dataset_item
from shortlist.router.first_stage.candidates import Candidates
from shortlist.schemas.document import Table, Tool
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools

# The answers to these identify a model's weights, because weights may change under the same version.
_PROBE_QUERY = "refund the payment of order 7"
_PROBE_TOOLS = (
    '{"name": "create_refund", "description": "Refund a payment"}',
    '{"name": "get_weather", "description": "Weather of a city"}',
)
_PROBE_TABLES = "create table payments (id int, order_id int); create table cities (id int, name text);"


@dataclass(frozen=True, slots=True)
class Subject:
    """A ranker under test: `router` is None for BM25; `method` is its name in `shortlist.evaluation`."""

    method: str
    name: str
    version: str
    router: Router | None = None
    probe: tuple[float, ...] = ()


class Subjects:
    """Makes the subject of each method; a model is loaded once, when it is first needed."""

    def __init__(self, model: str, make_base: Callable[[], Path]) -> None:
        self._model, self._make_base = model, make_base

    def of(self, method: str) -> Subject:
        """Returns the subject of one of `METHODS`.

        Raises:
            ModelError: the model cannot be loaded.
            InvalidInput: the method needs an encoder and the model has none.
        """
        if method == "bm25":
            return Subject(method, "bm25", metadata.version("shortlist"))
        if method == "base":
            return _subject("encoder", *self._base)
        if method in ("encoder", "fused") and not self.has_encoder:
            name = self._own[0].info.name
            raise InvalidInput(f"{name} has no encoder, which {method} needs", field="methods")
        return _subject(method, *self._own)

    @property
    def has_encoder(self) -> bool:
        """Whether the model has an encoder."""
        return self._own[0].embedder is not None

    @cached_property
    def _own(self) -> tuple[Router, tuple[float, ...]]:
        return _with_probe(Router.load(self._model, cache_dir="off"))

    @cached_property
    def _base(self) -> tuple[Router, tuple[float, ...]]:
        return _with_probe(Router.load(self._make_base(), cache_dir="off"))


def _subject(method: str, router: Router, probe: tuple[float, ...]) -> Subject:
    return Subject(method, router.info.name, router.info.version, router, probe)


def _with_probe(router: Router) -> tuple[Router, tuple[float, ...]]:
    """Returns the router with its probe: scores and logits of a few tools and tables, and a part of a vector."""
    tools = _scores(router, parse_tools(_PROBE_TOOLS).tools, "tools")
    tables = _scores(router, parse_tables(_PROBE_TABLES).tables, "tables")
    vector: list[Any] = []
    if router.embedder:
        vector = router.embedder.embed_queries([_PROBE_QUERY])[0].vector[:8].tolist()
        vector += astuple(router.embedder.settings)  # the first stage's weights do not affect so few candidates
    return router, tuple(round(value, 6) for value in (*tools, *tables, *vector))


def _scores(router: Router, items: Sequence[Tool | Table], kind: Kind) -> list[float]:
    found = Candidates([dataset_item(item, place) for place, item in enumerate(items)])
    scored, scores = router.score_items(_PROBE_QUERY, found, kind, max_candidates=CANDIDATES)
    return [*(one.score for one in scored), *scores.logits]
