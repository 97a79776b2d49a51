"""What is loaded and asked: chunks of the running Python's standard library, and seeded vectors in clusters."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from qvec.code import documents_from_path
from qvec.types import Document, Vectors


@dataclass(frozen=True, slots=True)
class Data:
    """Documents with a vector each, and queries."""

    documents: list[Document]
    vectors: Vectors
    queries: Vectors


def make(count: int, dim: int, seed: int, queries: int = 200) -> Data:
    """Cut the standard library into documents, again and again for a large `count`; draw vectors around 100 centres."""
    chunks = [
        item
        for item in documents_from_path(Path(sysconfig.get_path("stdlib")), exclude=["test/", "site-packages/"])
        if isinstance(item, Document)
    ]
    rounds = ((number, chunk) for number in range(count // len(chunks) + 1) for chunk in chunks)
    documents = [
        Document(f"{chunk.id}@{number}", chunk.text, {**chunk.metadata, "part": place % 100}, chunk.source)
        for place, (number, chunk) in enumerate(islice(rounds, count))
    ]
    random = np.random.default_rng(seed)
    centres = random.normal(size=(100, dim))
    drawn = centres[random.integers(0, 100, count + queries)] + random.normal(size=(count + queries, dim))
    unit = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return Data(documents, unit[:count], unit[count:])
