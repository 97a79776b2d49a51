"""Documents by what the user calls them: a document that was cut is all of its parts."""

from __future__ import annotations

from collections.abc import Sequence

from qvec.adapter import Adapter
from qvec.filters import Filter
from qvec.types import Document


def read(adapter: Adapter, name: str, ids: Sequence[str]) -> list[Document]:
    """Return documents in the caller's order; one that was cut comes as its parts; unknown ids are skipped."""
    found = {document.id: document for document in adapter.get(name, ids)}
    missing = [identity for identity in ids if identity not in found]
    parts: dict[str, list[Document]] = {}
    if missing:
        for part in adapter.get(name, list(adapter.digests(name, missing))):
            parts.setdefault(part.source, []).append(part)
    return [
        document
        for identity in ids
        for document in ([found[identity]] if identity in found else _in_order(parts.get(identity, [])))
    ]


def delete(adapter: Adapter, name: str, ids: Sequence[str]) -> int:
    """Delete documents with all their parts, by id or source; return how many records went."""
    known = {document.id for document in adapter.get(name, ids)}
    records = sorted(known | set(adapter.digests(name, ids)))
    adapter.delete(name, records)
    adapter.refresh(name)
    return len(records)


def delete_matching(adapter: Adapter, name: str, condition: Filter | None) -> int:
    """Delete what a filter matches; return how many records went."""
    gone = 0
    for batch in adapter.scan(name, filter=condition):
        adapter.delete(name, [document.id for document in batch.documents])
        gone += len(batch.documents)
    adapter.refresh(name)
    return gone


def _in_order(parts: list[Document]) -> list[Document]:
    return sorted(parts, key=lambda part: (len(part.id), part.id))
