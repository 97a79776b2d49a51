"""What other programs keep in Elasticsearch and Milvus is planned for and copied from, by its own fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qvec
from qvec.errors import CollectionNotFoundError, InvalidInputError
from qvec.migrate import CopyJob, FieldMap, copy, plan, plan_copy, undo, verify
from qvec.registry import embedded_uri
from qvec.surveying import Bits, SupportsSurvey
from tests.adapters.elasticsearch_node import elasticsearch_uri
from tests.adapters.elasticsearch_secured import secured_node
from tests.adapters.servers import PASSWORD
from tests.migrate.collections import ROWS
from tests.migrate.others import Elasticsearch, other

__all__ = ["other"]


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


def copy_job(other: Any, target: str, text: str) -> CopyJob:
    return CopyJob(
        source=other.address,
        source_collection=other.name,
        target=target,
        collection="articles",
        fields=FieldMap(text=text),
        model="hashing",
    )


def test_a_copy_carries_ids_fields_and_texts_of_a_template(other: Any, target: str) -> None:
    other.fill()
    other.empty(7)
    job = copy_job(other, target, f"{{lang}}: {{{other.text}}}")
    before = other.held()
    assert plan_copy(job).rows == ROWS
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
    job = copy_job(other, target, other.text)
    report = copy(job)
    assert (report.documents, report.errors) == (
        ROWS - 1,
        [(f"{other.name}[7]", "its text is empty or white space only")],
    )


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(900)
def test_rights_that_an_attach_lacks_are_told() -> None:
    secured = secured_node()
    with qvec.connect(secured.uri()) as database:
        client = database.adapter._connection.client
        client.index(index="shown", id="1", document={"text": "some words"}, refresh=True)
        rights = [{"names": ["shown"], "privileges": ["read", "view_index_metadata"]}]
        client.security.put_role(name="reader", cluster=["monitor"], indices=rights)
        client.security.put_user(username="visitor", password=PASSWORD, roles=["reader"])
    found = plan(secured.uri(user="visitor"), source_collection="shown", model="hashing")
    assert found.facts["permissions"] == {"read": True, "write": False, "manage": False}
    assert found.warnings == ["this user may not write here", "this user may not manage here"]
    assert found.rows == 1


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("dim", "kind", "bits"), [(64, "hnsw", 32), (64, "int8_hnsw", 8), (384, "int8_hnsw", 8)])
def test_an_index_is_no_larger_than_planned(dim: int, kind: str, bits: Bits) -> None:
    program = Elasticsearch(elasticsearch_uri())
    try:
        rows = 1500
        vectors = np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)
        found = program.bytes_of_vectors(vectors, kind) - rows * dim * 4
    finally:
        program.close()
    with qvec.connect(program.address) as database:
        adapter = database.adapter
        assert isinstance(adapter, SupportsSurvey)
        planned = adapter.index_bytes(rows, dim, bits)
    assert planned is not None
    assert found <= planned <= 1.7 * found
