"""The adapter: one table a collection, in any PostgreSQL that has pgvector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

from qvec.adapter import Adapter, SupportsCreateSteps, SupportsExchange, SupportsHybrid
from qvec.checks import check_analyzer, check_batch, check_existing, check_held, check_k, check_spec, check_vectors
from qvec.errors import CollectionNotFoundError, ConfigError
from qvec.filters import Filter
from qvec.foreign import SupportsLayout
from qvec.fusion import FusionSpec
from qvec.layouts import Layout
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Passport, Vector, Vectors
from qvec.uri import URI
from qvec_pgvector import embedded, hybrid, lexical, rows, schema, search
from qvec_pgvector.connections import Connection, Connections
from qvec_pgvector.foreign import ForeignTables
from qvec_pgvector.schema import Entry

Answer = TypeVar("Answer")
_EMBEDDED = "pgvector"


class PgvectorAdapter(Adapter, SupportsHybrid, SupportsLayout, SupportsExchange, SupportsCreateSteps):
    """Keep collections in PostgreSQL. The table of collection number 7 is ``qvec_7``; no other table is touched.

    Args:
        conninfo: libpq's connection string.
        place: the server's name in messages, without secrets.
        is_embedded: it runs in a folder of ours.
    """

    name: ClassVar[str] = "pgvector"

    def __init__(self, conninfo: str, place: str, *, is_embedded: bool) -> None:
        self._connections = Connections(conninfo, place)
        self._place = place
        self._known: dict[str, Entry] = {}
        with self._connections.use() as connection:
            row = connection.raw.execute(
                "SELECT current_setting('server_version'), "
                "(SELECT coalesce(max(installed_version), max(default_version)) "
                "FROM pg_available_extensions WHERE name = 'vector')"
            ).fetchone()
            analyzers = schema.configurations(connection)
        server, extension = (str(value) for value in row) if row else ("?", "?")
        self._capabilities = Capabilities(
            database=f"PostgreSQL {server.split()[0]} + pgvector {extension}",
            embedded=is_embedded,
            persistent=True,
            index_kinds=("flat", "hnsw"),
            max_dim=schema.MAX_HALFVEC,
            analyzers=analyzers,
            write_batch=4000,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What this server can do."""
        return self._capabilities

    @classmethod
    def from_uri(cls, uri: URI) -> Self:
        """Connect; without a host, ``pgvector:`` names a folder with a PostgreSQL of its own.

        Options are libpq's: ``sslmode``, ``connect_timeout``, ``application_name``, ``options`` ...

        Raises:
            MissingDriverError: the driver, or for a folder the PostgreSQL wheel, is not installed.
            ConfigError: libpq does not know an option.
            BackendConnectionError: the server cannot be reached or started, or refuses the login.
        """
        if uri.scheme == _EMBEDDED and not uri.host and uri.path and "host" not in uri.options:
            uri.check_options(frozenset())
            folder = Path(uri.path).absolute()
            return cls(embedded.start(folder), str(folder), is_embedded=True)
        place = (
            f"{uri.host or uri.options.get('host', 'the local socket')}{f':{uri.port}' if uri.port else ''}{uri.path}"
        )
        given = {
            "host": uri.host,
            "port": uri.port,
            "user": uri.user,
            "password": uri.password,
            "dbname": uri.path.removeprefix("/"),
        }
        settings = {key: value for key, value in given.items() if value} | dict(uri.options)
        try:
            conninfo = make_conninfo("", **settings)
        except ProgrammingError as exc:
            # libpq names the option, never its value.
            raise ConfigError(f"the {uri.scheme} URI has an option that libpq does not take: {exc}") from exc
        return cls(conninfo, place, is_embedded=False)

    @classmethod
    def embedded_uri(cls, folder: str) -> URI | None:
        """Name the server of the folder ``pgvector`` under `folder`."""
        return URI(scheme=_EMBEDDED, path=str(Path(folder).absolute() / "pgvector"))

    def close(self) -> None:
        """Close the connections of all threads."""
        self._connections.close()

    def with_layout(self, layout: Layout) -> ForeignTables:
        """Return an adapter for tables that another program made; it owns this one's connections."""
        return ForeignTables(self._connections, self.capabilities, layout)

    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        """Make a table and enter it into the catalogue."""
        check_spec(spec, self.capabilities)
        with self._connections.transaction() as connection:
            schema.ensure_catalogue(connection)
            if spec.analyzer is not None:
                check_analyzer(spec.analyzer, schema.configurations(connection), self.capabilities.database)
            known = schema.find(connection, spec.name)
            if known is None:
                schema.create(connection, spec)
            else:
                check_existing(known.spec, spec, exist_ok=exist_ok)

    def create_steps(self, spec: CollectionSpec) -> list[str]:
        """Write the transaction."""
        check_spec(spec, self.capabilities)
        return schema.creation(spec)

    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Drop a collection's table."""
        self._known.pop(name, None)
        try:
            with schema.held(self._connections, name, self._place) as (connection, entry):
                schema.drop(connection, entry)
        except CollectionNotFoundError:
            if not missing_ok:
                raise

    def describe_collection(self, name: str) -> CollectionSpec:
        """Read a collection's spec from the catalogue."""
        with self._connections.use() as connection:
            entry = schema.need(connection, name, self._place)
        if name in self._known:
            # Another may stand in its place, where two have traded names.
            self._known[name] = entry
        return entry.spec

    def exchange(self, one: str, other: str) -> None:
        """Trade the names in one transaction; the tables stay where they are."""
        with self._connections.transaction() as connection:
            schema.exchange(connection, one, other, self._place)
        self._known.pop(one, None)
        self._known.pop(other, None)

    def exchange_steps(self, one: str, other: str) -> list[str]:
        """Write the transaction."""
        return ["BEGIN", *schema.EXCHANGE, "COMMIT"]

    def list_collections(self) -> list[str]:
        """Read the catalogue's names."""
        with self._connections.use() as connection:
            if not schema.has_catalogue(connection):
                return []
            return sorted(str(row[0]) for row in connection.raw.execute("SELECT name FROM qvec_collections"))

    def upsert(
        self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport: Passport | None = None
    ) -> None:
        """Write documents by COPY BINARY, in one transaction with the statistics."""
        with schema.held(self._connections, name, self._place) as (connection, entry):
            check_held(entry.spec, passport)
            checked = check_batch(documents, vectors, entry.spec.dim)
            if documents:
                rows.write(connection, entry, documents, checked)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete records in one transaction with the statistics."""
        with schema.held(self._connections, name, self._place) as (connection, entry):
            rows.delete(connection, entry, ids)

    def refresh(self, name: str) -> None:
        """Build the indexes that were put off until after the load."""
        with self._connections.use() as connection:
            schema.build_indexes(connection, schema.need(connection, name, self._place))

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """Read records by id."""
        found = self._read(name, lambda connection, entry: rows.by_id(connection, entry, ids))
        return [found[identity] for identity in ids if identity in found]

    def get_vectors(self, name: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Read vectors by id."""
        return self._read(name, lambda connection, entry: rows.vectors_of(connection, entry, ids))

    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        """Read digests through the index on ``source``."""
        return self._read(name, lambda connection, entry: rows.digests(connection, entry, sources))

    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        """Walk the records in order of id, a page a statement: no transaction stays open meanwhile."""
        check_k(batch_size)
        self.describe_collection(name)
        return self._walk(name, filter, batch_size, vectors=vectors)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        """Count in PostgreSQL; without a filter, read the statistics."""
        return self._read(name, lambda connection, entry: rows.count(connection, entry, filter))

    def search_dense(
        self,
        name: str,
        vectors: Vectors,
        *,
        k: int,
        filter: Filter | None = None,
        offset: int = 0,
        ef: int | None = None,
    ) -> list[list[Hit]]:
        """Search by HNSW once there is an index, else exactly; `ef` is ``hnsw.ef_search``, at most 1000."""
        check_k(k, offset)

        def ask(connection: Connection, entry: Entry) -> list[list[Hit]]:
            queries = check_vectors(vectors, entry.spec.dim)
            return search.nearest(connection, entry, queries, k + offset, filter, ef)

        return [hits[offset:] for hits in self._read(name, ask)]

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Score in SQL."""
        check_k(k, offset)
        return self._read(
            name,
            lambda connection, entry: [
                lexical.best(connection, entry, query, k=k, offset=offset, filter=filter) for query in queries
            ],
        )

    def search_hybrid(
        self,
        name: str,
        queries: Sequence[str],
        vectors: Vectors,
        *,
        how: FusionSpec,
        window: int,
        k: int,
        filter: Filter | None = None,
        offset: int = 0,
        ef: int | None = None,
    ) -> list[list[Hit]]:
        """Rank by both legs and fuse in one statement."""
        check_k(k, offset)
        check_k(window)

        def ask(connection: Connection, entry: Entry) -> list[list[Hit]]:
            pairs = zip(queries, check_vectors(vectors, entry.spec.dim), strict=True)
            ask_one = partial(hybrid.fused, how=how, window=window, k=k, offset=offset, filter=filter, ef=ef)
            return [ask_one(connection, entry, query, vector) for query, vector in pairs]

        return self._read(name, ask)

    def _read(self, name: str, work: Callable[[Connection, Entry], Answer]) -> Answer:
        """Work with a remembered catalogue entry; once more with a fresh one when its table is gone."""
        known = self._known.get(name)
        if known is not None:
            try:
                with self._connections.use() as connection:
                    return work(connection, known)
            except CollectionNotFoundError:
                self._known.pop(name, None)
        with self._connections.use() as connection:
            entry = schema.need(connection, name, self._place)
            self._known[name] = entry
            return work(connection, entry)

    def _walk(self, name: str, filter: Filter | None, size: int, *, vectors: bool) -> Iterator[Batch]:
        after: str | None = None
        while True:
            page = partial(rows.page, filter=filter, after=after, size=size, vectors=vectors)
            batch = self._read(name, page)
            if batch is None:
                return
            after = batch.documents[-1].id
            yield batch
