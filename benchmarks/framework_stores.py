"""LangChain's stores of each database, qvec's and the peers', opened to be measured by `benchmarks.frameworks`.

Each peer is compared with the store of ours that has the same kind of index. `finish` brings all to one state: the
index is built, and what was written can be read, and on Milvus Lite is in the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from qvec_elasticsearch.search import DEFAULT_EF as ELASTICSEARCH_EF
from qvec_milvus.growing import wait_for_index
from qvec_milvus.legs import DEFAULT_EF as MILVUS_EF

from qvec.integrations.langchain import QvecVectorStore
from qvec.integrations.langchain.embedder import LangChainEmbedder
from qvec.registry import embedded_uri
from qvec.types import IndexKind, IndexSpec

HNSW = IndexSpec(kind="hnsw")
OURS = "qvec"
OURS_EXACT = "qvec, exact"
OURS_HYBRID = "qvec, hybrid"
_WITH_KEYWORDS = "metadata to filter by, digests, keywords"
_PEER = "peer"
_LANGCHAIN_MILVUS = "langchain-milvus"
_INDEX_SECONDS = 120
_LANGCHAIN_MILVUS_EF = 10
_LANGCHAIN_ELASTICSEARCH_EF = 50
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
    """A store under measurement.

    Attributes:
        keeps: what it writes beside text and vector.
        rival: the store of ours that it is compared with; empty for ours.
        asked_as: the one whose queries look as broadly, when that is another.
        filled: asks what another store wrote, in another way.
        options: of each search.
        at_once: how many documents one `add_texts` can take; None for any number.
        finish: builds what the store does not build by itself.
        added, ingest: seconds until `add_texts` came back, and until all was built.
        cpu: of this process; a server's is not in it.
    """

    name: str
    keeps: str
    store: VectorStore
    rival: str = ""
    asked_as: str = ""
    filled: bool = False
    options: Mapping[str, object] = field(default_factory=dict)
    at_once: int | None = None
    finish: Callable[[], None] = lambda: None
    added: float = 0.0
    ingest: float = 0.0
    cpu: float = 0.0
    seconds: list[float] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)


def postgresql(folder: Path, corpus: Corpus, _uri: str) -> Iterator[Opened]:
    """PGVector has no index, PGVectorStore builds HNSW when asked."""
    from langchain_postgres import PGEngine, PGVector, PGVectorStore
    from langchain_postgres.v2.indexes import HNSWIndex
    from qvec_pgvector import embedded

    uri = embedded.start(Path(embedded_uri("pgvector", folder).path))
    url = uri.replace("postgresql://", "postgresql+psycopg://")
    yield _ours(uri, corpus, OURS, "hnsw")
    yield _ours(uri, corpus, OURS_EXACT, "flat")

    @contextmanager
    def pgvector() -> Iterator[Store]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            store = PGVector(corpus.embeddings, connection=url, collection_name=_PEER, embedding_length=corpus.dim)
        # It writes all in one statement, of which PostgreSQL takes 65,535 parameters.
        yield Store("langchain-postgres PGVector", "metadata; no index", store, OURS_EXACT, at_once=10_000)
        store._engine.dispose()

    @contextmanager
    def pgvectorstore() -> Iterator[Store]:
        from langchain_postgres import Column

        engine = PGEngine.from_connection_string(url)
        engine.init_vectorstore_table(_PEER, corpus.dim, id_column=Column("langchain_id", "TEXT", nullable=False))
        store = PGVectorStore.create_sync(engine, corpus.embeddings, _PEER)
        index = HNSWIndex(m=HNSW.m, ef_construction=HNSW.ef_construction)
        name = "langchain-postgres PGVectorStore"
        yield Store(name, "metadata; HNSW", store, OURS, finish=lambda: store.apply_vector_index(index))
        engine._run_as_sync(engine.close())

    yield pgvector()
    yield pgvectorstore()


def milvus_lite(folder: Path, corpus: Corpus, _uri: str) -> Iterator[Opened]:
    """Exact, in Lite files of their own, which are flushed in the end.

    langchain-milvus also with keywords, by Milvus' BM25, as qvec always has them. It then asks both legs at once, in a
    way that Lite takes, and is compared with a hybrid search.
    """
    yield from _ours_twice(str(embedded_uri("milvus", folder)), corpus, OURS_HYBRID, kind="flat", mode="hybrid")
    flat = {"index_type": "FLAT", "metric_type": "COSINE"}
    yield _langchain_milvus(str(folder / "peer.db"), corpus, flat, "metadata; exact")
    bm25 = {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"}
    yield _langchain_milvus(str(folder / "keywords.db"), corpus, [flat, bm25], "metadata, keywords; exact")


def milvus_server(_folder: Path, corpus: Corpus, uri: str) -> Iterator[Opened]:
    """By HNSW on one server, which has indexed all before the first query.

    Both ask at langchain-milvus' own breadth, ef 10, and at that of qvec.
    """
    like_theirs = f"{OURS}, ef {_LANGCHAIN_MILVUS_EF}"
    yield from _ours_twice(uri, corpus, like_theirs, ef=_LANGCHAIN_MILVUS_EF)
    params = {"M": HNSW.m, "efConstruction": HNSW.ef_construction}
    index = {"index_type": "HNSW", "metric_type": "COSINE", "params": params}
    made: list[Store] = []

    @contextmanager
    def narrow() -> Iterator[Store]:
        with _langchain_milvus(uri.replace("milvus://", "http://"), corpus, index, "metadata; HNSW") as store:
            store.asked_as = like_theirs
            made.append(store)
            yield store

    @contextmanager
    def broad() -> Iterator[Store]:
        asked = {"param": {"metric_type": "COSINE", "params": {"ef": MILVUS_EF}}}
        yield Store(f"{_LANGCHAIN_MILVUS}, ef {MILVUS_EF}", "", made[0].store, OURS, filled=True, options=asked)

    yield narrow()
    yield broad()


@contextmanager
def _langchain_milvus(uri: str, corpus: Corpus, index: object, keeps: str) -> Iterator[Store]:
    """Open a collection of one index, or of two: the vectors' and the keywords'."""
    from langchain_milvus import BM25BuiltInFunction, Milvus

    with_keywords = isinstance(index, list)
    more: dict[str, object] = {}
    if with_keywords:
        more = {
            "builtin_function": BM25BuiltInFunction(),
            "vector_field": ["vector", "sparse"],
            "search_params": [{"metric_type": "COSINE"}, {"metric_type": "BM25"}],
        }
    place = {"uri": uri}
    store = Milvus(
        corpus.embeddings, connection_args=place, collection_name=_PEER, index_params=index, drop_old=True, **more
    )

    def finish() -> None:
        if uri.startswith("http"):
            # As qvec does at the end of a load.
            store.client.flush(_PEER)
            wait_for_index(store.client, _PEER, seconds=_INDEX_SECONDS)
        else:
            store.client.flush(_PEER)
        store.client.query(_PEER, filter="", output_fields=["count(*)"], consistency_level="Strong")

    name = f"{_LANGCHAIN_MILVUS}, BM25" if with_keywords else _LANGCHAIN_MILVUS
    asked = {"ranker_type": "rrf", "ranker_params": {"k": 60}} if with_keywords else {}
    yield Store(name, keeps, store, OURS, asked_as=OURS_HYBRID if with_keywords else "", options=asked, finish=finish)
    store.client.drop_collection(_PEER)
    store.client.close()


def elasticsearch(_folder: Path, corpus: Corpus, uri: str) -> Iterator[Opened]:
    """By HNSW on one node, refreshed after the load; both ask for as many candidates as either does by itself."""
    from langchain_elasticsearch import DenseVectorStrategy, ElasticsearchStore

    like_theirs = f"{OURS}, {_LANGCHAIN_ELASTICSEARCH_EF} candidates"
    yield from _ours_twice(uri, corpus, like_theirs, ef=_LANGCHAIN_ELASTICSEARCH_EF)
    made: list[ElasticsearchStore] = []

    @contextmanager
    def narrow() -> Iterator[Store]:
        url = uri.replace("elasticsearch+https", "https").replace("elasticsearch://", "http://")
        store = ElasticsearchStore(
            _PEER,
            embedding=corpus.embeddings,
            es_url=url,
            strategy=DenseVectorStrategy(),
            num_dimensions=corpus.dim,
        )
        made.append(store)
        keeps = "metadata, words of the text; HNSW"
        yield Store("langchain-elasticsearch", keeps, store, OURS, asked_as=like_theirs)
        store.client.indices.delete(index=_PEER)
        store.client.close()

    @contextmanager
    def broad() -> Iterator[Store]:
        name = f"langchain-elasticsearch, {ELASTICSEARCH_EF} candidates"
        yield Store(name, "", made[0], OURS, filled=True, options={"fetch_k": ELASTICSEARCH_EF})

    yield narrow()
    yield broad()


STORES: dict[str, Callable[[Path, Corpus, str], Iterator[Opened]]] = {
    "pgvector": postgresql,
    "milvus": milvus_lite,
    "milvus-server": milvus_server,
    "elasticsearch": elasticsearch,
}
SCHEMES = {"milvus-server": "milvus", "elasticsearch": "elasticsearch"}
"""How the addresses of those begin that have to run already."""


@contextmanager
def _ours(uri: str, corpus: Corpus, name: str, kind: IndexKind) -> Iterator[Store]:
    embedder = LangChainEmbedder(corpus.embeddings, dim=corpus.dim)
    collection = name.replace(", ", "_")
    store = QvecVectorStore.connect(uri, collection, embedding=embedder, index=IndexSpec(kind=kind))
    store.collection.drop(missing_ok=True)  # of a run that was ended
    yield Store(name, f"{_WITH_KEYWORDS}; {'exact' if kind == 'flat' else 'HNSW'}", store)
    store.collection.drop()
    store.close()


def _ours_twice(uri: str, corpus: Corpus, other_name: str, *, kind: IndexKind = "hnsw", **how: Any) -> Iterator[Opened]:
    """Ask one collection as by default, and in another way."""
    made: list[QvecVectorStore] = []

    @contextmanager
    def usual() -> Iterator[Store]:
        with _ours(uri, corpus, OURS, kind) as store:
            made.append(store.store)
            yield store

    @contextmanager
    def other() -> Iterator[Store]:
        yield Store(other_name, "", QvecVectorStore(made[0].collection, **how), filled=True)

    yield usual()
    yield other()
