"""Keeps what was made of the catalogs seen last: agents send the same tools, services the same schema, each time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

from shortlist.router.first_stage.candidates import ItemSet, item_of_table, item_of_tool
from shortlist.schemas.document import ParsedTables, ParsedTools, Table
from shortlist.schemas.results import CacheCounts
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools

__all__ = ["Catalog", "CatalogCache"]

# What a character of a catalog takes once it is parsed and indexed (docs/log.md).
_BYTES_PER_CHAR = 16


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tools or tables of a request as they were read, and the set they are ranked in."""

    parsed: ParsedTools | ParsedTables
    items: ItemSet

    @property
    def kind(self) -> str:
        """Which these are, ``tools`` or ``tables``."""
        return "tools" if isinstance(self.parsed, ParsedTools) else "tables"

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables, none where these are tools."""
        return () if isinstance(self.parsed, ParsedTools) else self.parsed.tables


class CatalogCache:
    """Reads catalogs, and keeps those used last by their exact text; safe to share between threads.

    All that are kept take about `max_bytes` at most, without their vectors. Two requests that bring a new catalog at
    once may both read it. One that alone takes more is not kept.
    """

    def __init__(self, max_bytes: int = 128 << 20) -> None:
        self._kept: OrderedDict[bytes, tuple[Catalog, int]] = OrderedDict()
        self._max_chars, self._num_chars = max_bytes // _BYTES_PER_CHAR, 0
        self._num_hits = self._num_misses = 0
        self._lock = threading.Lock()

    @property
    def counts(self) -> CacheCounts:
        """How often a catalog was there already."""
        with self._lock:
            return CacheCounts(self._num_hits, self._num_misses, len(self._kept))

    def tools(self, texts: Sequence[str], namespaces: Sequence[str]) -> Catalog:
        """Reads tools; raises as `parse_tools`."""

        def read() -> Catalog:
            parsed = parse_tools(texts, namespaces=namespaces)
            return Catalog(parsed, ItemSet([item_of_tool(tool) for tool in parsed.tools]))

        return self._get(chain([f"tools {len(texts)}"], texts, namespaces), read)

    def tables(self, ddl: str, dialect: str | None) -> Catalog:
        """Reads a script; raises as `parse_tables`."""

        def read() -> Catalog:
            parsed = parse_tables(ddl, dialect=dialect)
            return Catalog(parsed, ItemSet([item_of_table(table) for table in parsed.tables]))

        return self._get(["tables", dialect or "", ddl], read)

    def _get(self, texts: Iterable[str], read: Callable[[], Catalog]) -> Catalog:
        key, num_chars = _digest(texts)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                self._num_hits += 1
                return self._kept[key][0]
            self._num_misses += 1
        catalog = read()
        with self._lock:
            self._put(key, catalog, num_chars)
        return catalog

    def _put(self, key: bytes, catalog: Catalog, num_chars: int) -> None:
        if key in self._kept or num_chars > self._max_chars:
            return
        self._kept[key] = (catalog, num_chars)
        self._num_chars += num_chars
        while self._num_chars > self._max_chars:
            _, (_, forgotten) = self._kept.popitem(last=False)
            self._num_chars -= forgotten


def _digest(texts: Iterable[str]) -> tuple[bytes, int]:
    """Returns a key that only the same texts in the same order have, and how many characters they have."""
    made, num_chars = blake2b(digest_size=16), 0
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        made.update(len(encoded).to_bytes(8, "little"))
        made.update(encoded)
        num_chars += len(text)
    return made.digest(), num_chars
