"""FAISS: the graph grows while documents come in, and a refresh adds to it instead of building it again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest

from qvec.adapter import Adapter
from qvec.registry import open_adapter
from qvec.types import CollectionSpec, Document, IndexSpec

DIM = 32
BATCH = 700


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    opened = open_adapter(f"faiss:{tmp_path}")
    opened.create_collection(CollectionSpec("c", DIM, index=IndexSpec("hnsw")))
    yield opened
    opened.close()


def write(adapter: Adapter, first: int, count: int) -> np.ndarray:
    vectors = np.random.default_rng(first).normal(size=(count, DIM)).astype(np.float32)
    for start in range(0, count, BATCH):
        ids = range(first + start, first + min(start + BATCH, count))
        adapter.upsert("c", [Document(f"d{n:05}", "x") for n in ids], vectors[start : start + BATCH])
    return vectors


def in_snapshot(folder: Path) -> set[int]:
    (path,) = folder.glob("*.faiss")
    index = faiss.read_index(str(path))  # held: its arrays die with it
    return set(faiss.vector_to_array(index.id_map).tolist())


def found_itself(adapter: Adapter, vectors: np.ndarray, first: int) -> float:
    hits = adapter.search_dense("c", vectors, k=1)
    return float(np.mean([top[0].id == f"d{first + n:05}" for n, top in enumerate(hits)]))


def test_all_that_was_written_in_many_upserts_is_in_the_graph_after_a_refresh(adapter: Adapter, tmp_path: Path) -> None:
    vectors = write(adapter, 0, 5 * BATCH)
    assert any(thread.name.startswith("qvec-faiss-growth") for thread in threading.enumerate())
    adapter.refresh("c")
    assert in_snapshot(tmp_path) == set(range(1, 5 * BATCH + 1))
    assert found_itself(adapter, vectors, 0) > 0.98


def test_a_refresh_adds_to_a_graph_of_which_little_is_dead(adapter: Adapter, tmp_path: Path) -> None:
    write(adapter, 0, 2000)
    adapter.refresh("c")
    adapter.delete("c", ["d00003", "d00004"])
    more = write(adapter, 2000, 1500)
    adapter.refresh("c")
    assert in_snapshot(tmp_path) == set(range(1, 3501)), "the dead are still in it: it was added to"
    assert found_itself(adapter, more, 2000) > 0.98
    assert not {"d00003", "d00004"} & {hit.id for hit in adapter.search_dense("c", more[:1], k=3498)[0]}


def test_a_refresh_builds_a_graph_again_of_which_much_is_dead(adapter: Adapter, tmp_path: Path) -> None:
    write(adapter, 0, 2000)
    adapter.refresh("c")
    adapter.delete("c", [f"d{n:05}" for n in range(600)])
    adapter.refresh("c")
    assert in_snapshot(tmp_path) == set(range(601, 2001))


def test_searches_go_on_in_the_old_graph_while_the_new_one_grows(adapter: Adapter) -> None:
    vectors = write(adapter, 0, 2000)
    adapter.refresh("c")
    stop, wrong = threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            top = adapter.search_dense("c", vectors[5:6], k=1)[0][0].id
            if top != "d00005":
                wrong.append(top)

    searcher = threading.Thread(target=search)
    searcher.start()
    for first in range(2000, 8000, 1500):
        write(adapter, first, 1500)
        adapter.refresh("c")
    stop.set()
    searcher.join()
    assert not wrong


def test_a_collection_dropped_while_it_grows_leaves_nothing_to_the_next(adapter: Adapter) -> None:
    write(adapter, 0, 3000)
    adapter.drop_collection("c")
    adapter.create_collection(CollectionSpec("c", DIM, index=IndexSpec("hnsw")))
    vectors = write(adapter, 50_000, 1400)
    adapter.refresh("c")
    assert found_itself(adapter, vectors, 50_000) > 0.98


def test_a_process_that_ends_while_a_graph_grows_ends_at_once_and_loses_nothing(tmp_path: Path) -> None:
    program = """
import sys, numpy as np
from qvec.registry import open_adapter
from qvec.types import CollectionSpec, Document, IndexSpec
adapter = open_adapter("faiss:" + sys.argv[1])
adapter.create_collection(CollectionSpec("c", 64, index=IndexSpec("hnsw", ef_construction=300)))
vectors = np.random.default_rng(0).normal(size=(4000, 64)).astype(np.float32)
for start in range(0, 4000, 1000):
    adapter.upsert("c", [Document(str(n), "x") for n in range(start, start + 1000)], vectors[start : start + 1000])
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=250)
    again = open_adapter(f"faiss:{tmp_path}")
    assert again.count("c") == 4000
    again.refresh("c")
    assert len(again.search_dense("c", np.ones((1, 64), np.float32), k=5)[0]) == 5
    again.close()
