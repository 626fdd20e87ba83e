"""Resolves the references of a schema within the schema; another document is never fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable

if TYPE_CHECKING:
    from referencing import Specification
    from referencing._core import Resolver

__all__ = ["References", "is_remote"]

# `referencing` does not validate `$id` and pointers, so that invalid schemas raise these.
_MALFORMED = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
_MAX_EMBEDDED = 20


class References:
    """The references of one schema.

    A reference is looked up from the root of the schema, then from each embedded `$id`. The registry holds only the
    schema itself and the published metaschemas; it retrieves nothing. Without `has_ids` only pointers are looked up.
    """

    def __init__(self, schema: object, specification: Specification[Any], *, has_ids: bool = True) -> None:
        self._schema, self._has_ids = schema, has_ids
        self._specification = specification
        self._resolved: dict[str, object] = {}
        self._root: Resolver[Any] | None = None
        self._crawled: list[Resolver[Any]] | None = None

    def resolve(self, reference: str) -> object:
        """Returns the schema that a reference points to; None if it is not in this schema."""
        if reference not in self._resolved:
            self._resolved[reference] = self._look_up(reference)
        return self._resolved[reference]

    def unresolved(self) -> list[str]:
        """Returns the references that were looked up and are not in this schema."""
        return [reference for reference, target in self._resolved.items() if target is None]

    def _look_up(self, reference: str) -> object:
        with suppress(*_MALFORMED):
            if self._root is None:
                self._root = REGISTRY.resolver_with_root(self._specification.create_resource(self._schema))
            if reference.startswith("#/") and (target := _try(self._root, reference)) is not None:
                return target
        if not self._has_ids:
            return None
        # Anchors and embedded ids need a crawl of the whole schema. It is done once, not once for each lookup.
        if self._crawled is None:
            self._crawled = list(self._crawl())
        for resolver in self._crawled[: None if reference.startswith("#") else 1]:
            if (target := _try(resolver, reference)) is not None:
                return target
        return None

    def _crawl(self) -> Iterator[Resolver[Any]]:
        with suppress(*_MALFORMED):
            resource = self._specification.create_resource(self._schema)
            base = resource.id() or ""
            root = REGISTRY.with_resource(base, resource).crawl().resolver(base)
            yield root
            for id_ in self._embedded_ids():
                with suppress(Unresolvable, *_MALFORMED):
                    yield root.lookup(id_).resolver

    def _embedded_ids(self) -> list[str]:
        found: list[str] = []
        for key in ("$defs", "definitions"):
            definitions = self._schema.get(key) if isinstance(self._schema, Mapping) else None
            if isinstance(definitions, Mapping):
                ids = [part.get("$id") for part in definitions.values() if isinstance(part, Mapping)]
                found += [id_ for id_ in ids if isinstance(id_, str) and id_]
        return found[:_MAX_EMBEDDED]


def _try(resolver: Resolver[Any], reference: str) -> object:
    try:
        target: object = resolver.lookup(reference).contents
    except (Unresolvable, *_MALFORMED):
        return None
    return target


def is_remote(reference: str) -> bool:
    """Returns whether a reference points to another document."""
    return not reference.startswith("#")
