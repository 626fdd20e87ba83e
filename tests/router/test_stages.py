from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from shortlist.router.engine.protocols import Embedded
from shortlist.router.first_stage.embedder import VectorCache
from shortlist.router.pipeline import Router
from shortlist.router.stages import Clock, Stage, note_stage, recording, within_stage
from shortlist.server.cli.serve import load_and_trim
from shortlist.server.settings import Settings


def test_stages_are_recorded_in_the_order_they_ended_with_their_parents() -> None:
    stages: list[Stage] = []
    with recording(stages):
        with within_stage("retrieve"):
            note_stage("infer", 1.0, 2.0, num_tokens=3)
        note_stage("retrieve", 0.5, 2.5)
    note_stage("late", 3.0, 4.0)
    assert stages == [Stage("infer", 1.0, 2.0, "retrieve", 3), Stage("retrieve", 0.5, 2.5)]


def test_threads_record_stages_separately() -> None:
    stages: list[Stage] = []
    with recording(stages):
        thread = threading.Thread(target=note_stage, args=("parse", 0.0, 1.0))
        thread.start()
        thread.join()
    assert stages == []


def test_a_stage_that_fails_is_still_timed() -> None:
    stages: list[Stage] = []
    with recording(stages), pytest.raises(KeyError), Clock().stage("parse"):
        raise KeyError
    assert [stage.name for stage in stages] == ["parse"]


def test_a_catalog_seen_before_is_a_hit(tiny_model_dir: Path) -> None:
    router = Router.load(tiny_model_dir, device="cpu", dtype="float32")
    for query in ("one", "two", "three"):
        router.select_tools(query, '[{"name": "ping"}]')
    counts = router.cache_counts["catalogs"]
    assert (counts.num_hits, counts.num_misses, counts.num_kept) == (2, 1, 1)


def test_without_caches_a_server_parses_every_catalog_again(tiny_model_dir: Path) -> None:
    router = load_and_trim(Settings(model=str(tiny_model_dir), device="cpu", cache_mb=0))
    for _ in range(2):
        router.select_tools("one", '[{"name": "ping"}]')
    counts = router.cache_counts["catalogs"]
    assert (counts.num_hits, counts.num_misses, counts.num_kept) == (0, 2, 0)


def test_vectors_are_counted_by_document() -> None:

    cache = VectorCache()
    made = Embedded(np.zeros(2, np.float32))
    cache.get([b"a", b"b"])
    cache.put([b"a"], [made])
    cache.get([b"a", b"b", b"a"])
    assert (cache.counts.num_hits, cache.counts.num_misses, cache.counts.num_kept) == (2, 3, 1)
