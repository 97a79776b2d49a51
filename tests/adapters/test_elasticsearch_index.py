"""Elasticsearch: the index behind a collection, and searches that HNSW answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from qvec_elasticsearch import facts, schema
from qvec_elasticsearch.trips import together

from qvec.adapter import Adapter
from qvec.filters import Compare, Op
from qvec.registry import open_adapter
from qvec.testing.base import exact_scores
from qvec.types import CollectionSpec, Document, IndexSpec, Metric
from tests.adapters.elasticsearch_node import elasticsearch_uri

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""The first test may have to fetch the server."""

DIM = 4096
COUNT = 1200
"""So many vectors of this width are more than are compared one by one."""


@pytest.fixture(scope="module")
def adapter() -> Iterator[Adapter]:
    opened = open_adapter(elasticsearch_uri())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Forty heaps of thirty, as texts lie; random vectors alone have no neighbours at this width."""
    rng = np.random.default_rng(7)
    heaps = np.repeat(rng.normal(size=(40, DIM)), COUNT // 40, axis=0)
    return (heaps + rng.normal(size=(COUNT, DIM))).astype(np.float32)


@pytest.fixture(scope="module", params=list(Metric))
def wide(request: pytest.FixtureRequest, adapter: Adapter, vectors: np.ndarray) -> Iterator[CollectionSpec]:
    spec = CollectionSpec(f"wide_{request.param}", DIM, request.param, IndexSpec("hnsw"))
    adapter.drop_collection(spec.name, missing_ok=True)
    adapter.create_collection(spec)
    documents = [Document(f"d{n:05}", f"number {n}", {"n": n, "rare": n % 100 == 0}) for n in range(COUNT)]
    adapter.upsert(spec.name, documents, vectors)
    adapter.refresh(spec.name)
    yield spec
    adapter.drop_collection(spec.name)


def mapping(adapter: Adapter, name: str) -> dict[str, object]:
    with adapter._connection.use() as client:
        [described] = client.indices.get_mapping(index=schema.alias_of(name)).body.values()
    return dict(described["mappings"])


@pytest.mark.server
class TestNeighbours:
    """What HNSW finds."""

    def test_a_large_collection_is_searched_through_its_index(self, adapter: Adapter, wide: CollectionSpec) -> None:
        assert together(adapter._connection, wide.name, [adapter._nearest._is_small(wide)]) == [False]
        assert mapping(adapter, wide.name)["properties"]["vector"]["index_options"]["type"].endswith("hnsw")

    def test_nearly_all_nearest_are_found_with_their_exact_scores(
        self, adapter: Adapter, wide: CollectionSpec, vectors: np.ndarray
    ) -> None:
        queries = vectors[::60] + np.random.default_rng(3).normal(size=(20, DIM)).astype(np.float32)
        found = 0
        for query, hits in zip(queries, adapter.search_dense(wide.name, queries, k=10), strict=True):
            scores = exact_scores(wide.metric, vectors, query)
            best = {f"d{at:05}" for at in np.argsort(scores)[::-1][:10]}
            found += len(best & {hit.id for hit in hits})
            assert [hit.score for hit in hits] == pytest.approx([scores[int(hit.id[1:])] for hit in hits], rel=1e-4)
        assert found >= 190, f"{found} of 200 nearest neighbours found"

    def test_a_filter_of_one_percent_gives_all_that_match(
        self, adapter: Adapter, wide: CollectionSpec, vectors: np.ndarray
    ) -> None:
        rare = Compare("rare", Op.EQ, True)
        [hits] = adapter.search_dense(wide.name, -vectors[1:2], k=12, filter=rare)
        assert sorted(hit.id for hit in hits) == [f"d{n:05}" for n in range(0, COUNT, 100)]
        assert len(adapter.search_dense(wide.name, vectors[1:2], k=50, filter=rare)[0]) == 12

    def test_all_records_are_reached_by_a_deep_search(
        self, adapter: Adapter, wide: CollectionSpec, vectors: np.ndarray
    ) -> None:
        [hits] = adapter.search_dense(wide.name, vectors[:1], k=COUNT + 5)
        assert len({hit.id for hit in hits}) == COUNT
        [page] = adapter.search_dense(wide.name, vectors[:1], k=7, offset=COUNT - 3)
        assert [hit.id for hit in page] == [hit.id for hit in hits[-3:]]

    def test_equal_vectors_stand_by_id_and_the_cut_keeps_the_smallest(
        self, adapter: Adapter, wide: CollectionSpec
    ) -> None:
        ids = [f"tie{n:03}" for n in range(400)]
        same = np.full((len(ids), DIM), 3.0, np.float32)
        adapter.upsert(wide.name, [Document(id, "tie") for id in reversed(ids)], same)
        adapter.refresh(wide.name)
        [hits] = adapter.search_dense(wide.name, same[:1], k=9)
        assert [hit.id for hit in hits] == ids[:9]
        adapter.delete(wide.name, ids)
        adapter.refresh(wide.name)

    def test_a_vector_of_zeros_stands_among_the_others(
        self, adapter: Adapter, wide: CollectionSpec, vectors: np.ndarray
    ) -> None:
        if wide.metric is not Metric.COSINE:
            pytest.skip("only the cosine of zeros is not defined")
        adapter.upsert(wide.name, [Document("zero", "nothing")], np.zeros((1, DIM), np.float32))
        adapter.refresh(wide.name)
        [hits] = adapter.search_dense(wide.name, vectors[:1], k=COUNT + 1)
        assert {hit.id: hit.score for hit in hits}["zero"] == 0.0
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        adapter.delete(wide.name, ["zero"])
        adapter.refresh(wide.name)


@pytest.mark.server
class TestIndex:
    """How an index is made."""

    def test_nothing_of_a_document_is_mapped_by_guess(self, adapter: Adapter) -> None:
        adapter.drop_collection("guess", missing_ok=True)
        adapter.create_collection(CollectionSpec("guess", 2))
        before = mapping(adapter, "guess")
        adapter.upsert("guess", [Document("a", "x", {"deep": {"n": 1}})], np.ones((1, 2), np.float32))
        adapter.refresh("guess")
        assert mapping(adapter, "guess") == before
        adapter.drop_collection("guess")

    def test_another_index_takes_a_collections_place_by_its_alias(self, adapter: Adapter) -> None:
        for name in ("Shelf", "Shelf_new"):
            adapter.drop_collection(name, missing_ok=True)
            adapter.create_collection(CollectionSpec(name, 2))
            adapter.upsert(name, [Document(name, "text")], np.ones((1, 2), np.float32))
            adapter.refresh(name)
        alias, new = schema.alias_of("Shelf"), schema.alias_of("Shelf_new")
        with adapter._connection.use() as client:
            client.indices.update_aliases(
                actions=[
                    {"remove": {"index": f"{alias}-000001", "alias": alias}},
                    {"add": {"index": f"{new}-000001", "alias": alias}},
                ]
            )
        assert [document.id for document in adapter.get("Shelf", ["Shelf", "Shelf_new"])] == ["Shelf_new"]
        assert {"Shelf", "Shelf_new"} <= set(adapter.list_collections())
        with adapter._connection.use() as client:
            client.indices.delete(index=f"{alias}-000001")
        adapter.drop_collection("Shelf")
        assert not {"Shelf", "Shelf_new"} & set(adapter.list_collections())

    def test_shards_and_replicas_are_as_the_uri_says(self) -> None:
        joint = "&" if "?" in elasticsearch_uri() else "/?"
        opened = open_adapter(f"{elasticsearch_uri()}{joint}shards=3&replicas=0")
        opened.drop_collection("parts", missing_ok=True)
        opened.create_collection(CollectionSpec("parts", 2))
        documents = [Document(f"d{n:03}", "word " * (1 + n % 7)) for n in range(100)]
        opened.upsert("parts", documents, np.ones((100, 2), np.float32))
        opened.refresh("parts")
        with opened._connection.use() as client:
            health = client.cluster.health(index=schema.alias_of("parts"))
        assert (health["active_primary_shards"], health["active_shards"]) == (3, 3)
        [hits] = opened.search_lexical("parts", ["word"], k=100)
        assert len(hits) == 100
        assert [document.id for document in opened.get("parts", ["d042"])] == ["d042"]
        assert sum(len(batch.documents) for batch in opened.scan("parts", batch_size=7)) == 100
        [near] = opened.search_dense("parts", np.ones((1, 2), np.float32), k=5)
        assert [hit.id for hit in near] == [f"d{n:03}" for n in range(5)]
        opened.drop_collection("parts")
        opened.close()


@pytest.mark.parametrize(
    ("dim", "version", "kind"),
    [
        (16, (9, 4), "hnsw"),
        (256, (9, 4), "int8_hnsw"),
        (1024, (9, 4), "bbq_hnsw"),
        (1024, (8, 19), "bbq_hnsw"),
        (1024, (8, 15), "int8_hnsw"),
    ],
)
def test_vectors_are_quantised_by_width_and_version(dim: int, version: tuple[int, int], kind: str) -> None:
    assert schema.quantisation(dim, version) == kind


def test_numbers_of_every_size_order_as_their_keys_do() -> None:
    numbers = [-1.7976931348623157e308, -(2**63), -(2**53) - 1, -(2**53), -2.5, -1, -5e-324, 0, 5e-324, 0.1, 1, 1.5]
    numbers += [2**53, 2**53 + 1, 2**53 + 2, 2**63 - 513, 2**63 - 2, 2**63 - 1, 2.0**63, 1e300]
    keys = [facts.number_key(number) for number in numbers]
    assert keys == sorted(set(keys))
    assert facts.number_key(0.0) == facts.number_key(-0.0) == facts.number_key(0)
    assert facts.number_key(10) == facts.number_key(10.0)
