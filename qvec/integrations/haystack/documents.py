"""Haystack's documents as qvec's records and back, nothing lost but the digits of embeddings beyond float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, cast

from haystack.dataclasses import ByteStream, Document, SparseEmbedding

from qvec import types
from qvec.integrations.metadata import NOTES, notes_of, pack, unpack
from qvec.types import Value, Vector

ID = f"{NOTES}.id"
"""The field of a record that holds the document's id."""
ORDER = f"{NOTES}.order"
"""The field of a record that says when it was written; only this integration sets it."""
NO_VECTOR = f"{NOTES}.no_vector"
"""The field of a record that is there when its document has no embedding."""
CLOCK = f"{NOTES}.clock"
"""The field under which a record's dates stand as a clock on the wall shows them, in one notation that has an order."""
UTC_CLOCK = f"{NOTES}.utc"
"""The field under which those of a record's dates that have a zone stand in UTC."""

_LAST = 2**63 - 1


def to_record(document: Document, order: int) -> types.Document:
    """Write a document as a record.

    Args:
        document: of Haystack.
        order: grows with every document written.

    Raises:
        InvalidInputError: its metadata holds what cannot be kept.
    """
    rest: dict[str, Value] = {}
    if document.blob is not None:
        rest["blob"] = {"data": document.blob.data.hex(), "mime_type": document.blob.mime_type}
        rest["blob_meta"] = pack(document.blob.meta)
    if document.sparse_embedding is not None:
        rest["sparse_embedding"] = document.sparse_embedding.to_dict()
    if document.score is not None:
        rest["score"] = document.score
    if document.content is None:
        rest["content"] = None
    notes: dict[str, Value] = {"id": document.id, "order": order}
    if document.embedding is None:
        notes["no_vector"] = True
    if rest:
        notes["rest"] = [rest]  # in a list, where no database looks for fields to index
    for name, clock in (("clock", on_clock), ("utc", in_utc)):
        moments = _moments(document.meta, clock)
        if moments:
            notes[name] = moments
    return types.Document(document.id, document.content or "", pack(document.meta, notes))


def to_document(record: types.Document, *, score: float | None = None, vector: Vector | None = None) -> Document:
    """Make the document that was written.

    Args:
        record: also one that Haystack did not write.
        score: of a search; None keeps the document's own.
        vector: its embedding, if it is wanted.
    """
    notes = notes_of(record.metadata)
    [rest] = cast("list[Mapping[str, Any]]", notes.get("rest", [{}]))
    blob = rest.get("blob")
    sparse = rest.get("sparse_embedding")
    return Document(
        id=record.id,
        content=record.text if "content" not in rest else None,
        blob=ByteStream(bytes.fromhex(blob["data"]), unpack(rest["blob_meta"]), blob["mime_type"]) if blob else None,
        meta=unpack(record.metadata),
        score=rest.get("score") if score is None else score,
        embedding=None if vector is None or "no_vector" in notes else vector.tolist(),
        sparse_embedding=SparseEmbedding.from_dict(sparse) if sparse else None,
    )


def order_of(record: types.Document) -> tuple[int, str]:
    """Say where a record stands among others: by when it was written, strangers last."""
    order = notes_of(record.metadata).get("order")
    return (order if isinstance(order, int) else _LAST, record.id)


def moment(value: object) -> datetime | None:
    """Read a date, or an ISO 8601 string of one; None for anything else."""
    if isinstance(value, str):
        if len(value) < len("2024-01-01") or value[4] != "-" or value[7] != "-":
            return None
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value
    return datetime.combine(value, time()) if isinstance(value, date) else None


def on_clock(when: datetime) -> str:
    """Write a moment without its zone."""
    return when.replace(tzinfo=None).isoformat(timespec="microseconds")


def in_utc(when: datetime) -> str | None:
    """Write a moment in UTC; None of one without a zone."""
    if when.tzinfo is None:
        return None
    try:
        return on_clock(when.astimezone(UTC))
    except OverflowError:
        return None


def _moments(metadata: Mapping[str, object], clock: Callable[[datetime], str | None]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key, value in metadata.items():
        when = moment(value)
        inner: Value = _moments(value, clock) if isinstance(value, Mapping) else clock(when) if when else None
        if inner:
            found[key] = inner
    return found
