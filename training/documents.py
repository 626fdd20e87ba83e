"""Reads training groups and the documents they name; writes a document in a new random variation each time."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import widen
from forms import Form
from paraphrase import paraphrase

from shortlist.evaluation.dataset import load_dataset, load_queries
from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.schemas.document import Column, Table, Tool
from shortlist.schemas.serialise import column_document, table_document, tool_document

__all__ = ["Documents", "Group", "TableColumn", "column_groups", "draw_query", "read_groups"]

Key = tuple[str, str]  # set, document id
# How often a table gets a schema named after its database, as in a warehouse of many databases.
DATABASE_NAMED = 0.12
# Sets whose queries are sentences of documentation, and how often such a query is rewritten as a user's.
DOCUMENTATION_SETS = frozenset({"tools/openapi", "tools/pyfunc", "tools/mcp_pseudo", "tools/mcp"})
ASKED = 0.7
COLUMN_SETS = ("tables/spider", "tables/spider_syn", "tables/bird_train")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column and its table."""

    table: Table
    column: Column


@dataclass(frozen=True, slots=True)
class Group:
    """One query with its relevant documents and its look-alikes (hard negatives); `given` are its own candidates."""

    set: str
    split: str
    query: str
    cluster: str  # server, API or database
    positives: tuple[str, ...]
    lookalikes: tuple[str, ...]
    given: tuple[str, ...]


def read_groups(path: Path, split: str) -> list[Group]:
    """Reads the groups of one split that have a relevant document."""
    with path.open(encoding="utf-8") as lines:
        return [
            Group(
                fields["set"],
                split,
                fields["query"],
                fields["group"],
                tuple(fields["positives"]),
                tuple(fields["lookalikes"]),
                tuple(fields["given"]),
            )
            for fields in map(json.loads, lines)
            if fields["split"] == split and fields["positives"]
        ]


class Documents:
    """The tools and tables that a list of groups names."""

    def __init__(self, data: Path, groups: Sequence[Group], tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        wanted: dict[str, set[str]] = {}
        for group in groups:
            wanted.setdefault(group.set, set()).update(group.positives, group.lookalikes, group.given)
        self.items: dict[Key, Tool | Table | TableColumn] = {}
        self._groups: dict[Key, str] = {}
        for name in sorted(wanted):
            for document in load_dataset(data / name, only=wanted[name]).documents:
                self.items[name, document.id] = document.item
                self._groups[name, document.id] = document.group
        self._tables = [item for item in self.items.values() if isinstance(item, Table)]

    def write_plain(self, key: Key, budget: int) -> str:
        """Writes one tool or table within `budget` tokens, as for a request."""
        item = self.items[key]
        assert not isinstance(item, TableColumn)
        write = tool_document if isinstance(item, Tool) else table_document
        return write(item, count_tokens=self._tokenizer.count, budget_tokens=budget)  # type: ignore[arg-type]

    def write(self, key: Key, budget: int, rng: random.Random, *, form: Form | None = None) -> str:
        """Writes one document within `budget` tokens: in `form` if it is given, otherwise in a random variation."""
        item = self.items[key]
        count = self._tokenizer.count
        if form and not isinstance(item, TableColumn):
            return form(item)(count, budget)
        if isinstance(item, TableColumn):
            alone = replace(item.table, columns=(item.column,))
            table = widen.vary_table(alone, (), rng)
            return column_document(table, table.columns[0])
        if isinstance(item, Tool):
            return tool_document(widen.vary_tool(item, rng), count_tokens=count, budget_tokens=budget)
        others = rng.sample(self._tables, min(len(self._tables), rng.choice((3, 10, 40, 64))))
        table = widen.vary_table(item, others, rng)
        if not table.namespace and rng.random() < DATABASE_NAMED:
            table = replace(table, namespace=self._groups[key])
        return table_document(table, count_tokens=count, budget_tokens=budget)


def column_groups(data: Path, groups: Path, documents: Documents) -> list[Group]:
    """Makes a group of each training question whose columns are known; the other columns of its database are `given`.

    Adds the columns to `documents` under the name of their set followed by ``/columns``.
    """
    made: list[Group] = []
    for name in COLUMN_SETS:
        wanted = {(group.query, group.cluster) for group in read_groups(groups, "train") if group.set == name}
        tables: dict[str, dict[str, str]] = {}
        for document in load_dataset(data / name).documents:
            assert isinstance(document.item, Table)
            for column in document.item.columns:
                key = f"{document.id}.{column.name}".lower()
                documents.items[f"{name}/columns", key] = TableColumn(document.item, column)
                tables.setdefault(document.group, {})[key] = key
        for query in load_queries(data / name):
            gold = [one.lower() for one in query.fields.get("columns") or ()]
            own = tables.get(query.group, {})
            if (query.text, query.group) in wanted and gold and all(one in own for one in gold):
                rest = tuple(key for key in own if key not in gold)
                made.append(Group(f"{name}/columns", "train", query.text, query.group, tuple(gold), (), rest))
    return made


def draw_query(
    group: Group, pool: Sequence[Group], rng: random.Random, documents: Documents | None = None
) -> tuple[str, list[str]]:
    """Returns a variation of a group's query, and the ids that are relevant to it.

    A variation may join the wishes of several groups, misspell words, or put the query into a conversation. With
    `documents`, most sentences of documentation are rewritten as a user's query.
    """
    draw = rng.random()
    query = _wish(group, rng, documents)
    if group.set.startswith("tools/") and not group.given and draw < 0.18:
        near = [other for other in pool if other.cluster == group.cluster] if rng.random() < 0.6 else pool
        others = rng.sample(near, min(len(near), rng.choice((1, 1, 2))))
        others = [other for other in others if not other.given and other.query != group.query]
        wishes = [(query, group), *((_wish(other, rng, documents), other) for other in others)]
        rng.shuffle(wishes)
        positives = list(dict.fromkeys(one for _, member in wishes for one in member.positives))
        return widen.join_wishes([wish for wish, _ in wishes], rng), positives
    if 0.18 <= draw < 0.21:
        query = widen.put_in_conversation(query, rng)
    elif 0.21 <= draw < 0.26:
        query = widen.misspell(query, rng)
    elif 0.26 <= draw < 0.31:
        query = query.lower().rstrip(".?! ")
    return query, list(group.positives)


def _wish(group: Group, rng: random.Random, documents: Documents | None) -> str:
    if documents is None or group.set not in DOCUMENTATION_SETS or rng.random() > ASKED:
        return group.query
    item = documents.items[group.set, group.positives[0]]
    return paraphrase(group.query, item.parameters if isinstance(item, Tool) else (), rng)
