"""Vectors that another program made: carried when they are those of the model that the user says made them."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np

from qvec.embedder import Embedder
from qvec.errors import InvalidInputError
from qvec.migrate.source import Source
from qvec.passport import passport_of
from qvec.types import CollectionSpec, Metric, Vector

SAMPLE = 16
_ALIKE = 0.999
"""Cosine of a vector with the one made anew; halfvec and other numerics cost less."""


def read_vector(value: object) -> Vector | None:
    """Read a vector from what a column holds: pgvector's text, JSON, a list, or bytes of float32.

    Raises:
        InvalidInputError: it is none of these.
    """
    if value is None:
        return None
    try:
        if isinstance(value, bytes | bytearray | memoryview):
            return np.frombuffer(bytes(value), "<f4").astype(np.float32)
        found = np.asarray(json.loads(value) if isinstance(value, str) else value, np.float32)
    except (ValueError, TypeError) as exc:
        raise InvalidInputError(f"its vector cannot be read: {exc}") from exc
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        raise InvalidInputError("its vector is not a list of finite numbers")
    return found


def stated_spec(source: Source, embedder: Embedder) -> CollectionSpec | None:
    """Believe that a model made a source's vectors when those of its first rows are what the model makes.

    Args:
        source: has vectors.
        embedder: the model that the user names.

    Returns:
        The shape with the model's passport; None when the vectors are another model's, so that they are made anew.
    """
    rows = [record for record in islice(source.records(), SAMPLE) if record.document is not None]
    texts = [record.document.text for record in rows if record.document is not None]
    vectors = [record.vector for record in rows]
    if not rows or any(vector is None or vector.shape != (embedder.dim,) for vector in vectors):
        return None
    held = np.stack([vector for vector in vectors if vector is not None])
    made = np.asarray(embedder.encode_document(texts), np.float32)
    lengths = np.linalg.norm(held, axis=1) * np.linalg.norm(made, axis=1)
    if (np.einsum("ij,ij->i", held, made) < _ALIKE * lengths).any():
        return None
    metric = source.spec.metric if source.spec else Metric.COSINE
    return CollectionSpec(source.name, embedder.dim, metric, passport=passport_of(embedder))
