"""The keyword leg: BM25 with exact lengths and live statistics.

Elasticsearch's own BM25 is not ours: it keeps a document's length in one byte (40 and 41 tokens are alike, and so are
200 and 207), and counts deleted documents until their segment is merged. So the field's similarity is a script that
gives a term's frequency, the length stands beside it as a number, and a script makes the score of the two; rarity and
the mean length are counted right before, among the documents that live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qvec.lexical import K1, B, idf, query_terms
from qvec.types import Hit
from qvec_elasticsearch.connection import Connection
from qvec_elasticsearch.filters import Query
from qvec_elasticsearch.reading import ask
from qvec_elasticsearch.rows import READ, document, word
from qvec_elasticsearch.search import BY_RANK

_TERMS_AT_ONCE = 1000
_SCORE = "params.idf * _score / (_score + params.least + params.slope * doc['length'].value)"


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
    for at, answer in zip(asked, ask(connection, name, bodies), strict=True):
        found[at] = [Hit(document(hit), float(hit["_score"])) for hit in answer["hits"]["hits"]]
    return found


def _count(connection: Connection, name: str, terms: Sequence[str]) -> _Statistics:
    if not terms:
        return _Statistics(0, 0, {})
    parts = [terms[start : start + _TERMS_AT_ONCE] for start in range(0, len(terms), _TERMS_AT_ONCE)]
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
    shape = {"least": K1 * (1 - B), "slope": K1 * B * known.documents / known.tokens}
    should = [
        {
            "script_score": {
                "query": {"term": {"tokens": term}},
                "script": {"source": _SCORE, "params": {**shape, "idf": idf(known.documents, known.containing[term])}},
            }
        }
        for term in terms
    ]
    return {"bool": {"should": should, "minimum_should_match": 1, "filter": [filter]}}
