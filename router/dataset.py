"""Reads a set of queries and tools or tables from a folder, for evaluation and for training.

The folder holds `corpus.jsonl` (a document a line: ``id``, ``group`` and ``tool``, or ``ddl`` with ``dialect``) and
`queries.jsonl` (``id``, ``query``, ``lang``, ``relevant``, ``split``, optionally ``candidates`` and ``group``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from shortlist.schemas.document import Table, Tool
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.table import parse_tables
from shortlist.schemas.tool import parse_tools

__all__ = ["Dataset", "DatasetDocument", "DatasetQuery", "load_dataset", "load_queries"]

_T = TypeVar("_T")

# Sets whose groups are real servers or APIs; elsewhere a group is a category or a file, which no caller would send.
_NAMESPACE_SETS = frozenset({"openapi", "mcp", "mcp_pseudo"})


@dataclass(frozen=True, slots=True)
class DatasetDocument:
    """One tool or table of a set."""

    id: str
    group: str
    item: Tool | Table


@dataclass(frozen=True, slots=True)
class DatasetQuery:
    """One query; `candidates` is None where the whole corpus is meant, `fields` the line as it stands in the file."""

    id: str
    text: str
    lang: str
    relevant: frozenset[str]
    candidates: tuple[str, ...] | None
    group: str
    split: str
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A set: its documents in file order and its queries of all splits."""

    name: str
    kind: str  # "tools" or "tables"
    documents: tuple[DatasetDocument, ...]
    queries: tuple[DatasetQuery, ...]

    def split(self, name: str) -> tuple[DatasetQuery, ...]:
        """Returns the queries of one split.

        Raises:
            InvalidInput: there are none; the message names the splits there are.
        """
        queries = tuple(query for query in self.queries if query.split == name)
        if not queries:
            present = ", ".join(sorted({query.split for query in self.queries})) or "none"
            raise InvalidInput(f"{self.name} has no split {name!r}; it has: {present}", field="split")
        return queries


def load_dataset(folder: Path, *, only: Set[str] | None = None) -> Dataset:
    """Reads a set; a line that does not parse is an error, since a measure over part of a set misleads.

    `only` keeps the documents of these ids: training reads a part of corpora that take minutes to parse whole.

    Raises:
        InvalidInput: a file is missing or a line is not what it should be.
    """
    queries = load_queries(folder)
    name = folder.absolute().name  # "." has none
    namespaced = name in _NAMESPACE_SETS
    read = _read(
        folder / "corpus.jsonl",
        lambda fields: _document(fields, namespaced) if only is None or fields["id"] in only else None,
    )
    documents = tuple(document for document in read if document is not None)
    kind = "tools" if documents and isinstance(documents[0].item, Tool) else "tables"
    return Dataset(name, kind, documents, queries)


def load_queries(folder: Path) -> tuple[DatasetQuery, ...]:
    """Reads the queries of a set, of all splits.

    Raises:
        InvalidInput: a file is missing or a line is not what it should be.
    """
    for file in ("corpus.jsonl", "queries.jsonl"):
        if not (folder / file).is_file():
            raise InvalidInput(
                f"{folder} holds no {file}; give a folder with corpus.jsonl and queries.jsonl", field="data"
            )
    return tuple(_read(folder / "queries.jsonl", _query))


def _read(path: Path, make: Callable[[Mapping[str, Any]], _T]) -> Iterator[_T]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                fields = json.loads(line)
            except ValueError as error:
                raise InvalidInput(f"line {number} is not JSON: {error}", field=str(path)) from error
            if not isinstance(fields, dict):
                raise InvalidInput(f"line {number} is not a JSON object", field=str(path))
            try:
                yield make(fields)
            except KeyError as error:
                raise InvalidInput(f"line {number} lacks the field {error}", field=str(path)) from error


def _document(fields: Mapping[str, Any], namespaced: bool) -> DatasetDocument:
    group = str(fields.get("group") or "")
    item = _tool(fields, group if namespaced else "") if "tool" in fields else _table(fields)
    return DatasetDocument(str(fields["id"]), group, item)


def _tool(fields: Mapping[str, Any], namespace: str) -> Tool:
    parsed = parse_tools([json.dumps(fields["tool"], ensure_ascii=False)], namespaces=[namespace])
    if not parsed.tools:
        reason = parsed.unparsed[0].reason if parsed.unparsed else "no tool"
        raise InvalidInput(reason, field=f"corpus document {fields['id']}")
    return parsed.tools[0]


def _table(fields: Mapping[str, Any]) -> Table:
    parsed = parse_tables(str(fields["ddl"]), dialect=fields.get("dialect"))
    if not parsed.tables:
        reason = parsed.unparsed[0].reason if parsed.unparsed else "no table"
        raise InvalidInput(reason, field=f"corpus document {fields['id']}")
    return replace(parsed.tables[0], source="")


def _query(fields: Mapping[str, Any]) -> DatasetQuery:
    candidates = fields.get("candidates")
    return DatasetQuery(
        id=str(fields["id"]),
        text=str(fields["query"]),
        lang=str(fields.get("lang") or ""),
        relevant=frozenset(fields["relevant"]),
        candidates=tuple(candidates) if candidates else None,
        group=str(fields.get("group") or ""),
        split=str(fields["split"]),
        fields=fields,
    )
