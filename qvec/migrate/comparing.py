"""Comparing a target with what its copy's journal says was written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qvec.adapter import Adapter
from qvec.documents import content_digest
from qvec.migrate.copy_job import CopyProgress
from qvec.migrate.errors import VerificationError
from qvec.migrate.journal import Journal
from qvec.types import Metric, Vector

# halfvec keeps 11 bits of each number; a cosine collection may be kept normalised.
_TOLERANCE = 2e-3


def compare(
    adapter: Adapter,
    collection: str,
    journal: Journal,
    *,
    is_ours: bool,
    progress: Callable[[CopyProgress], None] | None = None,
) -> int:
    """Compare every record's id and digest, and a sample's text, metadata and vector.

    Args:
        adapter: holds the collection.
        collection: its name.
        journal: of the copy.
        is_ours: the copy made the collection, so that it holds nothing else.
        progress: called after each batch.

    Returns:
        How many records' texts and vectors were compared.

    Raises:
        VerificationError: it names what is missing, what differs and what is too many.
    """
    missing: list[str] = []
    different: dict[str, str] = {}
    written, read = journal.count("records"), 0
    for rows in journal.records():
        held = adapter.digests(collection, sorted({source for _, source, _ in rows}))
        for identity, _, digest in rows:
            if identity not in held:
                missing.append(identity)
            elif held[identity] != digest:
                different[identity] = "digest"
        read += len(rows)
        if progress:
            progress(CopyProgress(read, written, "compared"))
    sampled = _compare_sample(adapter, collection, journal, set(missing), different)
    extra: list[str] = []
    if is_ours and adapter.count(collection) != written - len(missing):
        for batch in adapter.scan(collection):
            ids = [document.id for document in batch.documents]
            extra += sorted(set(ids) - journal.written(ids))
    if missing or different or extra:
        raise VerificationError(collection, missing=missing, different=different, extra=extra)
    return sampled


def _compare_sample(
    adapter: Adapter, collection: str, journal: Journal, missing: set[str], different: dict[str, str]
) -> int:
    sample = [item for item in journal.sample() if item.id not in missing]
    ids = [item.id for item in sample]
    documents = {document.id: document for document in adapter.get(collection, ids)}
    vectors = adapter.get_vectors(collection, ids)
    metric = adapter.describe_collection(collection).metric
    for item in sample:
        if content_digest(documents[item.id]) != item.digest:
            different[item.id] = "text or metadata"
        elif not _same(vectors[item.id], item.vector, metric):
            different[item.id] = "vector"
    return len(sample)


def _same(held: Vector, written: Vector, metric: Metric) -> bool:
    if metric is Metric.COSINE:
        held, written = _unit(held), _unit(written)
    return bool(np.allclose(held, written, rtol=_TOLERANCE, atol=_TOLERANCE * float(np.abs(written).max(initial=0.0))))


def _unit(vector: Vector) -> Vector:
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector
