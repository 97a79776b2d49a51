"""Searches that go together: what several legs ask for at the same time travels in one request."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from qvec.errors import QvecError
from qvec.types import Document
from qvec_elasticsearch.connection import Connection
from qvec_elasticsearch.errors import fault
from qvec_elasticsearch.filters import Query
from qvec_elasticsearch.reading import Answer, answers_of
from qvec_elasticsearch.rows import READ, document

Result = TypeVar("Result")
Leg: TypeAlias = Generator[list[Query], list[Answer], Result]
"""A way to a result: yields the searches of one trip, is sent their answers, and yields again or returns."""

BY_RANK = [{"_score": "desc"}, {"id": "asc"}]
BY_ID = [{"id": "asc"}]
MOST_TOP = 100
"""``index.max_inner_result_window``: so many hits ``top_hits`` gives."""


@dataclass(slots=True)
class Found:
    """What a leg found for one query.

    Attributes:
        ranked: ids and scores, best first, ties by id.
        documents: of the first hits, or of all.
    """

    ranked: list[tuple[str, float]] = field(default_factory=list)
    documents: dict[str, Document] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Window:
    """Which hits are wanted, and of how many of them the documents.

    Reading 200 documents takes a node as long as finding them: a fusion of two such lists shows ten.
    """

    size: int
    offset: int = 0
    documents: int | None = None

    def body(self, query: Query, sort: Sequence[Mapping[str, str]] = BY_RANK) -> dict[str, Any]:
        """Write a search over what `query` matches."""
        given: dict[str, Any] = {"query": query, "sort": sort, "from": self.offset, "size": self.size}
        if self.documents is None:
            return {**given, "_source": READ}
        top = {"top_hits": {"size": min(self.documents, MOST_TOP), "_source": READ, "sort": sort}}
        return {**given, "_source": False, "stored_fields": "_none_", "aggs": {"top": top}}

    def found(self, answer: Answer) -> Found:
        """Read an answer; a hit's last sort value is its id."""
        hits = answer["hits"]["hits"]
        ranked = [(hit["sort"][-1], float(hit["_score"] or 0.0)) for hit in hits]
        read = hits if self.documents is None else answer["aggregations"]["top"]["hits"]["hits"]
        return Found(ranked, {hit["_id"]: document(hit) for hit in read})


def together(connection: Connection, name: str, legs: Sequence[Leg[Result]]) -> list[Result]:
    """Walk legs side by side, each trip one request; the number of trips is that of the leg with the most.

    Raises:
        QvecError: what the server says of a leg's searches, unless the leg knows what to do.
    """
    results: dict[int, Result] = {}
    waiting: dict[int, list[Query]] = {}

    def step(at: int, answers: list[Answer] | None, error: QvecError | None = None) -> None:
        try:
            leg = legs[at]
            waiting[at] = leg.throw(error) if error else leg.send(answers) if answers is not None else next(leg)
        except StopIteration as end:
            results[at] = end.value

    for at in range(len(legs)):
        step(at, None)
    while waiting:
        asked, waiting = waiting, {}
        answers = iter(answers_of(connection, name, [search for searches in asked.values() for search in searches]))
        for at, searches in asked.items():
            own = [next(answers) for _ in searches]
            failed = next((each for each in own if "error" in each), None)
            if failed is None:
                step(at, own)
            else:
                step(at, None, fault(failed["error"], failed.get("status", 0), connection.place, name))
    return [results[at] for at in range(len(legs))]
