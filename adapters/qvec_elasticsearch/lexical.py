"""The keyword leg: BM25 with exact lengths and live statistics.

Elasticsearch's own BM25 is not ours: it keeps a document's length in one byte (40 and 41 tokens are alike, and so are
200 and 207), and counts deleted documents until their segment is merged. So the field's similarity is a script that
gives a term's frequency, the length stands beside it as a number, and a script makes the score of the two; rarity and
the mean length are counted right before, among the documents that live.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from qvec.lexical import K1, B, idf, query_terms
from qvec.types import Hit
from qvec_elasticsearch.connection import Connection
from qvec_elasticsearch.errors import TooManyClausesError
from qvec_elasticsearch.filters import Query
from qvec_elasticsearch.reading import ask, by_id, walk
from qvec_elasticsearch.rows import READ, document, word
from qvec_elasticsearch.search import BY_RANK

_TERMS_AT_ONCE = 1000
_TERMS_OF_ALL = 500
"""Every node takes 1,024 clauses, and as many more as its heap allows; a filter has some too."""

_CHARACTERS_OF_ALL = 800
"""Each may be a word by itself, in Chinese."""

_SCORE = "_score / (_score + params.a + params.b * doc['length'].value)"


@dataclass(frozen=True, slots=True)
class _Statistics:
    documents: int
    tokens: int
    containing: dict[str, int]


def best(
    connection: Connection, name: str, queries: Sequence[str], *, k: int, offset: int, filter: Query
) -> list[list[Hit]]:
    """Rank the records after `offset`, `k` a query: best first, ties by id."""
    cut = [[word(term) for term in query_terms(query)] for query in queries]
    known = _count(connection, name, list(dict.fromkeys(term for terms in cut for term in terms)))
    kept = [[term for term in terms if known.containing[term]] for terms in cut]
    asked = [at for at, terms in enumerate(kept) if terms]
    window: Query = {"from": offset, "size": k, "_source": READ, "track_total_hits": False, "sort": BY_RANK}
    bodies = [{**window, "query": _bm25(kept[at], known, filter)} for at in asked]
    found: list[list[Hit]] = [[] for _ in queries]
    try:
        for at, answer in zip(asked, ask(connection, name, bodies), strict=True):
            found[at] = [Hit(document(hit), float(hit["_score"])) for hit in answer["hits"]["hits"]]
    except TooManyClausesError:
        for at in asked:
            some = [_bm25(part, known, filter) for part in _cut(kept[at], _TERMS_OF_ALL)]
            found[at] = _in_parts(connection, name, some, k, offset)
    return found


def best_matches(
    connection: Connection, name: str, queries: Sequence[str], *, k: int, offset: int, filter: Query
) -> list[list[Hit]]:
    """Rank as `best` does, by the words that the field's analyzer makes and by Elasticsearch's own BM25 over them."""
    window: Query = {"from": offset, "size": k, "_source": READ, "track_total_hits": False, "sort": BY_RANK}
    try:
        answers = ask(connection, name, [{**window, "query": matching("tokens", text, filter)} for text in queries])
    except TooManyClausesError:
        parts = [wrap(text, _CHARACTERS_OF_ALL, break_on_hyphens=False) for text in queries]
        some = ([matching("tokens", part, filter) for part in each] for each in parts)
        return [_in_parts(connection, name, each, k, offset) for each in some]
    return [[Hit(document(hit), float(hit["_score"])) for hit in answer["hits"]["hits"]] for answer in answers]


def matching(field: str, text: str, filter: Query) -> Query:
    """Match the words of a text in an analyzed field, scored on the scale of the other databases."""
    # Elasticsearch's BM25 has the factor k1 + 1 that Lucene left out in version 8.
    match = {"match": {field: {"query": text, "boost": 1 / (K1 + 1)}}}
    return {"bool": {"must": [match], "filter": [filter]}}


def _in_parts(connection: Connection, name: str, queries: Sequence[Query], k: int, offset: int) -> list[Hit]:
    """Rank by more terms than a query takes: add up the scores of all records, by some of the terms at a time."""
    scores: defaultdict[str, float] = defaultdict(float)
    for query in queries:
        for hit in walk(connection, name, {"query": query, "track_scores": True, "_source": False}):
            scores[hit["_id"]] += hit["_score"]
    best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[offset : offset + k]
    found = by_id(connection, name, [identity for identity, _ in best])
    return [Hit(found[identity], score) for identity, score in best if identity in found]


def _cut(words: Sequence[str], size: int) -> list[Sequence[str]]:
    return [words[start : start + size] for start in range(0, len(words), size)]


def _count(connection: Connection, name: str, terms: Sequence[str]) -> _Statistics:
    if not terms:
        return _Statistics(0, 0, {})
    parts = _cut(terms, _TERMS_AT_ONCE)
    answers = ask(connection, name, [_counting(part) for part in parts])
    containing = {
        term: int(bucket["doc_count"])
        for part, answer in zip(parts, answers, strict=True)
        for term, bucket in zip(part, answer["aggregations"]["containing"]["buckets"], strict=True)
    }
    first = answers[0]
    return _Statistics(first["hits"]["total"]["value"], int(first["aggregations"]["tokens"]["value"]), containing)


def _counting(terms: Sequence[str]) -> Query:
    filters = [{"term": {"tokens": term}} for term in terms]
    aggregations = {"tokens": {"sum": {"field": "length"}}, "containing": {"filters": {"filters": filters}}}
    return {"size": 0, "track_total_hits": True, "aggs": aggregations}


def _bm25(terms: Sequence[str], known: _Statistics, filter: Query) -> Query:
    script = {"source": _SCORE, "params": {"a": K1 * (1 - B), "b": K1 * B * known.documents / known.tokens}}
    should = [
        {
            "script_score": {
                "query": {"term": {"tokens": term}},
                "script": script,
                "boost": idf(known.documents, known.containing[term]),
            }
        }
        for term in terms
    ]
    return {"bool": {"should": should, "minimum_should_match": 1, "filter": [filter]}}
