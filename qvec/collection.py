"""The one thing a user holds: a named set of documents that can be indexed and searched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeAlias

import numpy as np

from qvec import pipeline
from qvec.adapter import Adapter
from qvec.checks import check_k, check_name, check_vectors, string_fault
from qvec.documents import DocumentLike
from qvec.embedder import Embedder
from qvec.embedders.cache import CachedEmbedder
from qvec.embedders.cache_store import VectorCache
from qvec.errors import CollectionNotFoundError, InvalidInputError, UnsupportedError
from qvec.filters import Filter, Where
from qvec.foreign import ForeignAdapter
from qvec.fusion import RANK_CONSTANT, as_leg, rrf, weighted
from qvec.lexical_weight import lexical_weight
from qvec.passport import check_passport, passport_of
from qvec.pipeline import IndexProgress, IndexReport, LongText
from qvec.registry import DEFAULT_MODEL, load_embedder
from qvec.types import CollectionSpec, Document, Hit, IndexSpec, LegName, Metric, Passport, Vector, Vectors
from qvec.where import to_filter

Mode: TypeAlias = Literal["hybrid", "dense", "lexical"]
Fusion: TypeAlias = Literal["rrf", "weighted"]

CANDIDATES = 50
"""How many hits each leg brings to the fusion at least; four times what is asked for when that is more."""


class Collection:
    """Documents under a name in one database, with the model that their vectors come from.

    Made by `Database.collection`; it exists in the database from the first `index` or `create` on. The model is
    loaded when it is first needed. One object may be used from several threads.
    """

    def __init__(
        self,
        adapter: Adapter,
        name: str,
        *,
        executor: ThreadPoolExecutor,
        model: str | None = None,
        dim: int | None = None,
        embedder: Embedder | None = None,
        default_model: str | None = None,
        default_dim: int | None = None,
        metric: Metric = Metric.COSINE,
        index: IndexSpec | None = None,
        chunker: str = "",
        cache: VectorCache | None = None,
    ) -> None:
        self.name = name if isinstance(adapter, ForeignAdapter) else check_name(name)
        self._adapter = adapter
        self._executor = executor
        self._model = model
        self._dim = dim
        self._embedder = embedder
        self._default_model = default_model
        self._default_dim = default_dim
        self._metric = Metric(metric)
        self._index = index or IndexSpec()
        self._chunker = chunker
        self._cache = cache
        self._checked = False

    @property
    def adapter(self) -> Adapter:
        """The connection, for what a collection has no word for."""
        return self._adapter

    @property
    def embedder(self) -> Embedder:
        """The model: the one given, else the one in the collection's passport, else the default.

        Raises:
            PassportMismatchError: the collection's vectors come from another model, dim or prompt.
            EmbeddingError: the model cannot be loaded.
        """
        return self._open()

    def create(self) -> None:
        """Make the collection in the database when it is not there yet.

        Raises:
            UnsupportedError: the database cannot hold vectors of this dim or metric.
            PassportMismatchError: it is there with another model, dim or prompt.
        """
        embedder = self._open()
        passport = passport_of(embedder, chunker=self._chunker)
        spec = CollectionSpec(self.name, embedder.dim, self._metric, self._index, passport)
        self._adapter.create_collection(spec, exist_ok=True)

    def index(
        self,
        docs: Iterable[DocumentLike],
        *,
        prune: bool = False,
        long_text: LongText = "chunk",
        progress: Callable[[IndexProgress], None] | None = None,
    ) -> IndexReport:
        """Bring the collection up to date with `docs`: write what is new or changed, skip what is not.

        Documents with one `source` are taken as all that this source has: its other records are deleted.

        Args:
            docs: strings, dicts or Documents, consumed once and lazily; also a single one.
            prune: delete the documents that `docs` does not mention.
            long_text: ``"chunk"`` cuts a document that is too long for the model or the database into parts, with ids
                ``id#part1`` ..., and counts it as chunked; ``"error"`` reports it as failed.
            progress: called from this thread while the run goes on.

        Returns:
            What was added, updated, left unchanged, deleted, and what failed and why.

        Raises:
            InvalidInputError: `prune` without a single document.
            PassportMismatchError: the collection's vectors come from another model, dim or prompt.
            BackendError: the database failed; a second run goes on from there.
        """
        if isinstance(docs, str | Mapping | Document):
            docs = [docs]
        self.create()
        return pipeline.run(
            self._adapter, self.name, self.embedder, docs, prune=prune, long_text=long_text, progress=progress
        )

    def upsert(self, documents: Sequence[Document], vectors: Vectors) -> None:
        """Write documents with vectors made elsewhere; one with a known id is replaced, whole.

        A collection that is not there is made, with the vectors' dim; it has a passport only where the model that made
        them was given to `Database.collection`.

        Args:
            documents: ids differ.
            vectors: ``(len(documents), dim)``, finite.

        Raises:
            InvalidInputError: vectors of another shape or dim, duplicate ids, what no database can hold.
            PassportMismatchError: the collection's vectors come from another model than the one given.
            PartialWriteError: some documents were not written; it names them.
        """
        if not len(documents):
            return
        rows = check_vectors(vectors, self._dim_for(vectors))
        size = max(1, self._adapter.capabilities.write_batch)
        for start in range(0, len(documents), size):
            self._adapter.upsert(self.name, documents[start : start + size], rows[start : start + size])
        self._adapter.refresh(self.name)

    def search(
        self,
        query: str,
        *,
        k: int = 10,
        mode: Mode = "hybrid",
        where: Where = None,
        instruction: str | None = None,
        offset: int = 0,
        fusion: Fusion = "rrf",
        weights: Mapping[LegName, float] | None = None,
        rank_constant: int = RANK_CONSTANT,
        ef: int | None = None,
        vector: Sequence[float] | Vector | None = None,
    ) -> list[Hit]:
        """Find the documents that answer a query, best first.

        Args:
            query: in any language that the model knows.
            k: hits wanted.
            mode: ``"dense"`` by meaning, ``"lexical"`` by keyword (BM25), ``"hybrid"`` both, fused.
            where: a filter on metadata, as a string (``"lang = 'py' and stars >= 10"``), dict or condition.
            instruction: the model's task, a preset's name or an English sentence; None takes the model's default.
            offset: hits to skip.
            fusion: ``"rrf"`` by rank or ``"weighted"`` by scaled score.
            weights: of the legs; None gives the dense leg 1 and the lexical leg `qvec.lexical_weight.lexical_weight`.
            rank_constant: of ``"rrf"``.
            ef: breadth of an approximate index; None for the adapter's default.
            vector: the query's, made elsewhere: the model is not asked then, and ``"dense"`` needs no `query`.

        Returns:
            Hits with each leg's rank and score.

        Raises:
            InvalidInputError: an empty query, or a number out of range.
            FilterError: `where` cannot be read.
            CollectionNotFoundError: the collection is not there.
            PassportMismatchError: the collection's vectors come from another model, dim or prompt.
        """
        check_k(k, offset)
        if mode != "dense" or vector is None:
            _check_query(query)
        condition = to_filter(where)

        def dense(k: int, offset: int) -> list[Hit]:
            rows = self._query_rows(query, instruction, vector)
            return self._adapter.search_dense(self.name, rows, k=k, filter=condition, offset=offset, ef=ef)[0]

        if mode == "dense":
            return as_leg("dense", dense(k, offset), first_rank=offset + 1)
        if mode == "lexical":
            return as_leg("lexical", self._lexical(query, k, offset, condition), first_rank=offset + 1)
        if mode != "hybrid":
            raise InvalidInputError(f"mode={mode!r}: takes 'hybrid', 'dense' or 'lexical'")
        if not self._adapter.capabilities.lexical:
            database = self._adapter.capabilities.database
            raise UnsupportedError(f"{database} has no keyword leg, so no hybrid search: use mode='dense'")
        depth = max(CANDIDATES, 4 * (k + offset))
        lexical_leg = self._executor.submit(self._lexical, query, depth, 0, condition)
        legs: dict[LegName, list[Hit]] = {"dense": dense(depth, 0)}
        legs["lexical"] = lexical_leg.result()
        shares: Mapping[LegName, float] = weights or {
            "dense": 1.0,
            "lexical": lexical_weight(query, model=self._model_id(is_asked=vector is None)),
        }
        return _fuse(legs, fusion, shares, rank_constant)[offset : offset + k]

    def get(self, ids: str | Sequence[str]) -> list[Document]:
        """Return documents in the caller's order; one that was cut comes as its parts; unknown ids are skipped."""
        wanted = [ids] if isinstance(ids, str) else list(ids)
        found = {document.id: document for document in self._adapter.get(self.name, wanted)}
        missing = [identity for identity in wanted if identity not in found]
        parts: dict[str, list[Document]] = {}
        if missing:
            for part in self._adapter.get(self.name, list(self._adapter.digests(self.name, missing))):
                parts.setdefault(part.source, []).append(part)
        return [
            document
            for identity in wanted
            for document in ([found[identity]] if identity in found else _in_order(parts.get(identity, [])))
        ]

    def delete(self, ids: str | Sequence[str] | None = None, *, where: Where = None) -> int:
        """Delete documents with all their parts, by id, by source or by filter; unknown ids are ignored.

        Returns:
            How many records went.

        Raises:
            InvalidInputError: neither ids nor a filter, or both.
        """
        condition = to_filter(where)
        if (ids is None) == (condition is None):
            raise InvalidInputError("delete takes ids or where, one of the two")
        if ids is None:
            gone = 0
            for batch in self._adapter.scan(self.name, filter=condition):
                records = [document.id for document in batch.documents]
                self._adapter.delete(self.name, records)
                gone += len(records)
            self._adapter.refresh(self.name)
            return gone
        wanted = [ids] if isinstance(ids, str) else list(ids)
        known = {document.id for document in self._adapter.get(self.name, wanted)}
        records = sorted(known | set(self._adapter.digests(self.name, wanted)))
        self._adapter.delete(self.name, records)
        self._adapter.refresh(self.name)
        return len(records)

    def clear(self) -> None:
        """Delete all documents; the collection stays, with its shape and passport.

        Raises:
            CollectionNotFoundError: it is not there.
        """
        spec = self.describe()
        self._adapter.drop_collection(self.name)
        self._adapter.create_collection(spec)

    def count(self, where: Where = None) -> int:
        """Count the records, or those that a filter matches."""
        return self._adapter.count(self.name, filter=to_filter(where))

    def describe(self) -> CollectionSpec:
        """Return the collection's shape and passport as the database reports them."""
        return self._adapter.describe_collection(self.name)

    def drop(self, *, missing_ok: bool = False) -> None:
        """Delete the collection with all that is in it."""
        self._adapter.drop_collection(self.name, missing_ok=missing_ok)
        self._checked = False

    def _query_rows(self, query: str, instruction: str | None, vector: Sequence[float] | Vector | None) -> Vectors:
        if vector is not None:
            return check_vectors(np.asarray(vector)[None], len(vector))
        self._must_exist()
        return self._open().encode_query([query], instruction=instruction)

    def _model_id(self, *, is_asked: bool) -> str:
        if is_asked or self._embedder is not None:
            return self._open().model_id
        passport = self._adapter.describe_collection(self.name).passport
        return passport.model_id if passport else ""

    def _lexical(self, query: str, k: int, offset: int, condition: Filter | None) -> list[Hit]:
        return self._adapter.search_lexical(self.name, [query], k=k, filter=condition, offset=offset)[0]

    def _dim_for(self, vectors: Vectors) -> int:
        if self._embedder is not None:
            self.create()
            return self._embedder.dim
        try:
            return self._adapter.describe_collection(self.name).dim
        except CollectionNotFoundError:
            dim = len(vectors[0]) if self._dim is None else self._dim
            spec = CollectionSpec(self.name, dim, self._metric, self._index)
            self._adapter.create_collection(spec, exist_ok=True)
            return dim

    def _must_exist(self) -> None:
        if not self._checked:
            self._adapter.describe_collection(self.name)

    def _open(self) -> Embedder:
        if self._checked and self._embedder is not None:
            return self._embedder
        try:
            spec: CollectionSpec | None = self._adapter.describe_collection(self.name)
        except CollectionNotFoundError:
            spec = None
        if self._embedder is None:
            self._embedder = self._load(spec.passport if spec else None)
        if self._cache is not None and not isinstance(self._embedder, CachedEmbedder):
            self._embedder = CachedEmbedder(self._embedder, self._cache)
        if spec:
            check_passport(spec, self._embedder)
            self._checked = True
        return self._embedder

    def _load(self, passport: Passport | None) -> Embedder:
        if isinstance(self._adapter, ForeignAdapter) and not (self._model or self._default_model):
            raise InvalidInputError(
                f"the vectors of {self.name!r} were made by another program: name their model with model=, and dim="
            )
        if passport is None:
            model, dim = self._default_model or DEFAULT_MODEL, self._default_dim
        else:
            model, dim = passport.model_id, passport.dim
        return load_embedder(self._model or model, dim=dim if self._dim is None else self._dim)


def _check_query(query: str) -> None:
    if not isinstance(query, str) or not query.strip():
        raise InvalidInputError("the query is empty: give some words to search for")
    fault = string_fault(query)
    if fault:
        raise InvalidInputError(f"the query {fault}")


def _fuse(
    legs: Mapping[LegName, Sequence[Hit]], how: Fusion, weights: Mapping[LegName, float], rank_constant: int
) -> list[Hit]:
    if how == "rrf":
        return rrf(legs, weights=weights, rank_constant=rank_constant)
    if how == "weighted":
        return weighted(legs, weights=weights)
    raise InvalidInputError(f"fusion={how!r}: takes 'rrf' or 'weighted'")


def _in_order(parts: list[Document]) -> list[Document]:
    return sorted(parts, key=lambda part: (len(part.id), part.id))
