"""The raw drivers doing their best: what a careful program without qvec would write."""

from __future__ import annotations

import json
import sqlite3
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import Data


def postgresql_load(data: Data, uri: str) -> tuple[float, float]:
    """COPY BINARY of id, text, metadata and vector, then HNSW; returns the seconds of each."""
    import psycopg

    dim = data.vectors.shape[1]
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("DROP TABLE IF EXISTS raw_load")
        connection.execute(
            f"CREATE TABLE raw_load (id text PRIMARY KEY, body text, metadata jsonb, embedding vector({dim}))"
        )
        started = time.perf_counter()
        head = struct.pack(">ihh", 4 + 4 * dim, dim, 0)
        numbers = data.vectors.astype(">f4")
        with connection.cursor().copy("COPY raw_load FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0))
            for document, vector in zip(data.documents, numbers, strict=True):
                identity, body = document.id.encode(), document.text.encode()
                metadata = json.dumps(document.metadata, ensure_ascii=False).encode()
                copy.write(
                    struct.pack(">hi", 4, len(identity)) + identity + struct.pack(">i", len(body)) + body
                    + struct.pack(">ib", 1 + len(metadata), 1) + metadata + head + vector.tobytes()
                )  # fmt: skip
            copy.write(struct.pack(">h", -1))
        loaded = time.perf_counter()
        connection.execute("SET maintenance_work_mem = '1GB'; SET max_parallel_maintenance_workers = 4")
        connection.execute(
            "CREATE INDEX ON raw_load USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 100)"
        )
        return loaded - started, time.perf_counter() - loaded


def postgresql_query(uri: str, table: str, columns: str) -> Callable[[np.ndarray], object]:
    """Ask the table that qvec filled for `columns`, by a prepared statement with a binary vector."""
    import psycopg
    from psycopg.adapt import Dumper
    from psycopg.pq import Format
    from psycopg.types import TypeInfo

    connection = psycopg.connect(uri, autocommit=True)
    info = TypeInfo.fetch(connection, "vector")
    assert info is not None
    number = info.oid

    class VectorDumper(Dumper):
        format = Format.BINARY
        oid = number

        def dump(self, obj: np.ndarray) -> bytes:
            return struct.pack(">hh", len(obj), 0) + obj.astype(">f4").tobytes()

    connection.adapters.register_dumper(np.ndarray, VectorDumper)
    connection.execute("SELECT '[1]'::vector")
    connection.execute("SET hnsw.ef_search = 200; SET jit = off; SET enable_seqscan = off")
    statement = f"SELECT {columns}, embedding <=> %s AS d FROM {table} ORDER BY embedding <=> %s LIMIT 10"
    return lambda vector: connection.execute(statement, (vector, vector), prepare=True).fetchall()


def milvus_load(data: Data, path: Path | str) -> tuple[float, float]:
    """Insert id, text, metadata and vector, then flush; `path` is a Lite file, or a server's URI as a string."""
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(str(path))
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=1024)
    schema.add_field("text", DataType.VARCHAR, max_length=65535)
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=data.vectors.shape[1])
    index = client.prepare_index_params()
    if isinstance(path, str):
        index.add_index("vector", "HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 100})
    else:
        index.add_index("vector", "FLAT", metric_type="COSINE")
    if client.has_collection("raw_load"):
        client.drop_collection("raw_load")
    client.create_collection("raw_load", schema=schema, index_params=index)
    started = time.perf_counter()
    for start in range(0, len(data.documents), 1000):
        rows = [
            {"id": document.id, "text": document.text, "metadata": document.metadata, "vector": vector}
            for document, vector in zip(
                data.documents[start : start + 1000], data.vectors[start : start + 1000], strict=True
            )
        ]
        client.insert("raw_load", rows)
    loaded = time.perf_counter()
    client.flush("raw_load")
    flushed = time.perf_counter()
    client.close()
    return loaded - started, flushed - loaded


def faiss_load(data: Data) -> tuple[float, float]:
    """Add to an HNSW index in memory, without texts or durability."""
    started = time.perf_counter()
    _graph(data)
    return 0.0, time.perf_counter() - started


def faiss_store(data: Data, folder: Path) -> tuple[float, float]:
    """Keep all of it as a program has to: texts and metadata in SQLite, the graph of the vectors in a file."""
    import faiss

    started = time.perf_counter()
    with sqlite3.connect(folder / "raw.sqlite") as store:
        store.execute("PRAGMA journal_mode = WAL")
        store.execute(
            "CREATE TABLE raw "
            "(row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, metadata TEXT NOT NULL)"
        )
        store.executemany(
            "INSERT INTO raw VALUES (?, ?, ?, ?)",
            (
                (row, document.id, document.text, json.dumps(document.metadata, ensure_ascii=False))
                for row, document in enumerate(data.documents)
            ),
        )
    store.close()
    loaded = time.perf_counter()
    faiss.write_index(_graph(data), str(folder / "raw.faiss"))
    return loaded - started, time.perf_counter() - loaded


def faiss_queries(folder: Path, *, ef: int) -> dict[str, Callable[[np.ndarray], object]]:
    """Ask the index and look the answers up: in the store, or texts alone in a dict of all of them."""
    import faiss

    index = faiss.read_index(str(folder / "raw.faiss"))
    index.hnsw.efSearch = ef
    store = sqlite3.connect(folder / "raw.sqlite")
    texts = dict(store.execute("SELECT row, text FROM raw").fetchall())
    among = f"FROM raw WHERE row IN ({', '.join('?' * 10)})"

    def from_store(vector: np.ndarray) -> object:
        scores, found = index.search(vector[None], 10)
        rows = {row[0]: row for row in store.execute(f"SELECT row, id, text {among}", found[0].tolist())}
        return [(*rows[number], score) for number, score in zip(found[0].tolist(), scores[0].tolist(), strict=True)]

    def with_metadata(vector: np.ndarray) -> object:
        scores, found = index.search(vector[None], 10)
        answers = store.execute(f"SELECT row, id, text, metadata {among}", found[0].tolist())
        rows = {row: (identity, text, json.loads(metadata)) for row, identity, text, metadata in answers}
        return [(*rows[number], score) for number, score in zip(found[0].tolist(), scores[0].tolist(), strict=True)]

    def from_dict(vector: np.ndarray) -> object:
        _, found = index.search(vector[None], 10)
        return [texts[number] for number in found[0].tolist()]

    return {
        "index.search, texts and metadata from SQLite": with_metadata,
        "index.search, texts from SQLite": from_store,
        "index.search, texts in a dict": from_dict,
    }


def _graph(data: Data) -> Any:
    import faiss

    index = faiss.IndexHNSWFlat(data.vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    index.add(data.vectors)
    return index
