"""Fusion, by values computed by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvec.errors import InvalidInputError
from qvec.evidence import Evidence
from qvec.fusion import FusionSpec, as_leg, fuse, linear, rrf
from qvec.types import Document, Hit, Leg


def hits(**scores: float) -> list[Hit]:
    return [Hit(Document(id, id), score) for id, score in scores.items()]


DENSE = hits(a=0.9, b=0.7, c=0.5)
LEXICAL = hits(c=8.0, a=6.0, d=4.0)


def test_rrf_adds_the_reciprocals_of_the_ranks_from_one():
    fused = rrf({"dense": DENSE, "lexical": LEXICAL})
    assert {hit.id: hit.score for hit in fused} == pytest.approx(
        {"a": 1 / 61 + 1 / 62, "c": 1 / 63 + 1 / 61, "b": 1 / 62, "d": 1 / 63}
    )
    assert [hit.id for hit in fused] == ["a", "c", "b", "d"]


def test_rrf_tells_each_legs_rank_score_and_contribution():
    fused = {hit.id: hit.legs for hit in rrf({"dense": DENSE, "lexical": LEXICAL})}
    assert fused["c"] == (Leg("dense", 3, 0.5, 1 / 63), Leg("lexical", 1, 8.0, 1 / 61))
    assert fused["d"] == (Leg("lexical", 3, 4.0, 1 / 63),)


@pytest.mark.parametrize("weights", [{}, {"lexical": 0.3}, {"dense": 2.0, "lexical": 0.0}])
def test_relevance_is_the_share_of_what_the_first_of_both_legs_would_have(weights):
    most = sum(weights.get(leg, 1.0) for leg in ("dense", "lexical")) / 61
    for hit in rrf({"dense": DENSE, "lexical": LEXICAL}, weights=weights):
        assert hit.relevance == pytest.approx(hit.score / most)
    first = [Hit(hit.document, score) for hit, score in zip(DENSE, (3.0, 2.0, 1.0), strict=True)]
    for fused in (rrf, linear):
        assert fused({"dense": DENSE, "lexical": first}, weights=weights)[0].relevance == pytest.approx(1.0)
    assert rrf({"dense": DENSE, "lexical": []}, weights=weights)[0].relevance == pytest.approx(1.0)


def test_relevance_by_score_goes_from_the_best_of_both_legs_to_the_worst():
    fused = {hit.id: hit.relevance for hit in linear({"dense": DENSE, "lexical": LEXICAL})}
    assert fused == pytest.approx({"a": (1 + 0.5) / 2, "c": (0 + 1) / 2, "b": 0.5 / 2, "d": 0.0})


def test_a_weight_scales_its_leg():
    fused = rrf({"dense": DENSE, "lexical": LEXICAL}, weights={"lexical": 0.3})
    assert fused[0].id == "a"
    assert fused[0].score == pytest.approx(1 / 61 + 0.3 / 62)
    assert [hit.id for hit in fused] == ["a", "c", "b", "d"]


def test_each_account_names_its_legs_weight():
    fused = rrf({"dense": DENSE, "lexical": LEXICAL}, weights={"lexical": 0.3})
    assert [(leg.name, leg.weight) for leg in fused[0].legs] == [("dense", 1.0), ("lexical", 0.3)]


def test_evidence_weighs_the_lexical_leg_by_both_legs_scores():
    evidence = Evidence(base=0.5, lead=2.0, points=0.1, drop=3.0)
    by_hand = math.exp(0.5 + 2.0 * 1 + 0.1 * 8 - 3.0 * 0.4)  # of three hits the fifth scores nothing
    fused = fuse({"dense": DENSE, "lexical": LEXICAL}, FusionSpec(evidence=evidence, weights={"dense": 2.0}))
    assert fused[0].id == "c"
    assert fused[0].score == pytest.approx(2 / 63 + by_hand / 61)
    assert fused[0].legs[1].weight == pytest.approx(by_hand)


def test_a_leg_of_weight_zero_adds_nothing_but_keeps_its_hits():
    fused = rrf({"dense": DENSE, "lexical": LEXICAL}, weights={"dense": 1, "lexical": 0})
    assert [hit.id for hit in fused] == ["a", "b", "c", "d"]
    assert fused[-1].score == 0


def test_the_rank_constant_flattens():
    assert rrf({"dense": DENSE}, rank_constant=0)[1].score == 1 / 2
    assert rrf({"dense": DENSE}, rank_constant=9)[1].score == 1 / 11


@pytest.mark.parametrize("fuse", [rrf, linear])
def test_ties_stand_by_id(fuse):
    fused = fuse({"dense": hits(z=1.0, m=0.5), "lexical": hits(b=3.0, a=2.0)})
    assert [hit.id for hit in fused] == ["b", "z", "a", "m"]


def test_linear_scales_each_leg_between_its_lowest_and_highest():
    dense = hits(a=1.0, b=0.75, c=0.5)
    fused = linear({"dense": dense, "lexical": LEXICAL}, weights={"dense": 2.0, "lexical": 1.0})
    assert {hit.id: hit.score for hit in fused} == {"a": 2 * 1 + 0.5, "b": 2 * 0.5, "c": 0 + 1, "d": 0}
    assert [hit.id for hit in fused] == ["a", "b", "c", "d"]


def test_linear_gives_one_where_all_scores_are_equal():
    assert [hit.score for hit in linear({"lexical": hits(a=3.0, b=3.0)})] == [1.0, 1.0]
    assert [hit.score for hit in linear({"dense": hits(a=-2.0)})] == [1.0]


def test_linear_takes_negative_scores():
    assert {hit.id: hit.score for hit in linear({"dense": hits(a=-1.0, b=-2.0, c=-5.0)})} == pytest.approx(
        {"a": 1.0, "b": 0.75, "c": 0.0}
    )


@pytest.mark.parametrize("fuse", [rrf, linear])
def test_empty_legs_are_fine(fuse):
    assert fuse({}) == []
    assert fuse({"dense": [], "lexical": []}) == []
    assert [hit.id for hit in fuse({"dense": [], "lexical": LEXICAL})] == ["c", "a", "d"]


@pytest.mark.parametrize("fuse", [rrf, linear])
@pytest.mark.parametrize("weight", [-0.1, math.nan])
def test_an_impossible_weight_is_refused(fuse, weight: float):
    with pytest.raises(InvalidInputError, match="dense"):
        fuse({"dense": DENSE}, weights={"dense": weight})


def test_a_negative_rank_constant_is_refused():
    with pytest.raises(InvalidInputError, match="rank_constant"):
        rrf({"dense": DENSE}, rank_constant=-1)


def test_a_single_leg_keeps_its_scores():
    assert as_leg("lexical", LEXICAL[1:], first_rank=2) == [
        Hit(Document("a", "a"), 6.0, (Leg("lexical", 2, 6.0, 6.0),)),
        Hit(Document("d", "d"), 4.0, (Leg("lexical", 3, 4.0, 4.0),)),
    ]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), min_size=2, max_size=2))
def test_rrf_does_not_depend_on_the_order_of_the_legs(rankings):
    dense, lexical = ([Hit(Document(id, id), -float(at)) for at, id in enumerate(ids)] for ids in rankings)
    one = rrf({"dense": dense, "lexical": lexical})
    other = rrf({"lexical": lexical, "dense": dense})
    assert [(hit.id, hit.score) for hit in one] == [(hit.id, hit.score) for hit in other]
    assert {hit.id for hit in one} == {hit.id for hit in dense} | {hit.id for hit in lexical}
