"""The adapter: one index a collection, behind an alias, on any Elasticsearch from 8.12."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

import numpy as np

from qvec.adapter import Adapter
from qvec.checks import check_batch, check_existing, check_k, check_spec, check_vectors
from qvec.errors import CollectionExistsError, CollectionNotFoundError
from qvec.filters import Filter
from qvec.foreign import SupportsLayout
from qvec.layouts import Layout
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Vector, Vectors
from qvec.uri import URI
from qvec_elasticsearch import lexical, load, reading, rows, schema
from qvec_elasticsearch.connection import Connection, open_server
from qvec_elasticsearch.filters import compile_filter
from qvec_elasticsearch.foreign import ForeignIndexes
from qvec_elasticsearch.search import Nearest, check_window


class ElasticsearchAdapter(Adapter, SupportsLayout):
    """Keep collections in Elasticsearch; that of ``books`` is behind the alias ``qvec_books``. No other is touched.

    Args:
        connection: to a server.
    """

    name: ClassVar[str] = "elasticsearch"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._nearest = Nearest(connection)
        self._specs: dict[str, CollectionSpec] = {}

    @property
    def capabilities(self) -> Capabilities:
        """What this server can do."""
        return schema.capabilities(self._connection.number)

    @classmethod
    def from_uri(cls, uri: URI) -> Self:
        """Connect to ``elasticsearch://[user:password@]host:9200[/path]``, or ``elasticsearch+https://...``.

        Options: ``api_key``, ``secure=true``, ``ca_certs`` (a file), ``fingerprint`` (of the server's certificate),
        ``cloud_id`` in place of a host, ``timeout`` of a request in seconds, ``patience`` in seconds with a server that
        is busy or away in the middle of a write, ``shards`` and ``replicas`` of new collections.

        Raises:
            ConfigError: an option is unknown or cannot be read.
            BackendConnectionError: no server answers, it refuses the login, or it is another product.
            UnsupportedError: the server is too old, or the client of another major version.
        """
        return cls(open_server(uri))

    @classmethod
    def embedded_uri(cls, folder: str) -> URI | None:
        """Say that Elasticsearch needs a server."""
        return None

    def close(self) -> None:
        """Let go of the server."""
        self._connection.close()

    def with_layout(self, layout: Layout) -> ForeignIndexes:
        """Return an adapter for indexes that another program made; it owns this one's connection."""
        return ForeignIndexes(self._connection, layout)

    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        """Make an index."""
        check_spec(spec, self.capabilities)
        known = self._find(spec.name)
        if known is None:
            try:
                with self._connection.use(spec.name) as client:
                    if spec.analyzer is not None:
                        schema.check_analyzer(self._connection, client, spec.analyzer)
                    schema.create(self._connection, client, spec)
                return
            except CollectionExistsError:
                # Another process was quicker, or there is an index of this name that is not ours: that raises.
                known = self._find(spec.name)
                if known is None:
                    raise
        check_existing(known[1], spec, exist_ok=exist_ok)

    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete the index."""
        self._forget(name)
        known = self._find(name)
        if known is not None:
            with self._connection.use(name) as client:
                client.options(ignore_status=404).indices.delete(index=known[0])
        elif not missing_ok:
            raise self._missing(name)

    def describe_collection(self, name: str) -> CollectionSpec:
        """Read a collection's spec from its index's ``_meta``."""
        known = self._find(name)
        if known is None:
            raise self._missing(name)
        return known[1]

    def list_collections(self) -> list[str]:
        """Name the aliases that lead to indexes of ours."""
        with self._connection.use() as client:
            return schema.names(client)

    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents in bulk requests of at most 8 MB, which are sent again while the server is busy or away."""
        spec = self._fresh(name)
        checked = check_batch(documents, vectors, spec.dim)
        as_base64 = self._connection.version >= schema.BASE64_SINCE
        load.send(self._connection, name, rows.operations(documents, checked, spec, as_base64=as_base64))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete records in bulk requests."""
        self._fresh(name)
        load.send(self._connection, name, rows.deletions(dict.fromkeys(ids)))

    def refresh(self, name: str) -> None:
        """Make what was written searchable; it is durable since it was written."""
        self._nearest.forget(name)
        with self._connection.use(name) as client:
            client.indices.refresh(index=schema.alias_of(name))

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """Read records by id, also such as are not searchable yet."""
        self._spec(name)
        found = reading.by_id(self._connection, name, ids)
        return [found[identity] for identity in ids if identity in found]

    def get_vectors(self, name: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Read the vectors of searchable records by id."""
        return reading.vectors_by_id(self._connection, self._spec(name), ids)

    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        """Read digests through the index on ``source``."""
        self._spec(name)
        return reading.digests(self._connection, name, sources)

    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        """Walk the records as they are at the start."""
        check_k(batch_size)
        query = compile_filter(filter)
        return reading.pages(self._connection, self._spec(name), query, batch_size, vectors=vectors)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        """Count in Elasticsearch."""
        with self._connection.use(name) as client:
            answer = client.count(index=schema.alias_of(name), query=compile_filter(filter))
        return int(answer["count"])

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
        """Search by HNSW, or exactly where a collection is small; `ef` is ``num_candidates``."""
        check_k(k, offset)
        check_window(k, offset)
        spec = self._spec(name)
        if np.shape(vectors)[-1:] != (spec.dim,):
            spec = self._specs[name] = self.describe_collection(name)
        queries = check_vectors(vectors, spec.dim)
        return self._nearest.ranked(spec, queries, k=k, offset=offset, filter=compile_filter(filter), ef=ef)

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Search by BM25: one request for the terms' rarity, one for the hits; with an analyzer, by Elasticsearch's."""
        check_k(k, offset)
        check_window(k, offset)
        best = lexical.best if self._spec(name).analyzer is None else lexical.best_matches
        return best(self._connection, name, queries, k=k, offset=offset, filter=compile_filter(filter))

    def _spec(self, name: str) -> CollectionSpec:
        self._connection.opened()
        if name not in self._specs:
            self._specs[name] = self.describe_collection(name)
        return self._specs[name]

    def _fresh(self, name: str) -> CollectionSpec:
        """Read the spec again before a write: another process may have made the collection anew, with another dim."""
        found = load.patiently(self._connection, name, lambda: schema.find(self._connection.opened(), name))
        if found is None:
            raise self._missing(name)
        self._specs[name] = found[1]
        return found[1]

    def _find(self, name: str) -> tuple[str, CollectionSpec] | None:
        with self._connection.use(name) as client:
            return schema.find(client, name)

    def _forget(self, name: str) -> None:
        self._specs.pop(name, None)
        self._nearest.forget(name)

    def _missing(self, name: str) -> CollectionNotFoundError:
        return CollectionNotFoundError(
            f"no collection {name!r} in Elasticsearch at {self._connection.place}: index into it first"
        )
