"""Joining the ranked lists of several legs into one; pure functions over hits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from qvec.errors import InvalidInputError
from qvec.evidence import Evidence
from qvec.types import Hit, Leg, LegName

Fusion: TypeAlias = Literal["rrf", "linear"]
Scaling: TypeAlias = Literal["min-max", "z-score", "raw"]

RANK_CONSTANT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionSpec:
    """How the legs are joined.

    Attributes:
        method: ``"rrf"`` by rank, ``"linear"`` by scaled score.
        weights: a leg's factor; 1 where it is not named.
        rank_constant: of ``"rrf"``: the larger, the less the first ranks count.
        scaling: of ``"linear"``: what a leg's scores are divided by, counted from its lowest: ``"min-max"`` their
            range, ``"z-score"`` their standard deviation. Counted so, a hit that a leg lacks gets 0 from it by both.
            ``"raw"`` divides by nothing, and takes BM25 as it is: its 0 is already that of a hit without keywords.
        evidence: weighs the lexical leg by what both answer, instead of `weights`.
    """

    method: Fusion = "rrf"
    weights: Mapping[LegName, float] = field(default_factory=dict)
    rank_constant: int = RANK_CONSTANT
    scaling: Scaling = "min-max"
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Fusion):
            raise InvalidInputError(f"fusion={self.method!r}: takes 'rrf' or 'linear'")
        if self.scaling not in get_args(Scaling):
            raise InvalidInputError(f"scaling={self.scaling!r}: takes 'min-max', 'z-score' or 'raw'")
        if not isinstance(self.rank_constant, int) or self.rank_constant < 0:
            raise InvalidInputError(f"rank_constant={self.rank_constant!r}: takes a whole number from 0 on")
        for name, weight in self.weights.items():
            if name not in get_args(LegName):
                raise InvalidInputError(f"a weight for {name!r}: the legs are 'dense' and 'lexical'")
            if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                raise InvalidInputError(f"the weight of the {name} leg is {weight!r}: takes a number from 0 on")

    def settled(self, lexical: Sequence[float], dense: Sequence[float]) -> FusionSpec:
        """Put the weight that the evidence gives in its place.

        Args:
            lexical: that leg's scores, best first, as `Evidence.weight` wants them.
            dense: the dense leg's.
        """
        if self.evidence is None:
            return self
        weighed = {**self.weights, "lexical": self.evidence.weight(lexical, dense)}
        return replace(self, weights=weighed, evidence=None)

    def weight(self, name: LegName) -> float:
        """Return a leg's factor, that of settled evidence included."""
        return float(self.weights.get(name, 1.0))

    def most(self, name: LegName, rank: int) -> float:
        """Return what ``"rrf"`` adds for a rank: the most that any later one can get from that leg."""
        return self.weight(name) * (1.0 / (self.rank_constant + rank))


class Standing(NamedTuple):
    """Where the fusion puts one id.

    Attributes:
        id: the document's.
        score: fused.
        relevance: the score as a share of what an id would have that is first in every leg with hits.
        legs: each leg's account.
    """

    id: str
    score: float
    relevance: float
    legs: tuple[Leg, ...]


def fuse(legs: Mapping[LegName, Sequence[Hit]], how: FusionSpec) -> list[Hit]:
    """Fuse as `how` says.

    Args:
        legs: each leg's hits, best first.
        how: the method and its numbers.

    Returns:
        All hits, best first, ties by id, with each leg's rank, score and contribution. `Hit.relevance` is the score as
        a share of what a hit would have that is first in every leg with hits.
    """
    documents = {hit.id: hit.document for hits in legs.values() for hit in hits}
    scored = {name: [(hit.id, hit.score) for hit in hits] for name, hits in legs.items()}
    return [Hit(documents[each.id], each.score, each.legs, relevance=each.relevance) for each in standings(scored, how)]


def standings(
    legs: Mapping[LegName, Sequence[tuple[str, float]]], how: FusionSpec, *, first: int | None = None
) -> list[Standing]:
    """Fuse ids and scores, where documents are read later; as `fuse`.

    Args:
        legs: each leg's ids with their scores, best first.
        how: the method and its numbers.
        first: how many are wanted; None for all.

    Returns:
        The first ids, best first, ties by id.
    """
    totals: dict[str, float] = {}
    scores = {name: [score for _, score in scored] for name, scored in legs.items()}
    how = how.settled(scores.get("lexical", []), scores.get("dense", []))
    added = {name: _contributions(name, own, how) for name, own in scores.items()}
    for name, scored in legs.items():
        for (id, _), more in zip(scored, added[name], strict=True):
            totals[id] = totals.get(id, 0.0) + more
    best = sum(each[0] for each in added.values() if each)
    order = sorted(totals, key=lambda id: (-totals[id], id))[:first]
    accounts: dict[str, tuple[Leg, ...]] = dict.fromkeys(order, ())
    for name, scored in legs.items():
        for rank, (id, score) in enumerate(scored, 1):
            if id in accounts:
                accounts[id] += (Leg(name, rank, score, added[name][rank - 1], weight=how.weight(name)),)
    return [Standing(id, totals[id], min(1.0, totals[id] / best) if best else 0.0, accounts[id]) for id in order]


def rrf(
    legs: Mapping[LegName, Sequence[Hit]],
    *,
    weights: Mapping[LegName, float] | None = None,
    rank_constant: int = RANK_CONSTANT,
) -> list[Hit]:
    """Fuse by reciprocal rank: the sum of ``weight / (rank_constant + rank)``, rank from 1 (Cormack et al. 2009).

    Args:
        legs: each leg's hits, best first.
        weights: a leg's factor; 1 where it is not named.
        rank_constant: the larger, the less the first ranks count.

    Returns:
        As `fuse`.

    Raises:
        InvalidInputError: a negative weight or a rank constant below 0.
    """
    return fuse(legs, FusionSpec(method="rrf", weights=weights or {}, rank_constant=rank_constant))


def linear(
    legs: Mapping[LegName, Sequence[Hit]],
    *,
    weights: Mapping[LegName, float] | None = None,
    scaling: Scaling = "min-max",
) -> list[Hit]:
    """Fuse by score: the weighted sum of each leg's scores above its lowest, in units of their range or deviation.

    A leg whose hits all have one score gives each of them 1, the lexical leg under ``"raw"`` their score.

    Args:
        legs: each leg's hits, best first.
        weights: a leg's factor; 1 where it is not named.
        scaling: ``"min-max"`` divides by the range, ``"z-score"`` by the standard deviation, ``"raw"`` by nothing.

    Returns:
        As `fuse`.

    Raises:
        InvalidInputError: a negative weight or an unknown scaling.
    """
    return fuse(legs, FusionSpec(method="linear", weights=weights or {}, scaling=scaling))


def as_leg(
    name: LegName, hits: Sequence[Hit], *, first_rank: int = 1, relevance: Callable[[float], float] | None = None
) -> list[Hit]:
    """Give the hits of a single leg their account: rank, score, the score as contribution, and their relevance."""
    share = relevance or (lambda _score: 0.0)
    return [
        Hit(hit.document, hit.score, (Leg(name, rank, hit.score, hit.score),), relevance=share(hit.score))
        for rank, hit in enumerate(hits, first_rank)
    ]


def undecided(
    legs: Mapping[LegName, Sequence[Hit]], fused: Sequence[Hit], how: FusionSpec, *, wanted: int, ended: Set[LegName]
) -> set[LegName]:
    """Name the legs that must be read deeper before the first hits of an ``"rrf"`` are certain (after Fagin's NRA).

    A hit that a leg has not shown down to its last rank read may still get from it what the next rank gets, unless
    the leg has ended. The order is certain when no later hit, nor one not seen, can reach an earlier one's score.

    Args:
        legs: what was read of each leg.
        fused: their fusion.
        how: the method; ``"rrf"``.
        wanted: how many of the first hits must be certain.
        ended: the legs that have no more hits to show.

    Returns:
        The legs that leave the order open; empty when it is certain.
    """
    scores = {name: [hit.score for hit in hits] for name, hits in legs.items()}
    settled = how.settled(scores.get("lexical", []), scores.get("dense", []))
    bounds = {name: settled.most(name, len(hits) + 1) for name, hits in legs.items() if name not in ended}
    if not bounds or _certain(fused, bounds, wanted):
        return set()
    return {name for name in bounds if not _certain(fused, {name: bounds[name]}, wanted)} or set(bounds)


def _certain(fused: Sequence[Hit], bounds: Mapping[LegName, float], wanted: int) -> bool:
    if len(fused) < wanted:
        return False
    ceiling = (-sum(bounds.values()), "")
    for at in range(len(fused) - 1, -1, -1):
        hit = fused[at]
        if at < wanted and (-hit.score, hit.id) >= ceiling:
            return False
        seen = {leg.name for leg in hit.legs}
        reach = hit.score + sum(bound for name, bound in bounds.items() if name not in seen)
        ceiling = min(ceiling, (-reach, hit.id))
    return True


def _contributions(name: LegName, scores: Sequence[float], how: FusionSpec) -> list[float]:
    if how.method == "rrf":
        return [how.most(name, rank) for rank in range(1, len(scores) + 1)]
    if not scores:
        return []
    weight, low, high = how.weight(name), scores[-1], scores[0]
    if how.scaling == "raw" and name == "lexical":
        return [weight * score for score in scores]
    if high == low:
        return [weight] * len(scores)
    unit = _unit(scores, how.scaling)
    return [weight * ((score - low) / unit) for score in scores]


def _unit(scores: Sequence[float], scaling: Scaling) -> float:
    if scaling == "raw":
        return 1.0
    deviation = float(np.std(scores)) if scaling == "z-score" else 0.0
    return deviation or scores[0] - scores[-1]
