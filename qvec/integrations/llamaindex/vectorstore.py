"""A LlamaIndex vector store over any database that qvec knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from qvec.adapter import Adapter
from qvec.collection import Collection
from qvec.database import Database
from qvec.errors import CollectionNotFoundError, InvalidInputError, UnsupportedError
from qvec.filters import Filter, matches
from qvec.integrations.llamaindex.embedding import QvecEmbedding
from qvec.integrations.llamaindex.filters import filter_of, from_llamaindex
from qvec.integrations.llamaindex.nodes import to_node, to_record
from qvec.integrations.opening import open_collection, unlike
from qvec.retrieval import Mode
from qvec.types import Document, Hit, IndexSpec, LegName, Metric

_MODES = VectorStoreQueryMode
_BALANCE = 0.5
_PREFETCH = 4.0


class QvecVectorStore(BasePydanticVectorStore):  # type: ignore[misc]  # the base is Any to mypy: LlamaIndex is not installed everywhere
    """Keep nodes in a qvec collection and search them by vector, by keyword or both.

    Vectors come from LlamaIndex's embedding model. A collection that is not there yet reads as empty and is made by the
    first nodes. Every method has its async twin of LlamaIndex's name, which runs in a thread.
    """

    stores_text: bool = True
    flat_metadata: bool = False

    _collection: Collection = PrivateAttr()
    _close: Callable[[], None] = PrivateAttr()

    def __init__(self, collection: Collection) -> None:
        """Take a collection of a database that stays the caller's to close."""
        super().__init__()
        self._collection = collection
        self._close = lambda: None

    @classmethod
    def connect(
        cls,
        database: Database | str | None = None,
        collection: str = "llamaindex",
        *,
        embed_model: BaseEmbedding | None = None,
        metric: Metric = Metric.COSINE,
        index: IndexSpec | None = None,
    ) -> Self:
        """Open a collection.

        Args:
            database: an open one, or what `qvec.connect` takes; opened here, it is closed by `close`.
            collection: its name.
            embed_model: the model that makes the vectors: a `QvecEmbedding` is noted in the collection's passport, so
                that a later use with another model is an error; None or any other leaves no passport.
            metric: of a new collection.
            index: of a new collection.

        Raises:
            ConfigError: the database cannot be told from its name.
            BackendConnectionError: it cannot be reached.
        """
        embedder = embed_model.loaded if isinstance(embed_model, QvecEmbedding) else None
        held, close = open_collection(database, collection, embedder=embedder, metric=metric, index=index)
        made = cls(held)
        made._close = close
        return made

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex knows it."""
        return "QvecVectorStore"

    @property
    def client(self) -> Adapter:
        """The connection."""
        return self._collection.adapter

    @property
    def collection(self) -> Collection:
        """The collection."""
        return self._collection

    def close(self) -> None:
        """Close the database, if it was opened here."""
        self._close()

    def add(self, nodes: Sequence[BaseNode]) -> list[str]:
        """Write nodes with their embeddings; one with a known id is replaced.

        Returns:
            The nodes' ids, in order.

        Raises:
            InvalidInputError: a node without embedding or with one of another size, an id twice, metadata that cannot
                be kept.
            PartialWriteError: some nodes were not written; it names them.
        """
        for node in nodes:
            if node.embedding is None:
                raise InvalidInputError(f"node {node.node_id!r} has no embedding: let LlamaIndex's model make it first")
        sizes = {len(node.embedding) for node in nodes}
        if len(sizes) > 1:
            raise InvalidInputError(f"the nodes' embeddings are of {len(sizes)} sizes: {sorted(sizes)}")
        vectors = np.array([node.embedding for node in nodes])
        self._collection.upsert([to_record(node) for node in nodes], vectors)
        return [node.node_id for node in nodes]

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Read nodes: those of these ids, in their order, that the filters match; without ids, all that they match.

        Raises:
            FilterError: the filters cannot be read.
        """
        return [to_node(record) for record in self._records(node_ids, from_llamaindex(filters))]

    def delete(self, ref_doc_id: str) -> None:
        """Delete the nodes that were cut from a document, or are it."""
        with suppress(CollectionNotFoundError):
            self._erase(list(self.client.digests(self._collection.name, [ref_doc_id])))

    def delete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> None:
        """Delete nodes: those of these ids that the filters match; without ids, all that they match.

        Raises:
            InvalidInputError: neither ids nor filters: `clear` deletes all.
            FilterError: the filters cannot be read.
        """
        where = from_llamaindex(filters)
        if node_ids is None and where is None:
            raise InvalidInputError("delete_nodes takes ids, filters or both; clear() deletes all")
        self._erase([record.id for record in self._records(node_ids, where)])

    def clear(self) -> None:
        """Delete all nodes."""
        with suppress(CollectionNotFoundError):
            self._collection.clear()

    def query(
        self,
        query: VectorStoreQuery,
        *,
        mmr_threshold: float | None = None,
        mmr_prefetch_factor: float | None = None,
        mmr_prefetch_k: int | None = None,
    ) -> VectorStoreQueryResult:
        """Find nodes in the modes default, sparse and text_search (both by keyword), hybrid and mmr.

        Args:
            query: its `alpha` weighs the hybrid's legs, 1 for the vector alone, 0 for keywords alone; None leaves it to
                qvec. `sparse_top_k` and `hybrid_top_k` go before `similarity_top_k`.
            mmr_threshold: 1 asks for nearness alone, 0 for difference alone; goes before the query's own.
            mmr_prefetch_factor: how many times `similarity_top_k` to choose from.
            mmr_prefetch_k: how many nodes to choose from, instead of the factor.

        Returns:
            Nodes with their scores, best first, larger is better.

        Raises:
            UnsupportedError: another mode.
            InvalidInputError: a mode without the words or the vector that it needs, a vector of another size.
            FilterError: the filters cannot be read.
        """
        where = filter_of(query)
        if query.mode is _MODES.MMR:
            balance = query.mmr_threshold if mmr_threshold is None else mmr_threshold
            depth = mmr_prefetch_k or int(query.similarity_top_k * (mmr_prefetch_factor or _PREFETCH))
            hits = self._unlike(query, where, depth, _BALANCE if balance is None else balance)
        else:
            hits = self._hits(query, where)
        return VectorStoreQueryResult(
            nodes=[to_node(hit.document) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    async def async_add(self, nodes: Sequence[BaseNode]) -> list[str]:
        """Write nodes in a thread, as `add` does."""
        return await asyncio.to_thread(self.add, nodes)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Read nodes in a thread, as `get_nodes` does."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def adelete(self, ref_doc_id: str) -> None:
        """Delete a document's nodes in a thread, as `delete` does."""
        await asyncio.to_thread(self.delete, ref_doc_id)

    async def adelete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> None:
        """Delete nodes in a thread, as `delete_nodes` does."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters)

    async def aclear(self) -> None:
        """Delete all nodes in a thread, as `clear` does."""
        await asyncio.to_thread(self.clear)

    async def aquery(
        self,
        query: VectorStoreQuery,
        *,
        mmr_threshold: float | None = None,
        mmr_prefetch_factor: float | None = None,
        mmr_prefetch_k: int | None = None,
    ) -> VectorStoreQueryResult:
        """Find nodes in a thread, as `query` does."""
        return await asyncio.to_thread(
            self.query,
            query,
            mmr_threshold=mmr_threshold,
            mmr_prefetch_factor=mmr_prefetch_factor,
            mmr_prefetch_k=mmr_prefetch_k,
        )

    def _hits(self, query: VectorStoreQuery, where: Filter | None) -> list[Hit]:
        match query.mode:
            case _MODES.DEFAULT:
                return self._search(query, "dense", query.similarity_top_k, where)
            case _MODES.SPARSE | _MODES.TEXT_SEARCH:
                return self._search(query, "lexical", query.sparse_top_k or query.similarity_top_k, where)
            case _MODES.HYBRID:
                return self._search(query, "hybrid", query.hybrid_top_k or query.similarity_top_k, where)
            case _:
                raise UnsupportedError(
                    f"no query mode {query.mode.value!r}: take default, text_search, sparse, hybrid or mmr"
                )

    def _search(self, query: VectorStoreQuery, mode: Mode, k: int, where: Filter | None) -> list[Hit]:
        if mode != "lexical" and query.query_embedding is None:
            raise InvalidInputError(f"the query has no embedding, which mode {query.mode.value!r} needs")
        if k == 0:
            return []
        weights: dict[LegName, float] | None = None
        if query.alpha is not None:
            weights = {"dense": query.alpha, "lexical": 1 - query.alpha}
        try:
            return self._collection.search(
                query.query_str or "", k=k, mode=mode, where=where, weights=weights, vector=query.query_embedding
            )
        except CollectionNotFoundError:
            return []

    def _unlike(self, query: VectorStoreQuery, where: Filter | None, depth: int, balance: float) -> list[Hit]:
        near = self._search(query, "dense", max(depth, query.similarity_top_k), where)
        asked = query.query_embedding or ()
        return unlike(self._collection, asked, near, k=query.similarity_top_k, balance=balance)

    def _records(self, ids: list[str] | None, where: Filter | None) -> list[Document]:
        name = self._collection.name
        try:
            if ids is None:
                return [record for batch in self.client.scan(name, filter=where) for record in batch.documents]
            found = self.client.get(name, ids)
        except CollectionNotFoundError:
            return []
        return [record for record in found if where is None or matches(where, record.metadata)]

    def _erase(self, ids: list[str]) -> None:
        if ids:
            self.client.delete(self._collection.name, ids)
            self.client.refresh(self._collection.name)
