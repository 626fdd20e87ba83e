"""Picks the few tools, tables or documents that a query needs, out of many.

    from shortlist import Router             # in this process
    from shortlist import Client             # from a server

Both answer `select_tools`, `select_tables` and `rerank`. Names other than the errors are imported when they are
first used, so that a client loads no torch and a Router no gRPC.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shortlist.client.client import AsyncClient, Client
    from shortlist.client.retries import RetryPolicy
    from shortlist.router.catalogs.catalog import Catalog
    from shortlist.router.pipeline import Router
    from shortlist.schemas.conversation import Message
    from shortlist.schemas.options import SelectionOptions
    from shortlist.schemas.results import Selection
    from shortlist.schemas.selector import Selector

# A checkout's own folder would otherwise hide the rest of an installed package from programs that run in it.
__path__ = extend_path(__path__, __name__)

from shortlist.schemas import errors
from shortlist.schemas.errors import *  # noqa: F403 - every error, by its own list

_MODULES = {
    "AsyncClient": "shortlist.client.client",
    "Catalog": "shortlist.router.catalogs.catalog",
    "Client": "shortlist.client.client",
    "Message": "shortlist.schemas.conversation",
    "RetryPolicy": "shortlist.client.retries",
    "Router": "shortlist.router.pipeline",
    "Selection": "shortlist.schemas.results",
    "SelectionOptions": "shortlist.schemas.options",
    "Selector": "shortlist.schemas.selector",
}

__all__ = [
    "AsyncClient",
    "Catalog",
    "Client",
    "Message",
    "RetryPolicy",
    "Router",
    "Selection",
    "SelectionOptions",
    "Selector",
]
__all__ += errors.__all__


def __getattr__(name: str) -> Any:
    """Imports the module of a public name when the name is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
