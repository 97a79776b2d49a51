"""Elasticsearch: how many requests a search takes, counted by what the client's transport logs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from qvec.adapter import Adapter, SupportsHybrid
from qvec.fusion import FusionSpec, fuse
from qvec.memory import MemoryAdapter
from qvec.registry import open_adapter
from qvec.testing.base import fill, make
from qvec.testing.corpus import CORPUS, DIM, query_vectors
from qvec.types import Document, Hit
from tests.adapters.elasticsearch_node import elasticsearch_uri

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)]
"""The first test may have to fetch the server."""

WINDOW = 50
Trips = Callable[[], int]


@pytest.fixture(scope="module", params=["one shard", "three shards"])
def adapter(request: pytest.FixtureRequest) -> Iterator[Adapter]:
    joint = "&" if "?" in elasticsearch_uri() else "/?"
    uri = elasticsearch_uri() if request.param == "one shard" else f"{elasticsearch_uri()}{joint}shards=3&replicas=0"
    opened = open_adapter(uri)
    yield opened
    opened.close()


@pytest.fixture
def name(adapter: Adapter) -> Iterator[str]:
    adapter.drop_collection("trips", missing_ok=True)
    make(adapter, "trips")
    fill(adapter, "trips", CORPUS)
    yield "trips"
    adapter.drop_collection("trips")


@pytest.fixture
def trips(caplog: pytest.LogCaptureFixture) -> Trips:
    """Count the requests since the last call."""
    caplog.set_level(logging.INFO, logger="elastic_transport.transport")

    def count() -> int:
        found = sum(record.getMessage().startswith(("POST", "GET", "PUT")) for record in caplog.records)
        caplog.clear()
        return found

    return count


def fused(adapter: Adapter, query: str, *, k: int = 10) -> list[Hit]:
    assert isinstance(adapter, SupportsHybrid)
    return adapter.search_hybrid("trips", [query], query_vectors(1), how=FusionSpec(), window=WINDOW, k=k)[0]


def of_two_legs(adapter: Adapter, query: str) -> list[Hit]:
    lexical = adapter.search_lexical("trips", [query], k=WINDOW)[0]
    return fuse(
        {"lexical": lexical, "dense": adapter.search_dense("trips", query_vectors(1), k=WINDOW)[0]}, FusionSpec()
    )


def test_both_legs_and_their_documents_come_in_one_request(adapter: Adapter, name: str, trips: Trips) -> None:
    fused(adapter, "open the collection")
    trips()
    for query in ("read file", "读取文件", "nosuchword"):
        found = fused(adapter, query)
        assert trips() == 1, query
        assert found == of_two_legs(adapter, query)[:10]
        trips()


def test_a_keyword_search_takes_one_request(adapter: Adapter, name: str, trips: Trips) -> None:
    adapter.search_lexical(name, ["open the collection"], k=5)
    trips()
    assert adapter.search_lexical(name, ["read file"], k=5)[0]
    assert trips() == 1


def test_a_page_that_the_first_hits_do_not_cover_takes_one_more(adapter: Adapter, name: str, trips: Trips) -> None:
    fused(adapter, "open the collection")
    trips()
    found = fused(adapter, "read file", k=2 * WINDOW)
    assert found == of_two_legs(adapter, "read file")


def test_dead_records_that_lucene_still_counts_do_not_shift_a_score(adapter: Adapter, name: str, trips: Trips) -> None:
    reference = MemoryAdapter()
    make(reference, name)
    fill(reference, name, CORPUS)
    fused(adapter, "open the collection")
    for each in (adapter, reference):
        each.delete(name, [document.id for document in CORPUS[::3]])
        each.upsert(name, [Document(CORPUS[1].id, "read read read")], np.ones((1, DIM), np.float32))
        each.refresh(name)
    trips()
    for query in ("read file", "读取文件", "open"):
        [expected], [found] = (each.search_lexical(name, [query], k=WINDOW) for each in (reference, adapter))
        assert [hit.id for hit in found] == [hit.id for hit in expected], query
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], rel=1e-5)
    assert trips() > 3


def test_records_added_elsewhere_are_counted_at_once(adapter: Adapter, name: str) -> None:
    fused(adapter, "read file")
    adapter.upsert(name, [Document(f"more{n}", "read a file " * n) for n in range(40)], np.ones((40, DIM), np.float32))
    adapter.refresh(name)
    first = fused(adapter, "read file")
    assert first == fused(adapter, "read file")
    assert first == of_two_legs(adapter, "read file")[:10]
