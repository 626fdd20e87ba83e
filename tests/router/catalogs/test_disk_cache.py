"""Vectors of tools and tables outlive the process that computed them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from shortlist.router.catalogs.disk_cache import DiskCache, cache_folder
from shortlist.router.engine.protocols import Embedded


def vector(seed: int, *, tokens: int = 5) -> Embedded:
    drawn = np.random.default_rng(seed)
    rows = drawn.normal(size=(tokens, 9)).astype(np.float16) if tokens else None
    return Embedded(drawn.normal(size=16).astype(np.float32), rows)


def keys(number: int) -> list[bytes]:
    return [b"%016d" % place for place in range(number)]


def is_same(one: Embedded, other: Embedded) -> bool:
    if (one.tokens is None) != (other.tokens is None):
        return False
    same_tokens = one.tokens is None or np.array_equal(one.tokens, other.tokens)
    return bool(np.array_equal(one.vector, other.vector)) and same_tokens


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.sqlite"))


@pytest.mark.parametrize("tokens", [5, 0], ids=["with_tokens", "without_tokens"])
def test_the_next_process_finds_what_this_one_computed(tmp_path: Path, tokens: int) -> None:
    made = {key: vector(place, tokens=tokens) for place, key in enumerate(keys(1_200))}
    DiskCache(tmp_path / "new", "model 1").put(made)

    found = DiskCache(tmp_path / "new", "model 1").get([*made, b"unknown"])

    assert found.keys() == made.keys()
    assert all(is_same(made[key], found[key]) for key in made)


def test_another_model_finds_nothing(tmp_path: Path) -> None:
    DiskCache(tmp_path, "model 1").put({b"key": vector(1)})
    assert DiskCache(tmp_path, "model 2").get([b"key"]) == {}


def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    DiskCache(tmp_path / "made", "model").put({b"key": vector(1)})
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700


def test_the_least_recently_used_make_room(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, "model", max_bytes=400_000)
    cache.put({b"first": vector(0, tokens=100)})
    with sqlite3.connect(next(tmp_path.glob("*.sqlite"))) as database:
        database.execute("UPDATE vectors SET used = used - 1000000")
    assert b"first" in cache.get([b"first"])  # used now
    for place, key in enumerate(keys(400)):
        cache.put({key: vector(place, tokens=100)})
    with sqlite3.connect(next(tmp_path.glob("*.sqlite"))) as database:
        ((number,),) = database.execute("SELECT count(*) FROM vectors")
        sizes = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")]
    assert 50 < number < 250
    assert sizes[0] * sizes[1] < 600_000


def _fill(folder: Path, worker: int) -> None:
    cache = DiskCache(folder, "model")
    for place in range(30):
        cache.put({b"%d %d" % (worker, place): vector(place)})
        assert cache.get([b"%d %d" % (worker, place)])


def test_processes_share_a_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn" if os.name == "nt" else "fork")
    workers = [context.Process(target=_fill, args=(tmp_path, worker)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    wanted = [b"%d %d" % (worker, place) for worker in range(4) for place in range(30)]
    assert len(DiskCache(tmp_path, "model").get(wanted)) == 120


def test_a_process_that_forks_opens_the_file_anew(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, "model")
    cache.put({b"key": vector(1)})
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=lambda: answers.put(len(cache.get([b"key"]))))
    child.start()
    assert answers.get(timeout=60) == 1
    child.join(60)
    assert len(cache.get([b"key"])) == 1


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5_000])
def test_a_damaged_file_is_replaced_and_told(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    DiskCache(tmp_path, "model").put({b"key": vector(1)})
    path = next(tmp_path.glob("*.sqlite"))
    path.write_bytes(content)
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)

    with caplog.at_level(logging.WARNING):
        damaged = DiskCache(tmp_path, "model")
        assert damaged.get([b"key"]) == {}
        damaged.put({b"key": vector(1)})  # does nothing

    assert caplog.text.count("cannot be used") == 1
    assert "set SHORTLIST_CACHE" in caplog.text
    again = DiskCache(tmp_path, "model")
    again.put({b"key": vector(1)})
    assert len(again.get([b"key"])) == 1


def test_a_damaged_record_is_not_used(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, "model")
    cache.put({b"key": vector(1), b"other": vector(2)})
    with sqlite3.connect(next(tmp_path.glob("*.sqlite"))) as database:
        database.execute("UPDATE vectors SET value = substr(value, 1, 70) WHERE key = ?", (b"key",))
    assert b"key" not in cache.get([b"key"])


def test_a_folder_that_cannot_be_made_costs_only_the_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = DiskCache(tmp_path / "file" / "cache", "model")
    cache.put({b"key": vector(1)})
    assert cache.get([b"key"]) == {}
    assert caplog.text.count("cannot be used") == 1


def test_a_long_write_of_another_process_costs_only_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = DiskCache(tmp_path, "model")
    cache.put({b"key": vector(1)})
    other = sqlite3.connect(next(tmp_path.glob("*.sqlite")), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    cache.put({b"new": vector(2)})
    assert time.monotonic() - began < 10
    assert len(cache.get([b"key"])) == 1
    other.execute("COMMIT")
    cache.put({b"new": vector(2)})
    assert len(cache.get([b"key", b"new"])) == 2
    assert "cannot be used" not in caplog.text


def test_files_that_no_model_has_used_for_long_are_removed(tmp_path: Path) -> None:
    for model in ("old", "recent"):
        stale = DiskCache(tmp_path, model)
        stale.put({b"key": vector(1)})
        stale.close()
        if model == "old":
            (path,) = tmp_path.glob("*.sqlite")
            os.utime(path, (0, 0))
    assert path.name not in files(tmp_path)
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("given", "variable", "xdg", "expected"),
    [
        (None, None, None, "home/.cache/shortlist"),
        (None, None, "{tmp}/xdg", "xdg/shortlist"),
        (None, None, "relative", "home/.cache/shortlist"),
        (None, "{tmp}/named", "{tmp}/xdg", "named"),
        ("{tmp}/given", "off", None, "given"),
        (None, "OFF", None, None),
        ("", None, None, None),
    ],
)
def test_the_folder_is_where_caches_are(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: str | None,
    variable: str | None,
    xdg: str | None,
    expected: str | None,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in (("SHORTLIST_CACHE", variable), ("XDG_CACHE_HOME", xdg)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value.format(tmp=tmp_path))
    found = cache_folder(None if given is None else given.format(tmp=tmp_path))
    assert found == (None if expected is None else tmp_path / expected)
