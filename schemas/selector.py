"""Defines the protocol of whatever answers a query with a selection, in this process or from a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Unpack

from shortlist.schemas.arguments import Tools
from shortlist.schemas.conversation import Query
from shortlist.schemas.options import OptionArguments, SelectionOptions
from shortlist.schemas.results import Selection

__all__ = ["Selector"]


class Selector(Protocol):
    """The methods that a Router and a Client share; code that takes a Selector runs with or without a server.

    Options are given as `SelectionOptions`, as keywords of the same names, or both; keywords win. Wrong arguments raise
    `InvalidInput`, whose `field` names the argument. All errors are subclasses of `ShortlistError`.
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
        """Selects the tools that a query needs; `namespaces` is empty or has one entry per tool text."""
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
        """Selects the tables of a DDL script that a question needs; without `dialect`, the dialect is detected."""
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
        """Ranks plain documents for a query."""
        ...
