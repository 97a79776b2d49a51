"""Choosing answers that are near the query and unlike each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qvec.errors import InvalidInputError
from qvec.types import Vector, Vectors


def marginal_relevance(query: Vector, candidates: Vectors, *, k: int, balance: float) -> list[int]:
    """Choose rows by maximal marginal relevance under cosine (Carbonell and Goldstein 1998).

    Args:
        query: of shape ``(dim,)``.
        candidates: ``(n, dim)``, best first.
        k: how many to choose; fewer come back when there are fewer.
        balance: 1 asks for nearness alone, 0 for difference alone.

    Returns:
        Positions of the chosen rows, in the order of their choice; ties go to the earlier row.

    Raises:
        InvalidInputError: `balance` outside 0..1.
    """
    rows = _unit(candidates)
    return choose(rows @ _unit(query[None])[0], candidates, k=k, balance=balance)


def choose(nearness: NDArray[np.float64], candidates: Vectors, *, k: int, balance: float) -> list[int]:
    """Choose rows by maximal marginal relevance, their nearness to the query given.

    Args:
        nearness: of each row, of shape ``(n,)``.
        candidates: ``(n, dim)``, best first; their likeness is their cosine.
        k: how many to choose; fewer come back when there are fewer.
        balance: 1 asks for nearness alone, 0 for difference alone.

    Returns:
        Positions of the chosen rows, in the order of their choice: a smaller `k` gives the beginning of a larger one's.
        Ties go to the earlier row.

    Raises:
        InvalidInputError: `balance` outside 0..1.
    """
    if not 0 <= balance <= 1:
        raise InvalidInputError(f"the balance of nearness and difference is {balance}: takes 0 to 1")
    rows = _unit(candidates)
    likeness = np.full(len(rows), -np.inf)
    chosen: list[int] = []
    while len(chosen) < min(k, len(rows)):
        gain = nearness if not chosen else balance * nearness - (1 - balance) * likeness
        gain = gain.copy()
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        likeness = np.maximum(likeness, rows @ rows[best])
    return chosen


def _unit(rows: Vectors) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(lengths == 0, 1.0, lengths)).reshape(rows.shape[0], rows.shape[1])
