"""Keyword search by BM25 that is computed here, over all records that hold a term of the query.

Milvus' own function is no help on Lite 3.2: it takes the number of documents, a term's rarity and the average length
from each segment by itself, deleted rows included, and in memory from what the filter leaves; so its scores change with
a flush, and its order is wrong as soon as there are two segments. Servers before 2.5 have no such function.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from qvec.lexical import idf, term_score
from qvec_milvus.analyzers import Cut
from qvec_milvus.filters import among
from qvec_milvus.postings import LONG, frequency
from qvec_milvus.reading import Reader
from qvec_milvus.schema import READ, document

_TERMS_AT_ONCE = 32
"""An expression of many terms is a deep tree, which Lite walks by recursion."""

_IDS_AT_ONCE = 200


class Totals(Protocol):
    """Who knows how many documents and tokens a collection has."""

    def of(self, name: str) -> tuple[int, int]: ...


@dataclass(slots=True)
class _Postings:
    frequencies: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    lengths: dict[str, int] = field(default_factory=dict)


class Keywords:
    """Rank records by BM25.

    Args:
        reader: of the collections.
        totals: of the collections.
        holding: writes the expression that a record may hold one of some terms.
    """

    def __init__(self, reader: Reader, totals: Totals, holding: Callable[[Sequence[str]], str]) -> None:
        self._reader = reader
        self._totals = totals
        self._holding = holding

    def ranked(self, name: str, queries: Sequence[str], expression: str, cutter: Cut) -> list[list[tuple[str, float]]]:
        """Rank all records that share a word with a query and that `expression` is true of: best first, ties by id."""
        cut = [list(dict.fromkeys(cutter(query))) for query in queries]
        terms = list(dict.fromkeys(term for terms in cut for term in terms))
        if not terms:
            return [[] for _ in queries]
        documents, tokens = self._totals.of(name)
        postings = self._postings(name, terms, cutter)
        wanted = self._wanted(name, terms, expression) if expression else postings.lengths.keys()
        answers = []
        for each in cut:
            scores = _scores(each, postings, documents, tokens / max(1, documents))
            kept = [(id, score) for id, score in scores.items() if id in wanted]
            answers.append(sorted(kept, key=lambda item: (-item[1], item[0])))
        return answers

    def _postings(self, name: str, terms: Sequence[str], cutter: Cut) -> _Postings:
        found = _Postings()
        long: set[str] = set()
        for some in _parts(terms, _TERMS_AT_ONCE):
            for row in self._reader.rows(name, self._holding(some), ["id", "words", "length"]):
                found.lengths[row["id"]] = row["length"]
                if row["words"] == LONG:
                    long.add(row["id"])
                    continue
                for term in some:
                    if count := frequency(row["words"], term):
                        found.frequencies[term][row["id"]] = count
        self._add_long(name, terms, sorted(long), cutter, found)
        return found

    def _add_long(self, name: str, terms: Sequence[str], ids: Sequence[str], cutter: Cut, found: _Postings) -> None:
        for some in _parts(ids, _IDS_AT_ONCE):
            for row in self._reader.rows(name, among("id", some), READ):
                frequencies = Counter(cutter(document(row).searchable_text))
                for term in terms:
                    if term in frequencies:
                        found.frequencies[term][row["id"]] = frequencies[term]

    def _wanted(self, name: str, terms: Sequence[str], expression: str) -> set[str]:
        return {
            row["id"]
            for some in _parts(terms, _TERMS_AT_ONCE)
            for row in self._reader.rows(name, f"{self._holding(some)} and ({expression})", ["id"])
        }


def _scores(terms: Sequence[str], postings: _Postings, documents: int, average: float) -> dict[str, float]:
    scores: defaultdict[str, float] = defaultdict(float)
    for term in terms:
        frequencies = postings.frequencies.get(term, {})
        weight = idf(documents, len(frequencies))
        for id, count in frequencies.items():
            scores[id] += weight * term_score(count, postings.lengths[id], average)
    return scores


def _parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
