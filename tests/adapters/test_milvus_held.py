"""A Milvus Lite file's postings are read once, and anew after every change."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("milvus_lite")

from qvec_milvus.adapter import MilvusAdapter
from qvec_milvus.bm25 import Postings
from qvec_milvus.held import HeldPostings

from qvec.memory import MemoryAdapter
from qvec.registry import embedded_uri, open_adapter
from qvec.types import CollectionSpec, Document

SPEC = CollectionSpec("words", 8)
VECTORS = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
DOCUMENTS = [Document(f"d{i:02}", f"{'needle ' * (i % 3)}{'hay ' * (i % 5)}word{i}", {"n": i}) for i in range(40)]


class Reading:
    """Postings of any term, and which were asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.turn = 0

    def __call__(self, terms: Sequence[str]) -> Postings:
        self.asked.append(list(terms))
        counts = {term: {f"{term}{number}": number + self.turn for number in range(3)} for term in terms}
        lengths = {id: 10 for each in counts.values() for id in each}
        return Postings(frequencies=defaultdict(dict, counts), lengths=lengths)


def test_a_term_is_read_once_until_the_collection_changes():
    read = Reading()
    held = HeldPostings(lambda name: read.turn)
    first = held.of("c", ["a", "b"], read)
    second = held.of("c", ["b", "x"], read)
    assert read.asked == [["a", "b"], ["x"]]
    assert set(second.frequencies) == {"b", "x"}
    assert second.frequencies["b"] == first.frequencies["b"] == {"b0": 0, "b1": 1, "b2": 2}
    assert {*first.frequencies["a"], *second.frequencies["x"]} <= set(second.lengths)
    held.of("another", ["b"], read)
    read.turn += 1
    assert held.of("c", ["b"], read).frequencies["b"]["b0"] == 1
    assert read.asked[2:] == [["b"], ["b"]]


def test_what_a_write_overtakes_is_read_again_and_not_kept():
    read = Reading()
    held = HeldPostings(lambda name: read.turn)

    def overtaken(terms: Sequence[str]) -> Postings:
        found = read(terms)
        read.turn += len(read.asked) == 1
        return found

    assert held.of("c", ["a"], overtaken).frequencies["a"]["a0"] == 1
    assert held.of("c", ["a"], read).frequencies["a"]["a0"] == 1
    assert read.asked == [["a"], ["a"], ["a"]]


def test_no_more_is_kept_than_was_said_and_the_answer_is_whole_all_the_same():
    read = Reading()
    held = HeldPostings(lambda name: 0, most=4)
    for terms in (["a"], ["b"], ["a", "b", "x"]):
        assert set(held.of("c", terms, read).frequencies) == set(terms)
    assert read.asked == [["a"], ["b"], ["x"]]
    held.of("c", ["a"], read)
    assert read.asked[3:] == [["a"]]


@pytest.fixture
def adapter(tmp_path: Path) -> MilvusAdapter:
    made = open_adapter(embedded_uri("milvus", tmp_path).reveal())
    assert isinstance(made, MilvusAdapter)
    made.create_collection(SPEC)
    made.upsert("words", DOCUMENTS, VECTORS)
    made.refresh("words")
    return made


def test_a_query_of_known_words_reads_no_postings(adapter, monkeypatch):
    asked: list[str] = []
    client = adapter._connection.client
    query = client.query

    def noted(name: str, **options: object) -> object:
        asked.append(str(options["filter"]))
        return query(name, **options)

    monkeypatch.setattr(client, "query", noted)
    first = adapter.search_lexical("words", ["needle hay"], k=5)
    assert any("hay:" in filter for filter in asked)
    asked.clear()
    assert adapter.search_lexical("words", ["hay needle"], k=5) == first
    assert not any("like" in filter for filter in asked)


def test_searches_beside_writes_end_with_the_right_scores(adapter):
    reference = MemoryAdapter()
    reference.create_collection(SPEC)
    reference.upsert("words", DOCUMENTS, VECTORS)
    ended = threading.Event()
    found: list[int] = []

    def search() -> None:
        while not ended.is_set():
            found.append(len(adapter.search_lexical("words", ["needle hay more"], k=50)[0]))

    thread = threading.Thread(target=search)
    thread.start()
    try:
        for start in range(0, 40, 4):
            changed = [Document(each.id, f"{each.text} needle more") for each in DOCUMENTS[start : start + 4]]
            for each in (adapter, reference):
                each.upsert("words", changed, VECTORS[start : start + 4])
        for each in (adapter, reference):
            each.delete("words", ["d01", "d02"])
    finally:
        ended.set()
        thread.join()
    assert found
    for query in ("needle", "more hay", "word7"):
        [wanted], [got] = (each.search_lexical("words", [query], k=50) for each in (reference, adapter))
        assert [hit.id for hit in got] == [hit.id for hit in wanted]
        assert [hit.score for hit in got] == pytest.approx([hit.score for hit in wanted], abs=1e-9)
