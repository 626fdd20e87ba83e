"""Keeps the vectors of tools and tables in a folder, so that a process that starts again need not compute them.

An SQLite file holds them by content: any number of processes may use it at once, and what one of them leaves half
written is undone. It is a cache: if it cannot be read or written, the vectors are computed, and a warning says why.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np

from shortlist.router.engine.protocols import Embedded

__all__ = ["DiskCache", "cache_folder"]

_VARIABLE = "SHORTLIST_CACHE"
_OFF = frozenset({"", "0", "off", "none"})
_MIB = 1024 * 1024
_MAX_BYTES = 512 * _MIB
# Files of other models and versions are removed once nothing has used them for so long.
_STALE_SECONDS = 30 * 24 * 3600
# When a vector was used last is written so rarely that reading stays reading.
_USE_STEP_SECONDS = 24 * 3600
_BUSY_SECONDS = 0.5
_EVICTED_SHARE = 0.1
_MOST_KEYS = 500  # of one statement; SQLite's limit on parameters was once 999
_NAME = "vectors-{}.sqlite"
# Raised when the tables or the records below change.
_FORMAT = 1
_HEADER = np.dtype("<u4")
_SCHEMA = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, used INTEGER NOT NULL, value BLOB NOT NULL)"
_log = logging.getLogger(__name__)


def cache_folder(given: str | Path | None = None) -> Path | None:
    """Returns the folder that is given, or that SHORTLIST_CACHE names, or the user's usual one; None for ``off``."""
    chosen = given if given is not None else os.environ.get(_VARIABLE)
    if chosen is None:
        # https://specifications.freedesktop.org/basedir-spec: a relative path there is to be ignored.
        base = os.environ.get("XDG_CACHE_HOME", "")
        with suppress(RuntimeError):  # no home
            return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "shortlist"
        return None
    return None if str(chosen).strip().lower() in _OFF else Path(chosen).expanduser()


class DiskCache:
    """The vectors that one model made, in a file of `folder`, up to about `max_bytes`; threads may share it.

    `model` identifies all that vectors depend on except the text: weights, settings and dtype. The least recently used
    vectors make room for new ones.
    """

    def __init__(self, folder: Path, model: str, *, max_bytes: int = _MAX_BYTES) -> None:
        name = blake2b(f"{_FORMAT} {model}".encode(), digest_size=12).hexdigest()
        self._path = folder / _NAME.format(name)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process_id = 0
        self._is_broken = False

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Embedded]:
        """Returns the vectors that are kept among those asked for."""
        found: dict[bytes, Embedded] = {}
        self._use(lambda database: _find(database, keys, found))
        return found

    def put(self, vectors: Mapping[bytes, Embedded]) -> None:
        """Keeps vectors; if another process writes for half a second meanwhile, they are dropped."""
        self._use(lambda database: _store(database, vectors, self._max_bytes))

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._process_id == os.getpid():
                self._connection.close()
            self._connection = None

    def _use(self, act: Callable[[sqlite3.Connection], None]) -> None:
        """Does something with the database, one thread at a time; nothing if it cannot be used."""
        with self._lock:
            if self._is_broken:
                return
            try:
                act(self._opened())
            except (sqlite3.Error, OSError, ValueError) as error:
                if not (isinstance(error, sqlite3.OperationalError) and "locked" in str(error)):
                    self._give_up(error)
                # Otherwise another process is writing for long, and this one computes what it needs.

    def _opened(self) -> sqlite3.Connection:
        # A connection must not be used by a process that forked from the one that opened it.
        if self._connection is None or self._process_id != os.getpid():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = self._open()
            self._process_id = os.getpid()
            self._remove_stale()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # a crash of the machine may lose the file; it is a cache
        with connection:
            connection.execute(_SCHEMA)
        os.utime(self._path)  # `_remove_stale` of other processes goes by it
        return connection

    def _give_up(self, error: Exception) -> None:
        """Stops using the file; a damaged one is removed, so that the next process makes another."""
        self._is_broken = True
        _log.warning(
            "the cache of vectors in %s cannot be used (%s); set %s to a folder that can be written, or to off",
            self._path.parent,
            error,
            _VARIABLE,
        )
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        if isinstance(error, sqlite3.DatabaseError | ValueError) and not isinstance(error, sqlite3.OperationalError):
            _remove(self._path)

    def _remove_stale(self) -> None:
        for path in self._path.parent.glob(_NAME.format("*")):
            with suppress(OSError):
                if path != self._path and time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    _remove(path)


def _find(database: sqlite3.Connection, keys: Sequence[bytes], found: dict[bytes, Embedded]) -> None:
    """Adds to `found` what is kept of `keys`, and notes that it was used."""
    now = int(time.time())
    for start in range(0, len(keys), _MOST_KEYS):
        part = keys[start : start + _MOST_KEYS]
        marks = ",".join("?" * len(part))
        rows = database.execute(f"SELECT key, used, value FROM vectors WHERE key IN ({marks})", part).fetchall()
        found.update({key: _read(value) for key, _, value in rows})
        noted = [(now, key) for key, used, _ in rows if now - used > _USE_STEP_SECONDS]
        if noted:
            with database:
                database.executemany("UPDATE vectors SET used = ? WHERE key = ?", noted)


def _store(database: sqlite3.Connection, vectors: Mapping[bytes, Embedded], max_bytes: int) -> None:
    """Keeps vectors, and removes those that were not used for longest if they are too many."""
    now = int(time.time())
    with database:
        rows = [(key, now, _write(one)) for key, one in vectors.items()]
        database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
    pages, free, size = (
        int(database.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    if (pages - free) * size <= max_bytes:
        return
    with database:
        (number,) = database.execute("SELECT count(*) FROM vectors").fetchone()
        oldest = "SELECT rowid FROM vectors ORDER BY used LIMIT ?"
        database.execute(f"DELETE FROM vectors WHERE rowid IN ({oldest})", (max(1, int(number * _EVICTED_SHARE)),))


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        with suppress(OSError):
            Path(f"{path}{end}").unlink()


def _write(one: Embedded) -> bytes:
    """Writes the number of dimensions and of token rows, the row's width, then the float32 and float16 values."""
    rows, width = one.tokens.shape if one.tokens is not None else (0, 0)
    header = np.array([len(one.vector), rows, width], _HEADER)
    tokens = b"" if one.tokens is None else one.tokens.astype("<f2").tobytes()
    return header.tobytes() + one.vector.astype("<f4").tobytes() + tokens


def _read(value: bytes) -> Embedded:
    dimensions, rows, width = np.frombuffer(value, _HEADER, 3).tolist()
    start = 3 * _HEADER.itemsize
    vector = np.frombuffer(value, "<f4", dimensions, start)
    tokens = np.frombuffer(value, "<f2", rows * width, start + vector.nbytes).reshape(rows, width) if width else None
    if len(value) != start + vector.nbytes + (0 if tokens is None else tokens.nbytes):
        raise ValueError("a record has the wrong length")
    return Embedded(vector, tokens)
