"""How many of the true neighbours a collection's index finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from qvec.adapter import Adapter
from qvec.migrate.copy_job import CopyProgress
from qvec.migrate.verifying import Sample
from qvec.types import Batch, Metric, Vector, Vectors

_QUERIES = 64
_EQUAL = 1e-5


def recall(
    adapter: Adapter, collection: str, *, k: int = 10, progress: Callable[[CopyProgress], None] | None = None
) -> float:
    """Compare the index with an exact search, for a sample of the collection's own vectors; two reads of all of them.

    Args:
        adapter: holds the collection.
        collection: its name.
        k: neighbours a query.
        progress: called after each batch of either read.

    Returns:
        The share of the exact neighbours' places that the index fills; 1 for an empty collection.
    """
    sample: Sample[Vector] = Sample(_QUERIES)
    for batch in _scan(adapter, collection, "sampled for the recall", progress):
        assert batch.vectors is not None
        for document, vector in zip(batch.documents, batch.vectors, strict=True):
            if vector.any():
                sample.offer(document.id, vector.copy())
    queries = np.array(sample.items, np.float32)
    if not len(queries):
        return 1.0
    metric = adapter.describe_collection(collection).metric
    found = [{hit.id for hit in hits} for hits in adapter.search_dense(collection, queries, k=k)]
    best = np.full((len(queries), k), -np.inf)
    scores: list[dict[str, float]] = [{} for _ in queries]
    for batch in _scan(adapter, collection, "searched for the recall", progress):
        assert batch.vectors is not None
        exact = _scores(queries, batch.vectors, metric)
        # A vector of zeros has no direction: whether an index finds it counts for nothing.
        counted = exact if metric is not Metric.COSINE else np.where(batch.vectors.any(axis=1), exact, -np.inf)
        best = -np.sort(-np.hstack([best, counted]), axis=1)[:, :k]
        for at, document in enumerate(batch.documents):
            for query in range(len(queries)):
                if document.id in found[query]:
                    scores[query][document.id] = float(exact[query, at])
    filled = [
        min(1.0, sum(score >= least - _EQUAL for score in held.values()) / int(np.isfinite(row).sum()))
        for held, row in zip(scores, best, strict=True)
        for least in [float(row[np.isfinite(row)].min())]
    ]
    return float(np.mean(filled))


def _scan(
    adapter: Adapter, collection: str, step: str, progress: Callable[[CopyProgress], None] | None
) -> Iterator[Batch]:
    total, read = adapter.count(collection), 0
    for batch in adapter.scan(collection, vectors=True):
        yield batch
        read += len(batch.documents)
        if progress:
            progress(CopyProgress(read, total, step))


def _scores(queries: Vectors, rows: Vectors, metric: Metric) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    left, right = queries.astype(np.float64), rows.astype(np.float64)
    if metric is Metric.L2:
        return np.asarray(-np.sqrt(np.maximum((left**2).sum(1)[:, None] - 2 * left @ right.T + (right**2).sum(1), 0.0)))
    if metric is Metric.COSINE:
        left /= np.linalg.norm(left, axis=1, keepdims=True)
        right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-30)
    return np.asarray(left @ right.T)
