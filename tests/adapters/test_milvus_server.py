"""A Milvus server, judged by the suite: 2.3.5, or the one that QVEC_TEST_MILVUS_URI names."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from qvec.adapter import Adapter
from qvec.registry import open_adapter
from qvec.testing import AdapterSuite
from qvec.testing.base import fresh_name
from qvec.types import CollectionSpec, Document
from tests.adapters.milvus_server import milvus_uri


@pytest.mark.slow
@pytest.mark.server
class TestServer(AdapterSuite):
    """Each collection takes a server a second or more to make, to load and to drop."""

    @pytest.fixture(scope="class")
    @classmethod
    def adapter_uri(cls) -> str:
        return milvus_uri()


@pytest.fixture
def server() -> Iterator[Adapter]:
    adapter = open_adapter(milvus_uri())
    yield adapter
    adapter.close()


@pytest.fixture
def fresh(server: Adapter) -> Iterator[str]:
    name = fresh_name()
    server.create_collection(CollectionSpec(name, 4))
    yield name
    server.drop_collection(name)


@pytest.mark.slow
@pytest.mark.server
def test_what_is_written_before_a_new_collection_is_loaded_is_read_back_at_once(server: Adapter, fresh: str) -> None:
    server.upsert(fresh, [Document("a", "one", digest="1")], np.ones((1, 4), np.float32))
    assert server.digests(fresh, ["a"]) == {"a": "1"}
    assert server.count(fresh) == 1


@pytest.mark.slow
@pytest.mark.server
def test_a_new_collection_holds_nothing_of_other_sources_while_it_is_loaded(server: Adapter, fresh: str) -> None:
    server.upsert(fresh, [Document("a", "one", digest="1")], np.ones((1, 4), np.float32))
    assert server.digests(fresh, ["b"]) == {}
    server.refresh(fresh)
    assert server.digests(fresh, ["a", "b"]) == {"a": "1"}


@pytest.mark.slow
@pytest.mark.server
def test_documents_sent_in_several_calls_all_arrive_once(server: Adapter, fresh: str) -> None:
    documents = [Document(f"d{place}", f"text {place}") for place in range(1300)]
    vectors = np.random.default_rng(0).standard_normal((1300, 4)).astype(np.float32)
    for _ in range(2):
        server.upsert(fresh, documents, vectors)
    server.refresh(fresh)
    assert server.count(fresh) == 1300
    assert server.get(fresh, ["d0", "d511", "d512", "d1299"]) == [documents[place] for place in (0, 511, 512, 1299)]
    [hits] = server.search_lexical(fresh, ["1299"], k=3)
    assert [hit.id for hit in hits] == ["d1299"]


@pytest.mark.slow
@pytest.mark.server
def test_a_collection_whose_making_was_broken_off_is_completed_by_who_uses_it(server: Adapter, fresh: str) -> None:
    server.upsert(fresh, [], np.empty((0, 4), np.float32))
    client = server._connection.client
    [partition] = [found for found in client.list_partitions(fresh) if found != "_default"]
    client.load_collection(fresh)
    client.release_collection(fresh)
    client.drop_partition(fresh, partition)
    client.drop_index(fresh, "vector")
    other = open_adapter(milvus_uri())
    other.upsert(fresh, [Document("a", "one")], np.ones((1, 4), np.float32))
    other.refresh(fresh)
    assert [hit.id for hit in other.search_dense(fresh, np.ones((1, 4), np.float32), k=3)[0]] == ["a"]
    other.close()


@pytest.mark.slow
@pytest.mark.server
def test_two_programs_that_make_a_collection_at_once_both_write_to_it() -> None:
    name = fresh_name()
    adapters = [open_adapter(milvus_uri()) for _ in range(2)]

    def work(number: int) -> None:
        if name not in adapters[number].list_collections():
            adapters[number].create_collection(CollectionSpec(name, 4), exist_ok=True)
        adapters[number].upsert(name, [Document(f"d{number}", "text")], np.ones((1, 4), np.float32))
        adapters[number].refresh(name)

    with ThreadPoolExecutor(2) as both:
        list(both.map(work, range(2)))
    assert adapters[0].count(name) == 2
    adapters[0].drop_collection(name)
    for adapter in adapters:
        adapter.close()


@pytest.mark.slow
@pytest.mark.server
def test_what_was_just_loaded_is_found_by_the_graph() -> None:
    adapter, name = open_adapter(milvus_uri()), fresh_name()
    drawn = np.random.default_rng(0).normal(size=(5150, 64)).astype(np.float32)
    vectors, queries = drawn[:5100], drawn[5100:]
    documents = [Document(f"d{number}", f"text {number}") for number in range(5100)]
    try:
        adapter.create_collection(CollectionSpec(name, 64))
        adapter.upsert(name, documents, vectors)
        adapter.refresh(name)
        found = [{hit.id for hit in hits} for hits in adapter.search_dense(name, queries, k=10)]
    finally:
        adapter.drop_collection(name, missing_ok=True)
        adapter.close()
    nearest = np.argsort(-(queries @ vectors.T) / np.linalg.norm(vectors, axis=1), axis=1)[:, :10]
    exact = [{f"d{place}" for place in row} for row in nearest]
    assert np.mean([len(got & wanted) / 10 for got, wanted in zip(found, exact, strict=True)]) > 0.95
