"""Both legs fused: on every database what the reference fuses, and in the database what the core does."""

from __future__ import annotations

import numpy as np
import pytest

from qvec.adapter import Adapter, SupportsHybrid
from qvec.errors import CollectionNotFoundError, InvalidInputError
from qvec.evidence import Evidence
from qvec.filters import Compare, Filter, Op
from qvec.fusion import FusionSpec, fuse
from qvec.memory import MemoryAdapter
from qvec.testing.base import SuiteBase, fill, fresh_name, ids_of, make
from qvec.testing.corpus import BAD_DAYS, CORPUS, QUERIES, numbered, query_vectors
from qvec.types import Hit, LegName, Vectors

FUSIONS = {
    "rrf": FusionSpec(),
    "rrf, weighted": FusionSpec(weights={"lexical": 0.3, "dense": 2.0}, rank_constant=5),
    "rrf, no constant": FusionSpec(rank_constant=0),
    "rrf, one leg of no weight": FusionSpec(weights={"lexical": 0.0}),
    "min-max": FusionSpec(method="linear", weights={"dense": 0.7, "lexical": 0.3}),
    "z-score": FusionSpec(method="linear", scaling="z-score"),
    "evidence": FusionSpec(evidence=Evidence(base=-1.0, lead=2.0, points=0.1, drop=1.5), weights={"dense": 0.8}),
    "evidence at its bounds": FusionSpec(evidence=Evidence(base=0.0, points=1e3, drop=1e6, least=0.02, most=30.0)),
    "min-max by evidence": FusionSpec(method="linear", evidence=Evidence(base=0.0, lead=-1.0, drop=1.0)),
}
_CHINESE = Compare("lang", Op.EQ, "zh")
_TOLERANCE = 2e-3


class HybridTests(SuiteBase):
    """The fusion of search_dense and search_lexical; search_hybrid where there is one."""

    @pytest.mark.parametrize("how", FUSIONS)
    @pytest.mark.parametrize("filter", [None, _CHINESE], ids=["all", "filtered"])
    def test_the_fused_ranking_equals_the_reference(
        self, adapter: Adapter, corpus: str, how: str, filter: Filter | None
    ) -> None:
        reference = MemoryAdapter()
        make(reference, "reference")
        fill(reference, "reference", CORPUS)
        vectors = query_vectors(len(QUERIES))
        for at, query in enumerate(QUERIES):
            expected = _fused(reference, "reference", query, vectors[at : at + 1], FUSIONS[how], filter=filter)
            found = _fused(adapter, corpus, query, vectors[at : at + 1], FUSIONS[how], filter=filter)
            assert _scores(found) == pytest.approx(_scores(expected), abs=_TOLERANCE), query
            assert ids_of(found)[:1] == ids_of(expected)[:1] or _close(expected), query

    @pytest.mark.parametrize("how", FUSIONS)
    @pytest.mark.parametrize("window", [4, 100])
    def test_one_round_trip_gives_what_the_core_fuses(
        self, adapter: Adapter, corpus: str, how: str, window: int
    ) -> None:
        fusing, vectors = need_hybrid(adapter), query_vectors(len(QUERIES))
        for filter in (None, _CHINESE):
            found = fusing.search_hybrid(
                corpus, QUERIES, vectors, how=FUSIONS[how], window=window, k=2 * window, filter=filter
            )
            assert len(found) == len(QUERIES)
            for at, query in enumerate(QUERIES):
                row = vectors[at : at + 1]
                expected = _fused(adapter, corpus, query, row, FUSIONS[how], window=window, filter=filter)
                assert ids_of(found[at]) == ids_of(expected), query
                assert [_numbers(hit) for hit in found[at]] == [
                    pytest.approx(_numbers(hit), rel=1e-9, abs=1e-12) for hit in expected
                ], query
                assert [hit.document for hit in found[at]] == [hit.document for hit in expected]

    def test_one_round_trip_over_a_graph_gives_what_the_core_fuses(self, adapter: Adapter, name: str) -> None:
        fusing = need_hybrid(adapter)
        if "hnsw" not in adapter.capabilities.index_kinds:
            pytest.skip("declares no hnsw in its capabilities")
        make(adapter, name, kind="hnsw")
        fill(adapter, name, numbered(300))
        rows, filter = query_vectors(1), Compare("number", Op.LT, 60)
        for how in FUSIONS.values():
            [found] = fusing.search_hybrid(name, ["number 7 11"], rows, how=how, window=100, k=20, filter=filter)
            expected = _fused(adapter, name, "number 7 11", rows, how, window=100, filter=filter)
            assert ids_of(found) == ids_of(expected[:20])

    def test_one_round_trip_pages_like_the_whole(self, adapter: Adapter, corpus: str) -> None:
        fusing, rows = need_hybrid(adapter), query_vectors(1)
        [whole] = fusing.search_hybrid(corpus, ["read file"], rows, how=FusionSpec(), window=50, k=100)
        pages = [
            fusing.search_hybrid(corpus, ["read file"], rows, how=FusionSpec(), window=50, k=6, offset=at)[0]
            for at in range(0, 24, 6)
        ]
        assert [hit for page in pages for hit in page] == whole

    @pytest.mark.parametrize("case", BAD_DAYS)
    def test_one_round_trip_takes_a_query_of_a_bad_day(self, adapter: Adapter, corpus: str, case: str) -> None:
        fusing, rows = need_hybrid(adapter), query_vectors(1)
        [found] = fusing.search_hybrid(corpus, [BAD_DAYS[case]], rows, how=FusionSpec(), window=50, k=50)
        assert ids_of(found) == ids_of(_fused(adapter, corpus, BAD_DAYS[case], rows, FusionSpec(), window=50))

    @pytest.mark.parametrize("query", ["", "...", "nosuchword", "🚀"])
    def test_one_round_trip_without_keywords_is_the_dense_leg(self, adapter: Adapter, corpus: str, query: str) -> None:
        fusing, rows = need_hybrid(adapter), query_vectors(1)
        [found] = fusing.search_hybrid(corpus, [query], rows, how=FusionSpec(), window=50, k=50)
        assert ids_of(found) == ids_of(adapter.search_dense(corpus, rows, k=50)[0])

    def test_one_round_trip_takes_a_vector_of_zeros(self, adapter: Adapter, corpus: str) -> None:
        fusing, zeros = need_hybrid(adapter), np.zeros_like(query_vectors(1))
        [found] = fusing.search_hybrid(corpus, ["needle"], zeros, how=FusionSpec(), window=50, k=50)
        assert ids_of(found) == ids_of(_fused(adapter, corpus, "needle", zeros, FusionSpec(), window=50))

    def test_one_round_trip_says_what_it_cannot_take(self, adapter: Adapter, corpus: str) -> None:
        fusing, rows = need_hybrid(adapter), query_vectors(1)
        with pytest.raises(InvalidInputError):
            fusing.search_hybrid(corpus, ["x"], rows, how=FusionSpec(), window=50, k=0)
        with pytest.raises(InvalidInputError):
            fusing.search_hybrid(corpus, ["x"], rows[:, :3], how=FusionSpec(), window=50, k=1)
        with pytest.raises(CollectionNotFoundError):
            fusing.search_hybrid(fresh_name(), ["x"], rows, how=FusionSpec(), window=50, k=1)


def need_hybrid(adapter: Adapter) -> SupportsHybrid:
    """Skip where the adapter has no fusion of its own."""
    if not isinstance(adapter, SupportsHybrid):
        pytest.skip("is no SupportsHybrid: the core fuses")
    return adapter


def _fused(
    adapter: Adapter,
    name: str,
    query: str,
    row: Vectors,
    how: FusionSpec,
    *,
    window: int = 100,
    filter: Filter | None = None,
) -> list[Hit]:
    legs: dict[LegName, list[Hit]] = {
        "lexical": adapter.search_lexical(name, [query], k=window, filter=filter)[0],
        "dense": adapter.search_dense(name, row, k=window, filter=filter)[0],
    }
    return fuse(legs, how)


def _scores(hits: list[Hit]) -> dict[str, float]:
    return {hit.id: hit.score for hit in hits}


def _close(hits: list[Hit]) -> bool:
    return len(hits) > 1 and hits[0].score - hits[1].score < _TOLERANCE


def _numbers(hit: Hit) -> list[float]:
    legs = [number for leg in hit.legs for number in (leg.rank, leg.score, leg.contribution, leg.weight)]
    return [hit.score, hit.relevance, *legs]
