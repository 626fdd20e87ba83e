"""Reads a set of queries with tools, tables or plain documents from a folder, for evaluation and training.

The folder holds `corpus.jsonl` (one document per line: ``id``, ``group`` and ``tool``, or ``ddl`` with ``dialect``, or
``text``) and `queries.jsonl` (``id``, ``query``, ``lang``, ``relevant``, ``split``, optionally ``acceptable``,
``candidates``, ``group``, ``messages`` for a conversation, and ``src`` for its style). Nothing fits a query that has no
relevant document; `queries_none.jsonl` may hold more of these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from shortlist.schemas.conversation import Message, Query, read_messages
from shortlist.schemas.document import Table, Tool
from shortlist.schemas.errors import InvalidInput
from shortlist.schemas.options import Kind
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools

__all__ = ["Dataset", "DatasetDocument", "DatasetQuery", "load_dataset", "load_queries"]

_T = TypeVar("_T")

# Sets whose groups are real servers or APIs, used as namespaces; in other sets a group is a category or a file, which
# no caller would send.
_NAMESPACE_SETS = frozenset({"openapi", "mcp", "mcp_pseudo", "tasks"})
_NOTHING_FITS = "queries_none.jsonl"


class _WrongField(Exception):
    """A field of a line has a wrong value; the text names the field."""


@dataclass(frozen=True, slots=True)
class DatasetDocument:
    """One tool, table or plain text of a set; a text's `key` is the same for its translations."""

    id: str
    group: str
    item: Tool | Table | str
    key: str = ""


@dataclass(frozen=True, slots=True)
class DatasetQuery:
    """One query; `candidates` is None if the whole corpus is the pool, `fields` is the line of the file.

    All of `relevant` are needed, and a document of `acceptable` would do as well as one of them. Nothing fits the query
    if both are empty. `text` is the last turn of a conversation, whose turns are `messages`; `style` is its ``src``.
    """

    id: str
    text: str
    lang: str
    relevant: frozenset[str]
    candidates: tuple[str, ...] | None
    group: str
    split: str
    fields: Mapping[str, Any] = field(repr=False)
    acceptable: frozenset[str] = frozenset()
    messages: tuple[Message, ...] = ()
    style: str = ""

    @property
    def query(self) -> Query:
        """What a request takes: the conversation, or the text."""
        return self.messages or self.text


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
            InvalidInput: there are none; the message lists the splits of the set.
        """
        queries = tuple(query for query in self.queries if query.split == name)
        if not queries:
            present = ", ".join(sorted({query.split for query in self.queries})) or "none"
            raise InvalidInput(f"{self.name} has no split {name!r}; it has: {present}", field="split")
        return queries


def load_dataset(folder: Path, *, only: Set[str] | None = None) -> Dataset:
    """Reads a set; a line that does not parse is an error, because measures over part of a set are misleading.

    `only` keeps the documents with these ids: training needs only part of corpora that take minutes to parse.

    Raises:
        InvalidInput: a file is missing or a line is invalid.
    """
    queries = load_queries(folder)
    name = folder.absolute().name  # Path(".") has no name
    namespaced = name in _NAMESPACE_SETS
    seen: set[str] = set()

    def read_document(fields: Mapping[str, Any]) -> DatasetDocument | None:
        key = str(fields["id"])
        if key in seen and "ddl" in fields:
            return None  # a schema may define a table again; its first definition counts
        if key in seen:
            raise InvalidInput(f"the id {key!r} occurs twice", field=str(folder / "corpus.jsonl"))
        seen.add(key)
        return _document(fields, namespaced) if only is None or key in only else None

    read = _read(folder / "corpus.jsonl", read_document)
    documents = tuple(document for document in read if document is not None)
    _check_ids(queries, seen, folder / "queries.jsonl")
    return Dataset(name, _kind(documents), documents, queries)


def _kind(documents: Sequence[DatasetDocument]) -> Kind:
    if documents and isinstance(documents[0].item, str):
        return "documents"
    return "tools" if documents and isinstance(documents[0].item, Tool) else "tables"


def _check_ids(queries: Iterable[DatasetQuery], known: Set[str], path: Path) -> None:
    """Rejects ids that are not in the corpus: they would count as documents that the ranking missed."""
    for query in queries:
        for what, ids in (
            ("relevant", query.relevant),
            ("acceptable", query.acceptable),
            ("candidates", query.candidates or ()),
        ):
            if strays := sorted(set(ids) - known):
                raise InvalidInput(
                    f"{what} of query {query.id!r}: corpus.jsonl has no document {strays[0]!r}", field=str(path)
                )


def load_queries(folder: Path) -> tuple[DatasetQuery, ...]:
    """Reads the queries of all splits of a set.

    Raises:
        InvalidInput: a file is missing or a line is invalid.
    """
    for file in ("corpus.jsonl", "queries.jsonl"):
        if not (folder / file).is_file():
            raise InvalidInput(
                f"{folder} holds no {file}; give a folder with corpus.jsonl and queries.jsonl", field="data"
            )
    files = [folder / "queries.jsonl", folder / _NOTHING_FITS]
    return tuple(query for file in files if file.is_file() for query in _read(file, _query))


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
    item = _item(fields, group if namespaced else "")
    return DatasetDocument(str(fields["id"]), group, item, str(fields.get("key") or ""))


def _item(fields: Mapping[str, Any], namespace: str) -> Tool | Table | str:
    if "text" in fields:
        return str(fields["text"])
    return _tool(fields, namespace) if "tool" in fields else _table(fields)


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
        raise InvalidInput(
            "its ddl defines several tables; put each on a line of its own", field=f"corpus document {fields['id']}"
        )
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
        acceptable=frozenset(_ids(fields.get("acceptable") or [], "acceptable")),
        messages=_messages(fields.get("messages")),
        style=str(fields.get("src") or ""),
    )


def _messages(listed: object) -> tuple[Message, ...]:
    if not listed:
        return ()
    if not isinstance(listed, list):
        raise _WrongField("messages should be a list")
    try:
        return read_messages(listed, "messages")
    except InvalidInput as error:
        raise _WrongField(str(error)) from error


def _ids(listed: object, name: str) -> tuple[str, ...]:
    if not isinstance(listed, list) or not all(isinstance(one, str | int) for one in listed):
        raise _WrongField(f"{name} should be a list of ids")
    ids = tuple(map(str, listed))
    if len(set(ids)) < len(ids):
        raise _WrongField(f"{name} lists an id twice")
    return ids
