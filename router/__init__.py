"""Ranks tools and tables for a query: `from shortlist.router import Router`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shortlist.router.pipeline import Router
    from shortlist.schemas.results import Message, Selection

__all__ = ["Message", "Router", "Selection"]


def __getattr__(name: str) -> Any:
    """Imports the Router, and with it torch, on first use."""
    if name == "Router":
        from shortlist.router.pipeline import Router

        return Router
    if name in ("Message", "Selection"):
        from shortlist.schemas import results

        return getattr(results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
