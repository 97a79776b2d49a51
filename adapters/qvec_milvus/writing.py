"""Writing rows in calls of bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qvec.types import Document
from qvec_milvus.schema import Shape

_BYTES = 32 * 2**20


def write(
    client: Any, name: str, shape: Shape, documents: Sequence[Document], rows: Sequence[dict[str, object]]
) -> None:
    """Write the rows of documents."""
    each = 4 * shape.spec.dim + 1024
    start, size = 0, 0
    for end, document in enumerate(documents):
        size += each + 8 * len(document.text)
        if size > _BYTES and end > start:
            client.upsert(name, rows[start:end], partition_name=shape.partition)
            start, size = end, 0
    client.upsert(name, rows[start:], partition_name=shape.partition)
