"""The fusion of both legs by seq and score: documents are read for the fused page alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import numpy as np

from qvec.fusion import FusionSpec, standings
from qvec.types import Hit, LegName
from qvec_faiss import rows


def fused(
    connection: sqlite3.Connection,
    number: int,
    legs: Mapping[LegName, Sequence[tuple[int, float]]],
    how: FusionSpec,
    *,
    k: int,
    offset: int,
) -> list[Hit]:
    """Fuse ranked seqs and read the documents of one page; what has gone meanwhile is left out."""
    seqs = sorted({seq for ranked in legs.values() for seq, _ in ranked})
    ids = rows.ids_of(connection, number, np.array(seqs, np.int64))
    scored = {name: [(ids[seq], score) for seq, score in ranked if seq in ids] for name, ranked in legs.items()}
    page = standings(scored, how, first=offset + k)[offset:]
    documents = rows.by_id(connection, number, [each.id for each in page])
    return [
        Hit(documents[each.id], each.score, each.legs, relevance=each.relevance)
        for each in page
        if each.id in documents
    ]
