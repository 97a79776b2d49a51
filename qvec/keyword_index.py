"""Keywords of texts that are stored without them: postings in memory and BM25 over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from qvec import lexical


class KeywordIndex:
    """The tokens of a set of records, each added once."""

    def __init__(self) -> None:
        self._postings: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._lengths: dict[str, int] = {}
        self._total = 0

    def add(self, identity: str, text: str) -> None:
        """Take in the tokens of a record."""
        frequencies = lexical.term_frequencies(text)
        for term, frequency in frequencies.items():
            self._postings[term][identity] = frequency
        self._lengths[identity] = sum(frequencies.values())
        self._total += self._lengths[identity]

    def ranked(self, query: str) -> Sequence[tuple[str, float]]:
        """Score all records that share a token with a query by BM25: best first, ties by id."""
        scores: defaultdict[str, float] = defaultdict(float)
        average = self._total / max(1, len(self._lengths))
        for term in lexical.query_terms(query):
            postings = self._postings.get(term, {})
            weight = lexical.idf(len(self._lengths), len(postings))
            for identity, frequency in postings.items():
                scores[identity] += weight * lexical.term_score(frequency, self._lengths[identity], average)
        return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
