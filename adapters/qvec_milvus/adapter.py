"""The adapter: one Milvus collection a collection, on Milvus Lite or a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock, RLock
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from qvec.adapter import Adapter, SupportsExchange, SupportsHybrid
from qvec.checks import check_batch, check_existing, check_held, check_k, check_vectors
from qvec.errors import CollectionExistsError, CollectionNotFoundError, ConfigError, QvecError
from qvec.filters import Filter
from qvec.foreign import SupportsLayout
from qvec.fusion import FusionSpec
from qvec.layouts import Layout
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Passport, Vector, Vectors
from qvec.uri import URI
from qvec_milvus import analyzers, hybrid, naming, schema, totals
from qvec_milvus.attachments import Attachments, Pass
from qvec_milvus.connection import Connection, open_file, open_server
from qvec_milvus.creating import Creations
from qvec_milvus.errors import MovedError
from qvec_milvus.filters import among, compile_filter
from qvec_milvus.foreign import ForeignCollections
from qvec_milvus.growing import index_growing
from qvec_milvus.legs import READ_AT_ONCE, Found, Legs
from qvec_milvus.reading import Reader
from qvec_milvus.schema import Shape
from qvec_milvus.surveys import Surveys
from qvec_milvus.totals import LiteTotals, ServerTotals
from qvec_milvus.writing import write

Answer = TypeVar("Answer")
_OPTIONS = frozenset({"token", "secure", "timeout"})
_THREADS = 8
"""So many searches of both legs and writes run at the same time; further ones wait for a thread."""


class MilvusAdapter(Adapter, SupportsHybrid, SupportsLayout, SupportsExchange, Attachments, Surveys, Creations):
    """Keep collections in Milvus; each is a Milvus collection of the same name, described as ours.

    Args:
        connection: to a Lite file or a server.
    """

    name: ClassVar[str] = "milvus"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._shapes: dict[str, Shape] = {}
        self._reader = Reader(connection)
        self._totals = (
            LiteTotals(self._reader, read=self._read_total, write=self._write_total)
            if connection.is_lite
            else ServerTotals(self._reader)
        )
        self._creating = Lock()
        # One process holds a Lite file: there no exchange comes between the look at a collection and a write to it.
        self._turns: AbstractContextManager[object] = RLock() if connection.is_lite else nullcontext()
        self._passes: dict[str, Pass] = {}
        self._legs = Legs(connection, self._reader, self._totals)
        self._second = ThreadPoolExecutor(_THREADS, thread_name_prefix="qvec-milvus")

    @property
    def capabilities(self) -> Capabilities:
        """What this Milvus can do."""
        return Capabilities(
            database=f"Milvus {'Lite ' if self._connection.is_lite else ''}{self._connection.version}",
            embedded=self._connection.is_lite,
            persistent=True,
            index_kinds=("flat", "hnsw", "ivf"),
            max_dim=32_768,
            analyzers=analyzers.names(self._connection),
            max_text_bytes=schema.max_text(self._connection.keywords),
            write_batch=2000,
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
        self._second.shutdown()
        self._connection.close()

    def with_layout(self, layout: Layout) -> ForeignCollections:
        """Return an adapter for collections that another program made; it owns this one's connection."""
        return ForeignCollections(self._connection, self.capabilities, layout)

    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        """Make a Milvus collection with its indexes, and load it."""
        self._check_spec(spec)
        # Of two threads that create the same, Lite 3.2 fails one halfway.
        with self._creating, self._connection.use() as client:
            if found := self._describe(client, spec.name):
                check_existing(found.spec, spec, exist_ok=exist_ok)
            else:
                schema.create(self._connection, client, spec)
                self._shapes[spec.name] = self._look_up(spec.name)

    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Drop the Milvus collection."""
        with self._connection.use() as client:
            self._shapes.pop(name, None)
            self._totals.forget(name)
            self._connection.loading.discard(name)
            if self._describe(client, name) is not None:
                naming.drop(client, name)
            elif not missing_ok:
                raise self._missing(name)

    def describe_collection(self, name: str) -> CollectionSpec:
        """Read a collection's spec from its description."""
        return self._look_up(name).spec

    def list_collections(self) -> list[str]:
        """Name the collections that are described as ours."""
        with self._connection.use() as client:
            found = client.list_collections()
            return sorted(naming.alias_of(client, own) for own in found if schema.read(client.describe_collection(own)))

    def exchange(self, one: str, other: str) -> None:
        """Move the aliases, one request each; see `qvec_milvus.naming`."""
        with self._turns, self._connection.use() as client:
            for name in (one, other):
                self._look_up(name)
            naming.exchange(client, one, other)
            for name in (one, other):
                self._shapes.pop(name, None)
                self._totals.forget(name)
                self._connection.loading.discard(name)
                self._connection.wrote(name)

    def exchange_steps(self, one: str, other: str) -> list[str]:
        """Say the requests in words."""
        return naming.steps(one, other)

    def upsert(
        self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport: Passport | None = None
    ) -> None:
        """Write documents in calls of at most 32 MB; all are checked before the first is written."""
        with self._turns:
            check_held((shape := self._known(name)).spec, passport)
            checked = check_batch(documents, vectors, shape.spec.dim)
            if not documents:
                return
            rows = schema.rows(documents, checked, shape)
            if self._connection.is_lite:
                schema.add_keywords(rows, documents, shape)
            ids, sources = [row.id for row in documents], [row.source for row in documents]
            self._connection.wrote(name, sources)
            try:
                with self._totals.changing(name, ids, sources, sum(row.get("length", 0) for row in rows)):
                    # By its own name: 2.3 looks an alias up twice a call, and errs when it moves between.
                    write(self._connection, shape.own, shape, documents, rows, self._second)
            except (MovedError, CollectionNotFoundError):
                if self._look_up(name) == shape:
                    raise
            else:
                if not shape.partition or self._look_up(name) == shape:
                    return
            self._shapes.pop(name, None)
            self.upsert(name, documents, vectors, passport=passport)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete records by id."""
        with self._turns:
            self._known(name)
            self._connection.wrote(name)
            for start in range(0, len(ids), READ_AT_ONCE):
                some = list(dict.fromkeys(ids[start : start + READ_AT_ONCE]))
                with self._totals.changing(name, some, (), 0), self._connection.use() as client:
                    client.delete(name, filter=among("id", some))

    def refresh(self, name: str) -> None:
        """Flush a Lite file, which reads its unflushed rows slowly; wait for a server to have consumed its log.

        A server's log is durable, it flushes by itself, and newer ones refuse more than a flush in ten seconds.
        """
        self._known(name)
        if self._connection.is_lite:
            with self._connection.use() as client:
                client.flush(name)
        else:
            self._reader.settle(name)
            index_growing(self._connection, self._reader, name)
        self._totals.settle(name)

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """Read records by id."""
        found = {row["id"]: schema.document(row) for row in self._among(name, "id", ids, schema.READ)}
        return [found[identity] for identity in ids if identity in found]

    def get_vectors(self, name: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Read vectors by id."""
        found = self._among(name, "id", ids, ["id", "vector"])
        return {row["id"]: np.array(row["vector"], np.float32) for row in found}

    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        """Read the digests of all records of these sources."""
        if self._totals.are_new(name, sources) or self._connection.is_new(name, sources):
            return {}
        found = self._among(name, "source", sources, ["id", "digest"])
        return {row["id"]: row["digest"] for row in found}

    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        """Walk the records in order of id."""
        check_k(batch_size)
        self._known(name)
        return self._walk(name, compile_filter(filter), batch_size, vectors=vectors)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        """Count in Milvus."""
        self._known(name)
        return self._reader.count(name, compile_filter(filter))

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

        def ask(shape: Shape) -> list[list[Hit]]:
            rows, expression = check_vectors(vectors, shape.spec.dim), compile_filter(filter)
            found = self._legs.dense(shape.spec, rows, k + offset, expression, ef, ids_alone=False)
            return hybrid.hits_of(self._legs, name, found, offset=offset)

        return self._read(name, ask)

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Search by BM25: Milvus' function on servers from 2.5, computed here on others and on Lite."""
        check_k(k, offset)

        def ask(shape: Shape) -> list[list[Hit]]:
            depth, expression = k + offset, compile_filter(filter)
            found = self._legs.lexical(shape.spec, shape.keywords, queries, depth, expression, ids_alone=False)
            return hybrid.hits_of(self._legs, name, found, offset=offset)

        return self._read(name, ask)

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
        """Ask both legs, of a server at the same time, and read the documents of the page alone."""
        check_k(k, offset)
        check_k(window)
        legs = self._legs

        def ask(shape: Shape) -> list[list[Hit]]:
            spec = shape.spec
            rows, expression = check_vectors(vectors, spec.dim), compile_filter(filter)
            words = partial(legs.lexical, spec, shape.keywords, queries, window, expression, ids_alone=True)
            one = partial(legs.dense, spec, depth=window, expression=expression, ef=ef, ids_alone=True)

            def near() -> list[Found]:
                # One by one: asked together, vectors get scores that differ in the last digit.
                return [one(row[None])[0] for row in rows]

            if self._connection.is_lite:
                lexical, dense = words(), near()
            else:
                waiting = self._second.submit(words)
                dense = near()
                lexical = waiting.result()
            return hybrid.fused(legs, name, lexical, dense, how, k=k, offset=offset)

        return self._read(name, ask)

    def _among(self, name: str, field: str, values: Sequence[str], fields: list[str]) -> list[dict[str, Any]]:
        parts = [values[start : start + READ_AT_ONCE] for start in range(0, len(values), READ_AT_ONCE)]

        def ask(_: Shape) -> list[dict[str, Any]]:
            return [
                row
                for part in parts
                for row in self._reader.rows(
                    name, among(field, part), fields, sources=part if field == "source" else None
                )
            ]

        return self._read(name, ask)

    def _walk(self, name: str, expression: str, size: int, *, vectors: bool) -> Iterator[Batch]:
        fields = [*schema.READ, "vector"] if vectors else schema.READ
        for page in self._reader.pages(name, expression, fields, size):
            matrix = schema.matrix(page) if vectors else None
            yield Batch([schema.document(row) for row in page], matrix)

    def _known(self, name: str) -> Shape:
        known = self._shapes.get(name)
        if known is not None and self._connection.is_lite:
            self._connection.check_open()
            return known
        found = self._look_up(name)
        if known is None:
            # Lite opens a file with its collections released, and who is making this one may not be done.
            with self._creating, self._connection.use() as client:
                schema.complete(self._connection, client, found)
                client.load_collection(name)
        self._shapes[name] = found
        return found

    def _read(self, name: str, work: Callable[[Shape], Answer]) -> Answer:
        """Work with the remembered spec, without asking for it again; once more when it turns out to be another."""
        known = self._shapes.get(name)
        if known is not None:
            self._connection.check_open()
            try:
                return work(known)
            except QvecError:
                if self._look_up(name) == known:
                    raise
                self._shapes.pop(name, None)
        return work(self._known(name))

    def _look_up(self, name: str) -> Shape:
        with self._connection.use() as client:
            found = self._describe(client, name)
        if found is None:
            raise self._missing(name)
        return found

    def _describe(self, client: Any, name: str) -> Shape | None:
        try:
            with self._connection.use():
                described = client.describe_collection(name)
        except CollectionNotFoundError:
            return None
        found = schema.read(described)
        if found is None:
            raise CollectionExistsError(f"Milvus holds a collection {name!r} that is not qvec's: take another name")
        # What is written in it is the name that it was made with.
        return replace(found, spec=replace(found.spec, name=name))

    def _read_total(self, name: str) -> str:
        with self._connection.use() as client:
            properties = client.describe_collection(name).get("properties") or {}
        return str(properties.get(totals.PROPERTY, ""))

    def _write_total(self, name: str, text: str) -> None:
        with self._connection.use() as client:
            client.alter_collection_properties(name, {totals.PROPERTY: text})

    def _missing(self, name: str) -> CollectionNotFoundError:
        place = self._connection.place
        return CollectionNotFoundError(f"no collection {name!r} in Milvus at {place}: index into it first")
