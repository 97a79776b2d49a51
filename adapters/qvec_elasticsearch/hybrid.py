"""Both legs in one request, fused by the core; the documents of their first hits come with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qvec.fusion import FusionSpec, Standing, standings
from qvec.types import Document, Hit
from qvec_elasticsearch.connection import Connection
from qvec_elasticsearch.reading import by_id
from qvec_elasticsearch.trips import Found


def hits_of(connection: Connection, name: str, found: Sequence[Found]) -> list[list[Hit]]:
    """Give the hits of a single leg."""
    missing = [id for each in found for id, _ in each.ranked if id not in each.documents]
    read = by_id(connection, name, missing)
    return [
        [
            Hit(document, score)
            for id, score in each.ranked
            if (document := each.documents.get(id) or read.get(id)) is not None
        ]
        for each in found
    ]


def fused(
    connection: Connection,
    name: str,
    lexical: Sequence[Found],
    dense: Sequence[Found],
    how: FusionSpec,
    *,
    k: int,
    offset: int,
) -> list[list[Hit]]:
    """Fuse query by query; those of the pages' documents that did not come with the legs are read together."""
    pages = [
        standings({"lexical": words.ranked, "dense": near.ranked}, how, first=offset + k)[offset:]
        for words, near in zip(lexical, dense, strict=True)
    ]
    came = {id: document for each in (*lexical, *dense) for id, document in each.documents.items()}
    missing = [each.id for page in pages for each in page if each.id not in came]
    documents = came | by_id(connection, name, missing)
    return [_hits(page, documents) for page in pages]


def _hits(page: Sequence[Standing], documents: Mapping[str, Document]) -> list[Hit]:
    return [
        Hit(documents[each.id], each.score, each.legs, relevance=each.relevance)
        for each in page
        if each.id in documents
    ]
