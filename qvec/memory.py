"""The reference: exact vector search and BM25 in this process's memory. Every other adapter is compared with it."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from qvec import lexical
from qvec.adapter import Adapter, SupportsExchange
from qvec.checks import check_batch, check_existing, check_held, check_k, check_spec, check_vectors
from qvec.errors import BackendConnectionError, CollectionNotFoundError
from qvec.filters import Filter, matches
from qvec.types import Batch, Capabilities, CollectionSpec, Document, Hit, Metric, Passport, Value, Vector, Vectors
from qvec.uri import URI

_CAPABILITIES = Capabilities(database="memory", embedded=True, persistent=False, index_kinds=("flat",))


class MemoryAdapter(Adapter, SupportsExchange):
    """Keep collections in this process; each connection is a store of its own and vanishes with it."""

    name: ClassVar[str] = "memory"

    def __init__(self) -> None:
        self._lock = RLock()
        self._tables: dict[str, _Table] = {}
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        """What this connection can do."""
        return _CAPABILITIES

    @classmethod
    def from_uri(cls, uri: URI) -> Self:
        """Make an empty store.

        Raises:
            ConfigError: the URI has options; there are none.
        """
        uri.check_options(frozenset())
        return cls()

    @classmethod
    def embedded_uri(cls, folder: str) -> URI | None:
        """Name the store in memory, whatever the folder."""
        return URI(scheme="memory")

    def close(self) -> None:
        """Drop everything; a second call does nothing."""
        with self._lock:
            self._closed = True
            self._tables.clear()

    def create_collection(self, spec: CollectionSpec, *, exist_ok: bool = False) -> None:
        """Make an empty collection.

        Raises:
            CollectionExistsError: it exists and `exist_ok` is false, or it exists with another dim or metric.
            InvalidInputError: its name or dim is none that every database can hold.
            UnsupportedError: the index kind is another than exact search.
        """
        check_spec(spec, _CAPABILITIES)
        with self._lock:
            self._need_open()
            known = self._tables.get(spec.name)
            if known is None:
                self._tables[spec.name] = _Table(spec)
            else:
                check_existing(known.spec, spec, exist_ok=exist_ok)

    def drop_collection(self, name: str, *, missing_ok: bool = False) -> None:
        """Delete a collection with all that is in it."""
        with self._lock:
            self._need_open()
            if missing_ok and name not in self._tables:
                return
            self._table(name)
            del self._tables[name]

    def describe_collection(self, name: str) -> CollectionSpec:
        """Return the spec that the collection was made with."""
        with self._lock:
            return self._table(name).spec

    def list_collections(self) -> list[str]:
        """Return the names of all collections, sorted."""
        with self._lock:
            self._need_open()
            return sorted(self._tables)

    def upsert(
        self, name: str, documents: Sequence[Document], vectors: Vectors, *, passport: Passport | None = None
    ) -> None:
        """Write documents, all or none; one with a known id is replaced, whole.

        Raises:
            PassportMismatchError: the collection has another passport than the one given.
            InvalidInputError: duplicate ids, a document that cannot be held, vectors of a wrong shape or with NaN.
        """
        with self._lock:
            table = self._table(name)
            check_held(table.spec, passport)
            checked = check_batch(documents, vectors, table.spec.dim)
            for document, vector in zip(documents, checked, strict=True):
                table.put(_copy_document(document), vector)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete records by id; unknown ids are ignored."""
        with self._lock:
            table = self._table(name)
            for id in ids:
                table.drop(id)

    def exchange(self, one: str, other: str) -> None:
        """Trade the names under one lock."""
        with self._lock:
            first, second = self._table(one), self._table(other)
            first.spec, second.spec = replace(first.spec, name=other), replace(second.spec, name=one)
            self._tables[one], self._tables[other] = second, first

    def exchange_steps(self, one: str, other: str) -> list[str]:
        """Say it in words."""
        return [f"{one} and {other} trade names"]

    def refresh(self, name: str) -> None:
        """Check that the collection is there; writes are searchable at once."""
        with self._lock:
            self._table(name)

    def get(self, name: str, ids: Sequence[str]) -> list[Document]:
        """Return records in the caller's order; unknown ids are skipped."""
        with self._lock:
            documents = self._table(name).documents
            return [_copy_document(documents[id]) for id in ids if id in documents]

    def get_vectors(self, name: str, ids: Sequence[str]) -> dict[str, Vector]:
        """Return id -> a copy of the stored vector."""
        with self._lock:
            table = self._table(name)
            return {id: table.vectors[table.rows[id]].copy() for id in ids if id in table.rows}

    def digests(self, name: str, sources: Sequence[str]) -> dict[str, str]:
        """Return record id -> digest of every record whose `source` is among `sources`."""
        with self._lock:
            table = self._table(name)
            return {id: table.documents[id].digest for source in sources for id in table.by_source.get(source, ())}

    def scan(
        self, name: str, *, filter: Filter | None = None, batch_size: int = 1000, vectors: bool = False
    ) -> Iterator[Batch]:
        """Walk the records that were there at the start and still are, each once."""
        with self._lock:
            ids = list(self._table(name).documents)
        for start in range(0, len(ids), batch_size):
            with self._lock:
                table = self._table(name)
                found = [id for id in ids[start : start + batch_size] if table.holds(id, filter)]
                documents = [_copy_document(table.documents[id]) for id in found]
                rows = table.vectors[[table.rows[id] for id in found]] if vectors else None
            if documents:
                yield Batch(documents, rows)

    def count(self, name: str, *, filter: Filter | None = None) -> int:
        """Return how many records match."""
        with self._lock:
            table = self._table(name)
            return sum(table.holds(id, filter) for id in table.documents)

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
        """Return the nearest records of each query vector, found by comparing with all; `ef` changes nothing."""
        check_k(k, offset)
        with self._lock:
            table = self._table(name)
            queries = check_vectors(vectors, table.spec.dim)
            ids = [id for id in table.ids if table.holds(id, filter)]
            stored = table.vectors[[table.rows[id] for id in ids]]
            found = []
            for query in queries:
                scores = _similarities(table.spec.metric, stored, query)
                reach = _reach(scores, k + offset)
                candidates = ((ids[i], float(scores[i])) for i in np.flatnonzero(scores >= reach))
                found.append(table.hits(candidates, k, offset))
            return found

    def search_lexical(
        self, name: str, queries: Sequence[str], *, k: int, filter: Filter | None = None, offset: int = 0
    ) -> list[list[Hit]]:
        """Return the best records of each query by BM25; the statistics are of all documents, filter or not."""
        check_k(k, offset)
        with self._lock:
            table = self._table(name)
            found = []
            for query in queries:
                scored = table.bm25(lexical.query_terms(query)).items()
                found.append(table.hits((item for item in scored if table.holds(item[0], filter)), k, offset))
            return found

    def _table(self, name: str) -> _Table:
        self._need_open()
        table = self._tables.get(name)
        if table is None:
            raise CollectionNotFoundError(f"memory holds no collection {name!r}; index something into it first")
        return table

    def _need_open(self) -> None:
        if self._closed:
            raise BackendConnectionError("this connection to memory is closed; open another")


class _Table:
    """One collection: documents, vectors in a matrix without holes, an inverted index."""

    def __init__(self, spec: CollectionSpec) -> None:
        self.spec = spec
        self.documents: dict[str, Document] = {}
        self.by_source: defaultdict[str, set[str]] = defaultdict(set)
        self.ids: list[str] = []
        self.rows: dict[str, int] = {}
        self.vectors: Vectors = np.empty((0, spec.dim), dtype=np.float32)
        self.postings: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.lengths: dict[str, int] = {}
        self.total_length = 0

    def holds(self, id: str, filter: Filter | None) -> bool:
        document = self.documents.get(id)
        return document is not None and (filter is None or matches(filter, document.metadata))

    def put(self, document: Document, vector: NDArray[np.float32]) -> None:
        self.drop(document.id)
        row = len(self.ids)
        if row == len(self.vectors):
            room = np.empty((max(16, row), self.spec.dim), dtype=np.float32)
            self.vectors = np.concatenate([self.vectors, room])
        self.vectors[row] = vector
        self.rows[document.id] = row
        self.ids.append(document.id)
        self.documents[document.id] = document
        self.by_source[document.source].add(document.id)
        frequencies = lexical.term_frequencies(document.searchable_text)
        for term, frequency in frequencies.items():
            self.postings[term][document.id] = frequency
        self.lengths[document.id] = sum(frequencies.values())
        self.total_length += self.lengths[document.id]

    def drop(self, id: str) -> None:
        document = self.documents.pop(id, None)
        if document is None:
            return
        row, last = self.rows.pop(id), self.ids.pop()
        if last != id:
            self.vectors[row] = self.vectors[len(self.ids)]
            self.ids[row] = last
            self.rows[last] = row
        self._forget(self.by_source, document.source, id)
        for term in lexical.term_frequencies(document.searchable_text):
            postings = self.postings[term]
            del postings[id]
            if not postings:
                del self.postings[term]
        self.total_length -= self.lengths.pop(id)

    def bm25(self, terms: Sequence[str]) -> dict[str, float]:
        scores: defaultdict[str, float] = defaultdict(float)
        average = self.total_length / max(1, len(self.documents))
        for term in terms:
            postings = self.postings.get(term, {})
            weight = lexical.idf(len(self.documents), len(postings))
            for id, frequency in postings.items():
                scores[id] += weight * lexical.term_score(frequency, self.lengths[id], average)
        return scores

    def hits(self, scored: Iterable[tuple[str, float]], k: int, offset: int) -> list[Hit]:
        best = heapq.nsmallest(k + offset, scored, key=lambda item: (-item[1], item[0]))
        return [Hit(_copy_document(self.documents[id]), score) for id, score in best[offset:]]

    @staticmethod
    def _forget(groups: dict[str, set[str]], key: str, id: str) -> None:
        groups[key].discard(id)
        if not groups[key]:
            del groups[key]


def _similarities(metric: Metric, stored: Vectors, query: NDArray[np.float32]) -> NDArray[np.float64]:
    # Row by row and never by a matrix product: BLAS rounds equal rows differently, and ties would no longer be ties.
    rows, wanted = stored.astype(np.float64), query.astype(np.float64)
    if metric is Metric.L2:
        return -np.sqrt(_row_sums(np.square(rows - wanted)))
    products = _row_sums(rows * wanted)
    if metric is Metric.DOT:
        return products
    lengths = np.sqrt(_row_sums(np.square(rows)) * np.square(wanted).sum())
    cosines = np.zeros_like(products)
    np.divide(products, lengths, out=cosines, where=lengths > 0)
    return np.clip(cosines, -1.0, 1.0)


def _row_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = values.sum(axis=1)
    return sums


def _reach(scores: NDArray[np.float64], wanted: int) -> float:
    """The lowest score that can still be among the `wanted` best; ties at the border are all in."""
    if wanted >= len(scores):
        return -np.inf
    return float(np.partition(scores, len(scores) - wanted)[len(scores) - wanted])


def _copy_document(document: Document) -> Document:
    metadata = {key: _copy(value) for key, value in document.metadata.items()}
    return Document(document.id, document.text, metadata, document.source, document.digest)


def _copy(value: Value) -> Value:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_copy(item) for item in value]
    return value
