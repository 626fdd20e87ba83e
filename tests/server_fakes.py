"""A Router and an engine without a model, with the signatures of the real ones: a pair scores by shared words."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

from shortlist.router.catalogs.catalog import Catalog, Item, members_of
from shortlist.router.engine.protocols import CancelToken, Embedded, PairScorer, PairScores, TextVectors
from shortlist.schemas.arguments import Tools, check_timeout
from shortlist.schemas.conversation import Message, Query, query_text, read_query
from shortlist.schemas.document import Column, Table
from shortlist.schemas.errors import InvalidInput, ModelMismatch, ShortlistError
from shortlist.schemas.options import OptionArguments, SelectionOptions, make_options
from shortlist.schemas.results import (
    CacheCounts,
    ModelInfo,
    Selected,
    SelectedColumn,
    Selection,
    Timings,
    Truncation,
)


@dataclass(frozen=True)
class FakePair:
    query: str
    chunk: str
    num_tokens: int = 0

    def __len__(self) -> int:
        return self.num_tokens or 4 + len(words(self.query)) + len(words(self.chunk))


@dataclass
class FakeEngine:
    """Scores a pair by the share of the query's words it holds; `gate` holds every batch back until it is set.

    `kinds` says which of the two models each of the `batches` was for. A chunk with "explode" fails the batch, one
    with "crash" ends the thread that runs it, one with "memory" wants it for itself, one with "stall" says so on stdout
    and sleeps for a minute. Each token takes `seconds_per_token`.
    """

    max_batch_tokens: int = 1000
    seconds_per_token: float = 0.0
    batches: list[list[FakePair]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.gate.set()

    def enter(self) -> None:
        """Computes nothing, so it has no threads to limit."""

    def run(self, pairs: Sequence[FakePair]) -> list[float]:
        self._enter("score", pairs)
        return [overlap(pair.query, pair.chunk) for pair in pairs]

    def embed(self, texts: Sequence[FakePair]) -> list[Embedded]:
        """Gives a text the share of words as in `run`, and its length, for a vector."""
        import numpy as np  # a server process made of these fakes starts without it

        self._enter("embed", texts)
        made = [[overlap(text.query, text.chunk), float(len(text))] for text in texts]
        return [Embedded(np.array(vector, np.float32)) for vector in made]

    def _enter(self, kind: str, pairs: Sequence[FakePair]) -> None:
        self.kinds.append(kind)
        self.batches.append(list(pairs))
        self.entered.release()
        assert self.gate.wait(90), "the test never opened the gate"
        time.sleep(self.seconds_per_token * sum(map(len, pairs)))
        if any("stall" in pair.chunk for pair in pairs):
            print("stalling", flush=True)
            time.sleep(120)
        if any("crash" in pair.chunk for pair in pairs):
            raise SystemExit("the engine's thread is gone")
        if len(pairs) > 1 and any("memory" in pair.chunk for pair in pairs):
            raise MemoryError
        if any("explode" in pair.chunk for pair in pairs):
            raise RuntimeError(f"the engine exploded on {pairs[0].query}")

    def wait_until_entered(self) -> None:
        assert self.entered.acquire(timeout=60), "no batch reached the engine"

    @property
    def queries(self) -> list[set[str]]:
        return [{pair.query for pair in batch} for batch in self.batches]


@dataclass
class DirectScorer:
    engine: FakeEngine

    def score(self, pairs: Sequence[FakePair], *, cancel: CancelToken | None = None) -> PairScores:
        return PairScores(self.engine.run(pairs), sum(map(len, pairs)), 0.0, 0.0)

    def embed(self, texts: Sequence[FakePair], *, cancel: CancelToken | None = None) -> TextVectors:
        return TextVectors(self.engine.embed(texts), sum(map(len, texts)), 0.0, 0.0)


INFO = ModelInfo(
    name="fake",
    version="1",
    license="MIT",
    device="cpu",
    dtype="float32",
    attention="none",
    max_query_tokens=256,
    max_pair_tokens=512,
    default_query_tokens=128,
    default_pair_tokens=512,
    num_parameters=5_000_000_000,
    vocabulary_size=100,
)


class Router:
    """Has the name of the real one, so that a module holding it can stand in for `shortlist.router.pipeline`."""

    embedder = None  # it ranks by words alone

    def __init__(self, engine: FakeEngine | None = None, scorer: PairScorer | None = None) -> None:
        self.engine = engine or FakeEngine()
        self.info = INFO
        self._scorer = scorer or DirectScorer(self.engine)

    @classmethod
    def load(
        cls,
        model: str | Path = "built-in",
        *,
        device: str = "auto",
        dtype: str = "auto",
        attention: str = "auto",
        allow_download: bool = False,
        revision: str | None = None,
        max_batch_tokens: int | None = None,
        threads: int | None = None,
        cache_mb: float | None = None,
        cache_dir: str | Path | None = None,
    ) -> Router:
        if model == "missing":
            raise ShortlistError("no such model")
        if model == "slow":
            time.sleep(120)
        return cls()

    @property
    def engines(self) -> tuple[FakeEngine, ...]:
        return (self.engine,)

    @property
    def cache_counts(self) -> dict[str, CacheCounts]:
        return {"catalogs": CacheCounts(3, 1, 1), "vectors": CacheCounts()}

    def with_scorer(self, scorer: PairScorer) -> Router:
        return Router(self.engine, scorer)

    def select(
        self,
        query: Query,
        catalog: Catalog,
        options: SelectionOptions | None = None,
        *,
        timeout_seconds: float | None = None,
        cancel: CancelToken | None = None,
        **more: Unpack[OptionArguments],
    ) -> Selection:
        wanted = make_options(catalog.kind, options, more)
        check_timeout(timeout_seconds)
        found = [
            Selected(
                item.name, item.index, 0, 0.0, item.source, item.namespace,
                columns=tuple(SelectedColumn(one.name, wanted.keep_columns) for one in columns_of(item, wanted)),
                members=members_of(item),
            )
            for item in catalog.items
        ]  # fmt: skip
        selection = self._select(read_query(query), found, wanted, cancel)
        return dataclasses.replace(
            selection,
            unparsed=catalog.unparsed,
            warnings=(*catalog.warnings, *selection.warnings),
            dialect=catalog.dialect,
        )

    def select_tools(
        self,
        query: Query,
        tools: Tools,
        options: SelectionOptions | None = None,
        *,
        namespaces: Sequence[str] = (),
        timeout_seconds: float | None = None,
        cancel: CancelToken | None = None,
        **more: Unpack[OptionArguments],
    ) -> Selection:
        return self.select(
            query, Catalog.of_tools(tools, namespaces), options, timeout_seconds=timeout_seconds, cancel=cancel, **more
        )

    def select_tables(
        self,
        query: Query,
        ddl: str,
        options: SelectionOptions | None = None,
        *,
        dialect: str | None = None,
        timeout_seconds: float | None = None,
        cancel: CancelToken | None = None,
        **more: Unpack[OptionArguments],
    ) -> Selection:
        """Ranks tables; with `keep_columns` all columns are kept, each scoring that share."""
        return self.select(
            query, Catalog.of_tables(ddl, dialect), options, timeout_seconds=timeout_seconds, cancel=cancel, **more
        )

    def rerank(
        self,
        query: Query,
        documents: Sequence[str],
        options: SelectionOptions | None = None,
        *,
        timeout_seconds: float | None = None,
        cancel: CancelToken | None = None,
        **more: Unpack[OptionArguments],
    ) -> Selection:
        wanted = make_options("documents", options, more)
        most = wanted.max_pair_tokens
        if most is not None and most > self.info.max_pair_tokens:
            raise InvalidInput(f"is {most}; the model takes {self.info.max_pair_tokens}", field="max_pair_tokens")
        selection = self.select(
            query, Catalog.of_documents(documents), wanted, timeout_seconds=timeout_seconds, cancel=cancel
        )
        if wanted.return_documents:
            return selection
        return dataclasses.replace(
            selection, items=tuple(dataclasses.replace(item, source="") for item in selection.items)
        )

    def _select(
        self,
        query: str | Sequence[Message],
        found: Sequence[Selected],
        options: SelectionOptions,
        cancel: CancelToken | None,
    ) -> Selection:
        wanted = (options.expected_model or "fake", options.expected_version or "1")
        if wanted != ("fake", "1"):
            raise ModelMismatch(f"the loaded model is fake 1, not {' '.join(wanted)}")
        text = query_text(query)
        kept = found[: options.max_candidates or len(found)]
        scores = self._scorer.score([FakePair(text, item.source) for item in kept], cancel=cancel)
        ranked = sorted(zip(scores.logits, kept, strict=True), key=lambda pair: (-pair[0], pair[1].index))
        pinned = [pair for pair in ranked if pair[1].name in options.always_include]
        free = [pair for pair in ranked if pair not in pinned and pair[0] >= options.min_score]
        chosen = sorted(pinned + free[: options.top_n or len(free)], key=lambda pair: (-pair[0], pair[1].index))
        names = {item.name for item in found}
        return Selection(
            items=tuple(
                dataclasses.replace(item, rank=rank, score=score, always_included=item.name in options.always_include)
                for rank, (score, item) in enumerate(chosen, start=1)
            ),
            num_candidates=len(found),
            num_scored=len(kept),
            num_dropped=len(found) - len(kept),
            unparsed=(),
            warnings=tuple(f"no candidate is named {name!r}" for name in options.always_include if name not in names),
            truncated=self._cut(text),
            model_name=self.info.name,
            model_version=self.info.version,
            num_tokens=scores.num_tokens,
            timings=Timings(
                queue_ms=scores.queue_ms, infer_ms=scores.infer_ms, total_ms=scores.queue_ms + scores.infer_ms
            ),
        )

    def _cut(self, query: str) -> tuple[Truncation, ...]:
        """Reports a query of more words than the model reads tokens; it is scored whole all the same."""
        kept, total = self.info.default_query_tokens, len(words(query))
        return (Truncation(-1, "", kept, total),) if total > kept else ()


def columns_of(item: Item, options: SelectionOptions) -> Sequence[Column]:
    return item.subject.columns if options.keep_columns and isinstance(item.subject, Table) else ()


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def overlap(query: str, chunk: str) -> float:
    wanted = set(words(query))
    return len(wanted & set(words(chunk))) / len(wanted) if wanted else 0.0


def tool(name: str, description: str = "", **more: Any) -> dict[str, Any]:
    function: Mapping[str, Any] = {"name": name, "description": description, "parameters": {"type": "object"}, **more}
    return {"type": "function", "function": dict(function)}
