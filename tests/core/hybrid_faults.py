"""A database that fuses by itself, and ones that do so with one fault each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qvec.adapter import SupportsHybrid
from qvec.filters import Filter
from qvec.fusion import FusionSpec, fuse
from qvec.memory import MemoryAdapter
from qvec.types import Hit, LegName, Vectors


class Fusing(MemoryAdapter, SupportsHybrid):
    """Without a fault."""

    def search_hybrid(
        self,
        name: str,
        queries: Sequence[str],
        vectors: Vectors,
        *,
        how: FusionSpec,
        window: int,
        k: int,
        filter: Filter | None = None,
        offset: int = 0,
        ef: int | None = None,
    ) -> list[list[Hit]]:
        by_words = self.search_lexical(name, queries, k=window, filter=filter)
        near = self.search_dense(name, vectors, k=window, filter=filter)
        pages = []
        for lexical, dense in zip(by_words, near, strict=True):
            legs: dict[LegName, list[Hit]] = {"lexical": lexical, "dense": dense}
            pages.append(fuse(legs, self.understood(how))[offset : offset + k])
        return pages

    def understood(self, how: FusionSpec) -> FusionSpec:
        """Return the fusion as the database takes it."""
        return how


class WeightsIgnored(Fusing):
    def understood(self, how: FusionSpec) -> FusionSpec:
        return replace(how, weights={})


class RankConstantIgnored(Fusing):
    def understood(self, how: FusionSpec) -> FusionSpec:
        return replace(how, rank_constant=60)


class RanksFromZero(Fusing):
    def understood(self, how: FusionSpec) -> FusionSpec:
        return replace(how, rank_constant=max(0, how.rank_constant - 1))


class EvidenceIgnored(Fusing):
    def understood(self, how: FusionSpec) -> FusionSpec:
        return replace(how, evidence=None)


class EvidenceOfOneLeg(Fusing):
    def understood(self, how: FusionSpec) -> FusionSpec:
        return how if how.evidence is None else replace(how, evidence=replace(how.evidence, drop=0.0))


class EvidenceUnbounded(Fusing):
    def understood(self, how: FusionSpec) -> FusionSpec:
        return how if how.evidence is None else replace(how, evidence=replace(how.evidence, least=1e-9, most=1e9))


class ScalingIgnored(Fusing):
    def understood(self, how: FusionSpec) -> FusionSpec:
        return replace(how, scaling="min-max")


class WindowIgnored(Fusing):
    def search_hybrid(
        self, name: str, queries: Sequence[str], vectors: Vectors, *, window: int, **options
    ) -> list[list[Hit]]:
        return super().search_hybrid(name, queries, vectors, window=1000, **options)


_FUSED = "test_one_round_trip_gives_what_the_core_fuses"
HYBRID_CAUGHT_BY: dict[type[Fusing], tuple[str, ...]] = {
    WeightsIgnored: (f"{_FUSED}[100-rrf, weighted]", f"{_FUSED}[100-min-max]"),
    RankConstantIgnored: (f"{_FUSED}[100-rrf, weighted]", f"{_FUSED}[100-rrf, no constant]"),
    RanksFromZero: (f"{_FUSED}[100-rrf]",),
    EvidenceIgnored: (f"{_FUSED}[100-evidence]", f"{_FUSED}[100-min-max by evidence]"),
    EvidenceOfOneLeg: (f"{_FUSED}[100-evidence]",),
    EvidenceUnbounded: (f"{_FUSED}[100-evidence at its bounds]",),
    ScalingIgnored: (f"{_FUSED}[100-z-score]", f"{_FUSED}[100-raw]"),
    WindowIgnored: (f"{_FUSED}[4-rrf]",),
}
"""Fault -> the tests of the suite that must fail because of it."""
