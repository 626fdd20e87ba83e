"""Loads what is measured: words alone, a model, or the embedder that the built-in model grew from."""

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

# A model is known again by what it answers to these, since weights may change under the same version.
_PROBE_QUERY = "refund the payment of order 7"
_PROBE_TOOLS = (
    '{"name": "create_refund", "description": "Refund a payment"}',
    '{"name": "get_weather", "description": "Weather of a city"}',
)
_PROBE_TABLES = "create table payments (id int, order_id int); create table cities (id int, name text);"


@dataclass(frozen=True, slots=True)
class Subject:
    """What ranks: `router` is None for words alone; `method` is the name that `evaluate` knows it by."""

    method: str
    name: str
    version: str
    router: Router | None = None
    probe: tuple[float, ...] = ()


class Subjects:
    """Finds the subject of each method; a model is loaded once, when it is first asked for."""

    def __init__(self, model: str, make_base: Callable[[], Path]) -> None:
        self._model, self._make_base = model, make_base

    def of(self, method: str) -> Subject:
        """Returns the subject of one of `METHODS`.

        Raises:
            ModelError: it cannot be loaded.
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
        """Says whether the model has an encoder."""
        return self._own[0].embedder is not None

    @cached_property
    def _own(self) -> tuple[Router, tuple[float, ...]]:
        return _with_probe(Router.load(self._model))

    @cached_property
    def _base(self) -> tuple[Router, tuple[float, ...]]:
        return _with_probe(Router.load(self._make_base()))


def _subject(method: str, router: Router, probe: tuple[float, ...]) -> Subject:
    return Subject(method, router.info.name, router.info.version, router, probe)


def _with_probe(router: Router) -> tuple[Router, tuple[float, ...]]:
    """Adds the model's scores and logits of a few tools and tables, and the head of a vector."""
    tools = _scores(router, parse_tools(_PROBE_TOOLS).tools, "tools")
    tables = _scores(router, parse_tables(_PROBE_TABLES).tables, "tables")
    vector: list[Any] = []
    if router.embedder:
        vector = router.embedder.embed_queries([_PROBE_QUERY])[0].vector[:8].tolist()
        vector += astuple(router.embedder.settings)  # how the first stage weighs, which so few candidates do not show
    return router, tuple(round(value, 6) for value in (*tools, *tables, *vector))


def _scores(router: Router, items: Sequence[Tool | Table], kind: Kind) -> list[float]:
    found = Candidates([dataset_item(item, place) for place, item in enumerate(items)])
    scored, scores = router.score_items(_PROBE_QUERY, found, kind, max_candidates=CANDIDATES)
    return [*(one.score for one in scored), *scores.logits]
