from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import server_fakes

from shortlist.router.pipeline import Router

METHODS = sorted(name for name, _ in inspect.getmembers(server_fakes.Router, callable) if not name.startswith("_"))


def parameters_of(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Gives name, kind and default of each parameter."""
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", METHODS)
def test_the_fake_router_takes_what_the_real_one_takes(name: str) -> None:
    assert parameters_of(getattr(server_fakes.Router, name)) == parameters_of(getattr(Router, name))


def test_the_fake_router_has_every_method_that_a_server_calls() -> None:
    assert {"load", "select_tables", "select_tools", "rerank", "with_scorer"} <= set(METHODS)
