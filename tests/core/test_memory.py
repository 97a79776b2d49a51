"""The reference before its own judge, and what only it promises."""

from __future__ import annotations

import numpy as np
import pytest

from qvec.errors import BackendConnectionError
from qvec.filters import Compare, Op
from qvec.lexical import idf, term_score
from qvec.memory import MemoryAdapter
from qvec.registry import embedded_uri, open_adapter
from qvec.testing import AdapterSuite
from qvec.testing.base import fill, make
from qvec.types import Document
from qvec.uri import URI


class TestMemory(AdapterSuite):
    uri = "memory://"


@pytest.fixture
def memory() -> MemoryAdapter:
    adapter = MemoryAdapter()
    make(adapter, "books", dim=2)
    return adapter


def test_each_connection_is_a_store_of_its_own():
    one, other = open_adapter("memory://same"), open_adapter("memory://same")
    make(one, "books")
    assert other.list_collections() == []


def test_it_is_its_own_embedded_form():
    assert embedded_uri("memory", "/anywhere") == URI("memory")


def test_a_closed_store_has_forgotten_and_says_so(memory: MemoryAdapter):
    memory.close()
    with pytest.raises(BackendConnectionError, match="closed"):
        make(memory, "books")


def test_bm25_is_the_formula_by_hand(memory: MemoryAdapter):
    documents = [Document("a", "red red fish"), Document("b", "blue fish"), Document("c", "one two three four five")]
    fill(memory, "books", documents, np.ones((3, 2), dtype=np.float32))
    [hits] = memory.search_lexical("books", ["red fish"], k=9)
    average = (3 + 2 + 5) / 3
    assert {hit.id: hit.score for hit in hits} == pytest.approx(
        {
            "a": idf(3, 1) * term_score(2, 3, average) + idf(3, 2) * term_score(1, 3, average),
            "b": idf(3, 2) * term_score(1, 2, average),
        }
    )


def test_a_filter_does_not_change_the_statistics(memory: MemoryAdapter):
    documents = [Document("a", "fish", {"kept": True}), Document("b", "fish"), Document("c", "other words")]
    fill(memory, "books", documents, np.ones((3, 2), dtype=np.float32))
    [everything] = memory.search_lexical("books", ["fish"], k=9)
    [kept] = memory.search_lexical("books", ["fish"], k=9, filter=Compare("kept", Op.EQ, True))
    assert kept == [everything[0]]


def test_deleting_and_replacing_leaves_no_trace(memory: MemoryAdapter):
    documents = [Document(f"d{i}", f"word{i} shared") for i in range(50)]
    vectors = np.arange(100, dtype=np.float32).reshape(50, 2)
    fill(memory, "books", documents, vectors)
    memory.delete("books", [document.id for document in documents[1::2]])
    fill(memory, "books", documents[::2], vectors[::2] + 1)
    memory.delete("books", [document.id for document in documents[::2]])
    assert memory.count("books") == 0
    assert memory.digests("books", [document.id for document in documents]) == {}
    assert memory.search_lexical("books", ["shared", "word1"], k=9) == [[], []]
    assert memory.search_dense("books", vectors[:1], k=9) == [[]]


def test_large_and_tiny_vectors_keep_their_cosine(memory: MemoryAdapter):
    rows = np.array([[1e30, 0], [1e-30, 1e-30], [0, -1e30]], dtype=np.float32)
    fill(memory, "books", [Document(id, "") for id in "abc"], rows)
    [hits] = memory.search_dense("books", np.array([[1e30, 0]], dtype=np.float32), k=3)
    assert [(hit.id, hit.score) for hit in hits] == [("a", 1.0), ("b", pytest.approx(0.5**0.5)), ("c", 0.0)]
