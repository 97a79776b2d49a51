"""One connection to PostgreSQL a thread, opened when a thread first asks and again after it broke."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types import TypeInfo

from qvec.errors import BackendConnectionError
from qvec_pgvector.errors import mapped

CONNECT_SECONDS = 10
# Sequential scans are off because the planner, which does not count the reading of vectors out of line (TOAST), prefers
# them to HNSW up to tens of thousands of rows; without an index it uses them all the same.
_SESSION = (
    "SET enable_seqscan = off; "
    "SET jit = off; SET hnsw.iterative_scan = strict_order; SET hnsw.max_scan_tuples = 2147483647; "
    "SET hnsw.scan_mem_multiplier = 8; SET hnsw.ef_search = 100"
)


class VectorParameter:
    """A query vector in pgvector's binary form."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class Connection:
    """A thread's connection and what is set on it."""

    def __init__(self, raw: psycopg.Connection[tuple[object, ...]]) -> None:
        self.raw = raw
        self.ef = 100
        self.ready = False


class Connections:
    """All connections of one adapter; `close` closes them whatever thread opened them."""

    def __init__(self, conninfo: str, place: str) -> None:
        self.place = place
        self._conninfo = conninfo
        self._local = threading.local()
        self._all: list[psycopg.Connection[tuple[object, ...]]] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """Give this thread's connection in autocommit; errors come out as qvec's, and a broken one is let go."""
        with mapped(self.place):
            connection = self._connection()
            try:
                yield connection
            except psycopg.Error:
                if connection.raw.closed or connection.raw.broken:
                    self._drop(connection)
                raise

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give this thread's connection inside a transaction."""
        with self.use() as connection, connection.raw.transaction():
            yield connection

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            self._closed = True
            for raw in self._all:
                raw.close()
            self._all.clear()

    def _connection(self) -> Connection:
        if self._closed:
            raise BackendConnectionError(f"the connection to PostgreSQL at {self.place} was closed; connect again")
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None or found.raw.closed:
            raw = psycopg.connect(self._conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS)
            found = Connection(raw)
            with self._lock:
                self._all.append(raw)
            self._local.connection = found
        if not found.ready:
            found.ready = _prepare(found.raw)
        return found

    def _drop(self, connection: Connection) -> None:
        connection.raw.close()
        self._local.connection = None
        with self._lock:
            if connection.raw in self._all:
                self._all.remove(connection.raw)


def _prepare(raw: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Set the session up for vectors; false while the database has no vector extension."""
    info = TypeInfo.fetch(raw, "vector")
    if info is None:
        return False
    # The library of the extension is loaded by its first use, and knows its settings only then.
    raw.execute("SELECT '[1]'::vector <-> '[1]'::vector")
    raw.execute(_SESSION)

    number = info.oid

    class VectorDumper(Dumper):
        format = Format.BINARY
        oid = number

        def dump(self, obj: VectorParameter) -> bytes:
            return obj.data

    raw.adapters.register_dumper(VectorParameter, VectorDumper)
    return True
