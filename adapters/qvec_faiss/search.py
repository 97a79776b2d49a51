"""The dense leg: exact over the mirror's vectors, or by the index with an exact look at what is not in it yet."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qvec.types import Metric, Vectors
from qvec_faiss.mirror import Ints

Ranked = list[tuple[int, float]]
_TIE = 1e-5
_SPLIT = 2.0 ** (53 - 18) + 1


def exact(
    queries: Vectors,
    rows: Vectors,
    seqs: Ints,
    k: int,
    metric: Metric,
    ids_of: Callable[[Ints], dict[int, str]],
) -> list[Ranked]:
    """Rank all rows for each query: best first, ties by id, the cut made after the ties are in order.

    Args:
        queries: ``(n, dim)``, prepared.
        rows: ``(m, dim)``, prepared.
        seqs: of the rows.
        k: how many to keep.
        metric: of the collection.
        ids_of: looks up the ids of seqs, to break ties.
    """
    if not len(rows):
        return [[] for _ in queries]
    rough = queries @ rows.T
    if metric is Metric.L2:
        rough = -(np.einsum("ij,ij->i", rows, rows)[None, :] - 2 * rough)
    found: list[Ranked] = []
    for query, scores in zip(queries, rough, strict=True):
        near = _nearest(scores, k)
        precise = score(query, rows[near], metric)
        found.append(in_order(seqs[near], precise, k, ids_of))
    return found


def score(query: Vectors, rows: Vectors, metric: Metric) -> NDArray[np.float64]:
    """Score rows one by one in double precision, so that equal rows get equal scores."""
    if metric is Metric.L2:
        return np.asarray(-np.sqrt(np.square(rows.astype(np.float64) - query).sum(axis=1)), np.float64)
    return np.asarray((rows.astype(np.float64) * query).sum(axis=1), np.float64)


def in_order(seqs: Ints, scores: NDArray[np.float64], k: int, ids_of: Callable[[Ints], dict[int, str]]) -> Ranked:
    """Order by score, then id, and cut; ids are looked up only where scores are equal."""
    order = np.argsort(-scores, kind="stable")
    if len(order) > k:
        order = order[: np.searchsorted(-scores[order], -scores[order[k - 1]], side="right")]
    return _settled(list(zip(seqs[order].tolist(), scores[order].tolist(), strict=True)), k, ids_of)


def best_first(
    seqs: Ints, scores: NDArray[np.float32], k: int, metric: Metric, ids_of: Callable[[Ints], dict[int, str]]
) -> Ranked:
    """Cut what FAISS found, in its order, to the best `k`, ties by id; a loop over a few is quicker than numpy here."""
    pairs: Ranked = []
    given = scores.tolist()
    if metric is Metric.L2:
        given = [-math.sqrt(max(square, 0.0)) for square in given]
    for seq, rough in zip(seqs.tolist(), given, strict=True):
        value = _rounded(rough)
        if len(pairs) >= k and value < pairs[-1][1]:
            break
        pairs.append((seq, value))
    return _settled(pairs, k, ids_of)


def _rounded(score: float) -> float:
    """Round to 18 bits, five digits (Dekker 1971): equal vectors may differ in a float32's last bit."""
    spread = score * _SPLIT
    return spread - (spread - score) if math.isfinite(spread) else score


def _settled(pairs: Ranked, k: int, ids_of: Callable[[Ints], dict[int, str]]) -> Ranked:
    if len({value for _, value in pairs}) < len(pairs):
        ids = ids_of(np.array([seq for seq, _ in pairs], np.int64))
        pairs = sorted((pair for pair in pairs if pair[0] in ids), key=lambda pair: (-pair[1], ids[pair[0]]))
    return pairs[:k]


def _nearest(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The best `k`, and whatever rounding may have kept from being one of them."""
    if k >= len(scores):
        return np.arange(len(scores))
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= kth - _TIE * max(1.0, abs(float(kth))))
