"""The first stage of indexing: read documents, find what is new or changed, make it ready to be embedded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from qvec.adapter import Adapter
from qvec.documents import DocumentLike, content_digest, part_id, to_document, whole_id
from qvec.embedder import Embedder
from qvec.errors import InvalidInputError, QvecError
from qvec.long_text import LongText, LongTextRule, Prepared
from qvec.seen import Seen
from qvec.types import Document

WINDOW = 512
_Read = tuple[Document, str, str]
"""A document, its digest, and where it stood."""


@dataclass(slots=True)
class Entry:
    """A document that has to be written: as it was prepared, and whether it is new."""

    document: Document
    prepared: Prepared
    is_new: bool
    reason: str = ""

    @property
    def records(self) -> list[Document]:
        """What to write: the document, or its parts."""
        return self.prepared.records


@dataclass(slots=True)
class Window:
    """A run of documents on its way through the pipeline."""

    documents: int = 0
    unchanged: int = 0
    entries: list[Entry] = field(default_factory=list)

    @property
    def records(self) -> list[Document]:
        """All records to embed and write, of documents that have not failed."""
        return [record for entry in self.entries if not entry.reason for record in entry.records]

    @property
    def pieces(self) -> dict[str, Prepared]:
        """Ids of records that are not embedded by their own text -> what is embedded instead."""
        return {entry.records[0].id: entry.prepared for entry in self.entries if entry.prepared.pieces}

    def fail(self, record: Document, reason: str) -> None:
        """Give up on the document that a record belongs to."""
        for entry in self.entries:
            if any(mine.id == record.id for mine in entry.records):
                entry.reason = reason


class Planner:
    """Turns documents into windows; remembers on disk what it saw, so that memory stays constant.

    Attributes:
        documents: how many were read.
        failed: key -> reason of documents that could not be read; shared with the report.
    """

    def __init__(
        self,
        adapter: Adapter,
        name: str,
        embedder: Embedder,
        *,
        long_text: LongText,
        failed: dict[str, str],
    ) -> None:
        self.documents = 0
        self.failed = failed
        self._adapter = adapter
        self._name = name
        self._rule = LongTextRule(embedder, long_text, max_text_bytes=adapter.capabilities.max_text_bytes)
        self._failed_ids: set[str] = set()
        self._seen = Seen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._seen.close()

    def windows(self, docs: Iterable[DocumentLike]) -> Iterator[Window]:
        """Read documents and yield what has to be written, a window at a time."""
        batch: list[_Read] = []
        window = Window()
        for item in docs:
            self.documents += 1
            window.documents += 1
            read = self._read(item)
            if read is not None:
                batch.append(read)
            if window.documents >= WINDOW:
                yield self._plan(self._first(batch, window), window)
                batch, window = [], Window()
        if window.documents:
            yield self._plan(self._first(batch, window), window)

    def mentioned(self, source: str) -> bool:
        """Tell whether any document read so far, failed ones included, was of this source."""
        return self._seen.has_source(source)

    def give_up(self, entry: Entry) -> None:
        """Report a document as failed and keep what the database has of it."""
        self.failed[entry.document.id] = entry.reason
        self._failed_ids.add(entry.document.id)

    def stale(self, size: int = 1000) -> Iterator[list[str]]:
        """Yield the ids of records that their sources no longer have, after all windows are written."""
        for found in self._seen.stale(size):
            ids = [record for record in found if whole_id(record) not in self._failed_ids]
            if ids:
                yield ids

    def _read(self, item: DocumentLike) -> _Read | None:
        position = f"docs[{self.documents - 1}]"
        try:
            document = to_document(item)
        except InvalidInputError as exc:
            self._refuse(item, position, str(exc))
            return None
        return document, content_digest(document), position

    def _first(self, batch: Sequence[_Read], window: Window) -> list[_Read]:
        """Leave out the documents whose id occurred before."""
        firsts = self._seen.first_digests([(document.id, digest) for document, digest, _ in batch])
        new: list[_Read] = []
        for read, first in zip(batch, firsts, strict=True):
            document, digest, position = read
            if first is None:
                new.append(read)
            elif first == digest:
                window.unchanged += 1
            else:
                self.failed[position] = f"its id {document.id!r} occurred before in this call with other content"
        self._seen.note("sources", (document.source for document, _, _ in new))
        return new

    def _refuse(self, item: object, position: str, reason: str) -> None:
        named = item.id if isinstance(item, Document) else item.get("id") if isinstance(item, Mapping) else None
        if not isinstance(named, str | int) or named == "":
            self.failed[position] = reason
            return
        key = str(named).encode(errors="replace").decode()
        self.failed[key] = reason
        given = item.source if isinstance(item, Document) else item.get("source") if isinstance(item, Mapping) else None
        source = given.encode(errors="replace").decode() if isinstance(given, str) and given else key
        self._seen.note("sources", [source])
        self._failed_ids.add(key)

    def _plan(self, batch: Sequence[_Read], window: Window) -> Window:
        sources = list(dict.fromkeys(document.source for document, _, _ in batch))
        held = self._adapter.digests(self._name, sources) if sources else {}
        kept: list[str] = []
        changed: list[_Read] = []
        for read in batch:
            document, digest, _ = read
            if records := _unchanged_records(document.id, digest, held):
                window.unchanged += 1
                kept += records
            else:
                changed.append(read)
        for document, digest, _ in changed:
            kept += self._enter(document, digest, held, window)
        self._seen.note("kept", kept)
        self._seen.note("stale", held)
        return window

    def _enter(self, document: Document, digest: str, held: Mapping[str, str], window: Window) -> list[str]:
        """Make a document ready to be written; returns the ids of its records."""
        is_new = document.id not in held and part_id(document.id, 1) not in held
        entry = Entry(document, Prepared([]), is_new)
        try:
            entry.prepared = self._prepare(document, digest)
        except QvecError as exc:
            entry.reason = str(exc)
            self.give_up(entry)
            return []
        window.entries.append(entry)
        return [record.id for record in entry.records]

    def _prepare(self, document: Document, digest: str) -> Prepared:
        prepared = self._rule.prepare(document)
        total = len(prepared.records)
        for number, record in enumerate(prepared.records, 1):
            mark = digest if total == 1 else f"{digest}/{number}/{total}"
            prepared.records[number - 1] = replace(record, digest=mark)
        return prepared


def _unchanged_records(document_id: str, digest: str, held: Mapping[str, str]) -> list[str]:
    """The records that hold this very content already, complete; empty when there are none."""
    if held.get(document_id) == digest:
        return [document_id]
    first = held.get(part_id(document_id, 1), "")
    if not first.startswith(f"{digest}/1/"):
        return []
    total = int(first.rpartition("/")[2])
    parts = [part_id(document_id, number) for number in range(1, total + 1)]
    whole = all(held.get(part) == f"{digest}/{number}/{total}" for number, part in enumerate(parts, 1))
    return parts if whole else []
