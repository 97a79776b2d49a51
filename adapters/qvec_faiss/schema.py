"""The SQLite file of a FAISS folder: its tables, and the connections of each thread to it."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TypeAlias, TypeVar

from qvec.errors import BackendConnectionError, CollectionNotFoundError
from qvec.specs import spec_from_form, spec_to_json
from qvec.types import CollectionSpec
from qvec_faiss.errors import Mapped
from qvec_faiss.filters import MATCHES, python_matches

FILE_NAME = "qvec.sqlite"
BUSY_SECONDS = 30.0

# FULL: an upsert that returned survives a power cut, at one sync a call. The log is folded into the file every 64 MB.
_SESSION = (
    "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 16000; PRAGMA cache_size = -65536; "
    "PRAGMA mmap_size = 1073741824"
)

_CATALOGUE = """
CREATE TABLE IF NOT EXISTS collections (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, spec TEXT NOT NULL,
    documents INTEGER NOT NULL DEFAULT 0, tokens INTEGER NOT NULL DEFAULT 0)
"""

# `seq` is never used twice: a replaced document gets a new one, so an index can be caught up by what is above its
# last seq and by the log of what died.
_TABLES = (
    "CREATE TABLE documents_{n} (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL, "
    "digest TEXT NOT NULL, text TEXT NOT NULL, metadata TEXT NOT NULL, tokens INTEGER NOT NULL)",
    "CREATE INDEX documents_{n}_source ON documents_{n} (source)",
    "CREATE TABLE vectors_{n} (seq INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
    "CREATE TABLE dead_{n} (entry INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL)",
    "CREATE TABLE postings_{n} (term TEXT NOT NULL, segment INTEGER NOT NULL, seqs BLOB NOT NULL, "
    "frequencies BLOB NOT NULL, PRIMARY KEY (term, segment)) WITHOUT ROWID",
)
_NAMES = ("documents", "vectors", "dead", "postings")


Answer = TypeVar("Answer")
Stamp: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """A collection in the catalogue; its tables end in its number."""

    number: int
    spec: CollectionSpec


class Connections:
    """One SQLite connection a thread, all closed by `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._local = threading.local()
        self._all: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._lock = threading.Lock()
        self._closed = False
        self._writes = 0
        self.mapped = Mapped(str(folder))
        self._reading = _Reading(self)
        with self.mapped:
            folder.mkdir(parents=True, exist_ok=True)
        with self.read() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        with self.write() as connection:
            connection.execute(_CATALOGUE)

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give this thread's connection; errors come out as qvec's."""
        return self._reading

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection inside a read transaction: all that is read is of one moment."""
        with self.mapped:
            connection = self.of_thread()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give this thread's connection inside a transaction that is committed, or undone on an error."""
        with self.mapped:
            connection = self.of_thread()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
                with self._lock:
                    self._writes += 1
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def stamp(self) -> Stamp:
        """Mark this moment for this thread: while the stamp stays equal, nobody has written anything."""
        with self.read() as connection:
            # SQLite counts what others write, and leaves out what went through this connection.
            return connection.execute("PRAGMA data_version").fetchone()[0], self._writes

    def unchanged(self, key: object, read: Callable[[], Answer]) -> Answer:
        """Answer from this thread's memory while nobody has written anything since, else `read` anew."""
        stamp = self.stamp()
        memory: dict[object, tuple[Stamp, Answer]] = self._local.__dict__.setdefault("memory", {})
        known = memory.get(key)
        if known is not None and known[0] == stamp:
            return known[1]
        answer = read()
        memory[key] = stamp, answer
        return answer

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            self._closed = True
            for _, connection in self._all:
                connection.close()
            self._all.clear()

    def of_thread(self) -> sqlite3.Connection:
        """Return this thread's connection, made by its first use."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if self._closed:
            raise BackendConnectionError(f"the FAISS folder {self.folder} was closed; connect again")
        if found is None:
            with self.mapped:
                found = self._local.connection = self._open()
        return found

    def _open(self) -> sqlite3.Connection:
        opened = sqlite3.connect(
            self.folder / FILE_NAME, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        opened.executescript(_SESSION)
        opened.create_function(MATCHES, 2, python_matches, deterministic=True)
        with self._lock:
            for thread, left_behind in self._all:
                if not thread.is_alive():
                    left_behind.close()
            self._all = [pair for pair in self._all if pair[0].is_alive()]
            self._all.append((threading.current_thread(), opened))
        return opened


class _Reading(AbstractContextManager[sqlite3.Connection]):
    """Keeps nothing of its own, so that one serves all threads."""

    __slots__ = ("_connections",)

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def __enter__(self) -> sqlite3.Connection:
        return self._connections.of_thread()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if exc is not None:
            self._connections.mapped.__exit__(kind, exc, trace)


def create_tables(connection: sqlite3.Connection, spec: CollectionSpec) -> None:
    """Enter a collection into the catalogue and make its tables."""
    cursor = connection.execute("INSERT INTO collections (name, spec) VALUES (?, ?)", (spec.name, spec_to_json(spec)))
    for statement in _TABLES:
        connection.execute(statement.format(n=int(cursor.lastrowid or 0)))


def drop_tables(connection: sqlite3.Connection, entry: Entry) -> None:
    """Take a collection out of the catalogue with its tables."""
    connection.execute("DELETE FROM collections WHERE number = ?", (entry.number,))
    for name in _NAMES:
        connection.execute(f"DROP TABLE {name}_{entry.number:d}")


EXCHANGE = (
    # A name is unique at every moment: the first takes one meanwhile that no collection can have.
    "UPDATE collections SET name = ' ' WHERE number = :one",
    "UPDATE collections SET name = :one_name, spec = :other_spec WHERE number = :other",
    "UPDATE collections SET name = :other_name, spec = :one_spec WHERE number = :one",
)


def exchange(connection: sqlite3.Connection, one: Entry, other: Entry) -> None:
    """Let two collections trade names, inside a transaction."""
    values: dict[str, int | str] = {
        "one": one.number,
        "other": other.number,
        "one_name": one.spec.name,
        "other_name": other.spec.name,
        "one_spec": spec_to_json(replace(one.spec, name=other.spec.name)),
        "other_spec": spec_to_json(replace(other.spec, name=one.spec.name)),
    }
    for statement in EXCHANGE:
        connection.execute(statement, values)


def find(connection: sqlite3.Connection, name: str) -> Entry | None:
    """Look a collection up."""
    row = connection.execute("SELECT number, spec FROM collections WHERE name = ?", (name,)).fetchone()
    return Entry(row[0], spec_from_form(json.loads(row[1]))) if row else None


def need(connection: sqlite3.Connection, name: str, folder: Path) -> Entry:
    """Look a collection up.

    Raises:
        CollectionNotFoundError: it is not there.
    """
    entry = find(connection, name)
    if entry is None:
        raise CollectionNotFoundError(f"no collection {name!r} in the FAISS folder {folder}: index into it first")
    return entry
