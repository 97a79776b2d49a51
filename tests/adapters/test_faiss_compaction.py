"""FAISS: what replaced documents leave behind is swept up, unseen by anyone who reads."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from qvec.adapter import Adapter
from qvec.memory import MemoryAdapter
from qvec.registry import open_adapter
from qvec.types import CollectionSpec, Document

COUNT = 1200


def write(adapter: Adapter, round: int, *, count: int = COUNT) -> None:
    documents = [Document(f"d{n:04}", f"round{round} number{n} " + "common " * (n % 5)) for n in range(count)]
    vectors = np.random.default_rng(round).normal(size=(count, 8)).astype(np.float32)
    for start in range(0, count, 300):
        adapter.upsert("c", documents[start : start + 300], vectors[start : start + 300])


def ranking(adapter: Adapter, query: str) -> list[tuple[str, float]]:
    return [(hit.id, round(hit.score, 9)) for hit in adapter.search_lexical("c", [query], k=50)[0]]


def test_dead_postings_and_the_log_go_and_every_answer_stays(tmp_path: Path) -> None:
    ours, reader, truth = open_adapter(f"faiss:{tmp_path}"), open_adapter(f"faiss:{tmp_path}"), MemoryAdapter()
    for adapter in (ours, truth):
        adapter.create_collection(CollectionSpec("c", 8))
        write(adapter, 1)
    before = ranking(reader, "round1 common number7")  # the reader has a mirror of the first round
    assert before == ranking(truth, "round1 common number7")
    for adapter in (ours, truth):
        write(adapter, 2)
        write(adapter, 3, count=1000)
        adapter.delete("c", [f"d{n:04}" for n in range(1100, COUNT)])
        adapter.refresh("c")
    with sqlite3.connect(tmp_path / "qvec.sqlite") as store:
        assert store.execute("SELECT count(*) FROM dead_1").fetchone() == (0,)
        assert store.execute("SELECT count(*) FROM postings_1 WHERE term = 'round1'").fetchone() == (0,)
        assert store.execute("SELECT count(*) FROM postings_1 WHERE term = 'common'").fetchone() == (1,)
        assert store.execute("SELECT sum(length(seqs)) / 8 FROM postings_1 WHERE term = 'round3'").fetchone() == (1000,)
    store.close()
    query = np.ones((1, 8), np.float32)
    for adapter in (ours, reader):
        for text in ("round1", "round2 common", "round3 common number7", "number1150"):
            assert ranking(adapter, text) == ranking(truth, text), text
        found = [hit.id for hit in adapter.search_dense("c", query, k=30)[0]]
        assert found == [hit.id for hit in truth.search_dense("c", query, k=30)[0]]
    for adapter in (ours, truth):  # and it goes on from there
        write(adapter, 4, count=50)
    assert ranking(reader, "round4 common") == ranking(truth, "round4 common")
    ours.close()
    reader.close()


def test_a_few_dead_are_left_alone(tmp_path: Path) -> None:
    adapter = open_adapter(f"faiss:{tmp_path}")
    adapter.create_collection(CollectionSpec("c", 8))
    write(adapter, 1)
    write(adapter, 2, count=300)
    adapter.refresh("c")
    with sqlite3.connect(tmp_path / "qvec.sqlite") as store:
        assert store.execute("SELECT count(*) FROM dead_1").fetchone() == (300,)
    store.close()
    adapter.close()
