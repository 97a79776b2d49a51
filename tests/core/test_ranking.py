"""From legs to a list: no deeper than needed, and never another order than that of the whole legs."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qvec.evidence import Evidence
from qvec.fusion import FusionSpec, fuse
from qvec.ranking import DIVERSE, START, WINDOW, by_source, fused, relevance, spread, window_for
from qvec.types import Document, Hit, LegName, Metric


class CountingLeg:
    """A leg in a list, and how deep it was read."""

    def __init__(self, ids: list[str], scores: list[float] | None = None) -> None:
        worth = scores or [float(-at) for at in range(len(ids))]
        self.hits = [Hit(Document(id, id), score) for id, score in zip(ids, worth, strict=True)]
        self.depth = 0

    def __call__(self, depth: int) -> list[Hit]:
        self.depth = max(self.depth, depth)
        return self.hits[:depth]


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


def shuffled(seed: int, size: int, kept: float) -> list[str]:
    rng = random.Random(seed)
    ids = [f"d{at:05}" for at in range(size) if rng.random() < kept]
    rng.shuffle(ids)
    return ids


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([3, 60, 300, 1500]),
    kept=st.tuples(st.sampled_from([0.01, 0.3, 1.0]), st.sampled_from([0.01, 0.3, 1.0])),
    weights=st.tuples(st.sampled_from([0, 0.05, 1, 100]), st.sampled_from([0.05, 0.3, 1])),
    constant=st.sampled_from([0, 1, 60, 500]),
    wanted=st.sampled_from([1, 2, 10, 37, 80]),
)
def test_the_first_hits_are_those_of_the_exhaustive_fusion(pool, seed, size, kept, weights, constant, wanted):
    dense, lexical = (CountingLeg(shuffled(seed + at, size, kept[at])) for at in range(2))
    how = FusionSpec(weights={"dense": weights[0], "lexical": weights[1]}, rank_constant=constant)
    found = fused({"lexical": lexical, "dense": dense}, how, wanted=wanted, window=10**6, whole=False, executor=pool)
    exhaustive = fuse({"lexical": lexical.hits, "dense": dense.hits}, how)
    assert [hit.id for hit in found[:wanted]] == [hit.id for hit in exhaustive[:wanted]]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([3, 60, 1500]), wanted=st.sampled_from([1, 10, 80]))
def test_the_first_hits_are_those_of_the_exhaustive_fusion_by_evidence(pool, seed, size, wanted):
    rng = random.Random(seed)
    dense, lexical = (
        CountingLeg(ids, sorted((rng.expovariate(0.2) for _ in ids), reverse=True))
        for ids in (shuffled(seed + at, size, 0.7) for at in range(2))
    )
    how = FusionSpec(evidence=Evidence(base=-0.5, lead=3.0, points=0.2, drop=0.2))
    found = fused({"lexical": lexical, "dense": dense}, how, wanted=wanted, window=10**6, whole=False, executor=pool)
    exhaustive = fuse({"lexical": lexical.hits, "dense": dense.hits}, how)
    assert [hit.id for hit in found[:wanted]] == [hit.id for hit in exhaustive[:wanted]]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), window=st.sampled_from([60, 100, 300]), wanted=st.sampled_from([1, 10, 50]))
def test_with_a_window_they_are_those_of_the_fused_windows(pool, seed, window, wanted):
    dense, lexical = (CountingLeg(shuffled(seed + at, 2000, 0.5)) for at in range(2))
    how = FusionSpec()
    legs: dict[LegName, CountingLeg] = {"lexical": lexical, "dense": dense}
    found = fused(legs, how, wanted=wanted, window=window, whole=False, executor=pool)
    expected = fuse({name: leg.hits[:window] for name, leg in legs.items()}, how)
    assert [hit.id for hit in found[:wanted]] == [hit.id for hit in expected[:wanted]]
    assert max(dense.depth, lexical.depth) <= window


def test_legs_that_agree_are_read_no_deeper_than_at_first(pool):
    ids = [f"d{at:05}" for at in range(5000)]
    dense, lexical = CountingLeg(ids), CountingLeg(ids)
    fused({"lexical": lexical, "dense": dense}, FusionSpec(), wanted=10, window=WINDOW, whole=False, executor=pool)
    assert (dense.depth, lexical.depth) == (START, START)


def test_a_hit_deep_in_both_legs_is_found_where_a_fixed_depth_would_lose_it(pool):
    dense = CountingLeg([*(f"a{at:03}" for at in range(52)), "both", *(f"b{at:03}" for at in range(900))])
    lexical = CountingLeg([*(f"c{at:03}" for at in range(52)), "both", *(f"e{at:03}" for at in range(900))])
    found = fused(
        {"lexical": lexical, "dense": dense}, FusionSpec(), wanted=1, window=WINDOW, whole=False, executor=pool
    )
    assert found[0].id == "both"


def test_only_the_leg_that_leaves_the_order_open_is_read_deeper(pool):
    dense, lexical = (CountingLeg([f"{leg}{at:05}" for at in range(5000)]) for leg in "dl")
    how = FusionSpec(weights={"lexical": 0.2})
    fused({"lexical": lexical, "dense": dense}, how, wanted=10, window=4000, whole=False, executor=pool)
    assert dense.depth == START
    assert START < lexical.depth < 4000


@pytest.mark.parametrize("scaling", ["min-max", "z-score"])
def test_scores_are_scaled_over_the_whole_window(pool, scaling):
    dense, lexical = (CountingLeg(shuffled(at, 500, 1.0)) for at in range(2))
    how = FusionSpec(method="linear", scaling=scaling)
    legs: dict[LegName, CountingLeg] = {"lexical": lexical, "dense": dense}
    found = fused(legs, how, wanted=3, window=200, whole=False, executor=pool)
    assert found == fuse({name: leg.hits[:200] for name, leg in legs.items()}, how)


def test_a_failure_of_the_other_leg_comes_out(pool):
    def broken(depth: int) -> list[Hit]:
        raise ConnectionError(str(depth))

    with pytest.raises(ConnectionError):
        fused(
            {"lexical": broken, "dense": CountingLeg(["a"])},
            FusionSpec(),
            wanted=1,
            window=100,
            whole=False,
            executor=pool,
        )


@pytest.mark.parametrize(("wanted", "window"), [(1, 100), (100, 100), (101, 200), (200, 200), (900, 1600)])
def test_the_window_grows_in_steps(wanted, window):
    assert window_for(100, wanted) == window


@pytest.mark.parametrize(
    ("leg", "metric", "score", "expected"),
    [
        ("dense", Metric.COSINE, -0.5, 0.0),
        ("dense", Metric.COSINE, 0.7, 0.7),
        ("dense", Metric.L2, 0.0, 1.0),
        ("dense", Metric.L2, -3.0, 0.25),
        ("dense", Metric.DOT, 0.0, 0.5),
        ("dense", Metric.DOT, -1e9, 0.0),
        ("dense", Metric.DOT, math.log(3), 0.75),
        ("lexical", Metric.COSINE, 10.0, 0.5),
        ("lexical", Metric.COSINE, 0.0, 0.0),
    ],
)
def test_relevance_lies_between_0_and_1(leg, metric, score, expected):
    assert relevance(leg, metric)(score) == pytest.approx(expected)


def test_grouping_keeps_each_sources_best_hit_and_counts():
    hits = [Hit(Document(id, "", source=id[0]), -at) for at, id in enumerate(["b1", "a1", "b2", "c", "b3", "a2"])]
    assert [(hit.id, hit.chunks) for hit in by_source(hits)] == [("b1", 3), ("a1", 2), ("c", 1)]


def test_spreading_puts_a_hit_unlike_the_first_before_its_twin():
    vectors = {"a": [1.0, 0.0], "twin": [1.0, 0.01], "other": [0.0, 1.0]}
    hits = [Hit(Document(id, ""), 1.0, relevance=share) for id, share in [("a", 1.0), ("twin", 0.9), ("other", 0.8)]]

    def read(ids: list[str]) -> dict:
        return {id: np.array(vectors[id], np.float32) for id in ids if id in vectors}

    assert [hit.id for hit in spread(hits, 0.5, read)] == ["a", "other", "twin"]
    assert [hit.id for hit in spread(hits, 0.0, read)] == ["a", "twin", "other"]
    gone = [*hits, Hit(Document("gone", ""), 0.1)]
    assert [hit.id for hit in spread(gone, 0.5, read)] == ["a", "other", "twin", "gone"]
    assert spread([], 0.5, read) == []


def test_hits_beyond_the_diverse_ones_keep_their_place():
    hits = [Hit(Document(f"d{at:03}", ""), 1.0, relevance=1 - at / 1000) for at in range(DIVERSE + 5)]
    rows = np.random.default_rng(1).normal(size=(len(hits), 4)).astype(np.float32)
    vectors = {hit.id: row for hit, row in zip(hits, rows, strict=True)}
    found = spread(hits, 0.7, lambda ids: {id: vectors[id] for id in ids})
    assert found[DIVERSE:] == hits[DIVERSE:]
    assert sorted(hit.id for hit in found) == [hit.id for hit in hits]
