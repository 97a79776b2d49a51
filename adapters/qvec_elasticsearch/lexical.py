"""The keyword leg: BM25 with exact lengths and live statistics.

Elasticsearch's own BM25 is not ours: it keeps a document's length in one byte (40 and 41 tokens are alike, and so are
200 and 207), and counts deleted documents until their segment is merged. So the field's similarity is a script that
gives a term's frequency, the length stands beside it as a number, and a script makes the score of the two; rarity and
the mean length are counted right before, among the documents that live.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

from qvec.lexical import K1, B, idf, query_terms
from qvec_elasticsearch.connection import Connection, Version
from qvec_elasticsearch.errors import TooManyClausesError
from qvec_elasticsearch.filters import Query
from qvec_elasticsearch.reading import Answer, walk
from qvec_elasticsearch.rows import EVERY_RECORD, word
from qvec_elasticsearch.trips import Found, Leg, Window

_TERMS_AT_ONCE = 1000
_TERMS_OF_ALL = 500
"""Every node takes 1,024 clauses, and as many more as its heap allows; a filter has some too."""

_CHARACTERS_OF_ALL = 800
"""Each may be a word by itself, in Chinese."""

_PART = "_score / (_score + params.a + params.b * doc['length'].value)"
_LIVE = f"params.idf * {_PART}"
_GUESSED = f"""
double n = _termStats.docFreq().getMin();
return Math.log1p((Math.max(params.n, n) - n + 0.5) / (n + 0.5)) * {_PART}
"""
_RARITY_SINCE: Version = (8, 16)
"""The first whose scripts are told a term's rarity, ``_termStats``."""

_RECORDS: Query = {
    "size": 1,
    "query": {"script_score": {"query": EVERY_RECORD, "script": {"source": "_termStats.docFreq().getMin()"}}},
    "terminate_after": 1,
    "_source": False,
}
"""Asks in how many records Lucene counts a term that all have, deleted ones that are not merged away included."""


@dataclass(frozen=True, slots=True)
class _Statistics:
    """What BM25 needs to know of the records that live; `is_lucenes`: Lucene, which counts dead ones too, sees none."""

    documents: int
    tokens: int
    is_lucenes: bool
    containing: Mapping[str, int] = field(default_factory=dict, compare=False)


class Keywords:
    """Rank records by BM25.

    One trip counts the terms' rarity, one ranks by it. Where Lucene's own statistics are those of the living, which is
    so until a record is replaced or deleted, and again when its segment has been merged, both fit into one trip: the
    ranking goes by Lucene's rarity and by the size that the collection had last time, and stands when the count that
    comes with it agrees.

    Args:
        connection: to Elasticsearch.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._last: dict[str, _Statistics] = {}

    def leg(self, name: str, queries: Sequence[str], *, window: Window, filter: Query) -> Leg[list[Found]]:
        """Rank the records in the window, query by query."""
        cut = [[word(term) for term in query_terms(query)] for query in queries]
        parts = _parts(list(dict.fromkeys(term for terms in cut for term in terms)))
        if not parts:
            return [Found() for _ in queries]
        last = self._last.get(name)
        guessing = last is not None and last.is_lucenes and all(len(terms) <= _TERMS_OF_ALL for terms in cut)
        asked = [at for at, terms in enumerate(cut) if terms]
        guesses = [window.body(_bm25(cut[at], last, filter, None)) for at in asked] if last and guessing else []
        counting = [_counting(part) for part in parts]
        probes = [_RECORDS] if self._connection.version >= _RARITY_SINCE else []
        answers = yield [*counting, *probes, *guesses]
        known = self._last[name] = _read(parts, answers[: len(parts)], answers[len(parts) : len(parts) + len(probes)])
        found = [Found() for _ in queries]
        if guesses and known == last:
            ranked = answers[-len(guesses) :]
        else:
            kept = {at: [term for term in cut[at] if known.containing[term]] for at in asked}
            asked = [at for at in asked if kept[at]]
            if not asked:
                return found
            try:
                ranked = yield [window.body(_bm25(kept[at], known, filter, known.containing)) for at in asked]
            except TooManyClausesError:
                for at in asked:
                    some = [_bm25(part, known, filter, known.containing) for part in _parts(kept[at], _TERMS_OF_ALL)]
                    found[at] = self._in_parts(name, some, window)
                return found
        for at, answer in zip(asked, ranked, strict=True):
            found[at] = window.found(answer)
        return found

    def matches(self, name: str, queries: Sequence[str], *, window: Window, filter: Query) -> Leg[list[Found]]:
        """Rank as `leg` does, by the words that the field's analyzer makes and Elasticsearch's own BM25 over them."""
        try:
            answers = yield [window.body(matching("tokens", text, filter)) for text in queries]
        except TooManyClausesError:
            parts = [wrap(text, _CHARACTERS_OF_ALL, break_on_hyphens=False) for text in queries]
            some = ([matching("tokens", part, filter) for part in each] for each in parts)
            return [self._in_parts(name, each, window) for each in some]
        return [window.found(answer) for answer in answers]

    def _in_parts(self, name: str, queries: Sequence[Query], window: Window) -> Found:
        """Rank by more terms than a query takes: add up the scores of all records, by some of the terms at a time."""
        scores: defaultdict[str, float] = defaultdict(float)
        for query in queries:
            for hit in walk(self._connection, name, {"query": query, "track_scores": True, "_source": False}):
                scores[hit["_id"]] += hit["_score"]
        best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        return Found(best[window.offset : window.offset + window.size])


def matching(field: str, text: str, filter: Query) -> Query:
    """Match the words of a text in an analyzed field, scored on the scale of the other databases."""
    # Elasticsearch's BM25 has the factor k1 + 1 that Lucene left out in version 8.
    match = {"match": {field: {"query": text, "boost": 1 / (K1 + 1)}}}
    return {"bool": {"must": [match], "filter": [filter]}}


def _parts(terms: Sequence[str], size: int = _TERMS_AT_ONCE) -> list[Sequence[str]]:
    return [terms[start : start + size] for start in range(0, len(terms), size)]


def _counting(terms: Sequence[str]) -> Query:
    filters = [{"term": {"tokens": term}} for term in terms]
    aggregations = {"tokens": {"sum": {"field": "length"}}, "containing": {"filters": {"filters": filters}}}
    return {"size": 0, "track_total_hits": True, "aggs": aggregations}


def _read(parts: Sequence[Sequence[str]], counted: Sequence[Answer], probed: Sequence[Answer]) -> _Statistics:
    containing = {
        term: int(bucket["doc_count"])
        for part, answer in zip(parts, counted, strict=True)
        for term, bucket in zip(part, answer["aggregations"]["containing"]["buckets"], strict=True)
    }
    documents = int(counted[0]["hits"]["total"]["value"])
    seen = [hit["_score"] for answer in probed for hit in answer["hits"]["hits"]]
    tokens = int(counted[0]["aggregations"]["tokens"]["value"])
    return _Statistics(documents, tokens, seen == [documents], containing)


def _bm25(terms: Sequence[str], known: _Statistics, filter: Query, containing: Mapping[str, int] | None) -> Query:
    """Write BM25 by the terms' rarity, or by Lucene's where it is not known."""
    sizes = {"a": K1 * (1 - B), "b": K1 * B * known.documents / max(1, known.tokens)}

    def script(term: str) -> Query:
        if containing is None:
            return {"source": _GUESSED, "params": {**sizes, "n": known.documents}}
        return {"source": _LIVE, "params": {**sizes, "idf": idf(known.documents, containing[term])}}

    should = [{"script_score": {"query": {"term": {"tokens": term}}, "script": script(term)}} for term in terms]
    return {"bool": {"should": should, "minimum_should_match": 1, "filter": [filter]}}
