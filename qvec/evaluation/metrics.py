"""recall@k, ndcg@k and mrr@k of a run against judgements, as trec_eval and ranx define them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from qvec.errors import InvalidInputError

Grades: TypeAlias = Mapping[str, int]
Qrels: TypeAlias = Mapping[str, Grades]
"""Query id -> document id -> grade; a document is relevant from grade 1 on."""
Run: TypeAlias = Mapping[str, Sequence[str]]
"""Query id -> document ids, best first, each once."""


def recall(ranked: Sequence[str], grades: Grades, k: int) -> float:
    """Return the share of the relevant documents that are among the first `k`."""
    relevant = {document for document, grade in grades.items() if grade > 0}
    return len(relevant.intersection(ranked[:k])) / len(relevant)


def ndcg(ranked: Sequence[str], grades: Grades, k: int) -> float:
    """Return the discounted gain of the first `k` over the best possible (Järvelin and Kekäläinen 2002).

    The gain is the grade, not two to its power; the discount is log2(rank + 1).
    """
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
    return _gain([max(0, grades.get(document, 0)) for document in ranked[:k]]) / _gain(ideal[:k])


def mrr(ranked: Sequence[str], grades: Grades, k: int) -> float:
    """Return one over the rank of the first relevant document, 0 when none is among the first `k`."""
    ranks = (rank for rank, document in enumerate(ranked[:k], 1) if grades.get(document, 0) > 0)
    return 1.0 / next(ranks, math.inf)


METRICS: Mapping[str, Callable[[Sequence[str], Grades, int], float]] = {"recall": recall, "ndcg": ndcg, "mrr": mrr}


def measure(run: Run, qrels: Qrels, ks: Iterable[int]) -> dict[str, float]:
    """Average every metric at every `k` over the queries that have a relevant document.

    A query that the run does not answer counts 0; one without a relevant document is left out.

    Returns:
        ``"recall@10"``, ``"ndcg@10"``, ``"mrr@10"`` ... -> figure.

    Raises:
        InvalidInputError: a `k` below 1, no query with a relevant document, or a document twice in one ranking.
    """
    depths = list(ks)
    if not depths or min(depths) < 1:
        raise InvalidInputError(f"k={depths}: takes numbers from 1")
    judged = judged_queries(qrels)
    if not judged:
        raise InvalidInputError("no query has a relevant document: are these the judgements of these queries?")
    for query in judged:
        if len(set(run.get(query, ()))) < len(run.get(query, ())):
            raise InvalidInputError(f"the run names a document twice for query {query!r}")
    return {
        f"{name}@{k}": math.fsum(metric(run.get(query, ()), qrels[query], k) for query in judged) / len(judged)
        for k in depths
        for name, metric in METRICS.items()
    }


def judged_queries(qrels: Qrels) -> list[str]:
    """Name the queries that have a relevant document."""
    return [query for query, grades in qrels.items() if any(grade > 0 for grade in grades.values())]


def _gain(grades: Sequence[int]) -> float:
    return math.fsum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))
