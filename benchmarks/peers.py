"""The peers, given the same texts and the same ready vectors."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.datasets import Data


def langchain_postgres(data: Data, uri: str) -> float:
    """PGVector.add_embeddings."""
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_postgres import PGVector

    store = PGVector(
        embeddings=DeterministicFakeEmbedding(size=data.vectors.shape[1]),
        collection_name="peer",
        connection=uri.replace("postgresql://", "postgresql+psycopg://"),
        embedding_length=data.vectors.shape[1],
        pre_delete_collection=True,
    )
    texts, vectors = [document.text for document in data.documents], data.vectors.tolist()
    started = time.perf_counter()
    store.add_embeddings(texts, vectors, ids=[document.id for document in data.documents])
    return time.perf_counter() - started


def langchain_postgres_store(data: Data, uri: str) -> float:
    """PGVectorStore.add_embeddings, the newer class."""
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_postgres import PGEngine, PGVectorStore

    engine = PGEngine.from_connection_string(uri.replace("postgresql://", "postgresql+psycopg://"))
    engine.init_vectorstore_table("peer_store", data.vectors.shape[1], overwrite_existing=True, id_column=_text_id())
    fake = DeterministicFakeEmbedding(size=data.vectors.shape[1])
    store = PGVectorStore.create_sync(engine, embedding_service=fake, table_name="peer_store")
    texts, vectors = [document.text for document in data.documents], data.vectors.tolist()
    started = time.perf_counter()
    store.add_embeddings(texts, vectors, ids=[document.id for document in data.documents])
    return time.perf_counter() - started


def llama_index_postgres(data: Data, uri: str) -> float:
    """PGVectorStore.add of nodes with embeddings."""
    from llama_index.core.schema import TextNode
    from llama_index.vector_stores.postgres import PGVectorStore

    host = urlsplit(uri).query.removeprefix("host=")
    store = PGVectorStore(
        connection_string=f"postgresql+psycopg2://postgres@/postgres?host={host}",
        async_connection_string=f"postgresql+asyncpg://postgres@/postgres?host={host}",
        table_name="peer_llama",
        embed_dim=data.vectors.shape[1],
    )
    nodes = [
        TextNode(id_=document.id, text=document.text, embedding=vector.tolist())
        for document, vector in zip(data.documents, data.vectors, strict=True)
    ]
    started = time.perf_counter()
    store.add(nodes)
    return time.perf_counter() - started


def langchain_milvus(data: Data, path: Path) -> float:
    """Milvus.add_embeddings on a Lite file."""
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_milvus import Milvus

    store = Milvus(
        embedding_function=DeterministicFakeEmbedding(size=data.vectors.shape[1]),
        connection_args={"uri": str(path)},
        collection_name="peer",
        auto_id=False,
        drop_old=True,
        index_params={"index_type": "FLAT", "metric_type": "COSINE"},
    )
    texts, vectors = [document.text for document in data.documents], data.vectors.tolist()
    started = time.perf_counter()
    store.add_embeddings(texts, vectors, ids=[document.id for document in data.documents])
    return time.perf_counter() - started


def _text_id() -> object:
    from langchain_postgres import Column

    return Column("langchain_id", "TEXT", nullable=False)
