"""The Router: a query in, the right tools, tables or documents out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shortlist.router.catalogs.caches import Caches
from shortlist.router.catalogs.catalog import Catalog
from shortlist.router.checkpoints.loading import BUILT_IN, load_model, make_engine
from shortlist.router.checkpoints.native import LoadedModel
from shortlist.router.checks import check_options, check_range, check_share
from shortlist.router.engine.engine import DirectScorer, Engine
from shortlist.router.engine.protocols import CancelToken, PairScorer
from shortlist.router.engine.tokenizer import TokenIds
from shortlist.router.first_stage.candidates import FirstStage, Item, ItemSet, narrow
from shortlist.router.first_stage.embedder import QUERY_PREFIX, Embedder
from shortlist.router.query import query_text
from shortlist.router.ranking.column_selection import name_columns
from shortlist.router.ranking.degraded import NO_SCORES, OUT_OF_TIME, first_stage_order, raise_unless_degraded
from shortlist.router.ranking.score import ColumnWeights, Features, Rules, Scored, choose, final_score, with_neighbours
from shortlist.router.ranking.windows import DocumentScores, chunk_budget, cut_query, score_documents
from shortlist.router.reference import Reranker
from shortlist.router.remarks import MAX_NEW_VECTORS, narrowing_warnings, pinned_places, truncations
from shortlist.router.run import Clock, Run
from shortlist.schemas.document import Unparsed
from shortlist.schemas.errors import InvalidInput, ModelMismatch
from shortlist.schemas.results import CacheCounts, Message, ModelInfo, Selected, Selection, Truncation
from shortlist.schemas.tools.texts import tool_texts

__all__ = ["Router"]

# The encoder reads the beginning of a plain document.
_MAX_DENSE_CHARS = 4_000

Tools = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]


class Router:
    """Ranks tools, tables and documents for a query with one model; safe to share between threads.

    >>> router = Router.load()  # doctest: +SKIP
    >>> router.select_tools("email the report to Ada", tools).items[0].name  # doctest: +SKIP
    'send_email'
    """

    def __init__(
        self,
        loaded: LoadedModel,
        engine: Engine,
        scorer: PairScorer,
        info: ModelInfo,
        caches: Caches | None = None,
    ) -> None:
        self._loaded, self._scorer = loaded, scorer
        self._caches = caches or Caches()
        self.engine, self.info = engine, info
        longest = loaded.model.config.max_pair_tokens
        self.embedder = (
            Embedder(loaded.tokenizer, scorer, loaded.retrieval, self._caches.vectors, max_tokens=longest)
            if loaded.retrieval
            else None
        )

    @classmethod
    def load(
        cls,
        model: str | Path = BUILT_IN,
        *,
        device: str = "auto",
        dtype: str = "auto",
        attention: str = "auto",
        allow_download: bool = False,
        revision: str | None = None,
        max_batch_tokens: int | None = None,
        cache_mb: float | None = None,
    ) -> Router:
        """Loads the built-in model, a folder, or a model of the hub (fetched only with `allow_download`).

        It remembers some `cache_mb` MiB of catalogs and documents' vectors, 512 unless told otherwise.

        Raises:
            ModelError: there is no such model, or this program does not run its kind.
            InvalidInput: the device, dtype or attention is unknown or not to be had on this machine, or `cache_mb` is
                negative.
        """
        loaded = load_model(model, allow_download=allow_download, revision=revision)
        engine, info = make_engine(
            loaded, device=device, dtype=dtype, attention=attention, max_batch_tokens=max_batch_tokens
        )
        return cls(loaded, engine, DirectScorer(engine), info, None if cache_mb is None else Caches.within(cache_mb))

    def with_scorer(self, scorer: PairScorer) -> Router:
        """Returns a Router of the same model whose pairs go through `scorer`."""
        return Router(self._loaded, self.engine, scorer, self.info, self._caches)

    @property
    def cache_counts(self) -> dict[str, CacheCounts]:
        """How the caches do, by name: of `catalogs`, and of documents' `vectors`."""
        return self._caches.counts

    def as_reference(self) -> Reranker:
        """Returns the same model behind the reference's own methods, `compute_score` and `rerank`."""
        return Reranker(
            self._loaded.tokenizer,
            self._scorer,
            max_pair_tokens=self.info.max_pair_tokens,
            default_query_tokens=self.info.default_query_tokens,
            default_pair_tokens=self.info.default_pair_tokens,
        )

    def select_tools(
        self,
        query: str | Sequence[Message],
        tools: Tools,
        *,
        top_n: int = 5,
        min_score: float = 0.0,
        always_include: Sequence[str] = (),
        max_candidates: int = 50,
        namespaces: Sequence[str] = (),
        expected_model: str | None = None,
        expected_version: str | None = None,
        cancel: CancelToken | None = None,
        allow_degraded: bool = False,
    ) -> Selection:
        """Selects the tools a query needs, from JSON texts or mappings, each one tool or a container of many.

        `top_n` and `max_candidates` 0 mean all; names in `always_include` are returned on top of `top_n`. With
        `allow_degraded` a request whose time runs out is answered with the first stage's order.

        Raises:
            InvalidInput: the query is empty, an option is out of range, or a mapping cannot be written as JSON.
            ModelMismatch: another model or version is loaded than expected.
            RequestCancelled: `cancel` was set.
        """
        run = self._begin(query, top_n, min_score, max_candidates, expected_model, expected_version, cancel)
        run.allow_degraded = allow_degraded
        with run.clock.stage("parse"):
            catalog = self._caches.catalogs.tools(tool_texts(tools), namespaces)
        return self._select(run, catalog, always_include)

    def select_tables(
        self,
        question: str | Sequence[Message],
        ddl: str,
        *,
        dialect: str | None = None,
        top_n: int = 5,
        min_score: float = 0.0,
        always_include: Sequence[str] = (),
        max_candidates: int = 50,
        expected_model: str | None = None,
        expected_version: str | None = None,
        cancel: CancelToken | None = None,
        allow_degraded: bool = False,
        keep_columns: float = 0.0,
    ) -> Selection:
        """Selects the tables a question needs from a DDL script; the dialect is detected where none is given.

        With `keep_columns` above 0 that share of their columns is named, and of each at least the best one.

        Raises: as `select_tools`, and UnknownDialect.
        """
        check_share(keep_columns)
        run = self._begin(question, top_n, min_score, max_candidates, expected_model, expected_version, cancel)
        run.allow_degraded = allow_degraded
        with run.clock.stage("parse"):
            catalog = self._caches.catalogs.tables(ddl, dialect)
        selection = self._select(run, catalog, always_include)
        return name_columns(self, run, selection, catalog.tables, keep_columns) if keep_columns else selection

    def rerank(
        self,
        query: str | Sequence[Message],
        documents: Sequence[str],
        *,
        top_n: int = 5,
        min_score: float = 0.0,
        max_candidates: int = 50,
        max_query_tokens: int | None = None,
        max_pair_tokens: int | None = None,
        overlap_tokens: int = 80,
        return_documents: bool = True,
        expected_model: str | None = None,
        expected_version: str | None = None,
        cancel: CancelToken | None = None,
        allow_degraded: bool = False,
    ) -> Selection:
        """Ranks plain documents by the cross-encoder alone; a long one counts as its best window of `max_pair_tokens`.

        Raises: as `select_tools`, and LimitExceeded for a document of more than 524,288 tokens.
        """
        if isinstance(documents, str):
            raise InvalidInput("is one text; give a list of them", field="documents")
        run = self._begin(query, top_n, min_score, max_candidates, expected_model, expected_version, cancel)
        run.allow_degraded = allow_degraded
        window = self._window(max_query_tokens, max_pair_tokens, overlap_tokens)
        items = ItemSet([_plain_item(text, index) for index, text in enumerate(documents)])
        try:
            scored, scores = self._score_plain(run, items, window)
        except OUT_OF_TIME as error:
            raise_unless_degraded(run, error)
            scored, scores = first_stage_order(run, items, frozenset()), NO_SCORES
        return self._answer(run, items.items, scored, scores, keep_sources=return_documents)

    def _score_plain(self, run: Run, items: ItemSet, window: _Window) -> tuple[list[Scored], DocumentScores]:
        """Scores the best documents by the cross-encoder alone."""
        places = list(range(len(items.items)))
        if 0 < run.max_candidates < len(places):
            with run.clock.stage("retrieve"):
                run.found = self._first_stage(run, items)
                places = narrow(run.found.scores, run.max_candidates)
            run.warnings += narrowing_warnings(run.found, places)
        with run.clock.stage("tokenize"):
            query_ids = self._encode_query(run, window.max_query_tokens)
            encoded = self._loaded.tokenizer.encode([items.items[place].source for place in places])
        scores = self._score(run, query_ids, encoded, window, places)
        scored = [
            Scored(place, final_score(Features(logit), None))
            for place, logit in zip(places, scores.logits, strict=True)
        ]
        return scored, scores

    def _select(self, run: Run, catalog: Catalog, always_include: Sequence[str]) -> Selection:
        """Selects among tools or tables with all the features there is."""
        run.warnings += catalog.parsed.warnings
        items = catalog.items.items
        pinned = pinned_places(items, always_include, run.warnings)
        try:
            scored, scores = self.score_items(run, catalog.items, pinned, catalog.kind)
        except OUT_OF_TIME as error:
            raise_unless_degraded(run, error)
            scored, scores = first_stage_order(run, catalog.items, pinned), NO_SCORES
        return self._answer(run, items, scored, scores, unparsed=catalog.parsed.unparsed)

    def score_items(
        self, run: Run, items: ItemSet, pinned: Set[int], kind: str, found: FirstStage | None = None
    ) -> tuple[list[Scored], DocumentScores]:
        """Scores the best `run.max_candidates` by the first stage, and those at the places `pinned`.

        `kind` (tools or tables) chooses how the features weighs; `found` is what the first stage found, where it ran.
        """
        places, features, scores = self.gather_features(run, items, pinned, found)
        weights = self._loaded.score_weights.get(kind)
        if weights and weights.neighbour:
            at = {place: index for index, place in enumerate(places)}
            links = [[at[other] for other in items.links(place) if other in at] for place in places]
            features = with_neighbours(features, links)
        scored = [
            Scored(place, final_score(one, weights), place in pinned)
            for place, one in zip(places, features, strict=True)
        ]
        return scored, scores

    @property
    def column_weights(self) -> ColumnWeights:
        """How the features on a column makes its score."""
        return self._loaded.column_weights

    def gather_features(
        self, run: Run, items: ItemSet, pinned: Set[int], found: FirstStage | None = None
    ) -> tuple[list[int], list[Features], DocumentScores]:
        """Runs both stages, the first only where its findings are not given.

        Returns the places that were kept and what is known of each.
        """
        with run.clock.stage("retrieve"):
            run.found = found = found or self._first_stage(run, items)
            places = narrow(found.scores, run.max_candidates, sorted(pinned))
        run.warnings += narrowing_warnings(found, places)
        window = self._window(None, None, 0)
        with run.clock.stage("tokenize"):
            query_ids = self._encode_query(run, window.max_query_tokens)
            room = chunk_budget(len(query_ids), self._loaded.tokenizer, window.max_pair_tokens)
            encoded = items.encode(places, self._loaded.tokenizer, min(self._loaded.document_tokens, room))
        run.truncated += truncations(items.items, places, encoded)
        scores = self._score(run, query_ids, [document.ids for document in encoded], window, places)
        features = [
            replace(found.features(place), logit=logit) for place, logit in zip(places, scores.logits, strict=True)
        ]
        return places, features, scores

    def _first_stage(self, run: Run, items: ItemSet) -> FirstStage:
        return items.first_stage(run.query, self.embedder, max_new_vectors=MAX_NEW_VECTORS, cancel=run.cancel)

    def _begin(
        self,
        query: str | Sequence[Message],
        top_n: int,
        min_score: float,
        max_candidates: int,
        expected_model: str | None,
        expected_version: str | None,
        cancel: CancelToken | None,
    ) -> Run:
        clock = Clock()
        self._check_model(expected_model, expected_version)
        check_options(top_n, min_score, max_candidates)
        return Run(query_text(query, self._fits), Rules(top_n, min_score), max_candidates, clock, cancel)

    def _fits(self, query: str) -> bool:
        """Tells whether a query is read in full by both stages, where no window of its own is asked for."""
        (ids,) = self._loaded.tokenizer.encode([QUERY_PREFIX + query])
        return len(cut_query(ids, self.info.default_query_tokens)) == len(ids)

    def _check_model(self, name: str | None, version: str | None) -> None:
        for what, wanted, actual in (("model", name, self.info.name), ("version", version, self.info.version)):
            if wanted and wanted != actual:
                raise ModelMismatch(
                    f"the request expects {what} {wanted!r}, this server runs {actual!r}; "
                    "scores of different models do not compare",
                    wanted=wanted,
                )

    def _window(self, max_query_tokens: int | None, max_pair_tokens: int | None, overlap_tokens: int) -> _Window:
        info = self.info
        pair = info.default_pair_tokens if max_pair_tokens is None else max_pair_tokens
        query = min(info.default_query_tokens, pair // 2) if max_query_tokens is None else max_query_tokens
        check_range("max_pair_tokens", pair, 8, info.max_pair_tokens, f"the limit of {info.name}")
        check_range("max_query_tokens", query, 3, pair // 2, "half of max_pair_tokens")
        if overlap_tokens < 0:
            raise InvalidInput(f"is {overlap_tokens}; give 0 or more", field="overlap_tokens")
        return _Window(query, pair, overlap_tokens)

    def _encode_query(self, run: Run, max_query_tokens: int) -> TokenIds:
        (ids,) = self._loaded.tokenizer.encode([run.query])
        kept = cut_query(ids, max_query_tokens)
        if len(kept) < len(ids):
            run.truncated.append(Truncation(-1, "", len(kept), len(ids)))
        return kept

    def _score(
        self, run: Run, query_ids: TokenIds, encoded: Sequence[TokenIds], window: _Window, places: Sequence[int]
    ) -> DocumentScores:
        if run.cancel is not None:
            run.cancel.raise_if_cancelled()
        return score_documents(
            query_ids,
            encoded,
            tokenizer=self._loaded.tokenizer,
            scorer=self._scorer,
            max_pair_tokens=window.max_pair_tokens,
            overlap_tokens=window.overlap_tokens,
            places=places,
            cancel=run.cancel,
        )

    def _answer(
        self,
        run: Run,
        items: Sequence[Item],
        scored: Sequence[Scored],
        scores: DocumentScores,
        *,
        unparsed: tuple[Unparsed, ...] = (),
        keep_sources: bool = True,
    ) -> Selection:
        chosen = choose(scored, run.rules)
        return Selection(
            items=tuple(_selected(items[s.place], s, rank, keep_sources) for rank, s in enumerate(chosen, 1)),
            num_candidates=len(items),
            num_scored=len(scores.logits),
            num_dropped=len(items) - len(scored),
            unparsed=unparsed,
            warnings=tuple(run.warnings),
            truncated=tuple(run.truncated),
            model_name=self.info.name,
            model_version=self.info.version,
            num_tokens=scores.num_tokens,
            timings=run.clock.timings(scores),
            is_degraded=run.is_degraded,
        )


@dataclass(frozen=True, slots=True)
class _Window:
    max_query_tokens: int
    max_pair_tokens: int
    overlap_tokens: int


def _selected(item: Item, scored: Scored, rank: int, keep_source: bool) -> Selected:
    source = item.source if keep_source else ""
    return Selected(item.name, item.index, rank, scored.score, source, item.namespace, scored.is_pinned)


def _plain_item(text: str, index: int) -> Item:
    return Item("", index, text, "", text, lambda *_: text[:_MAX_DENSE_CHARS])
