"""FAISS: the indexes beside the truth in SQLite, and bad days."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from qvec_faiss import ann, errors, schema

from qvec.adapter import Adapter
from qvec.errors import BackendConnectionError, BackendError, BackendTimeoutError, ConfigError
from qvec.registry import open_adapter
from qvec.types import CollectionSpec, Document, IndexSpec, Metric
from qvec.where import parse

COUNT, DIM = 3000, 16


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    opened = open_adapter(f"faiss:{tmp_path}")
    yield opened
    opened.close()


def fill(adapter: Adapter, kind: str, metric: Metric = Metric.COSINE, count: int = COUNT) -> np.ndarray:
    adapter.create_collection(CollectionSpec("c", DIM, metric, IndexSpec(kind, nlist=32)))
    vectors = np.random.default_rng(3).normal(size=(count, DIM)).astype(np.float32)
    documents = [Document(f"d{n:05}", f"text {n}", {"n": n, "rare": n % 100 == 0}) for n in range(count)]
    adapter.upsert("c", documents, vectors)
    adapter.refresh("c")
    return vectors


def exact(vectors: np.ndarray, query: np.ndarray, metric: Metric, k: int) -> list[str]:
    if metric is Metric.L2:
        scores = -np.linalg.norm(vectors - query, axis=1)
    else:
        scores = vectors @ query / (np.linalg.norm(vectors, axis=1) if metric is Metric.COSINE else 1)
    return [f"d{n:05}" for n in np.argsort(-scores)[:k]]


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_an_index_finds_nearly_all_true_neighbours(adapter: Adapter, kind: str, metric: Metric, tmp_path: Path) -> None:
    vectors = fill(adapter, kind, metric)
    assert list(tmp_path.glob("*.faiss"))
    queries = vectors[:40] + 0.1
    found = adapter.search_dense("c", queries, k=10, ef=32 if kind == "ivf" else 200)
    same = sum(
        len({hit.id for hit in hits} & set(exact(vectors, query, metric, 10)))
        for hits, query in zip(found, queries, strict=True)
    )
    assert same >= 390


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_a_filter_never_starves_an_index(adapter: Adapter, kind: str) -> None:
    fill(adapter, kind)
    query = np.ones((1, DIM), np.float32)
    for where, matching in (("rare = true", 30), ("n >= 1500", 1500), ("n < 2900", 2900)):
        hits = adapter.search_dense("c", query, k=25, filter=parse(where))[0]
        assert len(hits) == 25, where
        assert adapter.count("c", filter=parse(where)) == matching


def test_what_is_written_and_deleted_after_the_index_was_built_counts_at_once(adapter: Adapter) -> None:
    vectors = fill(adapter, "hnsw")
    query = vectors[7:8]
    adapter.delete("c", ["d00007"])
    adapter.upsert("c", [Document("new", "x"), Document("d00008", "moved")], np.vstack([query, -query]))
    hits = adapter.search_dense("c", query, k=5)[0]
    assert hits[0].id == "new"
    assert "d00007" not in {hit.id for hit in hits}
    assert adapter.search_dense("c", -query, k=1)[0][0].id == "d00008"


def test_equal_vectors_stand_by_id_in_an_index_too(adapter: Adapter) -> None:
    adapter.create_collection(CollectionSpec("c", 4, index=IndexSpec("hnsw")))
    names = [f"t{n:02}" for n in np.random.default_rng(0).permutation(20)]
    adapter.upsert("c", [Document(name, "x") for name in names], np.ones((20, 4), np.float32))
    adapter.refresh("c")
    assert [hit.id for hit in adapter.search_dense("c", np.ones((1, 4), np.float32), k=5)[0]] == sorted(names)[:5]


def test_a_second_connection_reads_the_snapshot_and_builds_a_damaged_one_again(
    adapter: Adapter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = fill(adapter, "hnsw")
    expected = [hit.id for hit in adapter.search_dense("c", vectors[:1], k=5)[0]]
    second = open_adapter(f"faiss:{tmp_path}")
    assert [hit.id for hit in second.search_dense("c", vectors[:1], k=5)[0]] == expected
    second.close()
    snapshot = next(tmp_path.glob("*.faiss"))
    snapshot.write_bytes(b"not an index")
    third = open_adapter(f"faiss:{tmp_path}")
    with caplog.at_level(logging.WARNING):
        assert [hit.id for hit in third.search_dense("c", vectors[:1], k=5)[0]] == expected
    assert "built again" in caplog.text
    third.refresh("c")
    assert snapshot.stat().st_size > 1000
    third.close()


def test_auto_searches_exactly_until_the_collection_is_large(adapter: Adapter, tmp_path: Path) -> None:
    fill(adapter, "auto", count=ann.AUTO_FLAT)
    assert not list(tmp_path.glob("*.faiss"))
    adapter.upsert("c", [Document("one more", "x")], np.ones((1, DIM), np.float32))
    adapter.refresh("c")
    assert list(tmp_path.glob("*.faiss"))


def test_dropping_a_collection_drops_its_snapshot(adapter: Adapter, tmp_path: Path) -> None:
    fill(adapter, "hnsw")
    adapter.drop_collection("c")
    assert not list(tmp_path.glob("*.faiss"))


def test_a_file_where_the_folder_should_be_is_a_connection_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(BackendConnectionError, match="taken"):
        open_adapter(f"faiss:{tmp_path / 'taken'}")


def test_a_file_that_is_no_database_is_a_connection_error(tmp_path: Path) -> None:
    (tmp_path / schema.FILE_NAME).write_text(
        "this is a text, and long enough to be looked at as a database header" * 20
    )
    with pytest.raises(BackendConnectionError, match="not an SQLite database"):
        open_adapter(f"faiss:{tmp_path}")


def test_a_full_disk_loses_nothing_and_says_so(adapter: Adapter) -> None:
    adapter.create_collection(CollectionSpec("c", DIM))
    adapter.upsert("c", [Document("kept", "x")], np.ones((1, DIM), np.float32))
    with adapter._connections.read() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    many = [Document(f"d{n}", "text " * 200) for n in range(500)]
    with pytest.raises(BackendError, match="disk is full"):
        adapter.upsert("c", many, np.ones((500, DIM), np.float32))
    assert adapter.count("c") == 1
    with adapter._connections.read() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    adapter.upsert("c", many, np.ones((500, DIM), np.float32))
    assert adapter.count("c") == 501


def test_a_read_only_store_is_read_and_refuses_to_write(adapter: Adapter) -> None:
    adapter.create_collection(CollectionSpec("c", DIM))
    with adapter._connections.read() as connection:
        connection.execute("PRAGMA query_only = ON")
    with pytest.raises(BackendError, match="read-only"):
        adapter.upsert("c", [Document("x", "x")], np.ones((1, DIM), np.float32))
    assert adapter.count("c") == 0


def test_a_writer_that_holds_the_lock_too_long_is_a_timeout(
    adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter.create_collection(CollectionSpec("c", DIM))
    with adapter._connections.read() as connection:
        connection.execute("PRAGMA busy_timeout = 100")
    holder = sqlite3.connect(tmp_path / schema.FILE_NAME, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(BackendTimeoutError, match="another process is writing"):
        adapter.upsert("c", [Document("x", "x")], np.ones((1, DIM), np.float32))
    holder.execute("ROLLBACK")
    holder.close()
    adapter.upsert("c", [Document("x", "x")], np.ones((1, DIM), np.float32))


def test_two_processes_write_at_once_and_each_sees_the_other(adapter: Adapter, tmp_path: Path) -> None:
    adapter.create_collection(CollectionSpec("c", 4))
    code = (
        "import sys, numpy as np\n"
        "from qvec.registry import open_adapter\n"
        "from qvec.types import Document\n"
        "adapter = open_adapter(sys.argv[1])\n"
        "for n in range(40):\n"
        "    adapter.upsert('c', [Document(f'theirs {n}', 'x')], np.ones((1, 4), np.float32))\n"
        "adapter.close()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, f"faiss:{tmp_path}"]) as child:
        for n in range(40):
            adapter.upsert("c", [Document(f"ours {n}", "x")], np.ones((1, 4), np.float32))
        assert child.wait(250) == 0
    assert adapter.count("c") == 80
    assert len(adapter.search_dense("c", np.ones((1, 4), np.float32), k=100)[0]) == 80


def test_a_connection_closed_from_another_thread_is_closed(tmp_path: Path) -> None:
    adapter = open_adapter(f"faiss:{tmp_path}")
    worker = threading.Thread(target=adapter.close)
    worker.start()
    worker.join()
    with pytest.raises(BackendConnectionError, match="connect again"):
        adapter.list_collections()


@pytest.mark.parametrize("uri", ["faiss:x?speed=fast", "faiss:x?device=tpu", "faiss://host/x", "faiss:"])
def test_a_uri_that_makes_no_sense_is_a_config_error(uri: str) -> None:
    with pytest.raises(ConfigError):
        open_adapter(uri)


def test_a_gpu_that_is_demanded_and_not_there_is_a_config_error(tmp_path: Path) -> None:
    if ann.gpus("auto"):
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="faiss-gpu"):
        open_adapter(f"faiss:{tmp_path}?device=gpu")


def test_every_error_of_sqlite_has_an_entry() -> None:
    mapped = [theirs for theirs, _ in errors.MAP]
    kinds = [value for value in vars(sqlite3).values() if isinstance(value, type) and issubclass(value, Exception)]
    for kind in kinds:
        assert kind in mapped, f"{kind.__name__} is not in the map"
    for position, theirs in enumerate(mapped):
        assert not any(issubclass(theirs, earlier) for earlier in mapped[:position]), f"{theirs.__name__} is hidden"
