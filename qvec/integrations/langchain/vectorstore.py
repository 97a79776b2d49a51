"""A LangChain vector store over any database that qvec knows."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from qvec.collection import Collection
from qvec.database import Database
from qvec.embedder import Embedder
from qvec.errors import CollectionNotFoundError, InvalidInputError, PartialWriteError, UnsupportedError
from qvec.filters import And
from qvec.integrations.langchain.embedder import LangChainEmbedder, as_embedder
from qvec.integrations.langchain.embeddings import QvecEmbeddings
from qvec.integrations.langchain.filters import LangChainFilter, from_langchain
from qvec.integrations.metadata import pack, unpack
from qvec.integrations.opening import open_collection, unlike
from qvec.retrieval import Mode
from qvec.types import Document, Hit, IndexSpec, Metric

_FETCH = 20


class QvecVectorStore(VectorStore):  # type: ignore[misc]  # the base is Any to mypy: LangChain is not installed everywhere
    """Keep documents in a qvec collection and search them by meaning, by keyword or both.

    A collection that is not there yet reads as empty and is made by the first documents. Every method has its async
    twin of LangChain's name, which runs in a thread. A document over the model's window is kept in parts, with ids
    ``id#part1`` ...; `get_by_ids` puts them together again. A string under the metadata key ``title`` is embedded and
    searched with the text.
    """

    def __init__(
        self, collection: Collection, *, mode: Mode = "dense", instruction: str | None = None, ef: int | None = None
    ) -> None:
        """Take a collection.

        Args:
            collection: of a database that stays the caller's to close.
            mode: of searches that do not name one: ``"dense"``, ``"lexical"`` or ``"hybrid"``.
            instruction: for queries, a preset's name or a sentence; None takes the model's default.
            ef: breadth of an approximate index; None takes what ``qvec tune`` chose, else the adapter's default.
        """
        self.collection = collection
        self.mode = mode
        self.instruction = instruction
        self.ef = ef
        self._close: Callable[[], None] = lambda: None

    @classmethod
    def connect(
        cls,
        database: Database | str | None = None,
        collection: str = "langchain",
        *,
        embedding: Embeddings | Embedder | None = None,
        mode: Mode = "dense",
        metric: Metric = Metric.COSINE,
        index: IndexSpec | None = None,
        ef: int | None = None,
    ) -> Self:
        """Open a collection.

        Args:
            database: an open one, or what `qvec.connect` takes; opened here, it is closed by `close`.
            collection: its name.
            embedding: any LangChain model or embedder of qvec; None takes the model in the collection's passport, else
                the default one.
            mode: of searches that do not name one.
            metric: of a new collection.
            index: of a new collection.
            ef: breadth of an approximate index, as in the constructor.

        Raises:
            ConfigError: the database cannot be told from its name.
            BackendConnectionError: it cannot be reached.
        """
        embedder = None if embedding is None else as_embedder(embedding)
        instruction = embedding.instruction if isinstance(embedding, QvecEmbeddings) else None
        held, close = open_collection(database, collection, embedder=embedder, metric=metric, index=index)
        made = cls(held, mode=mode, instruction=instruction, ef=ef)
        made._close = close
        return made

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | Embedder | None = None,
        metadatas: list[dict[str, object]] | None = None,
        *,
        ids: list[str] | None = None,
        database: Database | str | None = None,
        collection: str = "langchain",
        mode: Mode = "dense",
        metric: Metric = Metric.COSINE,
        index: IndexSpec | None = None,
    ) -> Self:
        """Open a collection as `connect` does and add texts to it."""
        made = cls.connect(database, collection, embedding=embedding, mode=mode, metric=metric, index=index)
        made.add_texts(texts, metadatas, ids=ids)
        return made

    def close(self) -> None:
        """Close the database, if it was opened here."""
        self._close()

    @property
    def embeddings(self) -> Embeddings:
        """The model."""
        embedder = self.collection.embedder
        if isinstance(embedder, LangChainEmbedder):
            return embedder.embeddings
        return QvecEmbeddings(embedder, instruction=self.instruction)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, object]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Add texts; one with a known id replaces what was there, one without gets a new id.

        Args:
            texts: any strings that are not empty.
            metadatas: one for each text.
            ids: one for each text.
            batch_size: is not needed, for batches are made to suit the model and the database; LangChain's `index`
                passes it.

        Returns:
            The ids, in the order of `texts`.

        Raises:
            InvalidInputError: another number of metadatas or ids than of texts, or metadata that cannot be kept.
            PartialWriteError: some texts could not be embedded or written; the others were.
        """
        bodies = list(texts)
        for what, given in (("metadatas", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(bodies):
                raise InvalidInputError(f"{len(given)} {what} came with {len(bodies)} texts")
        identities = [identity or str(uuid.uuid4()) for identity in (ids or [None] * len(bodies))]
        packed = [pack(metadata or {}) for metadata in (metadatas or [{}] * len(bodies))]
        documents = [Document(*fields) for fields in zip(identities, bodies, packed, strict=True)]
        if documents:
            report = self.collection.index(documents)
            if report.failed:
                raise PartialWriteError(report.failed)
        return identities

    def add_documents(
        self,
        documents: Sequence[LangChainDocument],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Add documents, as `add_texts` does; `ids` go before the documents' own."""
        return self.add_texts(
            [document.page_content for document in documents],
            [document.metadata for document in documents],
            ids=[document.id for document in documents] if ids is None else ids,
            batch_size=batch_size,
        )

    def delete(self, ids: Sequence[str] | None = None, *, filter: LangChainFilter = None) -> bool:
        """Delete documents by id or by filter; without either, all, as LangChain has it.

        Returns:
            True; unknown ids are ignored.

        Raises:
            FilterError: `filter` cannot be read.
            InvalidInputError: both ids and a filter.
        """
        where = from_langchain(filter)
        if ids is not None and where is not None:
            raise InvalidInputError("delete takes ids or a filter, not both")
        try:
            if ids is None:
                self.collection.delete(where=And(()) if where is None else where)
            elif ids:
                self.collection.delete(list(ids))
        except CollectionNotFoundError:
            pass
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """Read documents in the order of `ids`; unknown ids are skipped."""
        try:
            records = self.collection.get(list(dict.fromkeys(ids)))
        except CollectionNotFoundError:
            return []
        asked = set(ids)
        found: dict[str, LangChainDocument] = {}
        for record in records:
            whole = record.id if record.id in asked else record.source
            if whole in found:
                found[whole].page_content += record.text
            else:
                found[whole] = _document(record, whole)
        return [found[identity] for identity in ids if identity in found]

    def similarity_search(
        self, query: str, k: int = 4, filter: LangChainFilter = None, *, mode: Mode | None = None
    ) -> list[LangChainDocument]:
        """Find documents, best first; see `similarity_search_with_score`."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter, mode=mode)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: LangChainFilter = None, *, mode: Mode | None = None
    ) -> list[tuple[LangChainDocument, float]]:
        """Find documents with their scores, best first.

        Args:
            query: the question.
            k: documents wanted; 0 gives none.
            filter: LangChain's operator dict, or qvec's string or condition.
            mode: ``"dense"``, ``"lexical"`` or ``"hybrid"``; None takes the store's.

        Returns:
            Documents and scores, larger is better: under cosine the cosine, BM25 for ``"lexical"``, the sum of
            reciprocal ranks for ``"hybrid"``.

        Raises:
            InvalidInputError: an empty query, or `k` below 0.
            FilterError: `filter` cannot be read.
        """
        return _scored(self._hits(query, k, filter, mode))

    def similarity_search_by_vector(
        self, embedding: Sequence[float], k: int = 4, filter: LangChainFilter = None
    ) -> list[LangChainDocument]:
        """Find the documents nearest to a vector.

        Raises:
            InvalidInputError: a vector of another size than the collection's, or `k` below 0.
            FilterError: `filter` cannot be read.
        """
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, filter)]

    def similarity_search_with_score_by_vector(
        self, embedding: Sequence[float], k: int = 4, filter: LangChainFilter = None
    ) -> list[tuple[LangChainDocument, float]]:
        """Find the documents nearest to a vector, with their scores; as `similarity_search_by_vector`."""
        return _scored(self._hits("", k, filter, "dense", embedding))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = _FETCH,
        lambda_mult: float = 0.5,
        filter: LangChainFilter = None,
    ) -> list[LangChainDocument]:
        """Find documents that are near the query and unlike each other.

        Args:
            query: the question.
            k: documents wanted.
            fetch_k: how many of the nearest to choose from.
            lambda_mult: 1 asks for nearness alone, 0 for difference alone.
            filter: LangChain's operator dict, or qvec's string or condition.

        Raises:
            InvalidInputError: an empty query, or a number out of range.
            FilterError: `filter` cannot be read.
        """
        if not query.strip():
            raise InvalidInputError("the query is empty: give some words to search for")
        vector = self.collection.embedder.encode_query([query], instruction=self.instruction)[0].tolist()
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, filter)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = _FETCH,
        lambda_mult: float = 0.5,
        filter: LangChainFilter = None,
    ) -> list[LangChainDocument]:
        """Find documents that are near a vector and unlike each other; as `max_marginal_relevance_search`."""
        hits = self._hits("", max(fetch_k, k) if k else k, filter, "dense", embedding)
        chosen = unlike(self.collection, embedding, hits, k=k, balance=lambda_mult)
        return [_document(hit.document) for hit in chosen]

    def _hits(
        self,
        query: str,
        k: int,
        filter: LangChainFilter,
        mode: Mode | None,
        vector: Sequence[float] | None = None,
    ) -> list[Hit]:
        where = from_langchain(filter)
        if k == 0:
            return []
        instruction = None if vector is not None else self.instruction
        try:
            return self.collection.search(
                query, k=k, mode=mode or self.mode, where=where, instruction=instruction, vector=vector, ef=self.ef
            )
        except CollectionNotFoundError:
            return []

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, filter: LangChainFilter = None, *, mode: Mode | None = None
    ) -> list[tuple[LangChainDocument, float]]:
        share = self._share(mode or self.mode)
        found = self.similarity_search_with_score(query, k, filter, mode="dense")
        return [(document, share(score)) for document, score in found]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, filter: LangChainFilter = None, *, mode: Mode | None = None
    ) -> list[tuple[LangChainDocument, float]]:
        return await asyncio.to_thread(self._similarity_search_with_relevance_scores, query, k, filter, mode=mode)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return self._share(self.mode)

    def _metric(self) -> Metric:
        try:
            return self.collection.describe().metric
        except CollectionNotFoundError:
            return Metric.COSINE  # nothing is there to be scored

    def _share(self, mode: Mode) -> Callable[[float], float]:
        if mode != "dense":
            raise UnsupportedError(
                f"scores of mode {mode!r} are no share of a whole: set a threshold on mode='dense', "
                "or take similarity_search_with_score"
            )
        # A cosine below 0 is no relevance; LangChain warns of scores outside 0..1.
        return _share_of_distance if self._metric() is Metric.L2 else _share_of_cosine


def _share_of_cosine(score: float) -> float:
    return min(1.0, max(0.0, score))


def _share_of_distance(score: float) -> float:
    return max(0.0, 1.0 + score / 2)  # vectors of unit length are at most 2 apart; the score is minus the distance


def _scored(hits: Sequence[Hit]) -> list[tuple[LangChainDocument, float]]:
    return [(_document(hit.document), hit.score) for hit in hits]


def _document(record: Document, identity: str = "") -> LangChainDocument:
    return LangChainDocument(id=identity or record.id, page_content=record.text, metadata=unpack(record.metadata))
