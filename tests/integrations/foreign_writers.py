"""What writes collections as LangChain's and LlamaIndex's own stores do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from qvec.embedder import Embedder
from qvec.registry import load_embedder
from qvec.types import Document
from tests.conftest import required

DIM = 64
DOCUMENTS = (
    Document("a", "read a csv file", {"lang": "py", "stars": 3}),
    Document("b", "write a csv file line by line", {"lang": "py", "stars": 10}),
    Document("c", "open a socket and read from it", {"lang": "go", "stars": 3}),
    Document("d", "读取文件的内容", {"lang": "zh", "stars": 7}),
    Document("e", "parse JSON: readJsonFile(path)", {"lang": "java", "stars": 1}),
    Document("f", "O'Brien's \"quoted\" file", {"lang": "it's", "stars": 0}),
)


@cache
def model() -> Embedder:
    return load_embedder("bundled", dim=DIM)


def framework(module: str) -> object:
    return __import__(module) if required("all") else pytest.importorskip(module)


def embeddings() -> object:
    from qvec.integrations.langchain import QvecEmbeddings

    return QvecEmbeddings(model())


def fields(documents: Sequence[Document]) -> dict[str, list[object]]:
    return {
        "texts": [document.text for document in documents],
        "metadatas": [dict(document.metadata) for document in documents],
        "ids": [document.id for document in documents],
    }


def write_pgvector(uri: str, name: str, documents: Sequence[Document]) -> None:
    framework("langchain_postgres")
    from langchain_postgres import PGVector

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        url = uri.replace("postgresql://", "postgresql+psycopg://")
        store = PGVector(embeddings(), connection=url, collection_name=name, use_jsonb=True)
        store.add_texts(**fields(documents))
        store._engine.dispose()


def write_pgvectorstore(uri: str, name: str, documents: Sequence[Document]) -> None:
    framework("langchain_postgres")
    from langchain_postgres import Column, PGEngine, PGVectorStore

    engine = PGEngine.from_connection_string(uri.replace("postgresql://", "postgresql+psycopg://"))
    try:
        engine.init_vectorstore_table(name, DIM, metadata_columns=[Column("lang", "TEXT")])
        store = PGVectorStore.create_sync(engine, embeddings(), name, metadata_columns=["lang"])
        store.add_texts(**fields(documents))
    finally:
        engine._run_as_sync(engine.close())


def llamaindex_store(uri: str, name: str, **options: object) -> Any:
    framework("llama_index.vector_stores.postgres")
    from llama_index.vector_stores.postgres import PGVectorStore

    return PGVectorStore(
        connection_string=uri.replace("postgresql://", "postgresql+psycopg2://"),
        async_connection_string=uri.replace("postgresql://", "postgresql+asyncpg://"),
        table_name=name,
        embed_dim=DIM,
        **options,
    )


def write_llamaindex(uri: str, name: str, documents: Sequence[Document]) -> None:
    store = llamaindex_store(uri, name)
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

    vectors = model().encode_document([document.text for document in documents])
    store.add(
        [
            TextNode(
                id_=document.id,
                text=document.text,
                metadata=dict(document.metadata),
                embedding=vector.tolist(),
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="whole")},
            )
            for document, vector in zip(documents, vectors, strict=True)
        ]
    )
    store._engine.dispose()


# Lite's server hangs up on a client that asks every ten seconds whether it lives, as pymilvus does unless it is told.
_NO_PINGS = {"grpc.keepalive_time_ms": 2**31 - 1, "grpc.keepalive_permit_without_calls": False}


def milvus_place(uri: str) -> dict[str, object]:
    """Where langchain-milvus connects to, as one that Lite does not hang up on."""
    return {
        "uri": uri.replace("milvus://", "http://").removeprefix("milvus:"),
        "timeout": 60,
        "grpc_options": _NO_PINGS,
    }


def write_milvus(uri: str, name: str, documents: Sequence[Document]) -> None:
    framework("langchain_milvus")
    from langchain_milvus import Milvus

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = Milvus(
            embeddings(),
            connection_args=milvus_place(uri),
            collection_name=name,
            drop_old=True,
            enable_dynamic_field=True,
        )
        store.add_texts(**fields(documents))
        # A server lets others read what was written a moment ago only once it has consumed its log so far.
        store.client.query(name, filter="", output_fields=["count(*)"], consistency_level="Strong")
        store.client.close()
