"""A cache in one SQLite file, bounded, shared by threads and processes of one machine."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from qvec.embedders.cache_store import VectorCache
from qvec.errors import ConfigError

FILE_NAME = "embeddings.sqlite"
MAX_BYTES = 4 * 2**30
_VERSION = 1
_BUSY_SECONDS = 30.0
_KEYS_AT_ONCE = 500
# Noting each use would make every read a write; eviction need not know it to the minute.
_USE_SECONDS = 60
# Making room for some batches at once, instead of with each.
_KEPT_SHARE = 0.9
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, sealed BLOB, used INTEGER);
    CREATE INDEX IF NOT EXISTS by_use ON entries (used, id);
"""
_logger = logging.getLogger(__name__)

Found = TypeVar("Found")


class FileCache(VectorCache):
    """Vectors in a folder's `FILE_NAME`; what was used longest ago goes first when it is full.

    A file that turns out damaged is thrown away and begun again. A network file system is no place for it: SQLite's
    write-ahead log needs shared memory.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open it.

        Args:
            folder: made if missing.
            max_bytes: size that the file is kept to, up to one call's entries and SQLite's log.
            clock: tells the time of use, in seconds.

        Raises:
            ConfigError: the folder cannot be made.
        """
        if max_bytes < 1:
            raise ConfigError(f"max_bytes={max_bytes}: starts at 1")
        self.path = Path(folder).expanduser() / FILE_NAME
        self.max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.RLock()
        self._held: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._inode = 0
        # A child must not close its parent's connections: SQLite would take the file's locks away from both.
        self._parents: list[sqlite3.Connection] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"the cache's folder {self.path.parent} cannot be made: {exc}") from exc

    def __repr__(self) -> str:
        return f"FileCache({str(self.path.parent)!r})"

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._lock:
            if self._held is not None and self._pid == os.getpid():
                self._held.close()
                self._held = None

    def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is held of these keys, and note that it was used."""
        return self._guarded(lambda held: self._read(held, keys)) or {}

    def write(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries, and drop what was used longest ago where they find no room."""
        self._guarded(lambda held: self._write(held, entries))

    def _read(self, held: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        now, stale = int(self._clock()), list[tuple[int, int]]()
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            piece = keys[start : start + _KEYS_AT_ONCE]
            marks = ",".join("?" * len(piece))
            rows = held.execute(f"SELECT id, key, sealed, used FROM entries WHERE key IN ({marks})", piece)  # noqa: S608
            for identity, key, sealed, used in rows:
                found[key] = sealed
                if used <= now - _USE_SECONDS:
                    stale.append((now, identity))
        if stale:
            with _transaction(held):
                held.executemany("UPDATE entries SET used = ? WHERE id = ?", stale)
        return found

    def _write(self, held: sqlite3.Connection, entries: Mapping[bytes, bytes]) -> None:
        now = int(self._clock())
        with _transaction(held):
            held.executemany(
                "INSERT INTO entries (key, sealed, used) VALUES (?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET sealed = excluded.sealed, used = excluded.used",
                ((key, sealed, now) for key, sealed in entries.items()),
            )
            evicted = self._evict(held)
        if evicted:
            # It frees a page a step, and `execute` takes one step alone.
            held.executescript("PRAGMA incremental_vacuum")

    def _evict(self, held: sqlite3.Connection) -> bool:
        evicted = False
        while (size := _size(held)) > self.max_bytes:
            (count,) = held.execute("SELECT count(*) FROM entries").fetchone()
            if not count:
                break
            surplus = max(1, int(count * (1 - _KEPT_SHARE * self.max_bytes / size)))
            held.execute(
                "DELETE FROM entries WHERE id IN (SELECT id FROM entries ORDER BY used, id LIMIT ?)", (surplus,)
            )
            evicted = True
        return evicted

    def _guarded(self, work: Callable[[sqlite3.Connection], Found]) -> Found | None:
        """Work with the file; begin it again when it is damaged, and go on without it when it cannot be used."""
        with self._lock:
            try:
                return work(self._connection())
            except sqlite3.OperationalError as exc:
                _logger.warning("%r cannot be used (%s): going on without it", self, exc)
            except sqlite3.DatabaseError as exc:
                self._begin_again(exc)
        return None

    def _begin_again(self, error: sqlite3.DatabaseError) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None
        # Another process may have begun it again already; its file is good.
        if self._inode == _inode(self.path):
            _logger.warning("%r is damaged (%s): beginning it again", self, error)
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _connection(self) -> sqlite3.Connection:
        if self._pid != os.getpid():
            if self._held is not None:
                self._parents.append(self._held)
            self._held, self._pid = None, os.getpid()
        if self._held is None:
            self._held = self._open()
        return self._held

    def _open(self) -> sqlite3.Connection:
        held = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._inode = _inode(self.path)
        try:
            if not held.execute("PRAGMA user_version").fetchone()[0]:
                held.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _enter_wal(held)
            held.execute("PRAGMA synchronous = NORMAL")
            with _transaction(held):
                (version,) = held.execute("PRAGMA user_version").fetchone()
                if version not in {0, _VERSION}:
                    held.execute("DROP TABLE IF EXISTS entries")
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    held.execute(statement)
                held.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            held.close()
            raise
        return held


@contextmanager
def _transaction(held: sqlite3.Connection) -> Iterator[None]:
    held.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if held.in_transaction:
            held.execute("ROLLBACK")
        raise
    held.execute("COMMIT")


def _enter_wal(held: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait for other processes that do so at this moment."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            with closing(held.execute("PRAGMA journal_mode = WAL")) as cursor:
                cursor.fetchall()
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _size(held: sqlite3.Connection) -> int:
    pages, free, size = (
        held.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
