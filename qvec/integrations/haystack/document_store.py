"""A Haystack document store over any database that qvec knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self, TypeAlias

import numpy as np
from haystack import default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils import Secret

from qvec import types
from qvec.checks import check_vectors
from qvec.collection import Collection
from qvec.errors import CollectionNotFoundError, ConfigError, InvalidInputError, UnsupportedError
from qvec.filters import And, Exists, Filter, Not
from qvec.integrations.haystack import facets
from qvec.integrations.haystack.asynchronous import AsyncTwins
from qvec.integrations.haystack.documents import NO_VECTOR, order_of, to_document, to_record
from qvec.integrations.haystack.errors import QvecDuplicateError, QvecFilterError
from qvec.integrations.haystack.filters import from_haystack
from qvec.integrations.metadata import notes_of, unpack
from qvec.integrations.opening import open_collection
from qvec.registry import DEFAULT_MODEL, load_embedder
from qvec.retrieval import Mode
from qvec.types import Hit, Metric, Vector, Vectors
from qvec.uri import URI

Filters: TypeAlias = Mapping[str, Any]
_NO_ROW: Vector = np.empty(0, np.float32)


class QvecDocumentStore(AsyncTwins):
    """Keep Haystack's documents in a qvec collection and search them by vector, by keyword or both.

    A collection that is not there yet reads as empty and is made by the first documents. Documents without embedding
    are found by keyword and by filter, never by vector. Every method has an async twin, which runs in a thread.
    Haystack reads a pipeline with it from a file under ``Pipeline.load(..., allowed_modules=["qvec"])``.
    """

    def __init__(
        self,
        database: str | Secret | None = None,
        collection: str = "haystack",
        *,
        dim: int | None = None,
        metric: str = Metric.COSINE,
    ) -> None:
        """Name a collection; the database is opened when it is first needed.

        Args:
            database: what `qvec.connect` takes; an address with a password comes as a Secret.
            collection: its name.
            dim: of the embeddings, for a new collection; None takes it from the first documents written, and where
                these have none, from qvec's default model.
            metric: of a new collection.

        Raises:
            ConfigError: an address with a password in plain text, which pipelines would write to their files.
        """
        if isinstance(database, str) and "://" in database and _is_secret(database):
            raise ConfigError("the database's address holds a password: give it as Secret.from_env_var(...)")
        self._address = database
        self._name = collection
        self._dim = dim
        self._metric = Metric(metric)
        self._collection: Collection | None = None
        self._close: Callable[[], None] | None = None

    @classmethod
    def over(cls, collection: Collection, *, dim: int | None = None) -> Self:
        """Take a collection of a database that stays the caller's to close; such a store cannot be serialised."""
        made = cls(None, collection.name, dim=dim)
        made._collection = collection
        return made

    @property
    def collection(self) -> Collection:
        """The collection, opened now if it was not.

        Raises:
            ConfigError: the database cannot be told from its name.
            BackendConnectionError: it cannot be reached.
        """
        if self._collection is None:
            address = self._address.resolve_value() if isinstance(self._address, Secret) else self._address
            self._collection, self._close = open_collection(address, self._name, metric=self._metric)
        return self._collection

    def close(self) -> None:
        """Close the database, if it was opened here; it is opened again when needed."""
        if self._close is not None:
            self._close()
            self._close = self._collection = None

    def to_dict(self) -> dict[str, Any]:
        """Write what makes this store again.

        Raises:
            UnsupportedError: it was made by `over`.
        """
        if self._collection is not None and self._close is None:
            raise UnsupportedError("a store over an open collection cannot be serialised: name the database instead")
        address = self._address.to_dict() if isinstance(self._address, Secret) else self._address
        form: dict[str, Any] = default_to_dict(
            self, database=address, collection=self._name, dim=self._dim, metric=str(self._metric)
        )
        return form

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make the store that `to_dict` wrote."""
        made: Self = default_from_dict(cls, data)
        return made

    def count_documents(self) -> int:
        """Count the documents."""
        return self._count(None)

    def count_documents_by_filter(self, filters: Filters) -> int:
        """Count the documents that filters match.

        Raises:
            QvecFilterError: the filters cannot be read.
        """
        return self._count(from_haystack(filters))

    def filter_documents(self, filters: Filters | None = None) -> list[Document]:
        """Read the documents that filters match, embeddings included, in the order in which they were written.

        Raises:
            QvecFilterError: the filters cannot be read.
        """
        found = sorted(self._scan(from_haystack(filters)), key=lambda pair: order_of(pair[0]))
        return [to_document(record, vector=vector) for record, vector in found]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents.

        Args:
            documents: with embeddings, all of one size, or without.
            policy: for ids that are there already or twice among `documents`; NONE is FAIL.

        Returns:
            How many were written; under OVERWRITE, how many were given.

        Raises:
            InvalidInputError: what is no list of documents, an embedding of another size, metadata that cannot be kept.
            QvecDuplicateError: an id is there already, under FAIL; nothing was written.
            PartialWriteError: some documents were not written; it names them.
        """
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise InvalidInputError("write_documents takes a list of haystack Documents")
        chosen = self._without_duplicates(documents, policy)
        if chosen:
            start = time.time_ns()
            records = [to_record(document, start + at) for at, document in enumerate(chosen)]
            self.collection.upsert(records, self._vectors(chosen))
        return len(documents) if policy is DuplicatePolicy.OVERWRITE else len(chosen)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents by id; unknown ids are ignored."""
        self._erase(list(document_ids))

    def delete_all_documents(self, *, recreate_collection: bool = False) -> None:
        """Delete all documents.

        Args:
            recreate_collection: let the next documents make the collection anew, as of another dim; otherwise it stays.
        """
        if recreate_collection:
            self.collection.drop(missing_ok=True)
            return
        with suppress(CollectionNotFoundError):
            self.collection.clear()

    def delete_by_filter(self, filters: Filters) -> int:
        """Delete the documents that filters match.

        Returns:
            How many went.

        Raises:
            QvecFilterError: the filters cannot be read, or are empty.
        """
        where = from_haystack(filters)
        if where is None:
            raise QvecFilterError("delete_by_filter takes a filter; delete_all_documents deletes all")
        ids = [record.id for record, _ in self._scan(where)]
        self._erase(ids)
        return len(ids)

    def update_by_filter(self, filters: Filters, meta: Mapping[str, Any]) -> int:
        """Set metadata of the documents that filters match; what `meta` does not name stays.

        Returns:
            How many were changed.

        Raises:
            QvecFilterError: the filters cannot be read.
            InvalidInputError: metadata that cannot be kept.
        """
        found = list(self._scan(from_haystack(filters)))
        if found:
            documents = [to_document(record, vector=vector) for record, vector in found]
            changed = [replace(document, meta={**document.meta, **meta}) for document in documents]
            records = [
                to_record(document, order_of(record)[0]) for document, (record, _) in zip(changed, found, strict=True)
            ]
            self.collection.upsert(records, np.stack([vector for _, vector in found]))
        return len(found)

    def count_unique_metadata_by_filter(self, filters: Filters, metadata_fields: Sequence[str]) -> dict[str, int]:
        """Count how many values each field has among the documents that filters match.

        Raises:
            QvecFilterError: the filters cannot be read.
        """
        return facets.count_values(self._metadata(filters), metadata_fields)

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Tell each metadata field's type: ``keyword``, ``int``, ``float``, ``boolean``, ``date`` or ``object``."""
        return facets.field_types(self._metadata(None))

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Find the smallest and the largest value of a field under ``min`` and ``max``; None where there is none."""
        return facets.extremes(self._metadata(None), metadata_field)

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int | None = 10,
        filters: Filters | None = None,
    ) -> tuple[list[Any], int]:
        """List a field's values.

        Args:
            metadata_field: with or without ``meta.`` before it.
            search_term: keep values that hold it, whatever its case.
            from_: values to skip.
            size: values wanted; None for all.
            filters: of the documents whose values count.

        Returns:
            Values, sorted, and how many there are in all.

        Raises:
            QvecFilterError: the filters cannot be read.
        """
        found = facets.values_of(self._metadata(filters), metadata_field, search_term)
        return found[from_:][:size], len(found)

    def retrieve(
        self,
        query: str = "",
        *,
        query_embedding: Sequence[float] | None = None,
        mode: Mode = "hybrid",
        filters: Filters | None = None,
        top_k: int = 10,
        return_embedding: bool = False,
    ) -> list[Document]:
        """Find documents, best first, with their scores.

        Args:
            query: words, which the modes ``"lexical"`` and ``"hybrid"`` need.
            query_embedding: which the modes ``"dense"`` and ``"hybrid"`` need.
            mode: ``"dense"`` by vector, ``"lexical"`` by keyword (BM25), ``"hybrid"`` both, fused.
            filters: in Haystack's form.
            top_k: documents wanted; 0 gives none.
            return_embedding: hand the documents' embeddings out.

        Raises:
            InvalidInputError: a mode without what it needs, an embedding of another size, `top_k` below 0.
            QvecFilterError: the filters cannot be read.
        """
        where = from_haystack(filters)
        if mode != "lexical" and query_embedding is None:
            raise InvalidInputError(f"mode {mode!r} needs the query's embedding: connect a text embedder")
        if top_k == 0:
            return []
        try:
            hits = self._search(query, query_embedding, mode, where, top_k)
            ids = [hit.id for hit in hits] if return_embedding else []
            vectors = self.collection.adapter.get_vectors(self.collection.name, ids) if ids else {}
        except CollectionNotFoundError:
            return []
        return [to_document(hit.document, score=hit.score, vector=vectors.get(hit.id)) for hit in hits]

    def _search(
        self, query: str, vector: Sequence[float] | None, mode: Mode, where: Filter | None, k: int
    ) -> list[Hit]:
        hits = self.collection.search(query, k=k, mode=mode, where=where, vector=vector)
        if mode == "lexical" or not any(_lacks_vector(hit) for hit in hits):
            return hits
        # Documents without embedding stand in the index with a vector of zeros, whose cosine is 0: seldom among the
        # best, so that a filter against them is not paid for before one is met.
        if mode == "hybrid":
            return [hit for hit in hits if not _lacks_vector(hit) or any(leg.name == "lexical" for leg in hit.legs)]
        with_vector = Not(Exists(NO_VECTOR))
        narrow = with_vector if where is None else And((with_vector, where))
        return self.collection.search(query, k=k, mode=mode, where=narrow, vector=vector)

    def _without_duplicates(self, documents: Sequence[Document], policy: DuplicatePolicy) -> list[Document]:
        if policy is DuplicatePolicy.OVERWRITE:
            return list({document.id: document for document in documents}.values())
        known = {record.id for record in self._get([document.id for document in documents])}
        fresh: dict[str, Document] = {}
        for document in documents:
            if document.id not in known and document.id not in fresh:
                fresh[document.id] = document
            elif policy is not DuplicatePolicy.SKIP:
                raise QvecDuplicateError(f"document {document.id!r} is there already; choose a DuplicatePolicy")
        return list(fresh.values())

    def _vectors(self, documents: Sequence[Document]) -> Vectors:
        given = [document.embedding for document in documents if document.embedding is not None]
        sizes = {len(embedding) for embedding in given}
        if len(sizes) > 1:
            raise InvalidInputError(f"the documents' embeddings are of {len(sizes)} sizes: {sorted(sizes)}")
        dim = sizes.pop() if sizes else self._known_dim()
        rows = np.zeros((len(documents), dim), np.float32)
        if given:
            rows[[document.embedding is not None for document in documents]] = check_vectors(np.array(given), dim)
        return rows

    def _known_dim(self) -> int:
        try:
            return self.collection.describe().dim
        except CollectionNotFoundError:
            return self._dim or load_embedder(DEFAULT_MODEL).dim

    def _metadata(self, filters: Filters | None) -> list[dict[str, object]]:
        return [unpack(record.metadata) for record, _ in self._scan(from_haystack(filters), vectors=False)]

    def _scan(self, where: Filter | None, *, vectors: bool = True) -> Iterator[tuple[types.Document, Vector]]:
        try:
            for batch in self.collection.adapter.scan(self.collection.name, filter=where, vectors=vectors):
                rows = batch.vectors if batch.vectors is not None else [_NO_ROW] * len(batch.documents)
                yield from zip(batch.documents, rows, strict=True)
        except CollectionNotFoundError:
            return

    def _count(self, where: Filter | None) -> int:
        try:
            return self.collection.adapter.count(self.collection.name, filter=where)
        except CollectionNotFoundError:
            return 0

    def _get(self, ids: list[str]) -> list[types.Document]:
        try:
            return self.collection.adapter.get(self.collection.name, ids)
        except CollectionNotFoundError:
            return []

    def _erase(self, ids: list[str]) -> None:
        if ids:
            with suppress(CollectionNotFoundError):
                self.collection.adapter.delete(self.collection.name, ids)
                self.collection.adapter.refresh(self.collection.name)


def _lacks_vector(hit: Hit) -> bool:
    return "no_vector" in notes_of(hit.metadata)


def _is_secret(address: str) -> bool:
    uri = URI.parse(address)
    return str(uri) != uri.reveal()
