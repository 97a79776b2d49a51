"""The adapter: one index a collection, behind an alias, on any Elasticsearch from 8.12."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import ClassVar, NoReturn, Self

import numpy as np

from qvec.adapter import Adapter, SupportsCreateSteps, SupportsExchange, SupportsHybrid
from qvec.checks import check_batch, check_existing, check_held, check_k, check_spec, check_vectors, exchanged
from qvec.errors import CollectionExistsError, CollectionNotFoundError
from qvec.filters import Filter
from qvec.foreign import SupportsLayout
from qvec.fusion import FusionSpec
from qvec.layouts import Layout
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Passport, Vector, Vectors
from qvec.uri import URI
from qvec_elasticsearch import hybrid, load, reading, rows, schema
from qvec_elasticsearch.attachments import Attachments
from qvec_elasticsearch.connection import Connection, open_server
from qvec_elasticsearch.errors import MovedError
from qvec_elasticsearch.filters import compile_filter
from qvec_elasticsearch.foreign import ForeignIndexes
from qvec_elasticsearch.lexical import Keywords
from qvec_elasticsearch.loading import Loads
from qvec_elasticsearch.schema import Index
from qvec_elasticsearch.search import Nearest, check_window
from qvec_elasticsearch.surveys import Surveys
from qvec_elasticsearch.trips import Window, together


class ElasticsearchAdapter(
    Adapter, SupportsHybrid, SupportsExchange, SupportsLayout, SupportsCreateSteps, Attachments, Surveys
):
    """Keep collections in Elasticsearch; that of ``books`` is behind the alias ``qvec_books``. No other is touched.

    Args:
        connection: to a server.
    """

    name: ClassVar[str] = "elasticsearch"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._nearest = Nearest(connection)
        self._keywords = Keywords(connection)
        self._loads = Loads(connection)
        self._specs: dict[str, CollectionSpec] = {}
        self._creating = Lock()

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
        if not self._connection.closed:
            self._loads.close()
        self._connection.close()

    def with_layout(self, layout: Layout) -> ForeignIndexes:
        """Return an adapter for indexes that another program made; it owns this one's connection."""
        return ForeignIndexes(self._connection, layout)

    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        """Make an index."""
        check_spec(spec, self.capabilities)
        # An index is found while another thread still makes it, and searched before its shard has started.
        with self._creating:
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
        check_existing(known.spec, spec, exist_ok=exist_ok)
        self._loads.opened(known)

    def create_steps(self, spec: CollectionSpec) -> list[str]:
        """Write the request."""
        check_spec(spec, self.capabilities)
        with self._connection.use(spec.name) as client:
            return [schema.creation(self._connection, client, spec)]

    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete the index."""
        self._forget(name)
        known = self._find(name)
        if known is not None:
            with self._connection.use(name) as client:
                client.options(ignore_status=404).indices.delete(index=known.name)
        elif not missing_ok:
            raise self._missing(name)

    def exchange(self, one: str, other: str) -> None:
        """Move both aliases in one request, which Elasticsearch takes as one step."""
        actions = self._exchange_actions(one, other)
        with self._connection.use(one) as client:
            client.indices.update_aliases(actions=actions)
        self._forget(one)
        self._forget(other)

    def exchange_steps(self, one: str, other: str) -> list[str]:
        """Write the request."""
        return [f"POST /_aliases {json.dumps({'actions': self._exchange_actions(one, other)})}"]

    def _exchange_actions(self, one: str, other: str) -> list[dict[str, dict[str, object]]]:
        found = {name: self._find(name) for name in (one, other)}
        first, second = (found[name] or self._absent(name) for name in (one, other))
        return schema.exchange_actions(one, first.name, other, second.name)

    def describe_collection(self, name: str) -> CollectionSpec:
        """Read a collection's spec from its index's ``_meta``."""
        known = self._find(name)
        if known is None:
            raise self._missing(name)
        self._loads.opened(known)
        return known.spec

    def list_collections(self) -> list[str]:
        """Name the aliases that lead to indexes of ours."""
        with self._connection.use() as client:
            return schema.names(client)

    def upsert(
        self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport: Passport | None = None
    ) -> None:
        """Write documents in bulk requests of at most 8 MB, which are sent again while the server is busy or away."""
        index = self._fresh(name)
        spec = index.spec
        check_held(spec, passport)
        checked = check_batch(documents, vectors, spec.dim)
        self._loads.write(index, len(documents))
        as_base64 = self._connection.version >= schema.BASE64_SINCE
        mark = None if passport is None else index.mark
        try:
            lines = rows.operations(documents, checked, spec, mark=mark, as_base64=as_base64)
            load.send(self._connection, name, lines)
        except MovedError as exc:
            if passport is None:
                raise
            raise exchanged(name, passport, self._fresh(name).spec.passport) from exc

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete records in bulk requests."""
        self._fresh(name)
        load.send(self._connection, name, rows.deletions(dict.fromkeys(ids)))

    def refresh(self, name: str) -> None:
        """Make what was written searchable, durable since it was written; a load's settings end here."""
        self._nearest.forget(name)
        self._loads.end(name)
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
        spec = self._shaped(name, vectors)
        queries = check_vectors(vectors, spec.dim)
        leg = self._nearest.leg(spec, queries, window=Window(k, offset), filter=compile_filter(filter), ef=ef)
        return hybrid.hits_of(self._connection, name, *together(self._connection, name, [leg]))

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Search by BM25, in one request or in two: `lexical.Keywords` says when."""
        check_k(k, offset)
        check_window(k, offset)
        ranked = self._keywords.leg if self._spec(name).analyzer is None else self._keywords.matches
        leg = ranked(name, queries, window=Window(k, offset), filter=compile_filter(filter))
        return hybrid.hits_of(self._connection, name, *together(self._connection, name, [leg]))

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
        """Ask both legs in the same requests, mostly one, and fuse."""
        check_k(k, offset)
        check_k(window)
        check_window(window, 0)
        spec = self._shaped(name, vectors)
        rows, query = check_vectors(vectors, spec.dim), compile_filter(filter)
        shape = Window(window, documents=min(window, 2 * (k + offset)))
        ranked = self._keywords.leg if spec.analyzer is None else self._keywords.matches
        words = ranked(name, queries, window=shape, filter=query)
        near = self._nearest.leg(spec, rows, window=shape, filter=query, ef=ef)
        lexical, dense = together(self._connection, name, [words, near])
        return hybrid.fused(self._connection, name, lexical, dense, how, k=k, offset=offset)

    def _spec(self, name: str) -> CollectionSpec:
        self._connection.opened()
        if name not in self._specs:
            self._specs[name] = self.describe_collection(name)
        return self._specs[name]

    def _shaped(self, name: str, vectors: Vectors) -> CollectionSpec:
        """Return the spec, read again when the vectors do not fit it."""
        spec = self._spec(name)
        if np.shape(vectors)[-1:] != (spec.dim,):
            spec = self._specs[name] = self.describe_collection(name)
        return spec

    def _fresh(self, name: str) -> Index:
        """Read the spec again before a write: another process may have made the collection anew, with another dim."""
        found = load.patiently(self._connection, name, lambda: schema.find(self._connection.opened(), name))
        if found is None:
            raise self._missing(name)
        self._specs[name] = found.spec
        return found

    def _find(self, name: str) -> Index | None:
        with self._connection.use(name) as client:
            return schema.find(client, name)

    def _forget(self, name: str) -> None:
        self._specs.pop(name, None)
        self._nearest.forget(name)
        self._loads.forget(name)

    def _absent(self, name: str) -> NoReturn:
        raise self._missing(name)

    def _missing(self, name: str) -> CollectionNotFoundError:
        return CollectionNotFoundError(
            f"no collection {name!r} in Elasticsearch at {self._connection.place}: index into it first"
        )
