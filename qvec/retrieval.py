"""One search: which part of which list is wanted, and how the database is asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from qvec.adapter import Adapter, SupportsHybrid
from qvec.checks import check_k, string_fault
from qvec.errors import InvalidInputError, UnsupportedError
from qvec.filters import Filter
from qvec.fusion import FusionSpec, as_leg
from qvec.ranking import WINDOW, by_source, fused, relevance, spread, window_for
from qvec.types import Hit, LegName, Metric, Vector, Vectors

Mode: TypeAlias = Literal["hybrid", "dense", "lexical"]
Group: TypeAlias = Literal["source"]


def check_query(query: str) -> None:
    """Check that there are words to search for.

    Raises:
        InvalidInputError: there are none, or they hold NUL or a lone surrogate.
    """
    if not isinstance(query, str) or not query.strip():
        raise InvalidInputError("the query is empty: give some words to search for")
    fault = string_fault(query)
    if fault:
        raise InvalidInputError(f"the query {fault}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which part of which list is wanted.

    Attributes:
        mode: the legs that are asked.
        k: hits a page.
        offset: hits before it.
        window: how deep a leg is read at most.
        min_score: the least `Hit.relevance`.
        group_by: what hits are collapsed to.
        diversity: 0 orders by relevance alone, 1 by difference alone.
        explain: name every leg that ranked a hit within the window.
    """

    mode: Mode
    k: int
    offset: int
    window: int | None = WINDOW
    min_score: float | None = None
    group_by: Group | None = None
    diversity: float | None = None
    explain: bool = False

    def __post_init__(self) -> None:
        check_k(self.k, self.offset)
        if self.mode not in get_args(Mode):
            raise InvalidInputError(f"mode={self.mode!r}: takes 'hybrid', 'dense' or 'lexical'")
        if self.window is not None and (not isinstance(self.window, int) or self.window < 1):
            raise InvalidInputError(f"window={self.window!r}: takes a whole number from 1 on, or None for all")
        if self.group_by is not None and self.group_by not in get_args(Group):
            raise InvalidInputError(f"group_by={self.group_by!r}: takes 'source'")
        for name, share in (("min_score", self.min_score), ("diversity", self.diversity)):
            if share is not None and not (isinstance(share, int | float) and 0 <= share <= 1):
                raise InvalidInputError(f"{name}={share!r}: takes a number from 0 to 1")

    @property
    def end(self) -> int:
        """How many of the list's first hits are needed."""
        return self.offset + self.k

    @property
    def is_rearranged(self) -> bool:
        """The list is more than a fusion, and has to be seen whole for its pages to fit together."""
        return not (self.min_score is None and self.group_by is None and self.diversity is None)

    def arrange(self, hits: Sequence[Hit], vectors_of: Callable[[Sequence[str]], Mapping[str, Vector]]) -> list[Hit]:
        """Drop, group and spread hits as wanted, and cut the page out."""
        kept = [hit for hit in hits if self.min_score is None or hit.relevance >= self.min_score]
        if self.group_by is not None:
            kept = by_source(kept)
        if self.diversity is not None:
            kept = spread(kept, self.diversity, vectors_of)
        return kept[self.offset : self.end]


@dataclass(frozen=True, slots=True)
class Question:
    """One query to one collection, to be asked of either leg.

    Attributes:
        adapter: the connection.
        name: the collection.
        keywords: its words for the keyword leg.
        rows: gives its vector, of shape ``(1, dim)``; the model is asked no earlier.
        filter: on metadata.
        ef: breadth of an approximate index.
    """

    adapter: Adapter
    name: str
    keywords: str
    rows: Callable[[], Vectors]
    filter: Filter | None
    ef: int | None

    def dense(self, k: int, offset: int = 0) -> list[Hit]:
        """Ask by meaning."""
        return self.adapter.search_dense(self.name, self.rows(), k=k, filter=self.filter, offset=offset, ef=self.ef)[0]

    def lexical(self, k: int, offset: int = 0) -> list[Hit]:
        """Ask by keyword."""
        return self.adapter.search_lexical(self.name, [self.keywords], k=k, filter=self.filter, offset=offset)[0]

    def ranked(self, how: FusionSpec, wanted: Wanted, executor: Executor, metric: Callable[[], Metric]) -> list[Hit]:
        """Answer as the mode says."""
        return self.both_legs(how, wanted, executor) if wanted.mode == "hybrid" else self.one_leg(wanted, metric)

    def one_leg(self, wanted: Wanted, metric: Callable[[], Metric]) -> list[Hit]:
        """Answer from the leg that the mode names."""
        name: LegName = "lexical" if wanted.mode == "lexical" else "dense"
        read = self.lexical if name == "lexical" else self.dense
        if wanted.is_rearranged:
            hits = as_leg(name, read(self._depth(wanted)), relevance=relevance(name, metric()))
            return wanted.arrange(hits, self._vectors_of)
        hits = read(wanted.k, wanted.offset)
        share = relevance(name, Metric.COSINE if name == "lexical" else metric())
        return as_leg(name, hits, first_rank=wanted.offset + 1, relevance=share)

    def both_legs(self, how: FusionSpec, wanted: Wanted, executor: Executor) -> list[Hit]:
        """Answer from both legs, fused.

        Raises:
            UnsupportedError: the database has no keyword leg.
        """
        if not self.adapter.capabilities.lexical:
            database = self.adapter.capabilities.database
            raise UnsupportedError(f"{database} has no keyword leg, so no hybrid search: use mode='dense'")
        if isinstance(self.adapter, SupportsHybrid):
            return self._one_trip(self.adapter, how, wanted)
        hits = fused(
            {"lexical": self.lexical, "dense": self.dense},
            how,
            wanted=wanted.end,
            window=self._depth(wanted),
            whole=wanted.explain or wanted.is_rearranged,
            executor=executor,
        )
        return wanted.arrange(hits, self._vectors_of)

    def _one_trip(self, adapter: SupportsHybrid, how: FusionSpec, wanted: Wanted) -> list[Hit]:
        window = self._depth(wanted)
        k, offset = (2 * window, 0) if wanted.is_rearranged else (wanted.k, wanted.offset)
        [hits] = adapter.search_hybrid(
            self.name,
            [self.keywords],
            self.rows(),
            how=how,
            window=window,
            k=k,
            filter=self.filter,
            offset=offset,
            ef=self.ef,
        )
        return wanted.arrange(hits, self._vectors_of) if wanted.is_rearranged else hits

    def _vectors_of(self, ids: Sequence[str]) -> Mapping[str, Vector]:
        return self.adapter.get_vectors(self.name, ids)

    def _depth(self, wanted: Wanted) -> int:
        if wanted.window is None:
            return max(wanted.end, self.adapter.count(self.name))
        return window_for(wanted.window, wanted.end)
