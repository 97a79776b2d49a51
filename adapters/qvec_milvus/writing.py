"""Writing rows in calls of bounded size, each on its way while the next is being made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from functools import partial

from qvec.types import Document
from qvec_milvus.connection import Connection
from qvec_milvus.schema import Row, Shape, add_keywords

_BYTES = 32 * 2**20
_AT_ONCE = 512
"""So many documents a server gets in one call: few enough that it works while the next are made ready."""


def write(
    connection: Connection, name: str, shape: Shape, documents: Sequence[Document], rows: Sequence[Row], by: Executor
) -> None:
    """Write the rows of documents, in order; those for a server get their keywords here."""
    most = len(rows) if connection.is_lite else _AT_ONCE
    under_way: Future[object] | None = None
    with connection.use() as client:
        send = partial(client.upsert, name, partition_name=shape.partition)
        try:
            for part in _parts(documents, 4 * shape.spec.dim + 1024, most):
                some = rows[part]
                if not connection.is_lite:
                    add_keywords(some, documents[part], shape)
                if under_way is not None:
                    under_way.result()
                under_way = by.submit(send, some)
        finally:
            if under_way is not None:
                wait([under_way])
        if under_way is not None:
            under_way.result()


def _parts(documents: Sequence[Document], each: int, most: int) -> Iterator[slice]:
    """Cut documents into runs of `most` or of 32 MB; `each` is what any takes beside its text."""
    start, size = 0, 0
    for end, document in enumerate(documents):
        size += each + 8 * len(document.text)
        if end > start and (size > _BYTES or end - start >= most):
            yield slice(start, end)
            start, size = end, each + 8 * len(document.text)
    if documents:
        yield slice(start, len(documents))
