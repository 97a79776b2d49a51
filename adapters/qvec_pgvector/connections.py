"""Connections to PostgreSQL: one for each thread that works, kept for the next when it is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format, TransactionStatus
from psycopg.types import TypeInfo

from qvec.errors import BackendConnectionError
from qvec_pgvector.errors import Mapped

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
    """A connection and what is set on it.

    Attributes:
        raw: the driver's.
        cursor: for statements that come again and again; a new one for each takes a fifth of the driver's time.
        ef: HNSW's breadth, as set.
        ready: it is set up for vectors.
    """

    def __init__(self, raw: psycopg.Connection[tuple[object, ...]]) -> None:
        self.raw = raw
        self.cursor = raw.cursor(binary=True)
        self.ef = 100
        self.ready = False

    def prepare(self) -> None:
        """Set the session up for vectors, once the database has them."""
        if not self.ready:
            self.ready = _prepare(self.raw)
            self.cursor = self.raw.cursor(binary=True)  # which knows what can be written from now on


class Connections:
    """All connections of one adapter; `close` closes them whatever thread uses them.

    A thread holds one while it works and lays it aside for any other after: threads come and go by the dozen where
    every indexing run and every event loop brings its own.
    """

    def __init__(self, conninfo: str, place: str) -> None:
        self.place = place
        self.mapped = Mapped(place)
        self._conninfo = conninfo
        self._local = threading.local()
        self._all: list[Connection] = []
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    def use(self) -> AbstractContextManager[Connection]:
        """Give a connection in autocommit, within a `use` the same one; errors come out as qvec's."""
        return _Use(self)

    def held(self) -> Connection | None:
        """Return the connection that this thread works with."""
        found: Connection | None = getattr(self._local, "connection", None)
        return found

    def take(self) -> Connection:
        """Take a connection for this thread."""
        with self.mapped:
            taken = self._local.connection = self._take()
        return taken

    def give_back(self, connection: Connection) -> None:
        """Lay this thread's connection aside."""
        with self.mapped:
            self._local.connection = None
            self._lay_aside(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection inside a transaction."""
        with self.use() as connection, connection.raw.transaction():
            yield connection

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            self._closed = True
            for connection in self._all:
                connection.raw.close()
            self._all.clear()
            self._idle.clear()

    def _take(self) -> Connection:
        with self._lock:
            if self._closed:
                raise BackendConnectionError(f"the connection to PostgreSQL at {self.place} was closed; connect again")
            found = self._idle.pop() if self._idle else None
        if found is None:
            found = Connection(psycopg.connect(self._conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS))
            with self._lock:
                self._all.append(found)
        try:
            found.prepare()
        except psycopg.Error:
            self._lay_aside(found)
            raise
        return found

    def _lay_aside(self, connection: Connection) -> None:
        is_sound = connection.raw.pgconn.transaction_status == TransactionStatus.IDLE
        with self._lock:
            if is_sound and not self._closed:
                self._idle.append(connection)
                return
            # What broke this one, a server's restart, has broken those that nobody uses as well.
            for broken in [connection, *self._idle]:
                broken.raw.close()
                if broken in self._all:
                    self._all.remove(broken)
            self._idle.clear()


class _Use(AbstractContextManager[Connection]):
    __slots__ = ("_connections", "_taken")

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._taken: Connection | None = None

    def __enter__(self) -> Connection:
        held = self._connections.held()
        if held is not None:
            return held
        self._taken = self._connections.take()
        return self._taken

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._taken is not None:
            self._connections.give_back(self._taken)
        self._connections.mapped.__exit__(kind, exc, trace)


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
