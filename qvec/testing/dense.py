"""Nearest neighbours: the scores' scale, the order, ties, the window, filters that never starve."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from qvec.adapter import Adapter
from qvec.collection import Collection
from qvec.embedders.hashing import HashingEmbedder
from qvec.errors import InvalidInputError
from qvec.filters import And, Compare, Op
from qvec.model_choice import ModelChoice
from qvec.testing.base import SuiteBase, exact_scores, fill, ids_of, in_order, make, need_metric
from qvec.testing.corpus import CORPUS, DIM, numbered, query_vectors, vectors_for
from qvec.tuning import tune
from qvec.types import Document, IndexKind, IndexSpec, Metric

TOLERANCE = 1e-4
WIDE_TOLERANCE = 2e-3
WIDE_DIM = 2560


class DenseTests(SuiteBase):
    """search_dense."""

    @pytest.mark.parametrize("metric", list(Metric))
    def test_scores_are_those_of_the_metric(self, adapter: Adapter, name: str, metric: Metric) -> None:
        need_metric(adapter, metric)
        make(adapter, name, metric=metric)
        vectors = fill(adapter, name, CORPUS)
        queries = np.concatenate([query_vectors(3), vectors[:1], -vectors[1:2]])
        found = adapter.search_dense(name, queries, k=len(CORPUS))
        assert len(found) == len(queries)
        for query, hits in zip(queries, found, strict=True):
            exact = dict(zip((d.id for d in CORPUS), exact_scores(metric, vectors, query), strict=True))
            assert sorted(ids_of(hits)) == sorted(exact)
            assert {hit.id: hit.score for hit in hits} == pytest.approx(exact, abs=TOLERANCE)
            assert ids_of(hits) == sorted(exact, key=lambda id: (-exact[id], id))

    def test_known_cosines(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        self._axes(adapter, name)
        [hits] = adapter.search_dense(name, _rows([3, 0]), k=9)
        known = {"same": 1.0, "between": 0.5**0.5, "across": 0.0, "against": -1.0}
        assert ids_of(hits) == list(known)
        assert {hit.id: hit.score for hit in hits} == pytest.approx(known, abs=TOLERANCE)

    def test_known_inner_products(self, adapter: Adapter, name: str) -> None:
        need_metric(adapter, Metric.DOT)
        make(adapter, name, metric=Metric.DOT)
        self._axes(adapter, name)
        [hits] = adapter.search_dense(name, _rows([3, 0]), k=9)
        known = {"between": 9.0, "same": 6.0, "across": 0.0, "against": -3.0}
        assert ids_of(hits) == list(known)
        assert {hit.id: hit.score for hit in hits} == pytest.approx(known, abs=TOLERANCE)

    def test_known_distances(self, adapter: Adapter, name: str) -> None:
        need_metric(adapter, Metric.L2)
        make(adapter, name, metric=Metric.L2)
        self._axes(adapter, name)
        [hits] = adapter.search_dense(name, _rows([3, 0]), k=9)
        known = {"same": -1.0, "between": -3.0, "across": -(13**0.5), "against": -4.0}
        assert ids_of(hits) == list(known)
        assert {hit.id: hit.score for hit in hits} == pytest.approx(known, abs=TOLERANCE)

    def test_a_zero_vector_scores_zero_under_cosine(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = [Document("a zero", "0"), Document("b same", "1"), Document("c against", "-1")]
        fill(adapter, name, documents, _rows([0, 0], [1, 0], [-1, 0]))
        [hits, nowhere] = adapter.search_dense(name, _rows([1, 0], [0, 0]), k=3)
        assert ids_of(hits) == ["b same", "a zero", "c against"]
        assert [hit.score for hit in hits] == pytest.approx([1, 0, -1], abs=TOLERANCE)
        assert [(hit.id, hit.score) for hit in nowhere] == [("a zero", 0), ("b same", 0), ("c against", 0)]

    def test_wide_vectors_are_searched(self, adapter: Adapter, name: str) -> None:
        dim = min(WIDE_DIM, adapter.capabilities.max_dim or WIDE_DIM)
        make(adapter, name, dim=dim)
        vectors = vectors_for(CORPUS, dim=dim)
        fill(adapter, name, CORPUS, vectors)
        query = query_vectors(1, dim=dim) + vectors[4:5]
        [hits] = adapter.search_dense(name, query, k=len(CORPUS))
        exact = dict(zip((d.id for d in CORPUS), exact_scores(Metric.COSINE, vectors, query[0]), strict=True))
        assert hits[0].id == CORPUS[4].id
        assert {hit.id: hit.score for hit in hits} == pytest.approx(exact, abs=WIDE_TOLERANCE)

    @pytest.mark.parametrize("metric", list(Metric))
    def test_equal_vectors_stand_by_id_and_the_cut_keeps_the_smallest(
        self, adapter: Adapter, name: str, metric: Metric
    ) -> None:
        need_metric(adapter, metric)
        make(adapter, name, metric=metric)
        ids = [f"tie{i:02}" for i in range(40)]
        shuffled = random.Random(5).sample(ids, len(ids))
        best, equal = query_vectors(2)
        documents = [Document(id, "text") for id in shuffled]
        fill(adapter, name, documents[:25], np.tile(equal, (25, 1)))
        fill(adapter, name, [Document("zzz best", "text"), *documents[25:]], np.vstack([best, np.tile(equal, (15, 1))]))
        for k in (1, 2, 7, 40, 100):
            [hits] = adapter.search_dense(name, best[None], k=k)
            assert ids_of(hits) == ["zzz best", *ids][:k]
        [hits] = adapter.search_dense(name, best[None], k=5, offset=4)
        assert ids_of(hits) == ids[3:8]

    def test_ties_are_ordered_by_code_point(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        ids = sorted(
            ["a", "B", "b", "Z", "_", "10", "9", "é", "e", "读", "取", "🚀", "\ufffd", "a b", "a-b", "a_b", "ab"]
        )
        fill(adapter, name, [Document(id, "text") for id in reversed(ids)], np.tile(query_vectors(1), (len(ids), 1)))
        [hits] = adapter.search_dense(name, query_vectors(1), k=len(ids))
        assert ids_of(hits) == ids
        [hits] = adapter.search_dense(name, query_vectors(1), k=4)
        assert ids_of(hits) == ids[:4]

    def test_k_above_the_size_returns_all(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, CORPUS)
        [hits] = adapter.search_dense(name, query_vectors(1), k=1000)
        assert len(hits) == len(CORPUS)
        assert in_order(hits)

    def test_offset_goes_on_where_the_last_page_ended(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, CORPUS)
        [everything] = adapter.search_dense(name, query_vectors(1), k=100)
        pages = [adapter.search_dense(name, query_vectors(1), k=7, offset=at)[0] for at in (0, 7, 14, 21)]
        assert [len(page) for page in pages] == [7, 7, 6, 0]
        assert ids_of([hit for page in pages for hit in page]) == ids_of(everything)

    def test_each_query_of_a_batch_gets_its_own_answer(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, CORPUS)
        queries = query_vectors(12)
        single = [ids_of(adapter.search_dense(name, query[None], k=4)[0]) for query in queries]
        assert [ids_of(hits) for hits in adapter.search_dense(name, queries, k=4)] == single

    def test_hits_carry_the_whole_document(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        document = Document("a", "text 文", {"title": "t", "deep": {"list": [1, None]}}, "source", "digest")
        vectors = fill(adapter, name, [document])
        [[hit]] = adapter.search_dense(name, vectors, k=1)
        assert hit.document == document
        assert type(hit.score) is float

    def test_a_filter_of_one_percent_does_not_starve_the_search(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        documents = numbered(2000)
        rng = np.random.default_rng(11)
        vectors = rng.normal(size=(2000, DIM)).astype(np.float32)
        # The rare ones lie opposite to the query, where an approximate index looks last.
        rare = np.array([bool(document.metadata["rare"]) for document in documents])
        vectors[:, 0] = np.where(rare, -8.0, 8.0)
        fill(adapter, name, documents, vectors)
        query = np.eye(1, DIM, dtype=np.float32)
        wanted = Compare("rare", Op.EQ, True)
        for k in (1, 10, 20):
            [hits] = adapter.search_dense(name, query, k=k, filter=wanted)
            assert len(hits) == k
            assert all(hit.metadata["rare"] is True for hit in hits)
            assert in_order(hits)
        [hits] = adapter.search_dense(name, query, k=50, filter=wanted)
        assert len(hits) == 20
        [hits] = adapter.search_dense(name, query, k=10, offset=15, filter=wanted)
        assert len(hits) == 5
        one = And((wanted, Compare("number", Op.EQ, 1007)))
        assert [ids_of(hits) for hits in adapter.search_dense(name, query, k=3, filter=one)] == [["doc01007"]]

    def test_most_of_the_nearest_are_found_among_two_thousand(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        vectors = np.random.default_rng(3).normal(size=(2000, DIM)).astype(np.float32)
        fill(adapter, name, numbered(2000), vectors)
        queries = query_vectors(20)
        found = 0
        for query, hits in zip(queries, adapter.search_dense(name, queries, k=10), strict=True):
            best = np.argsort(exact_scores(Metric.COSINE, vectors, query))[::-1][:10]
            found += len({f"doc{at:05}" for at in best} & set(ids_of(hits)))
            assert in_order(hits)
        assert found >= 190, f"{found} of 200 nearest neighbours found"

    def test_a_broader_search_is_taken(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, CORPUS)
        plain = adapter.search_dense(name, query_vectors(2), k=5)
        broad = adapter.search_dense(name, query_vectors(2), k=5, ef=200)
        assert [ids_of(hits) for hits in broad] == [ids_of(hits) for hits in plain]

    def test_the_breadth_of_the_search_can_be_tuned(self, adapter: Adapter, name: str) -> None:
        kind: IndexKind = "hnsw" if "hnsw" in adapter.capabilities.index_kinds else "auto"
        with ThreadPoolExecutor(2) as executor:
            choice = ModelChoice(embedder=HashingEmbedder(dim=4 * DIM))
            collection = Collection(adapter, name, executor=executor, choice=choice, index=IndexSpec(kind))
            # Few vectors alike: pgvector's graph falls apart among many equal ones (0.8).
            collection.index([f"{at} {at % 7} {at % 11} {at % 13} {at % 17}" for at in range(300)])
            found = tune(collection, k=5, sample=10)
        assert (found.documents, found.queries, found.reached) == (300, 10, True)
        assert found.rows[0].ef is None
        assert found.recommended in [row.ef for row in found.rows]

    def test_a_query_that_no_vector_can_be_is_refused(self, adapter: Adapter, name: str) -> None:
        make(adapter, name)
        fill(adapter, name, CORPUS)
        broken = query_vectors(2)
        broken[1, 0] = np.nan
        for vectors in (broken, query_vectors(1, dim=DIM + 1), query_vectors(1)[0]):
            with pytest.raises(InvalidInputError):
                adapter.search_dense(name, vectors, k=3)

    @pytest.mark.parametrize(("k", "offset"), [(0, 0), (-1, 0), (3, -1)])
    def test_an_impossible_window_is_refused(self, adapter: Adapter, name: str, k: int, offset: int) -> None:
        make(adapter, name)
        with pytest.raises(InvalidInputError):
            adapter.search_dense(name, query_vectors(1), k=k, offset=offset)
        if adapter.capabilities.lexical:
            with pytest.raises(InvalidInputError):
                adapter.search_lexical(name, ["text"], k=k, offset=offset)

    @staticmethod
    def _axes(adapter: Adapter, name: str) -> None:
        ids = ["same", "between", "across", "against"]
        fill(adapter, name, [Document(id, id) for id in ids], _rows([2, 0], [3, 3], [0, 2], [-1, 0]))


def _rows(*heads: list[int]) -> np.ndarray:
    """Make vectors of which only the first two numbers are not zero."""
    rows = np.zeros((len(heads), DIM), dtype=np.float32)
    rows[:, :2] = heads
    return rows
