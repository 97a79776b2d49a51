"""Elasticsearch without qvec: its client doing its best, and LangChain's store, on the same server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.datasets import Data

RAW, PEER = "raw_load", "langchain_load"
_CANDIDATES = 150


def address(uri: str) -> str:
    """Write qvec's URI as the client's."""
    return uri.replace("elasticsearch+https://", "https://").replace("elasticsearch://", "http://")


def load(data: Data, uri: str, quantised: str) -> tuple[float, float]:
    """``helpers.bulk`` of id, text and vector into an index of the same kind, not refreshed and without copies."""
    from elasticsearch import Elasticsearch, OrjsonSerializer, helpers

    with Elasticsearch(address(uri), serializer=OrjsonSerializer(), request_timeout=120) as client:
        client.indices.delete(index=RAW, ignore_unavailable=True)
        client.indices.create(
            index=RAW,
            settings={"refresh_interval": "-1", "number_of_replicas": 0},
            mappings={"dynamic": False, "properties": {"text": {"type": "text"}, "vector": _vector(data, quantised)}},
        )
        started = time.perf_counter()
        helpers.bulk(
            client,
            (
                {"_index": RAW, "_id": document.id, "text": document.text, "vector": vector}
                for document, vector in zip(data.documents, data.vectors, strict=True)
            ),
        )
        loaded = time.perf_counter()
        client.indices.refresh(index=RAW)
        return loaded - started, time.perf_counter() - loaded


def _vector(data: Data, quantised: str) -> dict[str, Any]:
    options = {"type": quantised, "m": 16, "ef_construction": 100}
    return {
        "type": "dense_vector",
        "dims": data.vectors.shape[1],
        "similarity": "cosine",
        "index_options": options,
    }


def langchain_load(data: Data, uri: str) -> float:
    """ElasticsearchStore.add_embeddings."""
    from elasticsearch import Elasticsearch

    with Elasticsearch(address(uri)) as client:
        client.indices.delete(index=PEER, ignore_unavailable=True)
    store = _store(data, uri)
    pairs = list(zip([document.text for document in data.documents], data.vectors.tolist(), strict=True))
    started = time.perf_counter()
    store.add_embeddings(pairs, ids=[document.id for document in data.documents])
    return time.perf_counter() - started


def query(uri: str, index: str) -> Callable[[np.ndarray], object]:
    """Search the index that qvec filled by the client's own ``knn``, for texts."""
    from elasticsearch import Elasticsearch, OrjsonSerializer

    client = Elasticsearch(address(uri), serializer=OrjsonSerializer())

    def ask(vector: np.ndarray) -> object:
        near = {"field": "vector", "query_vector": vector.tolist(), "k": 10, "num_candidates": _CANDIDATES}
        return client.search(index=index, knn=near, source_includes=["text"], size=10)["hits"]["hits"]

    return ask


def langchain_query(data: Data, uri: str) -> Callable[[np.ndarray], object]:
    """Search LangChain's store, filled with the same documents."""
    langchain_load(data, uri)
    store = _store(data, uri)
    return lambda vector: store.similarity_search_by_vector_with_relevance_scores(vector.tolist(), k=10)


def _store(data: Data, uri: str) -> Any:
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_elasticsearch import ElasticsearchStore

    fake = DeterministicFakeEmbedding(size=data.vectors.shape[1])
    return ElasticsearchStore(PEER, embedding=fake, es_url=address(uri))
