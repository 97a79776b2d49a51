"""The fusion of both legs by seq and score: documents are read for the fused page alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from qvec.fusion import FusionSpec, fuse
from qvec.types import Document, Hit, LegName
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
    nameless: dict[LegName, list[Hit]] = {
        name: [Hit(Document(ids[seq], ""), score) for seq, score in ranked if seq in ids]
        for name, ranked in legs.items()
    }
    page = fuse(nameless, how)[offset : offset + k]
    documents = rows.by_id(connection, number, [hit.id for hit in page])
    return [replace(hit, document=documents[hit.id]) for hit in page if hit.id in documents]
