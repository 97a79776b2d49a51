"""The adapter: one Milvus collection a collection, on Milvus Lite or a server."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from qvec.adapter import Adapter
from qvec.checks import check_batch, check_k, check_spec, check_vectors
from qvec.errors import CollectionExistsError, CollectionNotFoundError, ConfigError, UnsupportedError
from qvec.filters import Filter
from qvec.lexical import query_terms
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Metric, Vectors
from qvec.uri import URI
from qvec_milvus import schema
from qvec_milvus.connection import Connection, open_file, open_server
from qvec_milvus.filters import EVERYTHING, among, compile_filter
from qvec_milvus.keywords import BM25_SCALE, words
from qvec_milvus.search import MAX_WINDOW, ranked

_OPTIONS = frozenset({"token", "secure", "timeout"})
_WRITE_BYTES = 32 * 2**20
_READ_AT_ONCE = 500
_DEFAULT_EF = 128
_DEFAULT_NPROBE = 32
_LEXICAL_TEXT = 15_000
"""Keywords take up to 4.3 times the bytes of their text (a run such as ``a1b2c3``), and have the limit of 65,535."""


class MilvusAdapter(Adapter):
    """Keep collections in Milvus; each is a Milvus collection of the same name, described as ours.

    Args:
        connection: to a Lite file or a server.
    """

    name: ClassVar[str] = "milvus"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._specs: dict[str, CollectionSpec] = {}

    @property
    def capabilities(self) -> Capabilities:
        """What this Milvus can do."""
        lexical = self._connection.has_bm25
        return Capabilities(
            database=f"Milvus {'Lite ' if self._connection.is_lite else ''}{self._connection.version}",
            embedded=self._connection.is_lite,
            persistent=True,
            index_kinds=("flat", "hnsw", "ivf"),
            max_dim=32_768,
            max_text_bytes=self._max_text,
            lexical=lexical,
            write_batch=1000,
        )

    @classmethod
    def from_uri(cls, uri: URI) -> Self:
        """Open a Lite file (``milvus:file.db``), or connect to ``milvus://[user:password@]host:19530/[database]``.

        Options: ``token``, ``secure=true``, ``timeout`` in seconds.

        Raises:
            MissingDriverError: pymilvus, or for a file Milvus Lite, is not installed.
            ConfigError: an option is unknown.
            BackendConnectionError: no server answers or it refuses the login; the file is in use or another.
        """
        uri.check_options(_OPTIONS)
        try:
            timeout = float(uri.options.get("timeout", "10"))
        except ValueError as exc:
            raise ConfigError("timeout in the milvus URI is not a number of seconds") from exc
        if uri.host:
            return cls(open_server(uri, timeout=timeout))
        if not uri.path:
            raise ConfigError("a Milvus URI names a file or a server: milvus:file.db or milvus://host:19530")
        return cls(open_file(Path(uri.path).absolute()))

    @classmethod
    def embedded_uri(cls, folder: str) -> URI | None:
        """Name the Lite file ``milvus.db`` under `folder`."""
        return URI(scheme=cls.name, path=str(Path(folder).absolute() / "milvus.db"))

    def close(self) -> None:
        """Let go of the server or the file."""
        self._connection.close()

    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        """Make a Milvus collection with its indexes, and load it."""
        check_spec(spec, self.capabilities)
        with self._connection.use() as client:
            known = self._describe(client, spec.name)
            if known is None:
                kind = spec.index.kind if spec.index.kind != "auto" else self._connection.auto_kind
                lexical = self._connection.has_bm25
                client.create_collection(
                    spec.name,
                    schema=schema.schema(self._connection.driver, client, spec, lexical=lexical),
                    properties={schema.PROPERTY: schema.written(spec)},
                    consistency_level="Strong",
                )
                # sync would sleep half a second for each index; loading waits for them anyway.
                indexes = schema.indexes(client, spec, kind, lexical=lexical, is_lite=self._connection.is_lite)
                client.create_index(spec.name, indexes, sync=False)
                client.load_collection(spec.name)
            elif not exist_ok:
                raise CollectionExistsError(f"the collection {spec.name!r} exists; drop it first")
            elif (known.dim, known.metric) != (spec.dim, spec.metric):
                raise CollectionExistsError(
                    f"the collection {spec.name!r} exists with dim {known.dim} and metric {known.metric}; "
                    f"asked for dim {spec.dim} and metric {spec.metric}"
                )

    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Drop the Milvus collection."""
        with self._connection.use() as client:
            self._specs.pop(name, None)
            if self._describe(client, name) is not None:
                client.drop_collection(name)
            elif not missing_ok:
                raise self._missing(name)

    def describe_collection(self, name: str) -> CollectionSpec:
        """Read a collection's spec from its description."""
        with self._connection.use() as client:
            spec = self._describe(client, name)
        if spec is None:
            raise self._missing(name)
        return spec

    def list_collections(self) -> list[str]:
        """Name the collections that are described as ours."""
        with self._connection.use() as client:
            names = client.list_collections()
            return sorted(name for name in names if schema.read(client.describe_collection(name)) is not None)

    def upsert(self, name: str, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents in calls of at most 32 MB."""
        spec = self._spec(name)
        checked = check_batch(documents, vectors, spec.dim)
        lexical, max_text = self._connection.has_bm25, self._max_text
        rows = schema.rows(documents, checked, lexical=lexical, max_text=max_text)
        each = 4 * spec.dim + 1024
        start, size = 0, 0
        with self._connection.use() as client:
            for end, document in enumerate(documents):
                size += each + 8 * len(document.text)
                if size > _WRITE_BYTES and end > start:
                    client.upsert(name, rows[start:end])
                    start, size = end, 0
            if rows:
                client.upsert(name, rows[start:])

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete records by id."""
        self._spec(name)
        with self._connection.use() as client:
            for start in range(0, len(ids), _READ_AT_ONCE):
                client.delete(name, filter=among("id", ids[start : start + _READ_AT_ONCE]))

    def refresh(self, name: str) -> None:
        """Flush a server's segments; Lite's log holds every write from the start, and all reads are strong."""
        self._spec(name)
        if not self._connection.is_lite:
            with self._connection.use() as client:
                client.flush(name)

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """Read records by id."""
        found = {row["id"]: schema.document(row) for row in self._among(name, "id", ids, schema.READ)}
        return [found[identity] for identity in ids if identity in found]

    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        """Read the digests of all records of these sources."""
        return {row["id"]: row["digest"] for row in self._among(name, "source", sources, ["id", "digest"])}

    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        """Walk the records in order of id."""
        check_k(batch_size)
        self._spec(name)
        return self._walk(name, compile_filter(filter), batch_size, vectors=vectors)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        """Count in Milvus."""
        self._spec(name)
        with self._connection.use() as client:
            found = client.query(
                name, filter=compile_filter(filter), output_fields=["count(*)"], consistency_level="Strong"
            )
        return int(found[0]["count(*)"])

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
        """Search by the index; `ef` is HNSW's breadth or IVF's ``nprobe``."""
        check_k(k, offset)
        spec = self._spec(name)
        queries = check_vectors(vectors, spec.dim)
        if not len(queries):
            return []
        kind = spec.index.kind if spec.index.kind != "auto" else self._connection.auto_kind
        inner = {"hnsw": {"ef": ef or _DEFAULT_EF}, "ivf": {"nprobe": ef or _DEFAULT_NPROBE}}.get(kind, {})
        with self._connection.use() as client:
            found = ranked(
                client,
                name,
                list(queries),
                k + offset,
                field="vector",
                settings={"metric_type": schema.METRICS[spec.metric], "params": inner},
                expression=compile_filter(filter),
                score=_minus_root if spec.metric is Metric.L2 else float,
            )
        return [hits[offset:] for hits in found]

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Search by Milvus' BM25 function over the tokens."""
        check_k(k, offset)
        self._spec(name)
        if not self._connection.has_bm25:
            raise UnsupportedError(f"{self.capabilities.database} has no BM25 function (2.5 and later have): use dense")
        return [self._lexical(name, query, k, filter, offset) for query in queries]

    @property
    def _max_text(self) -> int:
        return _LEXICAL_TEXT if self._connection.has_bm25 else schema.MAX_BYTES

    def _lexical(self, name: str, query: str, k: int, filter: Filter | None, offset: int) -> list[Hit]:
        terms = query_terms(query)
        if not terms:
            return []
        if filter is None or not self._connection.is_lite:
            return self._bm25(name, words(terms), k + offset, compile_filter(filter))[offset:]
        # Lite 3.2 takes its statistics from what the filter leaves; so rank all, and filter the ranking.
        depth = 4 * (k + offset) + 100
        while True:
            hits = self._bm25(name, words(terms), depth, "")
            ids = [hit.id for hit in hits]
            wanted = {row["id"] for row in self._among(name, "id", ids, ["id"], also=compile_filter(filter))}
            kept = [hit for hit in hits if hit.id in wanted]
            if len(kept) >= k + offset or len(hits) < depth or depth == MAX_WINDOW:
                return kept[offset : offset + k]
            depth = min(depth * 4, MAX_WINDOW)

    def _bm25(self, name: str, query: str, depth: int, expression: str) -> list[Hit]:
        with self._connection.use() as client:
            return ranked(
                client,
                name,
                [query],
                depth,
                field="keywords",
                settings={"metric_type": "BM25"},
                expression=expression,
                score=_bm25,
            )[0]

    def _among(
        self, name: str, field: str, values: Sequence[str], fields: list[str], *, also: str = EVERYTHING
    ) -> Iterator[dict[str, Any]]:
        self._spec(name)
        for start in range(0, len(values), _READ_AT_ONCE):
            expression = f"{among(field, values[start : start + _READ_AT_ONCE])} and ({also})"
            for page in self._pages(name, expression, fields, _READ_AT_ONCE * 4):
                yield from page

    def _walk(self, name: str, expression: str, size: int, *, vectors: bool) -> Iterator[Batch]:
        fields = [*schema.READ, "vector"] if vectors else schema.READ
        for page in self._pages(name, expression, fields, size):
            matrix = schema.matrix(page) if vectors else None
            yield Batch([schema.document(row) for row in page], matrix)

    def _pages(self, name: str, expression: str, fields: list[str], size: int) -> Iterator[list[dict[str, Any]]]:
        with self._connection.use() as client:
            walk = client.query_iterator(
                name, batch_size=size, filter=expression or EVERYTHING, output_fields=fields, consistency_level="Strong"
            )
        while True:
            with self._connection.use():
                page = list(walk.next())
                if not page:
                    walk.close()
                    return
            yield page

    def _spec(self, name: str) -> CollectionSpec:
        known = self._specs.get(name)
        if known is None or not self._connection.is_lite:
            fresh = known is None
            known = self.describe_collection(name)
            if fresh:
                # Lite opens a file with its collections released, a server may have been restarted.
                with self._connection.use() as client:
                    client.load_collection(name)
            self._specs[name] = known
        else:
            self._connection.check_open()
        return known

    def _describe(self, client: Any, name: str) -> CollectionSpec | None:
        if not client.has_collection(name):
            return None
        spec = schema.read(client.describe_collection(name))
        if spec is None:
            raise CollectionExistsError(f"Milvus holds a collection {name!r} that is not qvec's: take another name")
        return spec

    def _missing(self, name: str) -> CollectionNotFoundError:
        return CollectionNotFoundError(
            f"no collection {name!r} in Milvus at {self._connection.place}: index into it first"
        )


def _minus_root(distance: float) -> float:
    return -math.sqrt(max(distance, 0.0))


def _bm25(score: float) -> float:
    return abs(score) * BM25_SCALE
