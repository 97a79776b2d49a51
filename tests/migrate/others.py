"""Other programs that keep articles in Elasticsearch and Milvus."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import qvec
from qvec.registry import embedded_uri
from qvec.types import Vectors
from tests.adapters.elasticsearch_node import elasticsearch_uri
from tests.adapters.milvus_server import milvus_uri
from tests.migrate.collections import ROWS, content, make, row

SERVER = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)]


class Milvus:
    """The other program in Milvus; the collection is that of `tests.migrate.collections`."""

    key = "pk"
    text = "body"
    vector = "own"

    def __init__(self, address: str) -> None:
        self.address = address
        self.name = f"articles_{uuid.uuid4().hex[:8]}"
        self._database = qvec.connect(address)
        self._client = self._database.adapter._connection.client

    def fill(self) -> None:
        make(self._client, self.name)

    def empty(self, number: int) -> None:
        self._client.upsert(self.name, [row(number, text=" ")])

    def held(self) -> object:
        return content(self._client, self.name), self._client.describe_collection(self.name)

    def close(self) -> None:
        if self._client.has_collection(self.name):
            self._client.drop_collection(self.name)
        self._database.close()


class Elasticsearch:
    """The other program in Elasticsearch, with the same articles."""

    key = "_id"
    text = "page.body"
    vector = "own"

    def __init__(self, address: str) -> None:
        driver = pytest.importorskip("elasticsearch")
        self.address = address
        self.name = f"articles-{uuid.uuid4().hex[:8]}"
        parts = urlsplit(address)
        self._client = driver.Elasticsearch(f"http://{parts.hostname}:{parts.port}", request_timeout=120)

    def fill(self) -> None:
        own = {"type": "dense_vector", "dims": 4, "similarity": "l2_norm", "index_options": {"type": "hnsw"}}
        properties: dict[str, object] = {
            "page": {"properties": {"body": {"type": "text"}}},
            "lang": {"type": "keyword"},
            "own": own,
        }
        self._client.indices.create(index=self.name, mappings={"properties": properties})
        self._client.bulk(operations=[part for at in range(ROWS) for part in self._written(at)], refresh=True)

    def empty(self, number: int) -> None:
        # Not searchable when it is read: who copies must see it nevertheless.
        self._client.index(index=self.name, id=str(number), document={"page": {"body": " "}})

    def held(self) -> object:
        self._client.indices.refresh(index=self.name)
        hits = self._client.search(index=self.name, size=1000, sort="_doc")["hits"]["hits"]
        return {hit["_id"]: hit["_source"] for hit in hits}, dict(self._client.indices.get_mapping(index=self.name))

    def bytes_of_vectors(self, vectors: Vectors, kind: str) -> int:
        """Tell what Elasticsearch keeps on its disk of so many vectors, in one segment."""
        field = {"type": "dense_vector", "dims": vectors.shape[1], "index_options": {"type": kind}}
        self._client.indices.create(index=self.name, mappings={"properties": {"v": {**field, "similarity": "cosine"}}})
        rows = (part for row in vectors for part in ({"index": {"_index": self.name}}, {"v": row.tolist()}))
        self._client.bulk(operations=list(rows), refresh=True)
        self._client.indices.forcemerge(index=self.name, max_num_segments=1)
        with warnings.catch_warnings(action="ignore"):
            # The request is "in technical preview".
            said = self._client.indices.disk_usage(index=self.name, run_expensive_tasks=True)
        return int(said[self.name]["fields"]["v"]["knn_vectors_in_bytes"])

    def close(self) -> None:
        self._client.options(ignore_status=404).indices.delete(index=self.name)
        self._client.close()

    def _written(self, number: int) -> list[dict[str, object]]:
        found = row(number)
        body = {"page": {"body": found.pop("body")}}
        return [{"index": {"_index": self.name, "_id": str(found.pop("pk"))}}, {**found, **body}]


@pytest.fixture(
    params=["lite", pytest.param("milvus", marks=SERVER), pytest.param("elasticsearch", marks=SERVER)],
)
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Milvus | Elasticsearch]:
    if request.param == "elasticsearch":
        found: Milvus | Elasticsearch = Elasticsearch(elasticsearch_uri())
    else:
        pytest.importorskip("pymilvus")
        is_lite = request.param == "lite"
        found = Milvus(embedded_uri("milvus", tmp_path / "db").reveal() if is_lite else milvus_uri())
    yield found
    found.close()
