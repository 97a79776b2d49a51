"""From the legs of a search to one list: how deep they are read, what is dropped, grouped and spread out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from qvec.diversity import choose
from qvec.fusion import FusionSpec, fuse, undecided
from qvec.types import Hit, LegName, Metric, Vector

ReadLeg: TypeAlias = Callable[[int], list[Hit]]
"""Depth -> the leg's best hits, as many."""

START = 200
"""How many hits of each leg are read at first; to ask again costs more than to read on (Milvus Lite: two times)."""

GROWTH = 4
WINDOW = 200
"""How deep a leg counts unless told otherwise: a later rank adds less than a quarter of what a first one does."""

DIVERSE = 100
"""Of how many first hits the diverse ones are chosen."""

_HALF = 10.0


def window_for(window: int, wanted: int) -> int:
    """Return how deep the legs are read at most: `window`, doubled until as many hits as `wanted` fit.

    It grows in steps, so that neighbouring pages are cut from one list.
    """
    return window if wanted <= window else window * 2 ** math.ceil(math.log2(wanted / window))


def fused(
    legs: Mapping[LegName, ReadLeg],
    how: FusionSpec,
    *,
    wanted: int,
    window: int,
    whole: bool,
    executor: Executor,
) -> list[Hit]:
    """Fuse legs that are read at the same time, each as deep as it takes.

    Args:
        legs: ways to read; the last one is read in this thread, the others by `executor`.
        how: the fusion. Scores are scaled over the whole window; ranks need no more depth than makes the order certain.
        wanted: how many of the first hits must stand as in the fusion of the whole window.
        window: how deep a leg is read at most.
        whole: read the whole window, whatever the order needs.
        executor: for the other legs.

    Returns:
        The fused hits; beyond the first `wanted` their order may be another than that of the whole window.
    """
    depth = window if whole or how.method != "rrf" else min(window, max(START, wanted))
    found: dict[LegName, list[Hit]] = {name: [] for name in legs}
    ended: set[LegName] = set()
    growing = set(legs)
    while True:
        fresh = _read({name: read for name, read in legs.items() if name in growing}, depth, executor)
        found |= fresh
        ended |= {name for name, hits in fresh.items() if len(hits) < depth or depth >= window}
        hits = fuse(found, how)
        growing = undecided(found, hits, how, wanted=wanted, ended=ended)
        if not growing:
            return hits
        depth = min(window, GROWTH * depth)


def relevance(name: LegName, metric: Metric) -> Callable[[float], float]:
    """Return what brings a single leg's score between 0 and 1.

    Cosine ``max(0, s)``, inner product ``1 / (1 + e^-s)``, L2 distance ``1 / (1 + d)``, BM25 ``s / (s + 10)``.
    """
    if name == "lexical":
        return lambda score: score / (score + _HALF)
    if metric is Metric.COSINE:
        return lambda score: min(1.0, max(0.0, score))
    if metric is Metric.L2:
        return lambda score: 1 / (1 - score)
    return lambda score: 0.5 + 0.5 * math.tanh(score / 2)


def by_source(hits: Sequence[Hit]) -> list[Hit]:
    """Keep the best hit of each source, with the number of hits that it stands for."""
    counts: dict[str, int] = {}
    for hit in hits:
        counts[hit.document.source] = counts.get(hit.document.source, 0) + 1
    kept: dict[str, Hit] = {}
    for hit in hits:
        kept.setdefault(hit.document.source, hit)
    return [replace(hit, chunks=counts[source]) for source, hit in kept.items()]


def spread(
    hits: Sequence[Hit], diversity: float, vectors_of: Callable[[Sequence[str]], Mapping[str, Vector]]
) -> list[Hit]:
    """Order the first `DIVERSE` hits by marginal relevance, their nearness being `Hit.relevance`; the rest follow."""
    head = hits[:DIVERSE]
    vectors = vectors_of([hit.id for hit in head]) if head else {}
    held = [hit for hit in head if hit.id in vectors]
    rest = [hit for hit in head if hit.id not in vectors] + list(hits[DIVERSE:])
    if not held:
        return rest
    nearness = np.array([hit.relevance for hit in held])
    rows = np.stack([vectors[hit.id] for hit in held])
    return [held[at] for at in choose(nearness, rows, k=len(held), balance=1 - diversity)] + rest


def _read(legs: Mapping[LegName, ReadLeg], depth: int, executor: Executor) -> dict[LegName, list[Hit]]:
    *others, last = legs
    waiting = {name: executor.submit(legs[name], depth) for name in others}
    here = legs[last](depth)
    return {**{name: future.result() for name, future in waiting.items()}, last: here}
