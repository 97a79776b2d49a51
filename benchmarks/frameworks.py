"""Measure qvec against LangChain's own stores through LangChain's interface: ``python -m benchmarks.frameworks``.

All stores get the same texts, metadata and ids, and an embedding model that looks ready vectors up; the servers are
the same for both sides. Embedded ones are started, others have to run: ``--uri``, once for each, says where. Queries go
to the stores in turn, one at a time, so that a busy moment of the machine hits all. Recall is against exact search in
numpy.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.datasets import make
from benchmarks.framework_stores import SCHEMES, STORES, Corpus, LookedUp, Store
from benchmarks.report import table, write
from qvec.types import Vectors

K = 10
QUICK = 3_000
WARM_UP = 5
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--backend", action="append", choices=list(STORES), help="default: the embedded ones, and those of --uri"
    )
    parser.add_argument("--uri", action="append", default=[], help="of a server: milvus://..., elasticsearch://...")
    parser.add_argument("--n", type=int, default=20_000, help="documents")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} documents")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    corpus = prepare(QUICK if options.quick else options.n, options.dim, options.seed, options.queries)
    uris = {name: uri for uri in options.uri for name, scheme in SCHEMES.items() if uri.startswith(scheme)}
    backends = options.backend or [name for name in STORES if name not in SCHEMES or name in uris]
    if missing := [name for name in backends if name in SCHEMES and name not in uris]:
        parser.error(f"--uri has to say where the server of {', '.join(missing)} is")
    rows: list[Row] = []
    for backend in backends:
        found = measure(backend, corpus, uris.get(backend, ""))
        path = write("frameworks", found, seed=options.seed, out=options.out)
        rows += found
    print(f"\n{table(rows, list(dict.fromkeys(key for row in rows for key in row)))}\n\nwritten to {path}")


def prepare(count: int, dim: int, seed: int, queries: int) -> Corpus:
    """Make texts that differ, which a look-up by text needs, and find each query's nearest documents."""
    data = make(count, dim, seed, queries)
    ids = [f"d{place}" for place in range(count)]
    texts = [f"{document.text}\n# {key}" for key, document in zip(ids, data.documents, strict=True)]
    metadatas: list[dict[str, object]] = [{"doc": key, "part": place % 100} for place, key in enumerate(ids)]
    asked = [f"query {number}" for number in range(queries)]
    vectors = dict(zip(texts + asked, [*data.vectors.tolist(), *data.queries.tolist()], strict=True))
    # Python's collector would walk the vectors' millions of numbers again and again, on every store's time.
    gc.collect()
    gc.freeze()
    return Corpus(texts, metadatas, ids, asked, _nearest(data.vectors, data.queries), LookedUp(vectors), dim)


def _nearest(vectors: Vectors, queries: Vectors) -> list[set[str]]:
    best = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :K]
    return [{f"d{place}" for place in row} for row in best]


def measure(backend: str, corpus: Corpus, uri: str = "") -> list[Row]:
    """Fill the stores of one database one after the other, then ask them in turn."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as closing:
        stores = [closing.enter_context(opened) for opened in STORES[backend](Path(folder), corpus, uri)]
        for store in stores:
            if not store.filled:
                fill(store, corpus)
                print(f"{backend}: {store.name} took in {len(corpus.ids)} in {store.ingest:.1f} s", flush=True)
        for query in corpus.queries[:WARM_UP]:
            for store in stores:
                store.store.similarity_search(query, k=K, **store.options)
        for query, nearest in zip(corpus.queries, corpus.nearest, strict=True):
            for store in stores:
                started = time.perf_counter()
                found = store.store.similarity_search(query, k=K, **store.options)
                store.seconds.append(time.perf_counter() - started)
                store.recalls.append(len(nearest & {item.metadata["doc"] for item in found}) / len(nearest))
    return [_row(backend, store, {each.name: each for each in stores}, corpus) for store in stores]


def fill(store: Store, corpus: Corpus) -> None:
    """Write the documents and what is to be built after them."""
    started, cpu = time.perf_counter(), time.process_time()
    step = store.at_once or len(corpus.ids)
    for start in range(0, len(corpus.ids), step):
        part = slice(start, start + step)
        store.store.add_texts(corpus.texts[part], corpus.metadatas[part], ids=corpus.ids[part])
    store.added = time.perf_counter() - started
    store.finish()
    store.ingest = time.perf_counter() - started
    store.cpu = time.process_time() - cpu


def _row(backend: str, store: Store, stores: dict[str, Store], corpus: Corpus) -> Row:
    ours = stores.get(store.rival)
    asked = stores.get(store.asked_as) or ours
    p50 = float(np.median(store.seconds))
    return {
        "backend": backend,
        "store": store.name,
        "keeps": store.keeps,
        "documents": len(corpus.ids),
        "dim": corpus.dim,
        "add_s": round(store.added, 2),
        "ingest_s": round(store.ingest, 2),
        "ingest_cpu_s": round(store.cpu, 2),
        "query_p50_ms": round(1000 * p50, 2),
        "query_p95_ms": round(1000 * float(np.percentile(store.seconds, 95)), 2),
        f"recall@{K}": round(float(np.mean(store.recalls)), 4),
        "compared_with": store.rival or None,
        "asked_as": asked.name if asked else None,
        "qvec_ingest_is_times": round(store.ingest / ours.ingest, 2) if ours and not store.filled else None,
        "qvec_query_is_times": round(p50 / float(np.median(asked.seconds)), 2) if asked else None,
    }


if __name__ == "__main__":
    main()
