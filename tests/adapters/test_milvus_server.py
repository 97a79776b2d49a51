"""A Milvus server, judged by the suite: 2.3.5, or the one that QVEC_TEST_MILVUS_URI names."""

from __future__ import annotations

import numpy as np
import pytest

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
