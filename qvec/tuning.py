"""Choosing the breadth of an approximate search: recall against exact search, and time, at several values."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qvec.adapter import Adapter
from qvec.collection import Collection
from qvec.errors import InvalidInputError
from qvec.sampling import reservoir
from qvec.types import CollectionSpec, Hit, Metric, Vectors

HNSW_VALUES = (16, 32, 64, 128, 256, 512)
IVF_VALUES = (1, 2, 4, 8, 16, 32, 64)
SAMPLE = 100
TARGET = 0.95
_WORDS = 16
# Chinese has no spaces; this is about as much.
_CHARACTERS = 120
_WARM_UP = 5
_SPARE = 50
# What float16 vectors and sums in another order differ by: within it documents are tied, and either is right.
_TIE = 1e-4


@dataclass(frozen=True, slots=True)
class Measured:
    """What one value reached.

    Attributes:
        ef: HNSW breadth or number of IVF cells; None is the adapter's default.
        recall: mean share of the `k` true nearest that were found.
        worst: the least share of any query.
        p50_ms: the median time of a search, with one query at a time.
        p95_ms: the time that one search in twenty exceeds.
    """

    ef: int | None
    recall: float
    worst: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """The measurements and what follows from them.

    Attributes:
        collection: its name.
        documents: records in it.
        queries: how many were asked.
        k: hits a query.
        target: recall that was asked for.
        rows: the default first, then values in ascending order, up to the first with every hit found.
        recommended: the least value that reaches the target, else the best; None: keep the default, for no value does
            anything, as where the database searches exactly.
        reached: whether it reaches the target.
    """

    collection: str
    documents: int
    queries: int
    k: int
    target: float
    rows: tuple[Measured, ...]
    recommended: int | None
    reached: bool


def tune(
    collection: Collection,
    *,
    queries: Sequence[str] | None = None,
    k: int = 10,
    sample: int = SAMPLE,
    target: float = TARGET,
    values: Sequence[int] | None = None,
    seed: int = 0,
    progress: Callable[[Measured], None] | None = None,
) -> Tuning:
    """Measure a collection's dense search at several breadths; nothing is written.

    All vectors are read once to find the true nearest, in constant memory.

    Args:
        collection: with documents in it.
        queries: texts to ask; None takes the first words of documents chosen by `seed`.
        k: hits a query.
        sample: how many documents give a query.
        target: mean recall wanted, above 0 and up to 1.
        values: to try; None takes those that suit the index.
        seed: of the sample.
        progress: called with each measurement.

    Returns:
        The table and the recommendation.

    Raises:
        InvalidInputError: an argument out of range, or a collection without any text to ask for.
        CollectionNotFoundError: the collection is not there.
    """
    if k < 1 or sample < 1 or not 0 < target <= 1 or (values is not None and min(values, default=0) < 1):
        raise InvalidInputError(
            f"k={k}, sample={sample}, target={target}, values={values}: all above 0, target up to 1"
        )
    spec = collection.describe()
    asked = list(queries) if queries is not None else _sampled(collection.adapter, spec.name, sample, seed)
    if not asked:
        raise InvalidInputError(f"{spec.name} gives no queries: it is empty, or give queries")
    rows = collection.embedder.encode_query(asked)
    truth = nearest(collection.adapter, spec, rows, k)
    found: list[Measured] = []
    for ef in (None, *sorted(set(values or _values(spec, k)))):
        found.append(_measured(collection.adapter, spec.name, rows, truth, k, ef))
        if progress is not None:
            progress(found[-1])
        if ef is not None and found[-1].recall == 1.0:
            break
    best, reached = _choice(found, target)
    return Tuning(spec.name, collection.count(), len(asked), k, target, tuple(found), best, reached)


@dataclass(frozen=True, slots=True)
class Nearest:
    """The true answer to one query.

    Attributes:
        count: hits that there are to find.
        ids: of the documents that may be among them, ties included, but for more ties than are kept.
        least: the score of the last of them.
    """

    count: int
    ids: frozenset[str]
    least: float

    def has(self, hit: Hit) -> bool:
        """Whether a hit is right: one of these, or tied with the last."""
        return hit.id in self.ids or abs(hit.score - self.least) <= _TIE


def nearest(adapter: Adapter, spec: CollectionSpec, queries: Vectors, k: int) -> list[Nearest]:
    """Find the `k` true nearest of each query, or all of a smaller collection, by reading every vector."""
    kept: list[list[tuple[float, str]]] = [[] for _ in queries]
    for ids, vectors in _vectors(adapter, spec.name):
        scores = _scores(queries, vectors, spec.metric)
        width = min(k + _SPARE, scores.shape[1])
        best = np.argpartition(-scores, width - 1, axis=1)[:, :width]
        for query, columns in enumerate(best):
            kept[query] += [(float(scores[query, column]), ids[column]) for column in columns]
            kept[query] = sorted(kept[query], key=lambda pair: (-pair[0], pair[1]))[: k + _SPARE]
    return [_nearest(pairs, k) for pairs in kept]


def _nearest(pairs: Sequence[tuple[float, str]], k: int) -> Nearest:
    count = min(k, len(pairs))
    last = pairs[count - 1][0] if pairs else 0.0
    return Nearest(count, frozenset(identity for score, identity in pairs if score >= last - _TIE), last)


def _vectors(adapter: Adapter, name: str) -> Iterator[tuple[list[str], Vectors]]:
    for batch in adapter.scan(name, vectors=True):
        if batch.vectors is not None and batch.documents:
            yield [document.id for document in batch.documents], batch.vectors


def _scores(queries: Vectors, vectors: Vectors, metric: Metric) -> Vectors:
    """Compare all with all, on the scale that every adapter's scores have."""
    inner = queries @ vectors.T
    if metric is Metric.DOT:
        return np.asarray(inner, dtype=np.float32)
    rows, columns = (np.einsum("ij,ij->i", each, each) for each in (queries, vectors))
    if metric is Metric.COSINE:
        return np.asarray(inner / np.maximum(np.sqrt(np.outer(rows, columns)), 1e-12), dtype=np.float32)
    return np.asarray(-np.sqrt(np.maximum(rows[:, None] - 2 * inner + columns, 0)), dtype=np.float32)


def _sampled(adapter: Adapter, name: str, sample: int, seed: int) -> list[str]:
    """Take the first words of some documents, every one as likely as another."""
    documents = (each for batch in adapter.scan(name) for each in sorted(batch.documents, key=lambda each: each.id))
    texts = (document.searchable_text.split() for document in documents)
    queries = (" ".join(words[:_WORDS])[:_CHARACTERS] for words in texts if words)
    return reservoir(queries, sample, random.Random(seed))


def _values(spec: CollectionSpec, k: int) -> Sequence[int]:
    if spec.index.kind == "flat":
        return ()
    return IVF_VALUES if spec.index.kind == "ivf" else [value for value in HNSW_VALUES if value >= k]


def _measured(
    adapter: Adapter, name: str, queries: Vectors, truth: Sequence[Nearest], k: int, ef: int | None
) -> Measured:
    for row in queries[:_WARM_UP]:
        adapter.search_dense(name, row[None], k=k, ef=ef)
    times, shares = [], []
    for row, true in zip(queries, truth, strict=True):
        started = time.perf_counter()
        hits = adapter.search_dense(name, row[None], k=k, ef=ef)[0]
        times.append(1000 * (time.perf_counter() - started))
        shares.append(sum(map(true.has, hits)) / max(1, true.count))
    p50, p95 = np.percentile(times, [50, 95])
    return Measured(ef, float(np.mean(shares)), min(shares), float(p50), float(p95))


def _choice(found: Sequence[Measured], target: float) -> tuple[int | None, bool]:
    default, tried = found[0], found[1:]
    if not tried or (tried[0].recall == default.recall == 1.0):
        return None, default.recall >= target
    enough = next((row for row in tried if row.recall >= target), None)
    best = enough or max(tried, key=lambda row: row.recall)
    return best.ef, enough is not None
