"""What other programs keep in Elasticsearch and Milvus is planned for and copied from, by its own fields."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import qvec
from qvec.errors import CollectionNotFoundError, InvalidInputError
from qvec.migrate import CopyJob, FieldMap, copy, plan, undo, verify
from qvec.registry import embedded_uri
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


@pytest.fixture
def target(tmp_path: Path) -> str:
    return embedded_uri("faiss", tmp_path / "target").reveal()


def test_a_plan_reads_an_index_of_another_program(other: Any) -> None:
    other.fill()
    before = other.held()
    wanted = {"source_collection": other.name, "model": "hashing", "dim": 64, "price_per_hour": 2.0}
    found = plan(other.address, fields=FieldMap(text=other.text), sample=50, **wanted)
    assert (found.rows, found.bad, found.sampled) == (ROWS, 0, 50)
    assert found.tokens == ROWS * 6
    assert found.characters[0] == pytest.approx(len("article 77 about topic0"), abs=1)
    assert found.cost == pytest.approx(2 * found.hours)
    assert found.facts["key"] == [other.key]
    assert any(kind in str(found.facts["indexes"]["own"]) for kind in ("FLAT L2", "dense_vector 4 l2_norm hnsw"))
    assert found.index == found.facts["database"]
    assert any("refused" in line for line in found.locks)
    assert found.warnings == []
    assert [item.dim for item in found.storage] == [32, 64]
    assert other.held() == before
    with pytest.raises(InvalidInputError, match=r"has no field 'page\.nothing'|has no row that can be embedded"):
        plan(other.address, fields=FieldMap(text="page.nothing"), **wanted)
    with pytest.raises(CollectionNotFoundError):
        plan(other.address, **{**wanted, "source_collection": "absent"})


def test_a_copy_carries_ids_fields_and_texts_of_a_template(other: Any, target: str) -> None:
    other.fill()
    other.empty(7)
    job = CopyJob(
        source=other.address,
        source_collection=other.name,
        target=target,
        collection="articles",
        fields=FieldMap(text=f"{{lang}}: {{{other.text}}}"),
        model="hashing",
    )
    before = other.held()
    report = copy(job)
    # A template's other columns are text enough.
    assert (report.documents, report.failed) == (ROWS, 0)
    assert verify(job).is_same
    [hit] = qvec.search("articles", "article 77 about topic0", k=1, where="about.stars = 77", backend=target)
    assert (hit.id, hit.text) == ("77", "en: article 77 about topic0")
    assert {name: hit.metadata[name] for name in ("tags", "about", "free")} == {
        "tags": ["a", "t2"], "about": {"stars": 77, "inner": {"day": "2024-01-01"}}, "free": "note 77"
    }  # fmt: skip
    assert "own" not in hit.metadata
    undo(job)
    assert other.held() == before


def test_documents_without_text_are_named(other: Any, target: str) -> None:
    other.fill()
    other.empty(7)
    job = CopyJob(
        source=other.address,
        source_collection=other.name,
        target=target,
        collection="articles",
        fields=FieldMap(text=other.text),
        model="hashing",
    )
    report = copy(job)
    assert (report.documents, report.errors) == (
        ROWS - 1,
        [(f"{other.name}[7]", "its text is empty or white space only")],
    )
