"""Keyword search by BM25 that is computed here, over all records that hold a term of the query.

Milvus' own function is no help on Lite 3.2: it takes the number of documents, a term's rarity and the average length
from each segment by itself, deleted rows included, and in memory from what the filter leaves; so its scores change with
a flush, and its order is wrong as soon as there are two segments. Servers before 2.5 have no such function.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from qvec.lexical import idf, term_score
from qvec_milvus.analyzers import Cut
from qvec_milvus.filters import among
from qvec_milvus.postings import LONG, frequency
from qvec_milvus.reading import AT_ONCE, Reader
from qvec_milvus.schema import READ, document

_TERMS_AT_ONCE = 32
"""An expression of many terms is a deep tree, which Lite walks by recursion."""

_IDS_AT_ONCE = 200


class Totals(Protocol):
    """Who knows how many documents and tokens a collection has."""

    def of(self, name: str) -> tuple[int, int]: ...


@dataclass(slots=True)
class Postings:
    """What was read of the records that hold some terms: how often, and how long they are; so many are read at once."""

    at_once: int = AT_ONCE
    frequencies: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    lengths: dict[str, int] = field(default_factory=dict)

    def read(self, reader: Reader, name: str, expression: str, terms: Sequence[str]) -> set[str]:
        """Add the records that an expression is true of; return those whose words were too long to be held."""
        long: set[str] = set()
        for row in reader.rows(name, expression, ["id", "words", "length"], at_once=self.at_once):
            self.lengths[row["id"]] = row["length"]
            if row["words"] == LONG:
                long.add(row["id"])
                continue
            for term in terms:
                if count := frequency(row["words"], term):
                    self.frequencies[term][row["id"]] = count
        return long

    def read_long(self, reader: Reader, name: str, ids: set[str], terms: Sequence[str], cutter: Cut) -> None:
        """Cut the texts of records again."""
        for some in _parts(sorted(ids), _IDS_AT_ONCE):
            for row in reader.rows(name, among("id", some), READ):
                frequencies = Counter(cutter(document(row).searchable_text))
                for term in terms:
                    if term in frequencies:
                        self.frequencies[term][row["id"]] = frequencies[term]


Read = Callable[[Sequence[str]], Postings]
"""Reads the postings of some terms."""


def _each_time(_name: str, terms: Sequence[str], read: Read) -> Postings:
    return read(terms)


class Keywords:
    """Rank records by BM25, all those that share a word with a query.

    Args:
        reader: of the collections.
        totals: of the collections.
        holding: writes the expression that a record may hold one of some terms.
        held: gives a collection's postings of terms, and has those read that it does not keep.
    """

    def __init__(
        self,
        reader: Reader,
        totals: Totals,
        holding: Callable[[Sequence[str]], str],
        *,
        held: Callable[[str, Sequence[str], Read], Postings] = _each_time,
    ) -> None:
        self._reader = reader
        self._totals = totals
        self._holding = holding
        self._held = held

    def ranked(self, name: str, queries: Sequence[str], expression: str, cutter: Cut) -> list[list[tuple[str, float]]]:
        """Rank all records that share a word with a query and that `expression` is true of: best first, ties by id."""
        cut = [list(dict.fromkeys(cutter(query))) for query in queries]
        terms = list(dict.fromkeys(term for terms in cut for term in terms))
        if not terms:
            return [[] for _ in queries]
        documents, tokens = self._totals.of(name)
        postings = self._held(name, terms, lambda some: self._postings(name, some, cutter))
        wanted = self._wanted(name, terms, expression) if expression else postings.lengths.keys()
        weights = {term: idf(documents, len(postings.frequencies.get(term, {}))) for term in terms}
        answers = []
        for each in cut:
            scores = scored(each, postings, weights, tokens / max(1, documents))
            answers.append(in_order((id, score) for id, score in scores.items() if id in wanted))
        return answers

    def _postings(self, name: str, terms: Sequence[str], cutter: Cut) -> Postings:
        found = Postings()
        long: set[str] = set()
        for some in _parts(terms, _TERMS_AT_ONCE):
            long |= found.read(self._reader, name, self._holding(some), some)
        found.read_long(self._reader, name, long, terms, cutter)
        return found

    def _wanted(self, name: str, terms: Sequence[str], expression: str) -> set[str]:
        return {
            row["id"]
            for some in _parts(terms, _TERMS_AT_ONCE)
            for row in self._reader.rows(name, f"{self._holding(some)} and ({expression})", ["id"])
        }


def scored(
    terms: Sequence[str], postings: Postings, weights: Mapping[str, float], average: float
) -> defaultdict[str, float]:
    """Score what was read; each term's weight is its `qvec.lexical.idf`."""
    scores: defaultdict[str, float] = defaultdict(float)
    for term in terms:
        for id, count in postings.frequencies.get(term, {}).items():
            scores[id] += weights[term] * term_score(count, postings.lengths[id], average)
    return scores


def in_order(scores: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Sort best first, ties by id."""
    return sorted(scores, key=lambda item: (-item[1], item[0]))


def _parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
