"""Reads a set of queries and tools or tables from a folder, for evaluation and for training.

The folder holds `corpus.jsonl` (a document a line: ``id``, ``group`` and ``tool``, or ``ddl`` with ``dialect``) and
`queries.jsonl` (``id``, ``query``, ``lang``, ``relevant``, ``split``, optionally ``candidates`` and ``group``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from shortlist.schemas.document import Table, Tool
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools

__all__ = ["Dataset", "DatasetDocument", "DatasetQuery", "load_dataset", "load_queries"]

_T = TypeVar("_T")

# Sets whose groups are real servers or APIs; elsewhere a group is a category or a file, which no caller would send.
_NAMESPACE_SETS = frozenset({"openapi", "mcp", "mcp_pseudo"})


class _WrongField(Exception):
    """A field of a line is not what it should be; the text names it."""


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
    kind: Kind
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
    seen: set[str] = set()

    def read_document(fields: Mapping[str, Any]) -> DatasetDocument | None:
        key = str(fields["id"])
        if key in seen:
            raise InvalidInput(f"the id {key!r} stands there twice", field=str(folder / "corpus.jsonl"))
        seen.add(key)
        return _document(fields, namespaced) if only is None or key in only else None

    read = _read(folder / "corpus.jsonl", read_document)
    documents = tuple(document for document in read if document is not None)
    _check_ids(queries, seen, folder / "queries.jsonl")
    kind: Kind = "tools" if documents and isinstance(documents[0].item, Tool) else "tables"
    return Dataset(name, kind, documents, queries)


def _check_ids(queries: Iterable[DatasetQuery], known: Set[str], path: Path) -> None:
    """A document that is not there could only be missed, and would pass for one that was."""
    for query in queries:
        for what, ids in (("relevant", query.relevant), ("candidates", query.candidates or ())):
            if strays := sorted(set(ids) - known):
                raise InvalidInput(f"{what} of query {query.id!r}: corpus.jsonl has no {strays[0]!r}", field=str(path))


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
            except _WrongField as error:
                raise InvalidInput(f"line {number}: {error}", field=str(path)) from error


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
    if len(parsed.tables) > 1:
        raise InvalidInput("its ddl defines several tables; give each a line", field=f"corpus document {fields['id']}")
    return replace(parsed.tables[0], source="")


def _query(fields: Mapping[str, Any]) -> DatasetQuery:
    candidates = fields.get("candidates")
    return DatasetQuery(
        id=str(fields["id"]),
        text=str(fields["query"]),
        lang=str(fields.get("lang") or ""),
        relevant=frozenset(_ids(fields["relevant"], "relevant")),
        candidates=_ids(candidates, "candidates") if candidates else None,
        group=str(fields.get("group") or ""),
        split=str(fields["split"]),
        fields=fields,
    )


def _ids(listed: object, name: str) -> tuple[str, ...]:
    if not isinstance(listed, list) or not all(isinstance(one, str | int) for one in listed):
        raise _WrongField(f"{name} should be a list of ids")
    ids = tuple(map(str, listed))
    if len(set(ids)) < len(ids):
        raise _WrongField(f"{name} names an id twice")
    return ids
