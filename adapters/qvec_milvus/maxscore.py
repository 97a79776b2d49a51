"""BM25 computed here for a server before 2.5, which leaves records unread that share only common words with a query.

To bring a record's words here costs more than all else. The best of the records with the rarest terms set a bar; a term
adds less to a score than its idf, so a record with none of the needed terms, those whose idf and all smaller ones
together pass the bar, stays below it (MaxScore, Turtle and Flood 1995).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from qvec.lexical import idf
from qvec_milvus.analyzers import Cut
from qvec_milvus.bm25 import Keywords, Postings, in_order, scored
from qvec_milvus.postings import LONG, in_terms
from qvec_milvus.reading import AT_ONCE, Reader
from qvec_milvus.search import MAX_WINDOW
from qvec_milvus.totals import ServerTotals

_FEW = 128
"""Each term of so many costs a count the first time; of a longer query all records are read."""

_TOKEN_BYTES = 10
_READ_BYTES = 32 * 2**20

_SEEDS = 10
_EXACT = 0.999999
"""Sums of floats differ in the last digits by their order."""


class RareFirst:
    """Rank the best records of a query by BM25.

    Args:
        reader: of the collections.
        totals: of the collections.
    """

    def __init__(self, reader: Reader, totals: ServerTotals) -> None:
        self._reader = reader
        self._totals = totals
        self._every = Keywords(reader, totals, in_terms)

    def ranked(self, name: str, query: str, expression: str, cutter: Cut, depth: int) -> list[tuple[str, float]]:
        """Rank the best `depth` records that share a word with a query: best first, ties by id."""
        terms = list(dict.fromkeys(cutter(query)))
        if not terms:
            return []
        if len(terms) > _FEW:
            return self._every.ranked(name, [query], expression, cutter)[0][:depth]
        documents, tokens = self._totals.of(name)
        containing = self._containing(name, terms, cutter)
        weights = {term: idf(documents, containing[term]) for term in terms}
        average = tokens / max(1, documents)
        also = f" and ({expression})" if expression else ""
        found = Postings(_at_once(average))

        def best() -> list[tuple[str, float]]:
            return in_order(scored(terms, found, weights, average).items())[:depth]

        rare = _rarest(containing, 2 * depth + _SEEDS)
        self._read(name, f"{in_terms(rare)}{also}", terms, cutter, found)
        first = best()
        bar = first[-1][1] * _EXACT if len(first) == depth else 0.0
        needed = sorted(_needed(weights, bar) - rare)
        if not needed:
            return first
        self._read(name, f"{in_terms(needed)} and not {in_terms(rare)}{also}", terms, cutter, found)
        return best()

    def _containing(self, name: str, terms: Sequence[str], cutter: Cut) -> dict[str, int]:
        counted = self._totals.containing(name, [LONG, *terms])
        unheld = Postings()
        if counted[LONG]:
            self._read(name, in_terms([]), terms, cutter, unheld)
        return {term: counted[term] + len(unheld.frequencies.get(term, {})) for term in terms}

    def _read(self, name: str, expression: str, terms: Sequence[str], cutter: Cut, found: Postings) -> None:
        long = found.read(self._reader, name, expression, terms)
        found.read_long(self._reader, name, long, terms, cutter)


def _at_once(average: float) -> int:
    """Choose how many records of so many tokens each are read with one query."""
    return min(MAX_WINDOW, max(AT_ONCE, _READ_BYTES // int(1 + _TOKEN_BYTES * average)))


def _rarest(containing: Mapping[str, int], records: int) -> set[str]:
    """Choose the rarest terms: as many as hold so many records."""
    ordered = sorted(containing, key=lambda term: (containing[term], term))
    before = accumulate((containing[term] for term in ordered), initial=0)
    return {term for term, held in zip(ordered, before, strict=False) if held < records}


def _needed(weights: Mapping[str, float], bar: float) -> set[str]:
    """Choose the terms of which a record must have one to pass the bar."""
    ordered = sorted(weights, key=lambda term: (weights[term], term))
    most = accumulate(weights[term] for term in ordered)
    return {term for term, sum_so_far in zip(ordered, most, strict=True) if sum_so_far > bar}
