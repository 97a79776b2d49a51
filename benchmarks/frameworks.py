"""Measure qvec against LangChain's own stores through LangChain's interface: ``python -m benchmarks.frameworks``.

All stores get the same texts, metadata and ids, and an embedding model that looks ready vectors up; the embedded
servers are the same for both sides. Queries go to the stores in turn, one at a time, so that a busy moment of the
machine hits all. Recall is against exact search in numpy.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from benchmarks.datasets import make
from benchmarks.report import table, write
from qvec.integrations.langchain import QvecVectorStore
from qvec.integrations.langchain.embedder import LangChainEmbedder
from qvec.registry import embedded_uri
from qvec.types import IndexSpec, Vectors

K = 10
QUICK = 3_000
WARM_UP = 5
Row = dict[str, object]
Opened = AbstractContextManager["Store"]


class LookedUp(Embeddings):
    """Embed by looking a text up, so that only the stores are measured."""

    def __init__(self, vectors: Mapping[str, list[float]]) -> None:
        self.vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.vectors[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.vectors[text]


@dataclass(frozen=True, slots=True)
class Corpus:
    """What goes into every store, what is asked, and the exact answers."""

    texts: list[str]
    metadatas: list[dict[str, object]]
    ids: list[str]
    queries: list[str]
    nearest: list[set[str]]
    embeddings: LookedUp
    dim: int


@dataclass(slots=True)
class Store:
    """A store under measurement; `finish` builds what the store does not build by itself."""

    name: str
    is_ours: bool
    store: VectorStore
    finish: Callable[[], None]
    ingest: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", action="append", choices=list(STORES))
    parser.add_argument("--n", type=int, default=20_000, help="documents")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} documents")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    corpus = prepare(QUICK if options.quick else options.n, options.dim, options.seed, options.queries)
    rows = [row for backend in options.backend or STORES for row in measure(backend, corpus)]
    path = write("frameworks", rows, seed=options.seed, out=options.out)
    print(f"\n{table(rows, list(dict.fromkeys(key for row in rows for key in row)))}\n\nwritten to {path}")


def prepare(count: int, dim: int, seed: int, queries: int) -> Corpus:
    """Make texts that differ, which a look-up by text needs, and find each query's nearest documents."""
    data = make(count, dim, seed, queries)
    ids = [f"d{place}" for place in range(count)]
    texts = [f"{document.text}\n# {key}" for key, document in zip(ids, data.documents, strict=True)]
    metadatas: list[dict[str, object]] = [{"doc": key, "part": place % 100} for place, key in enumerate(ids)]
    asked = [f"query {number}" for number in range(queries)]
    vectors = dict(zip(texts + asked, [*data.vectors.tolist(), *data.queries.tolist()], strict=True))
    return Corpus(texts, metadatas, ids, asked, _nearest(data.vectors, data.queries), LookedUp(vectors), dim)


def _nearest(vectors: Vectors, queries: Vectors) -> list[set[str]]:
    best = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :K]
    return [{f"d{place}" for place in row} for row in best]


def measure(backend: str, corpus: Corpus) -> list[Row]:
    """Fill the stores of one database one after the other, then ask them in turn."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as closing:
        stores = [closing.enter_context(opened) for opened in STORES[backend](Path(folder), corpus)]
        for store in stores:
            started = time.perf_counter()
            store.store.add_texts(corpus.texts, corpus.metadatas, ids=corpus.ids)
            store.finish()
            store.ingest = time.perf_counter() - started
            print(f"{backend}: {store.name} took in {len(corpus.ids)} in {store.ingest:.1f} s", flush=True)
        for query in corpus.queries[:WARM_UP]:
            for store in stores:
                store.store.similarity_search(query, k=K)
        seconds: dict[str, list[float]] = {store.name: [] for store in stores}
        recalls: dict[str, list[float]] = {store.name: [] for store in stores}
        for query, nearest in zip(corpus.queries, corpus.nearest, strict=True):
            for store in stores:
                started = time.perf_counter()
                found = store.store.similarity_search(query, k=K)
                seconds[store.name].append(time.perf_counter() - started)
                recalls[store.name].append(len(nearest & {item.metadata["doc"] for item in found}) / len(nearest))
    ours = next(store for store in stores if store.is_ours)
    p50 = {name: float(np.median(took)) for name, took in seconds.items()}
    return [
        {
            "backend": backend,
            "store": store.name,
            "documents": len(corpus.ids),
            "dim": corpus.dim,
            "ingest_per_s": round(len(corpus.ids) / store.ingest, 1),
            "query_p50_ms": round(1000 * p50[store.name], 2),
            "query_p95_ms": round(1000 * float(np.percentile(seconds[store.name], 95)), 2),
            f"recall@{K}": round(float(np.mean(recalls[store.name])), 4),
            "qvec_ingest_is_times": None if store.is_ours else round(store.ingest / ours.ingest, 2),
            "qvec_query_is_times": None if store.is_ours else round(p50[store.name] / p50[ours.name], 2),
        }
        for store in stores
    ]


def postgresql(folder: Path, corpus: Corpus) -> Iterator[Opened]:
    """qvec, PGVector, and PGVectorStore with the HNSW index that it builds when asked."""
    from langchain_postgres import PGEngine, PGVector, PGVectorStore
    from langchain_postgres.v2.indexes import HNSWIndex
    from qvec_pgvector import embedded

    uri = embedded.start(Path(embedded_uri("pgvector", folder).path))
    url = uri.replace("postgresql://", "postgresql+psycopg://")
    yield _ours(uri, corpus)

    @contextmanager
    def pgvector() -> Iterator[Store]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            store = PGVector(corpus.embeddings, connection=url, collection_name="peer", embedding_length=corpus.dim)
        yield Store("langchain-postgres PGVector", False, store, _nothing)
        store._engine.dispose()

    @contextmanager
    def pgvectorstore() -> Iterator[Store]:
        from langchain_postgres import Column

        engine = PGEngine.from_connection_string(url)
        engine.init_vectorstore_table("peer", corpus.dim, id_column=Column("langchain_id", "TEXT", nullable=False))
        store = PGVectorStore.create_sync(engine, corpus.embeddings, "peer")
        index = HNSWIndex(m=IndexSpec().m, ef_construction=IndexSpec().ef_construction)
        yield Store("langchain-postgres PGVectorStore + HNSW", False, store, lambda: store.apply_vector_index(index))
        engine._run_as_sync(engine.close())

    yield pgvector()
    yield pgvectorstore()


def milvus(folder: Path, corpus: Corpus) -> Iterator[Opened]:
    """qvec and langchain-milvus, both exact, in Lite files of their own."""
    yield _ours(str(embedded_uri("milvus", folder)), corpus)

    @contextmanager
    def langchain() -> Iterator[Store]:
        from langchain_milvus import Milvus

        store = Milvus(
            corpus.embeddings,
            connection_args={"uri": str(folder / "peer.db")},
            collection_name="peer",
            index_params={"index_type": "FLAT", "metric_type": "COSINE"},
        )
        yield Store("langchain-milvus", False, store, _nothing)
        store.client.close()

    yield langchain()


STORES: dict[str, Callable[[Path, Corpus], Iterator[Opened]]] = {"pgvector": postgresql, "milvus": milvus}


@contextmanager
def _ours(uri: str, corpus: Corpus) -> Iterator[Store]:
    store = QvecVectorStore.connect(uri, "ours", embedding=LangChainEmbedder(corpus.embeddings, dim=corpus.dim))
    yield Store("qvec (with keywords)", True, store, _nothing)
    store.close()


def _nothing() -> None:
    """Build nothing more."""


if __name__ == "__main__":
    main()
