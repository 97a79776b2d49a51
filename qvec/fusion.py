"""Joining the ranked lists of several legs into one; pure functions over hits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from qvec.errors import InvalidInputError
from qvec.types import Document, Hit, Leg, LegName

RANK_CONSTANT = 60


@dataclass(slots=True)
class _Fused:
    document: Document
    legs: list[Leg] = field(default_factory=list)

    @property
    def score(self) -> float:
        return sum(leg.contribution for leg in self.legs)


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
        All hits, best first, ties by id, with each leg's rank, score and contribution.

    Raises:
        InvalidInputError: a negative weight or a rank constant below 0.
    """
    if rank_constant < 0:
        raise InvalidInputError(f"rank_constant={rank_constant}: takes 0 or more")
    return _fuse(legs, weights, lambda _hits, rank: 1.0 / (rank_constant + rank))


def weighted(legs: Mapping[LegName, Sequence[Hit]], *, weights: Mapping[LegName, float] | None = None) -> list[Hit]:
    """Fuse by score: the weighted sum of each leg's scores, scaled to 0..1 between its lowest and highest hit.

    A leg whose hits all have one score gives each of them 1.

    Args:
        legs: each leg's hits, best first.
        weights: a leg's factor; 1 where it is not named.

    Returns:
        All hits, best first, ties by id, with each leg's rank, score and contribution.

    Raises:
        InvalidInputError: a negative weight.
    """
    return _fuse(legs, weights, _min_max)


def as_leg(name: LegName, hits: Sequence[Hit], *, first_rank: int = 1) -> list[Hit]:
    """Give the hits of a single leg their account: rank, score, and the score as contribution."""
    return [
        Hit(hit.document, hit.score, (Leg(name, rank, hit.score, hit.score),))
        for rank, hit in enumerate(hits, first_rank)
    ]


def _min_max(hits: Sequence[Hit], rank: int) -> float:
    low, high = hits[-1].score, hits[0].score
    return 1.0 if high == low else (hits[rank - 1].score - low) / (high - low)


def _fuse(
    legs: Mapping[LegName, Sequence[Hit]],
    weights: Mapping[LegName, float] | None,
    worth: Callable[[Sequence[Hit], int], float],
) -> list[Hit]:
    weights = weights or {}
    for name, weight in weights.items():
        if not weight >= 0:
            raise InvalidInputError(f"the weight of the {name} leg is {weight}: takes 0 or more")
    fused: dict[str, _Fused] = {}
    for name, hits in legs.items():
        weight = weights.get(name, 1.0)
        for rank, hit in enumerate(hits, 1):
            entry = fused.setdefault(hit.id, _Fused(hit.document))
            entry.legs.append(Leg(name, rank, hit.score, weight * worth(hits, rank)))
    ranked = sorted(fused.values(), key=lambda entry: (-entry.score, entry.document.id))
    return [Hit(entry.document, entry.score, tuple(entry.legs)) for entry in ranked]
