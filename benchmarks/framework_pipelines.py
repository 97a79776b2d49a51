"""What each framework makes of a folder of documents when nothing is set: keyword, vector and hybrid search.

The model is the same everywhere; it is asked as the framework's class for local models asks it. LangChain's writes a
space for each newline and none of them writes the query's instruction. Titles stand in the metadata, which LlamaIndex
embeds and the others do not.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")  # is read when haystack is imported

from langchain_core.embeddings import Embeddings

from qvec.embedder import Embedder
from qvec.integrations.langchain import QvecVectorStore
from qvec.integrations.langchain.embedder import LangChainEmbedder
from qvec.retrieval import Mode
from qvec.types import Document

Search = Callable[[str, Mode], list[str]]
"""Finds the ids of the best documents for a query, each once."""
_DEEP = 30
"""Pieces asked for, so that ten documents are among them."""


@dataclass(frozen=True, slots=True)
class Asked(Embeddings):
    """A model as a framework asks it."""

    embedder: Embedder
    instruction: bool
    newlines: bool

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = self.embedder.encode_document([self._line(text) for text in texts]).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        encode = self.embedder.encode_query if self.instruction else self.embedder.encode_document
        row: list[float] = encode([self._line(text)])[0].tolist()
        return row

    def _line(self, text: str) -> str:
        return text if self.newlines else text.replace("\n", " ")


def qvec(documents: Sequence[Document], model: Embedder, *, instruction: bool = True, newlines: bool = True) -> Search:
    """QvecVectorStore in memory."""
    asked = LangChainEmbedder(Asked(model, instruction, newlines), dim=model.dim)
    store = QvecVectorStore.connect("memory://", embedding=model if instruction and newlines else asked)
    store.add_texts(
        [each.text for each in documents], [each.metadata for each in documents], ids=[each.id for each in documents]
    )
    whole = store.collection

    def search(query: str, mode: Mode) -> list[str]:
        return _distinct([hit.document.source for hit in whole.search(query, k=_DEEP, mode=mode)])

    return search


def langchain(documents: Sequence[Document], model: Embedder) -> Search:
    """RecursiveCharacterTextSplitter, InMemoryVectorStore, BM25Retriever, EnsembleRetriever."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from langchain_community.retrievers import BM25Retriever
    from langchain_classic.retrievers import EnsembleRetriever
    from langchain_core.documents import Document as Piece
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    whole = [Piece(each.text, metadata={**each.metadata, "doc": each.id}) for each in documents]
    pieces = RecursiveCharacterTextSplitter().split_documents(whole)
    store = InMemoryVectorStore.from_documents(pieces, Asked(model, instruction=False, newlines=False))
    dense = store.as_retriever(search_kwargs={"k": _DEEP})
    lexical = BM25Retriever.from_documents(pieces, k=_DEEP)
    both = EnsembleRetriever(retrievers=[lexical, dense], weights=[0.5, 0.5])
    retrievers = {"dense": dense, "lexical": lexical, "hybrid": both}

    def search(query: str, mode: Mode) -> list[str]:
        return _distinct([str(piece.metadata["doc"]) for piece in retrievers[mode].invoke(query)])

    return search


def llamaindex(documents: Sequence[Document], model: Embedder) -> Search:
    """SentenceSplitter, VectorStoreIndex, BM25Retriever, QueryFusionRetriever."""
    from llama_index.core import Document as Whole
    from llama_index.core import VectorStoreIndex
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.llms import MockLLM
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
    from llama_index.retrievers.bm25 import BM25Retriever

    asked = Asked(model, instruction=False, newlines=True)

    class Model(BaseEmbedding):  # type: ignore[misc]  # the base is Any to mypy
        def _get_text_embedding(self, text: str) -> list[float]:
            return asked.embed_query(text)

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return asked.embed_documents(texts)

        def _get_query_embedding(self, query: str) -> list[float]:
            return asked.embed_query(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return asked.embed_query(query)

    whole = [Whole(id_=each.id, text=each.text, metadata=dict(each.metadata)) for each in documents]
    nodes = SentenceSplitter().get_nodes_from_documents(whole)
    dense = VectorStoreIndex(nodes, embed_model=Model(embed_batch_size=256)).as_retriever(similarity_top_k=_DEEP)
    lexical = BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=min(_DEEP, len(nodes)))
    both = QueryFusionRetriever(
        [lexical, dense],
        llm=MockLLM(),
        mode=FUSION_MODES.RECIPROCAL_RANK,
        similarity_top_k=_DEEP,
        num_queries=1,
        use_async=False,
    )
    retrievers = {"dense": dense, "lexical": lexical, "hybrid": both}

    def search(query: str, mode: Mode) -> list[str]:
        return _distinct([hit.node.ref_doc_id for hit in retrievers[mode].retrieve(query)])

    return search


def haystack(documents: Sequence[Document], model: Embedder) -> Search:
    """InMemoryDocumentStore with its two retrievers, DocumentJoiner; nothing splits unless asked."""
    from haystack import Document as Whole
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    asked = Asked(model, instruction=False, newlines=True)
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    vectors = asked.embed_documents([each.text for each in documents])
    store.write_documents(
        [
            Whole(id=each.id, content=each.text, meta=dict(each.metadata), embedding=vector)
            for each, vector in zip(documents, vectors, strict=True)
        ]
    )
    by_words = InMemoryBM25Retriever(store, top_k=_DEEP)
    by_vector = InMemoryEmbeddingRetriever(store, top_k=_DEEP)
    joiner = DocumentJoiner(join_mode="reciprocal_rank_fusion")

    def search(query: str, mode: Mode) -> list[str]:
        lexical = [] if mode == "dense" else by_words.run(query)["documents"]
        dense = [] if mode == "lexical" else by_vector.run(asked.embed_query(query))["documents"]
        found = joiner.run([lexical, dense])["documents"] if mode == "hybrid" else [*lexical, *dense]
        return _distinct([each.id for each in found])

    return search


def _distinct(ids: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(ids))


PIPELINES: dict[str, Callable[[Sequence[Document], Embedder], Search]] = {
    "qvec": qvec,
    "LangChain": langchain,
    "LlamaIndex": llamaindex,
    "Haystack": haystack,
}
LOSSES = {
    "qvec without instruction": {"instruction": False, "newlines": True},
    "qvec without newlines": {"instruction": True, "newlines": False},
    "qvec without both": {"instruction": False, "newlines": False},
}
