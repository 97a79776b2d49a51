"""Both legs fused by the core.

Milvus' own ``hybrid_search`` is one trip and tells a hit's fused score alone: not its rank and score in each leg, which
every hit of qvec's accounts for; and before 2.5, and on Lite, the keyword leg is no search of Milvus'. So both legs are
asked at the same time, for ids, and the documents of the page are read. Lite is Python in this process, where a second
thread waits for the first: there the legs follow one another.
"""

from __future__ import annotations

from collections.abc import Sequence

from qvec.fusion import FusionSpec, Standing, standings
from qvec.types import Hit
from qvec_milvus.legs import Found, Legs


def hits_of(legs: Legs, name: str, found: Sequence[Found], *, offset: int) -> list[list[Hit]]:
    """Give the hits of a single leg, after `offset`."""
    pages = [each.ranked[offset:] for each in found]
    came = {id: document for each in found for id, document in each.documents.items()}
    documents = came | legs.documents(name, [id for page in pages for id, _ in page if id not in came])
    return [[Hit(documents[id], score) for id, score in page if id in documents] for page in pages]


def fused(
    legs: Legs, name: str, lexical: Sequence[Found], dense: Sequence[Found], how: FusionSpec, *, k: int, offset: int
) -> list[list[Hit]]:
    """Fuse query by query, and read the documents of the pages."""
    pages: list[list[Standing]] = [
        standings({"lexical": words.ranked, "dense": near.ranked}, how, first=offset + k)[offset:]
        for words, near in zip(lexical, dense, strict=True)
    ]
    came = {id: document for each in (*lexical, *dense) for id, document in each.documents.items()}
    documents = came | legs.documents(name, [each.id for page in pages for each in page if each.id not in came])
    return [
        [
            Hit(documents[each.id], each.score, each.legs, relevance=each.relevance)
            for each in page
            if each.id in documents
        ]
        for page in pages
    ]
