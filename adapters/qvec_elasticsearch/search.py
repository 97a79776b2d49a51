"""The dense leg: HNSW finds candidates, a script scores them by the vectors as written; small sets are scored whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qvec.errors import UnsupportedError
from qvec.types import CollectionSpec, Metric, Vector, Vectors
from qvec_elasticsearch.connection import Connection, Version
from qvec_elasticsearch.filters import EVERYTHING, Query, any_of, both
from qvec_elasticsearch.reading import Answer
from qvec_elasticsearch.trips import BY_ID, Found, Leg, Window

MAX_WINDOW = 10_000
"""``index.max_result_window``, and the most candidates that ``knn`` takes."""

_EXACT_NUMBERS = 4_000_000
"""Vectors of so many numbers in all are compared one by one, in about 15 ms on two cores; that misses none."""

DEFAULT_EF = 150
_OVERSAMPLING = 3
_EXTRA = 16
_K_SINCE: Version = (8, 15)

# A script's score may not be below 0. l2 has not the form of Elasticsearch's own, 1 / (1 + d * d), in which a float32
# tells small distances apart by no more than 0.0003.
_SCRIPTS = {
    Metric.COSINE: (
        "doc[params.field].size() == 0 ? 1.0 : Math.max(0.0, cosineSimilarity(params.query, params.field) + 1.0)"
    ),
    Metric.DOT: "double dot = dotProduct(params.query, params.field); return dot < 0 ? 1 / (1 - dot) : dot + 1",
    Metric.L2: "1 / (1 + l2norm(params.query, params.field))",
}
_ZERO: Query = {"term": {"zero": True}}


def check_window(k: int, offset: int) -> None:
    """Check that a search does not reach beyond what Elasticsearch gives.

    Raises:
        UnsupportedError: it does.
    """
    if k + offset > MAX_WINDOW:
        raise UnsupportedError(f"k + offset = {k + offset}: Elasticsearch gives at most {MAX_WINDOW} hits of a search")


class Nearest:
    """Rank the nearest records of queries.

    Args:
        connection: to Elasticsearch.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sizes: dict[str, int] = {}

    def forget(self, name: str) -> None:
        """Forget how large a collection is."""
        self._sizes.pop(name, None)

    def leg(
        self, spec: CollectionSpec, vectors: Vectors, *, window: Window, filter: Query, ef: int | None
    ) -> Leg[list[Found]]:
        """Rank the records in the window, query by query."""
        queries = [_Near(spec, vector, window, filter) for vector in vectors]
        if (yield from self._is_small(spec)):
            return (yield from self._exact(spec.name, queries))
        answers = yield [self._search(query, ef) for query in queries]
        found = [query.found(answer) for query, answer in zip(queries, answers, strict=True)]
        unsure = [at for at, answer in enumerate(answers) if queries[at].may_have_missed(answer)]
        if unsure:
            whole = yield from self._exact(spec.name, [queries[at] for at in unsure])
            for at, each in zip(unsure, whole, strict=True):
                found[at] = each
        return found

    def _is_small(self, spec: CollectionSpec) -> Leg[bool]:
        if spec.index.kind == "flat":
            return True
        if spec.name not in self._sizes:
            [answer] = yield [{"size": 0, "track_total_hits": True}]
            self._sizes[spec.name] = answer["hits"]["total"]["value"]
        return self._sizes[spec.name] * spec.dim <= _EXACT_NUMBERS

    def _exact(self, name: str, queries: Sequence[_Near]) -> Leg[list[Found]]:
        answers = yield [query.body(query.filter) for query in queries]
        for query, answer in zip(queries, answers, strict=True):
            if query.filter == EVERYTHING:
                self._sizes[name] = answer["hits"]["total"]["value"]
        return [query.found(answer) for query, answer in zip(queries, answers, strict=True)]

    def _search(self, query: _Near, ef: int | None) -> Query:
        if query.is_zero:
            return query.body(query.filter)
        depth = query.window.size + query.window.offset
        found = near(self._connection, "vector", query.vector, depth, ef, query.filter)
        if query.spec.metric is Metric.COSINE:
            found = any_of([found, both([_ZERO, query.filter])])
        body = query.body(found)
        return {**body, "aggs": {**body.get("aggs", {}), "worst": {"min": {"script": "_score"}}}}


class _Near:
    """A part of one query's answer."""

    def __init__(self, spec: CollectionSpec, vector: Vectors, window: Window, filter: Query) -> None:
        self.spec = spec
        self.vector = vector
        self.window = window
        self.filter = filter
        self.is_zero = spec.metric is Metric.COSINE and not vector.any()

    def body(self, query: Query) -> dict[str, Any]:
        """Write a search over what `query` matches."""
        if self.is_zero:
            return {**self.window.body(query, BY_ID), "track_total_hits": True}
        scored = exactly(self.spec.metric, "vector", self.vector, query)
        return {**self.window.body(scored), "track_total_hits": True}

    def found(self, answer: Answer) -> Found:
        """Read an answer, its scores as qvec's; searches by id have none, and score 0."""
        found = self.window.found(answer)
        if self.is_zero:
            return found
        scored = [(id, score_of(self.spec.metric, given)) for id, given in found.ranked]
        return Found(sorted(scored, key=lambda each: (-each[1], each[0])), found.documents)

    def may_have_missed(self, answer: Answer) -> bool:
        """Tell whether there were too few candidates, or more of the last hit's score may exist than were looked at."""
        if self.is_zero:
            return False
        found = answer["hits"]
        if found["total"]["value"] < self.window.size + self.window.offset:
            return True
        last = found["hits"][-1]["_score"]
        return bool(answer["aggregations"]["worst"]["value"] >= last * (1 - 1e-6))


def near(
    connection: Connection, field: str, vector: Vector, depth: int, ef: int | None, filter: Query = EVERYTHING
) -> Query:
    """Find candidates by the index over a field."""
    candidates = min(max(ef or DEFAULT_EF, depth * _OVERSAMPLING, depth + _EXTRA), MAX_WINDOW)
    knn: dict[str, object] = {"field": field, "query_vector": vector, "num_candidates": candidates}
    if connection.version >= _K_SINCE:
        knn["k"] = candidates
    if filter != EVERYTHING:
        knn["filter"] = filter
    return {"knn": knn}


def exactly(metric: Metric, field: str, vector: Vector, query: Query) -> Query:
    """Score what a query matches by the vectors as written; `score_of` turns the scores around."""
    script = {"source": _SCRIPTS[metric], "params": {"query": vector, "field": field}}
    return {"script_score": {"query": query, "script": script}}


def score_of(metric: Metric, given: float) -> float:
    """Turn a script's score around."""
    if metric is Metric.COSINE:
        return min(given - 1.0, 1.0)
    if metric is Metric.DOT:
        return given - 1.0 if given >= 1 else 1.0 - 1.0 / given
    return 1.0 - 1.0 / given
