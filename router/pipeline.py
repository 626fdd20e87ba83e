"""The Router: a query in, the right tools, tables or documents out.

`Router._select` handles a parsed request from end to end: first stage → narrow → tokenize → score → combine → choose →
answer. Each step takes and returns plain values; none calls back into this module.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from shortlist.router.catalogs.caches import Caches, PreparedCatalog
from shortlist.router.catalogs.catalog import Catalog, CatalogText, Item, Pinned, find_pinned, members_of
from shortlist.router.catalogs.disk_cache import DiskCache, cache_folder
from shortlist.router.checkpoints.loading import BUILT_IN, load_model, make_engines
from shortlist.router.checkpoints.native import LoadedModel
from shortlist.router.engine.engine import Engine
from shortlist.router.engine.protocols import CancelToken, PairScorer
from shortlist.router.engine.streams import DirectScorer
from shortlist.router.engine.tokenizer import TokenIds
from shortlist.router.first_stage.candidates import (
    MAX_NEW_VECTORS,
    Candidates,
    FirstStage,
    budget_warnings,
    features_of,
    first_stage_order,
    narrow,
    narrowing_warnings,
)
from shortlist.router.first_stage.embedder import QUERY_PREFIX, Embedder
from shortlist.router.ranking.blank import put_blank_last
from shortlist.router.ranking.columns import (
    ScoredColumn,
    column_features,
    items_of_columns,
    name_columns,
    score_columns,
)
from shortlist.router.ranking.score import ColumnFeatures, Features, Scored, choose, combine
from shortlist.router.ranking.successors import put_successors_first
from shortlist.router.ranking.windows import (
    NO_SCORES,
    DocumentScores,
    Window,
    chunk_budget,
    keep_ends,
    make_window,
    score_documents,
)
from shortlist.router.reference import Reranker
from shortlist.router.stages import Clock
from shortlist.schemas.arguments import Tools, check_timeout
from shortlist.schemas.conversation import Query, ranked_text, read_query
from shortlist.schemas.document import Table
from shortlist.schemas.errors import DeadlineTooShort, InvalidInput, ModelMismatch, RequestCancelled
from shortlist.schemas.options import DEFAULTS, Kind, OptionArguments, SelectionOptions, make_options
from shortlist.schemas.results import CacheCounts, ModelInfo, Selected, Selection, Timings, Truncation

__all__ = ["Router"]

# The errors that end a request that runs out of time.
_OUT_OF_TIME = (RequestCancelled, DeadlineTooShort)
_NO_TIME_FOR_COLUMNS = "the time did not suffice to score columns, so none are named"


@dataclass(frozen=True, slots=True)
class _Request:
    """One request: the text to rank by, its options, its deadline, and warnings about what its query was cut to."""

    kind: Kind
    text: str
    options: SelectionOptions
    window: Window
    clock: Clock
    cancel: CancelToken | None = None
    warnings: Sequence[str] = ()

    def raise_unless_degraded(self, error: Exception) -> None:
        """Raises `error` unless the caller is still waiting and accepts an answer without the cross-encoder."""
        if not self.options.allow_degraded or (self.cancel is not None and self.cancel.caller_left):
            raise error


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The token ids of the query and of some documents, each within its budget, those that were cut, and warnings."""

    query_ids: TokenIds
    documents_ids: Sequence[TokenIds]
    truncated: Sequence[Truncation] = ()
    warnings: Sequence[str] = ()


class Router:
    """Ranks tools, tables and documents for a query with one model; threads may share it.

    Options are given as `SelectionOptions`, as keywords of the same names, or both; keywords win.

    Examples:
        >>> router = Router.load()  # doctest: +SKIP
        >>> router.select_tools("email the report to Ada", tools, top_n=3).items[0].name  # doctest: +SKIP
        'send_email'
    """

    def __init__(
        self,
        loaded: LoadedModel,
        engines: Sequence[Engine],
        scorer: PairScorer,
        info: ModelInfo,
        caches: Caches | None = None,
    ) -> None:
        self._loaded, self._scorer = loaded, scorer
        self._caches = caches or Caches()
        self.engines, self.info = tuple(engines), info
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
        threads: int | None = None,
        cache_mb: float | None = None,
        cache_dir: str | Path | None = None,
    ) -> Router:
        """Loads the built-in model, a folder, or a model of the hub (downloaded only with `allow_download`).

        On a CPU, `threads` batches are computed side by side: by default as many as this process may use CPUs, or
        OMP_NUM_THREADS says if that is fewer. The Router keeps up to about `cache_mb` MiB of catalogs and document
        vectors between requests, 512 by default. The vectors of tools and tables are also kept between processes, in
        the folder `cache_dir`: by default SHORTLIST_CACHE, or ~/.cache/shortlist; with ``off`` nowhere.

        Raises:
            ModelError: the model does not exist, or its kind is not supported.
            InvalidInput: the device, dtype or attention is unknown or unavailable on this machine, or `cache_mb` is
                negative.
        """
        loaded = load_model(model, allow_download=allow_download, revision=revision)
        engines, info = make_engines(
            loaded,
            device=device,
            dtype=dtype,
            attention=attention,
            max_batch_tokens=max_batch_tokens,
            threads=threads,
        )
        store = _vector_store(loaded, info, cache_dir) if loaded.retrieval and cache_mb != 0 else None
        caches = Caches.within(store=store) if cache_mb is None else Caches.within(cache_mb, store)
        return cls(loaded, engines, DirectScorer(engines), info, caches)

    def with_scorer(self, scorer: PairScorer) -> Router:
        """Returns a Router with the same model and caches that scores pairs with `scorer`."""
        return Router(self._loaded, self.engines, scorer, self.info, self._caches)

    @property
    def cache_counts(self) -> dict[str, CacheCounts]:
        """The hits, misses and entries of each cache: `catalogs`, and documents' `vectors`."""
        return self._caches.counts

    def as_reference(self) -> Reranker:
        """Returns the same model with the methods of the reference model, `compute_score` and `rerank`."""
        return Reranker(
            self._loaded.tokenizer,
            self._scorer,
            max_pair_tokens=self.info.max_pair_tokens,
            default_query_tokens=self.info.default_query_tokens,
            default_pair_tokens=self.info.default_pair_tokens,
        )

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
        """Selects from a catalog that was read before.

        The Router caches what it derives from the catalog under the catalog's digest, so the next query reuses it.
        `cancel` cancels the request from another thread; `timeout_seconds` is used only without `cancel`.

        Raises:
            InvalidInput: the query is empty, `catalog` is not a Catalog, the timeout is not a number above 0, or an
                option is unknown, of the wrong type, out of range or not for this kind of catalog; the error's `field`
                names the argument.
            ModelMismatch: the loaded model or version is not the expected one.
            RequestCancelled: time ran out or `cancel` was set.
            LimitExceeded: a plain document has more than 524,288 tokens.
        """
        if not isinstance(catalog, Catalog):
            raise InvalidInput(
                f"is {type(catalog).__name__}; give a Catalog, as Catalog.of_tools makes", field="catalog"
            )
        request = self._request(catalog.kind, query, make_options(catalog.kind, options, more), timeout_seconds, cancel)
        with request.clock.stage("parse"):
            prepared = self._caches.catalogs.prepare(catalog)
        return self._select(request, prepared)

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
        """Selects the tools that a query needs, from JSON texts or mappings, each one tool or a container of many.

        `namespaces` is empty or has one entry per text, which applies to all tools in it. Raises as `select`.
        """
        request = self._request("tools", query, make_options("tools", options, more), timeout_seconds, cancel)
        with request.clock.stage("parse"):
            prepared = self._caches.catalogs.read(CatalogText.of_tools(tools, namespaces))
        return self._select(request, prepared)

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
        """Selects the tables of a DDL script that a question needs; without `dialect`, the dialect is detected.

        If `keep_columns` is above 0, lists the keys by which the tables join, that share of their other columns, and
        the best of each table.
        Raises as `select`, and UnknownDialect.
        """
        request = self._request("tables", query, make_options("tables", options, more), timeout_seconds, cancel)
        with request.clock.stage("parse"):
            prepared = self._caches.catalogs.read(CatalogText.of_tables(ddl, dialect))
        return self._select(request, prepared)

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
        """Ranks plain documents; a long one has the logit of its best window.

        The score is of the cross-encoder alone, unless the model weighs words and meaning for plain documents too.

        Raises as `select`.
        """
        request = self._request("documents", query, make_options("documents", options, more), timeout_seconds, cancel)
        return self._select(request, PreparedCatalog.of(Catalog.of_documents(documents)))

    def query_text(self, query: Query) -> str:
        """Returns the text that a query or conversation is ranked by.

        Raises:
            InvalidInput: the query is empty, or neither a text nor messages.
        """
        return ranked_text(read_query(query), self._is_read_whole)[0]

    def score_items(
        self,
        query: str,
        candidates: Candidates,
        kind: Kind,
        *,
        max_candidates: int = 0,
        found: FirstStage | None = None,
    ) -> tuple[list[Scored], DocumentScores]:
        """Scores the best candidates as a request would, for evaluation; `found` replaces the first stage."""
        request = self._alone(kind, query)
        found = found or self._first_stage(request, candidates)
        places, features, scores = self._best_features(request, candidates, max_candidates, found)
        scored = combine(features, places, self._loaded.score_weights.get(kind), candidates.links_among(places))
        return put_successors_first(scored, candidates.successors(found)), scores

    def features(
        self,
        query: str,
        candidates: Candidates,
        kind: Kind,
        *,
        max_candidates: int = 0,
        found: FirstStage | None = None,
    ) -> tuple[list[int], list[Features]]:
        """Returns the places and the features, including the logit, of the best candidates, for training.

        `found` replaces the first stage.
        """
        return self._best_features(self._alone(kind, query), candidates, max_candidates, found)[:2]

    def column_features(self, query: str, tables: Sequence[Table]) -> list[ColumnFeatures]:
        """Returns the features of every column of the tables, in order, for training."""
        return self._column_features(self._alone("tables", query), tables)[0]

    def score_columns(self, query: str, tables: Sequence[Table]) -> list[ScoredColumn]:
        """Scores every column of the tables, in order, for evaluation."""
        return score_columns(tables, self.column_features(query, tables), self._loaded.column_weights)

    def _request(
        self,
        kind: Kind,
        query: Query,
        options: SelectionOptions,
        timeout_seconds: float | None,
        cancel: CancelToken | None,
    ) -> _Request:
        clock = Clock()
        check_timeout(timeout_seconds)
        self._check_model(options)
        text, warnings = ranked_text(read_query(query), self._is_read_whole)
        if cancel is None and timeout_seconds is not None:
            cancel = CancelToken(timeout_seconds=timeout_seconds)
        return _Request(kind, text, options, make_window(options, self.info), clock, cancel, warnings)

    def _alone(self, kind: Kind, query: str) -> _Request:
        """Makes a request with default options, for running single steps."""
        return _Request(kind, query, DEFAULTS, make_window(DEFAULTS, self.info), Clock())

    def _select(self, request: _Request, prepared: PreparedCatalog) -> Selection:
        """Runs the steps of a request whose catalog is already parsed."""
        catalog, candidates, options = prepared.catalog, prepared.candidates, request.options
        pinned = find_pinned(catalog.items, options.always_include)
        blank = candidates.blank(request.text)
        warnings = [*request.warnings, *catalog.warnings, *pinned.warnings]
        found: FirstStage | None = None
        tokens: _Tokens | None = None
        try:
            if self._needs_first_stage(request, candidates):
                found = self._first_stage(request, candidates).with_last(blank)
            kept = narrow(found.scores, options.max_candidates, pinned.scored) if found else candidates.places
            warnings += narrowing_warnings(found, kept) if found else []
            places = [place for place in kept if place not in blank]
            tokens = self._tokenize(request, candidates, places)
            scores, is_degraded = self._score(request, tokens, places), False
            warnings += tokens.warnings
            features = features_of(found, places, scores.logits)
            weights = self._loaded.score_weights.get(request.kind)
            scored = combine(features, places, weights, candidates.links_among(places), pinned.places)
            scored = put_successors_first(scored, candidates.successors(found))
            scored += [Scored(place, 0.0, place in pinned.places, is_blank=True) for place in kept if place in blank]
        except _OUT_OF_TIME as error:
            request.raise_unless_degraded(error)
            found = found or candidates.first_stage(request.text, None).with_last(blank)
            scores, is_degraded = NO_SCORES, True
            by_words = first_stage_order(found.scores, options.max_candidates, pinned.places, pinned.scored)
            scored = put_blank_last(by_words, blank)
        best = choose(scored, options.top_n, 0.0 if is_degraded else options.min_score)
        chosen = _chosen_items(catalog.items, best, scored, pinned)
        selection = _write_selection(
            catalog,
            chosen,
            num_considered=len(scored),
            scores=scores,
            warnings=warnings,
            truncated=tokens.truncated if tokens else (),
            info=self.info,
            timings=request.clock.timings(queue_ms=scores.queue_ms, infer_ms=scores.infer_ms),
            return_sources=options.return_documents and options.return_sources,
            is_degraded=is_degraded,
        )
        tables = [item.subject for item, _ in chosen if isinstance(item.subject, Table)]
        return self._with_columns(request, selection, tables) if options.keep_columns else selection

    def _needs_first_stage(self, request: _Request, candidates: Candidates) -> bool:
        """Returns whether to run the first stage: for plain documents, if the score needs it or they are too many."""
        if request.kind != "documents" or "documents" in self._loaded.score_weights:
            return True
        return 0 < request.options.max_candidates < len(candidates.items)

    def _first_stage(self, request: _Request, candidates: Candidates) -> FirstStage:
        # All plain documents are compared by the same features, or some would be at a disadvantage.
        most = None if request.kind in self._loaded.score_weights and request.kind == "documents" else MAX_NEW_VECTORS
        with request.clock.stage("retrieve"):
            return candidates.first_stage(request.text, self.embedder, max_new_vectors=most, cancel=request.cancel)

    def _tokenize(self, request: _Request, candidates: Candidates, places: Sequence[int]) -> _Tokens:
        """Encodes the query and the documents at `places`: plain documents in full, others cut to their budget."""
        tokenizer, window = self._loaded.tokenizer, request.window
        with request.clock.stage("tokenize"):
            (ids,) = tokenizer.encode([request.text])
            query_ids = keep_ends(ids, window.max_query_tokens)
            truncated = [Truncation(-1, "", len(query_ids), len(ids))] if len(query_ids) < len(ids) else []
            if request.kind == "documents":
                return _Tokens(query_ids, candidates.encode_whole(places, tokenizer), truncated)
            room = chunk_budget(len(query_ids), tokenizer, window.max_pair_tokens)
            budget = min(self._loaded.document_tokens, room)
            encoded = candidates.encode(places, tokenizer, budget)
            truncated += candidates.cuts(places, encoded)
            items = [candidates.items[place] for place in places]
            warnings = budget_warnings(items, encoded, budget, request.kind)
            return _Tokens(query_ids, [one.ids for one in encoded], truncated, warnings)

    def _score(self, request: _Request, tokens: _Tokens, places: Sequence[int]) -> DocumentScores:
        if request.cancel is not None:
            request.cancel.raise_if_cancelled()
        return score_documents(
            tokens.query_ids,
            tokens.documents_ids,
            tokenizer=self._loaded.tokenizer,
            scorer=self._scorer,
            max_pair_tokens=request.window.max_pair_tokens,
            overlap_tokens=request.window.overlap_tokens,
            places=places,
            cancel=request.cancel,
        )

    def _best_features(
        self, request: _Request, candidates: Candidates, max_candidates: int, found: FirstStage | None
    ) -> tuple[list[int], list[Features], DocumentScores]:
        found = found or self._first_stage(request, candidates)
        places = narrow(found.scores, max_candidates)
        scores = self._score(request, self._tokenize(request, candidates, places), places)
        return places, features_of(found, places, scores.logits), scores

    def _column_features(
        self, request: _Request, tables: Sequence[Table]
    ) -> tuple[list[ColumnFeatures], DocumentScores]:
        """Runs the same steps for columns; their first stage uses words alone."""
        candidates = Candidates(items_of_columns(tables))
        with request.clock.stage("retrieve"):
            found = candidates.first_stage(request.text, None)
        _, features, scores = self._best_features(request, candidates, 0, found)
        return column_features(tables, features), scores

    def _with_columns(self, request: _Request, selection: Selection, chosen: Sequence[Table]) -> Selection:
        """Lists the best columns of the selected tables, or none and a warning if time runs out."""
        late = replace(selection, warnings=(*selection.warnings, _NO_TIME_FOR_COLUMNS))
        if selection.is_degraded:
            return late
        try:
            features, scores = self._column_features(request, chosen)
        except _OUT_OF_TIME as error:
            request.raise_unless_degraded(error)
            return late
        scored = score_columns(chosen, features, self._loaded.column_weights)
        named = name_columns(scored, chosen, request.options.keep_columns)
        before = selection.timings
        return replace(
            selection,
            items=tuple(replace(item, columns=own) for item, own in zip(selection.items, named, strict=True)),
            num_tokens=selection.num_tokens + scores.num_tokens,
            timings=request.clock.timings(
                queue_ms=before.queue_ms + scores.queue_ms, infer_ms=before.infer_ms + scores.infer_ms
            ),
        )

    def _is_read_whole(self, query: str) -> bool:
        """Returns whether both stages read the whole query if the caller sets no limit."""
        (ids,) = self._loaded.tokenizer.encode([QUERY_PREFIX + query])
        return len(ids) <= self.info.default_query_tokens - 2

    def _check_model(self, options: SelectionOptions) -> None:
        for what, wanted, actual in (
            ("model", options.expected_model, self.info.name),
            ("version", options.expected_version, self.info.version),
        ):
            if wanted and wanted != actual:
                raise ModelMismatch(
                    f"the request expects {what} {wanted!r}, but {actual!r} is loaded; "
                    "scores of different models do not compare",
                    wanted=wanted,
                )


def _vector_store(loaded: LoadedModel, info: ModelInfo, cache_dir: str | Path | None) -> DiskCache | None:
    """Makes the cache of the vectors that this model makes with these settings, on this kind of device."""
    folder = cache_folder(cache_dir)
    if folder is None:
        return None
    version = ""  # another version may write other documents
    with suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version("shortlist")
    identity = (version, loaded.fingerprint, loaded.retrieval, info.dtype, info.device.partition(":")[0])
    return DiskCache(folder, repr(identity))


def _chosen_items(
    items: Sequence[Item], best: Sequence[Scored], scored: Sequence[Scored], pinned: Pinned
) -> list[tuple[Item, Scored]]:
    """Returns the chosen items with their scores, best first; pinned members have the score of their family."""
    chosen = [(items[one.place], one) for one in best]
    if not pinned.members:
        return chosen
    scores = {one.place: one.score for one in scored}
    chosen += [(member, Scored(place, scores[place], is_pinned=True)) for place, member in pinned.members]
    return sorted(chosen, key=lambda pair: -pair[1].score)


def _write_selection(
    catalog: Catalog,
    chosen: Sequence[tuple[Item, Scored]],
    *,
    num_considered: int,
    scores: DocumentScores,
    warnings: Sequence[str],
    truncated: Sequence[Truncation],
    info: ModelInfo,
    timings: Timings,
    return_sources: bool,
    is_degraded: bool,
) -> Selection:
    """Makes the selection; `num_considered` items were left after the first stage."""
    return Selection(
        items=tuple(_selected(item, one, rank, return_sources) for rank, (item, one) in enumerate(chosen, 1)),
        num_candidates=len(catalog.items),
        num_scored=len(scores.logits),
        num_dropped=len(catalog.items) - num_considered,
        unparsed=catalog.unparsed,
        warnings=tuple(warnings),
        truncated=tuple(truncated),
        model_name=info.name,
        model_version=info.version,
        num_tokens=scores.num_tokens,
        timings=timings,
        is_degraded=is_degraded,
        dialect=catalog.dialect,
    )


def _selected(item: Item, scored: Scored, rank: int, return_source: bool) -> Selected:
    source = item.source if return_source else ""
    return Selected(
        item.name,
        item.index,
        rank,
        scored.score,
        source,
        item.namespace,
        scored.is_pinned,
        members=members_of(item),
    )
