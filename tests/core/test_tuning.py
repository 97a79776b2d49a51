"""Choosing the breadth of an approximate search, and remembering the choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qvec.database import Database, connect
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import CollectionNotFoundError, ConfigError, InvalidInputError
from qvec.memory import MemoryAdapter
from qvec.registry import open_adapter
from qvec.tuned import FILE_NAME, place_of, remember, remembered
from qvec.tuning import HNSW_VALUES, IVF_VALUES, nearest, tune
from qvec.types import CollectionSpec, Document, IndexSpec, Metric
from qvec.uri import URI

DIM = 16


class RandomEmbedder(HashingEmbedder):
    """Gives every text a random place, so that an approximate index has something to miss."""

    def encode_document(self, texts):
        return np.vstack(
            [_unit(np.random.default_rng(abs(hash(text)) % 2**32).standard_normal(self.dim)) for text in texts]
        )


class Approximate(MemoryAdapter):
    """Finds so many of the nearest only as `ef` is of 32."""

    def search_dense(self, name, vectors, *, k, filter=None, offset=0, ef=None):
        found = super().search_dense(name, vectors, k=k, filter=filter, offset=offset)
        share = min(1.0, (8 if ef is None else ef) / 32)
        return [hits[: round(share * len(hits))] for hits in found]


def _unit(row):
    return np.asarray(row / np.linalg.norm(row), dtype=np.float32)


def filled(adapter, count=200, kind="auto"):
    database = Database(adapter)
    collection = database.collection("many", embedder=HashingEmbedder(dim=DIM), index=IndexSpec(kind=kind))
    collection.index([Document(f"d{at}", f"word{at} and word{at % 7} stand in text {at}") for at in range(count)])
    return collection


@pytest.mark.parametrize("metric", list(Metric))
def test_the_true_nearest_are_those_of_exact_search_with_all_that_tie(metric):
    adapter = MemoryAdapter()
    adapter.create_collection(CollectionSpec("m", DIM, metric))
    rows = np.random.default_rng(0).standard_normal((300, DIM)).astype(np.float32)
    rows[7] = rows[3]
    adapter.upsert("m", [Document(f"d{at}", "x") for at in range(300)], rows)
    queries = np.vstack([rows[3], rows[200]])
    found = nearest(adapter, adapter.describe_collection("m"), queries, 5)
    for true, hits in zip(found, adapter.search_dense("m", queries, k=5), strict=True):
        assert true.count == 5
        assert {hit.id for hit in hits} <= true.ids
        assert len(true.ids) == 5
    (one,) = nearest(adapter, adapter.describe_collection("m"), queries[:1], 1)
    # The nearest by inner product need not be the row itself.
    assert one.ids == {"d3", "d7"} or metric is Metric.DOT


def test_the_least_value_that_reaches_the_target_is_recommended():
    found = tune(filled(Approximate()), values=[4, 8, 16, 24, 32, 64], target=0.7)
    assert [row.ef for row in found.rows] == [None, 4, 8, 16, 24, 32]
    assert [row.recall for row in found.rows] == pytest.approx([0.2, 0.1, 0.2, 0.5, 0.8, 1.0])
    assert (found.recommended, found.reached, found.queries, found.documents, found.k) == (24, True, 100, 200, 10)
    assert all(0 < row.p50_ms <= row.p95_ms and row.worst <= row.recall + 1e-9 for row in found.rows)


def test_when_none_reaches_it_the_best_is_recommended_and_said_not_to():
    found = tune(filled(Approximate()), values=[4, 8], target=0.7)
    assert (found.recommended, found.reached) == (8, False)


def test_where_search_is_exact_the_default_stays(database: Database):
    collection = database.collection("small")
    collection.index([f"text number {at}" for at in range(60)])
    found = tune(collection, k=5, sample=10)
    assert (found.recommended, found.reached) == (None, True)
    assert [row.recall for row in found.rows] == [1.0, 1.0]


def test_values_suit_the_index():
    assert [row.ef for row in tune(filled(Approximate(), kind="flat"), target=0.1).rows] == [None]
    for kind, values in (("hnsw", HNSW_VALUES), ("ivf", IVF_VALUES)):
        adapter = Approximate()
        collection = filled(adapter)
        described = collection.describe()
        adapter.describe_collection = lambda name, kind=kind, spec=described: CollectionSpec(
            name, spec.dim, spec.metric, IndexSpec(kind=kind), spec.passport
        )
        tried = [row.ef for row in tune(collection, k=10).rows][1:]
        assert tried == list(values)[: len(tried)]


def test_a_real_hnsw_index_misses_less_the_broader_it_searches(tmp_path):
    pytest.importorskip("faiss")
    adapter = open_adapter(f"faiss:{tmp_path}/folder")
    with Database(adapter) as database:
        collection = database.collection("many", embedder=RandomEmbedder(dim=64), index=IndexSpec("hnsw", m=4))
        collection.index([f"text {at}" for at in range(3000)])
        found = tune(collection, sample=40, values=[10, 40, 400])
        recalls = [row.recall for row in found.rows[1:]]
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1]


def test_given_queries_are_asked():
    found = tune(filled(Approximate()), queries=["word1", "word2"], values=[32])
    assert found.queries == 2


def test_arguments_and_collections_that_give_nothing_are_refused():
    collection = filled(Approximate())
    for wrong in ({"k": 0}, {"sample": 0}, {"target": 0.0}, {"target": 1.1}, {"values": [0]}):
        with pytest.raises(InvalidInputError, match="above 0"):
            tune(collection, **wrong)
    with pytest.raises(InvalidInputError, match="gives no queries"):
        tune(collection, queries=[])
    with pytest.raises(CollectionNotFoundError):
        tune(Database(MemoryAdapter()).collection("nowhere"))


def test_a_choice_is_remembered_for_its_database_and_collection_alone(tmp_path):
    here, there = URI.parse("postgresql://me:secret@host:5432/db?sslmode=require"), URI.parse("postgresql://host/db")
    path = remember(tmp_path, here, "books", ef=96, why={"recall": 0.97})
    remember(tmp_path, here, "notes", ef=32, why={})
    assert remembered(tmp_path, here) == {"books": 96, "notes": 32}
    assert remembered(tmp_path, URI.parse("postgresql://other@host:5432/db")) == {"books": 96, "notes": 32}
    assert remembered(tmp_path, there) == {}
    assert "secret" not in path.read_text()
    remember(tmp_path, here, "books", ef=None, why={})
    assert remembered(tmp_path, here) == {"notes": 32}


def test_an_embedded_database_is_known_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        place_of(URI.parse("faiss:folder"))
        == f"faiss:{tmp_path}/folder"
        == place_of(URI.parse(f"faiss:{tmp_path}/folder"))
    )


@pytest.mark.parametrize("content", ["{", "[]", '{"a": {"b": {}}}', '{"a": {"b": {"ef": "x"}}}', '{"a": 7}'])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(ConfigError, match=r"tuned\.json"):
        remembered(tmp_path, URI.parse("faiss:folder"))


def test_a_search_takes_the_remembered_value_unless_it_is_given_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked: list[int | None] = []

    class Noting(MemoryAdapter):
        def search_dense(self, name, vectors, *, k, filter=None, offset=0, ef=None):
            asked.append(ef)
            return super().search_dense(name, vectors, k=k, filter=filter, offset=offset)

    with Database(Noting(), model="hashing", tuned={"books": 96}) as database:
        for name in ("books", "notes"):
            database.collection(name).index(["a book"])
            database.collection(name).search("book")
        database.collection("books").search("book", mode="dense", ef=7)
    assert asked == [96, None, 7]
    remember(Path(".qvec"), URI.parse("memory://"), "books", ef=12, why={})
    with connect("memory://", model="hashing") as database:
        assert database.collection("books")._default_ef == 12
