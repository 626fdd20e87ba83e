"""Defines a selector: whatever answers a query with a selection, in this process or from a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Unpack

from shortlist.schemas.arguments import Query, Tools
from shortlist.schemas.options import OptionArguments, SelectionOptions
from shortlist.schemas.results import Selection

__all__ = ["Selector"]


class Selector(Protocol):
    """What a Router and a Client have in common; code that takes one runs with and without a server.

    Options are given as `SelectionOptions`, as keywords of the same names, or both; keywords win. Wrong arguments raise
    `InvalidInput`, whose `field` names the argument; all errors are subclasses of `ShortlistError`.
    """

    def select_tools(
        self,
        query: Query,
        tools: Tools,
        options: SelectionOptions | None = None,
        *,
        namespaces: Sequence[str] = (),
        timeout_seconds: float | None = None,
        **more: Unpack[OptionArguments],
    ) -> Selection:
        """Selects the tools a query needs; `namespaces` is empty or has one entry per tool text."""
        ...

    def select_tables(
        self,
        query: Query,
        ddl: str,
        options: SelectionOptions | None = None,
        *,
        dialect: str | None = None,
        timeout_seconds: float | None = None,
        **more: Unpack[OptionArguments],
    ) -> Selection:
        """Selects the tables a question needs from a DDL script; the dialect is detected where none is given."""
        ...

    def rerank(
        self,
        query: Query,
        documents: Sequence[str],
        options: SelectionOptions | None = None,
        *,
        timeout_seconds: float | None = None,
        **more: Unpack[OptionArguments],
    ) -> Selection:
        """Ranks plain documents."""
        ...
