"""get, digests, scan and count tell what is there, each record once."""

from __future__ import annotations

import numpy as np
import pytest

from qvec.adapter import Adapter
from qvec.filters import Compare, Not, Op
from qvec.testing.base import SuiteBase, fill, make, need_metric, scan_all
from qvec.testing.corpus import CORPUS, numbered
from qvec.types import Document, Metric


class ReadingTests(SuiteBase):
    """Reading without searching."""

    def test_get_keeps_the_callers_order_and_skips_the_unknown(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, CORPUS)
        wanted = [CORPUS[at] for at in (7, 0, 19, 3, 12, 1)]
        ids = ["no such id", *(document.id for document in wanted[:3]), "neither", *(d.id for d in wanted[3:])]
        assert adapter.get(name, ids) == wanted

    def test_get_returns_an_id_as_often_as_it_is_asked_for(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, CORPUS[:2])
        first, second = CORPUS[:2]
        assert adapter.get(name, [first.id, second.id, first.id]) == [first, second, first]

    def test_get_takes_many_ids(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = numbered(1500)
        fill(adapter, name, documents)
        backwards = documents[::-1]
        assert adapter.get(name, [document.id for document in backwards]) == backwards

    def test_vectors_are_read_by_id_as_they_were_written(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        vectors = fill(adapter, name, CORPUS)
        ids = [CORPUS[at].id for at in (5, 0, 11)]
        found = adapter.get_vectors(name, ["no such id", *ids])
        assert sorted(found) == sorted(ids)
        for at in (5, 0, 11):
            assert found[CORPUS[at].id].dtype == np.float32
            np.testing.assert_allclose(found[CORPUS[at].id], vectors[at], atol=1e-5)
        assert adapter.get_vectors(name, []) == {}

    def test_vectors_are_read_by_id_in_a_walk_where_the_database_has_no_better_way(
        self, adapter: Adapter, name: str
    ) -> None:
        make(adapter, name)
        vectors = fill(adapter, name, CORPUS)
        found = Adapter.get_vectors(adapter, name, [CORPUS[3].id, "no such id"])
        assert list(found) == [CORPUS[3].id]
        np.testing.assert_allclose(found[CORPUS[3].id], vectors[3], atol=1e-5)

    def test_digests_are_found_by_source(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = [
            Document("a#1", "one", {}, "a", "digest a1"),
            Document("a#2", "two", {}, "a", "digest a2"),
            Document("b#1", "three", {}, "b", "digest b1"),
            Document("it's 读", "four", {}, "", "digest own"),
            Document("plain", "five"),
        ]
        fill(adapter, name, documents)
        assert adapter.digests(name, ["a"]) == {"a#1": "digest a1", "a#2": "digest a2"}
        assert adapter.digests(name, ["b", "it's 读", "unknown", "b"]) == {"b#1": "digest b1", "it's 读": "digest own"}
        assert adapter.digests(name, ["plain"]) == {"plain": ""}
        assert adapter.digests(name, ["a#1", "A", "a "]) == {}

    def test_digests_take_many_sources(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = [Document(f"d{i}", "text", {}, "", f"digest {i}") for i in range(1500)]
        fill(adapter, name, documents)
        assert adapter.digests(name, [d.id for d in documents]) == {d.id: d.digest for d in documents}

    @pytest.mark.parametrize("batch_size", [1, 7, 1000])
    def test_scan_walks_each_record_once_in_small_batches(self, adapter: Adapter, name: str, batch_size: int) -> None:
        make(adapter, name)
        documents = [*CORPUS, *numbered(30)]
        fill(adapter, name, documents)
        fill(adapter, name, documents[:5])
        adapter.delete(name, [documents[9].id])
        adapter.refresh(name)
        batches = list(adapter.scan(name, batch_size=batch_size))
        assert all(1 <= len(batch.documents) <= batch_size for batch in batches)
        assert all(batch.vectors is None for batch in batches)
        found = [document for batch in batches for document in batch.documents]
        expected = documents[:9] + documents[10:]
        assert sorted(found, key=lambda d: d.id) == sorted(expected, key=lambda d: d.id)

    def test_scan_walks_more_records_than_one_batch_holds(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = numbered(2500)
        fill(adapter, name, documents)
        found = scan_all(adapter, name, batch_size=400)
        assert sorted(document.id for document in found) == [document.id for document in documents]

    def test_scan_goes_on_after_an_id_with_quotes(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        ids = ['a"', "b'", "c\\", 'd"\\\'"', "e\n", '读"', "z"]
        fill(adapter, name, [Document(identity, "text") for identity in ids])
        assert sorted(document.id for document in scan_all(adapter, name, batch_size=1)) == sorted(ids)

    def test_scan_keeps_to_its_filter(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, CORPUS)
        python = Compare("lang", Op.EQ, "py")
        expected = sorted(d.id for d in CORPUS if d.metadata["lang"] == "py")
        assert sorted(d.id for d in scan_all(adapter, name, filter=python, batch_size=2)) == expected
        assert scan_all(adapter, name, filter=Compare("lang", Op.EQ, "none such")) == []

    @pytest.mark.parametrize("metric", list(Metric))
    def test_scan_hands_out_the_vectors_as_they_were_written(self, adapter: Adapter, name: str, metric: Metric) -> None:
        need_metric(adapter, metric)
        make(adapter, name, metric=metric)
        vectors = fill(adapter, name, CORPUS)
        written = {document.id: vector for document, vector in zip(CORPUS, vectors, strict=True)}
        seen = 0
        for batch in adapter.scan(name, batch_size=6, vectors=True):
            assert batch.vectors is not None
            assert batch.vectors.dtype == np.float32
            assert batch.vectors.shape == (len(batch.documents), vectors.shape[1])
            for document, vector in zip(batch.documents, batch.vectors, strict=True):
                np.testing.assert_allclose(vector, written[document.id], atol=1e-5)
            seen += len(batch.documents)
        assert seen == len(CORPUS)

    def test_records_written_during_a_scan_do_no_harm(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = numbered(60)
        fill(adapter, name, documents)
        found: list[str] = []
        for at, batch in enumerate(adapter.scan(name, batch_size=10)):
            found.extend(document.id for document in batch.documents)
            if at == 1:
                fill(adapter, name, [Document("added", "later")])
                adapter.get(name, ["doc00000"])
        assert [id for id in sorted(found) if id != "added"] == [document.id for document in documents]

    def test_a_scan_can_be_left_halfway(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, numbered(30))
        walk = adapter.scan(name, batch_size=10)
        next(walk)
        del walk
        fill(adapter, name, [Document("later", "text")])
        assert adapter.count(name) == 31

    def test_count_follows_every_write(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        counts = []
        for step in (CORPUS[:4], CORPUS[2:9], CORPUS[:9]):
            fill(adapter, name, step)
            counts.append(adapter.count(name))
        adapter.delete(name, [document.id for document in CORPUS[:3]])
        adapter.refresh(name)
        assert [*counts, adapter.count(name)] == [4, 9, 9, 6]

    def test_count_takes_a_filter(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, CORPUS)
        python = Compare("lang", Op.EQ, "py")
        expected = sum(document.metadata["lang"] == "py" for document in CORPUS)
        assert adapter.count(name, filter=python) == expected
        assert adapter.count(name, filter=Not(python)) == len(CORPUS) - expected

    def test_changing_what_was_read_does_not_change_what_is_stored(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        given = {"tags": ["a"]}
        fill(adapter, name, [Document("a", "text", given)])
        given["tags"].append("b")
        [found] = adapter.get(name, ["a"])
        found.metadata["tags"].append("c")  # type: ignore[union-attr]
        assert adapter.get(name, ["a"])[0].metadata == {"tags": ["a"]}
