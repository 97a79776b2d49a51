"""Reranking as a stage behind the fusion: the head of the list in a new order, within a budget, the rest behind it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from qvec.errors import InvalidInputError
from qvec.reranker import Relevance, Reranker
from qvec.types import Hit, Leg

DEPTH = 50
"""How many hits are reranked when the caller does not say."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What reranking one query may cost.

    Attributes:
        depth: hits that are scored at most.
        tokens: tokens that are read at most, the query and the template counted for each hit; None: no limit.
        seconds: time that it takes at most, counting included; None: no limit.
    """

    depth: int = DEPTH
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.depth < 1 or (self.tokens is not None and self.tokens < 1):
            raise InvalidInputError(f"rerank_depth={self.depth}, rerank_tokens={self.tokens}: both start at 1")
        if self.seconds is not None and not self.seconds > 0:
            raise InvalidInputError(f"rerank_seconds={self.seconds}: takes more than 0")


def rerank(
    reranker: Reranker, query: str, hits: Sequence[Hit], budget: Budget, *, instruction: str | None = None
) -> list[Hit]:
    """Bring hits into the order of a reranker's scores, ties in the order they came in.

    What was not scored stands behind, in the order it came in and with the score it came with; the note of its last leg
    says why. The token budget goes to the hits in their order and ends at the first that it does not hold.

    Args:
        reranker: the model.
        query: the query.
        hits: best first.
        budget: what it may cost.
        instruction: handed to a reranker that takes one.

    Returns:
        The same hits, each with a last leg ``"rerank"``.

    Raises:
        InvalidInputError: the instruction names nothing.
        EmbeddingError: the model failed, or its server gave no scores.
    """
    started = time.monotonic()
    head = hits[: budget.depth]
    texts = [hit.document.searchable_text for hit in head]
    task = instruction if reranker.takes_instructions else None
    held = len(texts)
    if budget.tokens is not None:
        sizes = accumulate(reranker.count_tokens(query, texts, instruction=task))
        held = sum(size <= budget.tokens for size in sizes)
    left = None if budget.seconds is None else max(0.0, budget.seconds - (time.monotonic() - started))
    found = reranker.score(query, texts[:held], instruction=task, seconds=left) if held else []
    found += [Relevance(None, f"not scored: over the budget of {budget.tokens} tokens")] * (len(head) - held)
    found += [Relevance(None, f"not scored: below the first {budget.depth} hits")] * (len(hits) - len(head))
    order = sorted(range(len(hits)), key=lambda at: _behind(found[at].score))
    return [_told(hits[at], rank, found[at]) for rank, at in enumerate(order, 1)]


def _behind(score: float | None) -> tuple[bool, float]:
    return score is None, -(score or 0.0)


def _told(hit: Hit, rank: int, found: Relevance) -> Hit:
    score = 0.0 if found.score is None else found.score
    leg = Leg("rerank", rank, score, score, found.note)
    return replace(hit, score=hit.score if found.score is None else score, legs=(*hit.legs, leg))
