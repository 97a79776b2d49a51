"""The adapter: a folder with an SQLite file, and a FAISS snapshot for each collection that is large enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from qvec.adapter import Adapter, SupportsExchange, SupportsHybrid
from qvec.checks import check_batch, check_existing, check_held, check_k, check_shape, check_spec, check_vectors
from qvec.errors import CollectionNotFoundError, ConfigError, MissingDriverError
from qvec.filters import Filter
from qvec.fusion import FusionSpec
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Passport, Vector, Vectors
from qvec.uri import URI
from qvec_faiss import compaction, rows, schema
from qvec_faiss.dense import DenseLeg
from qvec_faiss.filters import compile_filter
from qvec_faiss.growth import WORTH_IT
from qvec_faiss.hybrid import fused
from qvec_faiss.lexical import score
from qvec_faiss.mirror import Ints, Mirror
from qvec_faiss.search import in_order

_DEVICES = ("auto", "cpu", "gpu")


class FaissAdapter(Adapter, SupportsHybrid, SupportsExchange):
    """Keep collections in a folder; several processes may share it, and writers take turns.

    Args:
        folder: is made when it is not there.
        device: ``"gpu"`` keeps flat and IVF indexes on all GPUs, ``"auto"`` does so when FAISS sees one.
    """

    name: ClassVar[str] = "faiss"

    def __init__(self, folder: Path, *, device: str = "auto") -> None:
        if find_driver() is None:
            raise MissingDriverError("faiss", "faiss")
        self.folder = folder.absolute()
        self._connections = schema.Connections(self.folder)
        self._dense = DenseLeg(self._connections, device=device)

    @property
    def capabilities(self) -> Capabilities:
        """What a FAISS folder can do."""
        return Capabilities(
            database=f"FAISS {_version()}",
            embedded=True,
            persistent=True,
            index_kinds=("flat", "hnsw", "ivf"),
            write_batch=4000,
        )

    @classmethod
    def from_uri(cls, uri: URI) -> Self:
        """Open the folder that the path names.

        Raises:
            MissingDriverError: FAISS is not installed.
            ConfigError: no folder is named, or an option is unknown.
            BackendConnectionError: the folder cannot be made or its database not opened.
        """
        uri.check_options(frozenset({"device"}))
        device = uri.options.get("device", "auto")
        if not uri.path or uri.host:
            raise ConfigError("a FAISS URI names a folder: faiss:///path/folder or faiss:folder")
        if device not in _DEVICES:
            raise ConfigError(f"device={device!r} in the faiss URI: takes {', '.join(_DEVICES)}")
        return cls(Path(uri.path), device=device)

    @classmethod
    def embedded_uri(cls, folder: str) -> URI | None:
        """Name the folder ``faiss`` under `folder`."""
        return URI(scheme=cls.name, path=str(Path(folder).absolute() / "faiss"))

    def close(self) -> None:
        """Close the connections of all threads."""
        self._dense.close()
        self._connections.close()

    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        """Enter a collection into the catalogue and make its tables."""
        check_spec(spec, self.capabilities)
        with self._connections.write() as connection:
            known = schema.find(connection, spec.name)
            if known is None:
                schema.create_tables(connection, spec)
            else:
                check_existing(known.spec, spec, exist_ok=exist_ok)

    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Drop a collection's tables and its snapshot."""
        with self._connections.write() as connection:
            entry = schema.find(connection, name)
            if entry is None and not missing_ok:
                raise CollectionNotFoundError(f"no collection {name!r} in the FAISS folder {self.folder}")
            if entry is not None:
                schema.drop_tables(connection, entry)
                self._dense.forget(entry)

    def exchange(self, one: str, other: str) -> None:
        """Trade the names in one transaction; snapshots go by number and stay."""
        with self._connections.write() as connection:
            first, second = (schema.need(connection, name, self.folder) for name in (one, other))
            schema.exchange(connection, first, second)

    def exchange_steps(self, one: str, other: str) -> list[str]:
        """Write the transaction."""
        return ["BEGIN IMMEDIATE", *schema.EXCHANGE, "COMMIT"]

    def describe_collection(self, name: str) -> CollectionSpec:
        """Read a collection's spec from the catalogue."""
        return self._entry(name).spec

    def list_collections(self) -> list[str]:
        """Read the catalogue's names."""
        with self._connections.read() as connection:
            return sorted(row[0] for row in connection.execute("SELECT name FROM collections"))

    def upsert(
        self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport: Passport | None = None
    ) -> None:
        """Write documents in one transaction, which is on the disk when this returns."""
        spec = self._entry(name).spec
        check_held(spec, passport)
        checked = check_batch(documents, vectors, spec.dim)
        if not documents:
            return
        prepared = rows.prepare(documents)
        with self._connections.write() as connection:
            entry = schema.need(connection, name, self.folder)
            # While the lock was waited for, another collection may have taken the name.
            check_held(entry.spec, passport)
            check_shape(checked, entry.spec.dim)
            rows.replace(connection, entry.number, documents, checked, prepared)
        if len(documents) >= WORTH_IT:
            self._dense.grow(entry)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete records in one transaction."""
        with self._connections.write() as connection:
            rows.delete(connection, schema.need(connection, name, self.folder).number, ids)

    def refresh(self, name: str) -> None:
        """Bring the FAISS index and its snapshot up to date when too much has changed, and sweep up after the dead."""
        entry = self._entry(name)
        with self._connections.read() as connection:
            is_due = compaction.is_due(connection, entry.number)
        if is_due:
            with self._connections.write() as connection:
                compaction.compact(connection, schema.need(connection, name, self.folder).number)
        self._dense.refresh(entry)

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """Read records by id."""
        entry = self._entry(name)
        with self._connections.read() as connection:
            found = rows.by_id(connection, entry.number, ids)
        return [found[identity] for identity in ids if identity in found]

    def get_vectors(self, name: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Read vectors by id."""
        entry = self._entry(name)
        with self._connections.read() as connection:
            return rows.vectors_of(connection, entry.number, ids)

    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        """Read digests through the index on ``source``."""
        entry = self._entry(name)
        with self._connections.read() as connection:
            return rows.digests(connection, entry.number, sources)

    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        """Walk the records by seq; what is written while the walk goes on is not met."""
        entry = self._entry(name)
        check_k(batch_size)
        with self._connections.read() as connection:
            last = rows.last_seq(connection, entry.number)
        return self._walk(entry, filter, batch_size, vectors=vectors, last=last)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        """Count in SQLite."""
        entry = self._entry(name)
        condition, parameters = compile_filter(filter)
        with self._connections.read() as connection:
            sql = f"SELECT count(*) FROM documents_{entry.number:d} WHERE {condition}"
            return int(connection.execute(sql, parameters).fetchone()[0])

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
        """Search exactly, or by the FAISS index once the collection has one."""
        check_k(k, offset)
        entry, mirror = self._caught_up(name)
        queries = check_vectors(vectors, entry.spec.dim)
        ranked = self._dense.search(entry, mirror, queries, k + offset, filter, ef)
        return [self._hits(entry, found[offset:]) for found in ranked]

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Score the postings of each query's terms."""
        check_k(k, offset)
        entry, mirror = self._caught_up(name)
        ranked = self._ranked_by_words(entry, mirror, queries, k + offset, filter)
        return [self._hits(entry, found[offset:]) for found in ranked]

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
        """Rank by both legs, fuse, and read the documents of the page alone."""
        check_k(k, offset)
        check_k(window)
        entry, mirror = self._caught_up(name)
        near = self._dense.search(entry, mirror, check_vectors(vectors, entry.spec.dim), window, filter, ef)
        by_words = self._ranked_by_words(entry, mirror, queries, window, filter)
        with self._connections.read() as connection:
            return [
                fused(connection, entry.number, {"lexical": lexical, "dense": dense}, how, k=k, offset=offset)
                for lexical, dense in zip(by_words, near, strict=True)
            ]

    def _ranked_by_words(
        self, entry: schema.Entry, mirror: Mirror, queries: Sequence[str], depth: int, filter: Filter | None
    ) -> list[list[tuple[int, float]]]:
        live, lengths = mirror.live_seqs, mirror.live_lengths
        answers: list[list[tuple[int, float]]] = []
        with self._connections.read() as connection:
            allowed = None if filter is None else rows.seqs_where(connection, entry.number, filter)
            for query in queries:
                found, scores = score(connection, entry.number, query, live, lengths)
                if allowed is not None:
                    kept = np.isin(live[found], allowed)
                    found, scores = found[kept], scores[kept]
                near = _top(scores, depth)
                answers.append(in_order(live[found[near]], scores[near], depth, rows.ids_by(self._connections, entry)))
        return answers

    def _entry(self, name: str) -> schema.Entry:
        def look_up() -> schema.Entry:
            with self._connections.read() as connection:
                return schema.need(connection, name, self.folder)

        return self._connections.unchanged(name, look_up)

    def _caught_up(self, name: str) -> tuple[schema.Entry, Mirror]:
        """Look the collection and its mirror up, at the price of asking once whether anything was written."""

        def look_up() -> tuple[schema.Entry, Mirror]:
            entry = self._entry(name)
            return entry, self._dense.mirror(entry)

        return self._connections.unchanged((name, "mirror"), look_up)

    def _hits(self, entry: schema.Entry, ranked: Sequence[tuple[int, float]]) -> list[Hit]:
        with self._connections.read() as connection:
            found = rows.by_seq(connection, entry.number, [seq for seq, _ in ranked])
        return [Hit(found[seq], value) for seq, value in ranked if seq in found]

    def _walk(
        self, entry: schema.Entry, filter: Filter | None, size: int, *, vectors: bool, last: int
    ) -> Iterator[Batch]:
        seen = 0
        while True:
            with self._connections.read() as connection:
                page = rows.page(connection, entry, filter, after=seen, last=last, size=size, vectors=vectors)
            if page is None:
                return
            seen, batch = page
            yield batch


def find_driver() -> object | None:
    """Find FAISS without loading it, which takes a third of a second."""
    try:
        return find_spec("faiss")
    except ValueError:
        return None


@cache
def _version() -> str:
    """Read the version once: every hybrid search asks for the capabilities, and the metadata takes a millisecond."""
    for distribution in ("faiss-cpu", "faiss-gpu-cu12", "faiss-gpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "?"


def _top(scores: np.ndarray[tuple[int], np.dtype[np.float64]], k: int) -> Ints:
    if k >= len(scores):
        return np.arange(len(scores))
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= kth)
