"""Draws pools of documents with queries whose answers in the pool are known: judged tools, schemas, and passages.

A pool of `tools/tasks` is what its queries were judged against. Of a database in `tables/real_schemas`, a pool has the
tables that its questions need, their look-alikes by words, and others. Of passages, it has those that answer, their
look-alikes by words, and nothing that is the same section in another language. More wishes for tools and questions
about databases are in `training/wishes` (see its README).
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import widen
from placeholders import draw_placeholders

from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.first_stage.bm25 import Bm25
from shortlist.schemas.conversation import Message, query_text
from shortlist.schemas.document import Table, Tool
from shortlist.schemas.serialise import lexical_details, lexical_text, table_document, tool_document
from shortlist.schemas.sql.parse import parse_tables
from shortlist.schemas.tools.parse import parse_tools

__all__ = ["WISHES", "JudgedSets", "Pool", "PoolDocument", "Wish", "wish_text"]

TASKS, SCHEMAS = "tools/tasks", "tables/real_schemas"
WISHES = Path(__file__).with_name("wishes")
# The tools of WISHES are in these sets; where several have one, the first counts.
_TOOL_SETS = (TASKS, "tools/mcp", "tools/openapi")
# Questions whose passage does not stand alone, or is noisy: drawn less often.
NOISY = {"docs/qa_ar_arcd": 0.5, "docs/qa_tr_thquad": 0.4, "docs/qa_he_heq": 0.5, "docs/qa_en_covidqa": 0.4}
PASSAGE_POWER = 0.5
# People ask questions; two thirds of the sets have headings in their place.
QUESTION_SETS, QUESTION_WEIGHT = "docs/qa_", 2.0
POOL_TABLES, POOL_QUESTIONS, POOL_PASSAGES = 48, 12, 10
LOOKALIKES = 10
# A pool has so many look-alikes of each question about passages.
PASSAGE_LOOKALIKES = 3
WITHOUT_NAMESPACES, WIDENED = 0.25, 0.25


@dataclass(frozen=True, slots=True)
class Wish:
    """A query; `needed` and `acceptable` are places in its pool's documents, all others are wrong.

    `unknown` are places of which nothing is known. `nearest` are the wrong documents, the nearest by words first; it is
    empty for pools of tools.
    """

    text: str
    needed: tuple[int, ...]
    acceptable: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    nearest: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolDocument:
    """A document of a pool: a tool, a table, or a passage with the `key` that its translations share."""

    item: Tool | Table | str
    key: str = ""

    def write(self, tokenizer: Tokenizer, budget: int) -> str:
        """Writes it within `budget` tokens; a passage is cut later."""
        if isinstance(self.item, str):
            return self.item[: 12 * budget]
        write: Any = tool_document if isinstance(self.item, Tool) else table_document
        return str(write(self.item, count_tokens=tokenizer.count, budget_tokens=budget))


@dataclass(frozen=True, slots=True)
class Pool:
    """Documents and the queries that they were judged for; a pool of tools has a name, which no other has."""

    kind: str  # tools, tables or documents
    documents: tuple[PoolDocument, ...]
    wishes: tuple[Wish, ...]
    name: str = ""


class JudgedSets:
    """The judged sets under a folder, of one split ("train" or "dev"); `wishes` is a folder with more for "train"."""

    def __init__(
        self,
        data: Path,
        split: str,
        *,
        kinds: Sequence[str] = ("tools", "tables", "documents"),
        wishes: Path | None = None,
    ) -> None:
        more = wishes if split == "train" else None
        self.tools = list(_task_pools(data / TASKS, split)) if "tools" in kinds else []
        if more and "tools" in kinds:
            self.tools += _wish_pools(data, more)
        self._schemas = _Schemas(data / SCHEMAS, split, more) if "tables" in kinds else None
        folders = sorted((data / "docs").iterdir()) if "documents" in kinds else []
        passages = [_Passages(folder, split) for folder in folders if (folder / "queries.jsonl").exists()]
        self._passages = {f"docs/{one.name}": one for one in passages if one.queries}

    def draw(self, kind: str, rng: random.Random) -> Pool:
        """Draws a pool of one kind; its tools and tables vary as in `widen`."""
        if kind == "tools":
            return self.vary(rng.choice(self.tools), rng)
        if kind == "tables":
            assert self._schemas is not None
            return self.vary(self._schemas.draw(rng), rng)
        names = list(self._passages)
        weights = [
            len(self._passages[n].queries) ** PASSAGE_POWER
            * NOISY.get(n, 1.0)
            * (QUESTION_WEIGHT if n.startswith(QUESTION_SETS) else 1.0)
            for n in names
        ]
        return _with_placeholders(self._passages[rng.choices(names, weights)[0]].draw(rng), rng)

    @classmethod
    def vary(cls, pool: Pool, rng: random.Random) -> Pool:
        """Varies a pool: documents that say nothing are added, namespaces left out, or all change as in `widen`."""
        return _with_placeholders(cls._changed(pool, rng), rng)

    @staticmethod
    def _changed(pool: Pool, rng: random.Random) -> Pool:
        """Varies all documents of a pool alike, half of the time."""
        draw = rng.random()
        items = [one.item for one in pool.documents]
        if draw < WITHOUT_NAMESPACES:
            changed = [replace(one, namespace="") if isinstance(one, Tool) else one for one in items]
        elif draw < WITHOUT_NAMESPACES + WIDENED:
            changed = [_vary(one, rng) for one in items]
        else:
            return pool
        return replace(pool, documents=tuple(replace(d, item=i) for d, i in zip(pool.documents, changed, strict=True)))


def _with_placeholders(pool: Pool, rng: random.Random) -> Pool:
    """Adds documents that say nothing at the end of a pool, now and then; they are wrong for every query."""
    added = draw_placeholders(pool.kind, rng)
    return replace(pool, documents=(*pool.documents, *map(PoolDocument, added))) if added else pool


def wish_text(fields: Mapping[str, Any]) -> str:
    """Returns the text that a query is ranked by: itself, or its conversation as a request writes it."""
    if not fields.get("messages"):
        return str(fields["query"])
    return query_text([Message(one["role"], one["content"]) for one in fields["messages"]])


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _task_pools(folder: Path, split: str) -> Iterator[Pool]:
    grouped: defaultdict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for file in ("queries.jsonl", "queries_none.jsonl"):
        for fields in _read(folder / file):
            if fields["split"] == split:
                grouped[tuple(fields["candidates"])].append(fields)
    wanted = {identifier for ids in grouped for identifier in ids}
    tools = {
        fields["id"]: parse_tools([json.dumps(fields["tool"])], namespaces=[fields["group"]]).tools[0]
        for fields in _read(folder / "corpus.jsonl")
        if fields["id"] in wanted
    }
    for number, (ids, queries) in enumerate(grouped.items()):
        places = {identifier: place for place, identifier in enumerate(ids)}
        wishes = tuple(
            Wish(
                wish_text(fields),
                tuple(places[one] for one in fields["relevant"]),
                tuple(places[one] for one in fields.get("acceptable") or ()),
            )
            for fields in queries
        )
        yield Pool("tools", tuple(PoolDocument(tools[one]) for one in ids), wishes, name=str(number))


def _wish_pools(data: Path, wishes: Path) -> Iterator[Pool]:
    """Reads pools of tools by id, and the wishes about them, whose `needed` and `ok` are places in the pool."""
    asked: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for fields in _read(wishes / "tools.jsonl"):
        asked[fields["pool"]].append(fields)
    pools = [pool for pool in _read(wishes / "pools.jsonl") if pool["pool"] in asked]
    tools = _find_tools(data, {identifier for pool in pools for identifier in pool["candidates"]})
    for pool in pools:
        found = tuple(
            Wish(wish_text(fields), tuple(fields["needed"]), tuple(fields["ok"])) for fields in asked[pool["pool"]]
        )
        yield Pool("tools", tuple(PoolDocument(tools[one]) for one in pool["candidates"]), found, name=pool["pool"])


def _find_tools(data: Path, wanted: set[str]) -> dict[str, Tool]:
    found: dict[str, Tool] = {}
    for name in _TOOL_SETS:
        for fields in _read(data / name / "corpus.jsonl"):
            if fields["id"] in wanted and fields["id"] not in found:
                found[fields["id"]] = parse_tools([json.dumps(fields["tool"])], namespaces=[fields["group"]]).tools[0]
    if missing := wanted - found.keys():
        raise SystemExit(f"no set of {', '.join(_TOOL_SETS)} has {min(missing)} and {len(missing) - 1} more")
    return found


class _Schemas:
    """The databases with their questions; a pool is a part of one."""

    def __init__(self, folder: Path, split: str, wishes: Path | None) -> None:
        asked: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for fields in _read(folder / "queries.jsonl"):
            if fields["split"] == split and fields["relevant"]:
                asked[fields["group"]].append(fields)
        for fields in _read(wishes / "tables.jsonl") if wishes else ():
            if fields["group"] in asked:
                relevant = [f"{fields['group']}.{table}" for table in fields["tables"]]
                asked[fields["group"]].append(fields | {"relevant": relevant})
        self._tables: defaultdict[str, dict[str, Table]] = defaultdict(dict)
        for fields in _read(folder / "corpus.jsonl"):
            if fields["group"] in asked and (tables := parse_tables(fields["ddl"], dialect=fields["dialect"]).tables):
                self._tables[fields["group"]].setdefault(fields["id"], replace(tables[0], source=""))
        self._words = {name: _words(list(tables.values())) for name, tables in self._tables.items()}
        self._asked = {
            name: [fields for fields in questions if all(one in self._tables[name] for one in fields["relevant"])]
            for name, questions in asked.items()
        }

    def draw(self, rng: random.Random) -> Pool:
        """Draws questions about one database, and the tables that are hardest to tell apart for them."""
        name = rng.choice([name for name, questions in self._asked.items() if questions])
        questions = rng.sample(self._asked[name], min(POOL_QUESTIONS, len(self._asked[name])))
        ids = list(self._tables[name])
        chosen = {one: None for fields in questions for one in fields["relevant"]}
        for rank in range(LOOKALIKES):
            for fields in questions:
                if len(chosen) < POOL_TABLES:
                    order = np.argsort(-self._words[name].scores(fields["query"]), kind="stable")
                    chosen |= {ids[place]: None for place in order[rank : rank + 1]}
        rest = [one for one in ids if one not in chosen]
        chosen |= dict.fromkeys(rng.sample(rest, max(0, min(len(rest), POOL_TABLES - len(chosen)))))
        places = {one: place for place, one in enumerate(chosen)}
        place_of = {one: place for place, one in enumerate(ids)}
        at = [place_of[one] for one in chosen]
        wishes = []
        for fields in questions:
            needed = tuple(places[one] for one in fields["relevant"])
            scores = self._words[name].scores(fields["query"])[at]
            wishes.append(Wish(fields["query"], needed, nearest=_nearest(scores, needed)))
        return Pool("tables", tuple(PoolDocument(self._tables[name][one]) for one in chosen), tuple(wishes))


def _words(items: Sequence[Tool | Table]) -> Bm25:
    return Bm25([lexical_text(one) for one in items], [lexical_details(one) for one in items])


def _nearest(scores: npt.NDArray[np.float32], right: Sequence[int]) -> tuple[int, ...]:
    """Returns the places of the wrong documents, best score first."""
    return tuple(int(place) for place in np.argsort(-scores, kind="stable") if int(place) not in right)


class _Passages:
    """The passages of one set with the questions about them."""

    def __init__(self, folder: Path, split: str) -> None:
        self.name = folder.name
        self.queries = [fields for fields in _read(folder / "queries.jsonl") if fields["split"] == split]
        if not self.queries:
            return
        corpus = list(_read(folder / "corpus.jsonl"))
        self._documents = [PoolDocument(fields["text"], str(fields.get("key") or "")) for fields in corpus]
        self._places = {fields["id"]: place for place, fields in enumerate(corpus)}
        self._words = Bm25([fields["text"][:2000] for fields in corpus])

    def draw(self, rng: random.Random) -> Pool:
        """Draws questions with the passages that answer them, and some look-alikes of each question."""
        asked = rng.sample(self.queries, min(POOL_PASSAGES, len(self.queries)))
        answers = [[self._places[one] for one in fields["relevant"]] for fields in asked]
        chosen = {place: None for places in answers for place in places}
        scores = [self._words.scores(fields["query"]) for fields in asked]
        for own, places in zip(scores, answers, strict=True):
            order = np.argsort(-own, kind="stable")[: LOOKALIKES + len(places)]
            others = [int(place) for place in order if int(place) not in places and not self._same(place, places)]
            chosen |= dict.fromkeys(rng.sample(others, min(PASSAGE_LOOKALIKES, len(others))))
        at = {place: index for index, place in enumerate(chosen)}
        wishes = []
        for fields, own, places in zip(asked, scores, answers, strict=True):
            needed = tuple(at[place] for place in places)
            unknown = tuple(index for place, index in at.items() if place not in places and self._same(place, places))
            nearest = _nearest(own[list(chosen)], (*needed, *unknown))
            wishes.append(Wish(fields["query"], needed, unknown=unknown, nearest=nearest))
        return Pool("documents", tuple(self._documents[place] for place in chosen), tuple(wishes))

    def _same(self, place: int, places: Sequence[int]) -> bool:
        """Whether a passage says the same as one of `places`: a translation, or an equal text."""
        one = self._documents[place]
        others = [self._documents[other] for other in places]
        return any((one.key and one.key == other.key) or one.item == other.item for other in others)


def _vary(item: Tool | Table | str, rng: random.Random) -> Tool | Table | str:
    if isinstance(item, Tool):
        return widen.vary_tool(item, rng)
    return widen.vary_table(item, (), rng) if isinstance(item, Table) else item
