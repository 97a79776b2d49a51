"""The indexing pipeline: read and compare, embed, write; three threads, few windows in flight, constant memory.

The caller's thread reads `docs` (so a generator may use what belongs to that thread), asks the database which
digests it holds and passes on what is new; a second thread embeds, a third writes. A document's records are written
before its stale ones are deleted, and nothing else is remembered: running a killed run again finishes it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from qvec.adapter import Adapter
from qvec.documents import DocumentLike
from qvec.embedder import Embedder
from qvec.embedders.cache import CachedEmbedder
from qvec.errors import EmbeddingError, EndpointError, InvalidInputError, PartialWriteError
from qvec.long_text import DEFAULT_LONG_TEXT, LongDocument, LongText, encode
from qvec.passport import check_passport
from qvec.prepare import Planner, Window
from qvec.types import CollectionSpec, Document, Vectors

_IN_FLIGHT = 3


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far a run is, in documents read, texts embedded and records written."""

    read: int
    embedded: int
    written: int


@dataclass(slots=True)
class IndexReport:
    """What a run did.

    Attributes:
        added, updated, unchanged: documents.
        deleted: records that vanished from their source, or were pruned.
        chunked: documents that were over the model's window or the database's limit and were cut into parts.
        long: id -> what was done to each written document that was over the model's window or the database's limit.
        embedded: texts that got their vectors; a pooled document has several.
        cached: how many of these vectors came from the cache.
        failed: id, or ``docs[position]`` where there is none -> reason; such a document is as it was before.
        seconds: wall time.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    chunked: int = 0
    long: dict[str, LongDocument] = field(default_factory=dict)
    embedded: int = 0
    cached: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """Documents read."""
        return self.added + self.updated + self.unchanged + len(self.failed)

    @property
    def hit_rate(self) -> float:
        """The share of the embedded texts whose vectors came from the cache; 0 where nothing was embedded."""
        return self.cached / self.embedded if self.embedded else 0.0


@dataclass(slots=True)
class _Embedded:
    documents: list[Document]
    vectors: Vectors
    window: Window
    texts: int


def run(
    adapter: Adapter,
    name: str,
    embedder: Embedder,
    docs: Iterable[DocumentLike],
    *,
    prune: bool = False,
    long_text: LongText = DEFAULT_LONG_TEXT,
    progress: Callable[[IndexProgress], None] | None = None,
) -> IndexReport:
    """Bring a collection up to date with `docs`.

    Args:
        adapter: holds the collection.
        name: the collection, which exists.
        embedder: whose vectors the collection holds.
        docs: consumed once, lazily.
        prune: delete the records of every source that `docs` did not mention.
        long_text: what becomes of a document over the model's window or the database's limit.
        progress: called from the caller's thread after each window.

    Raises:
        InvalidInputError: `prune` without a single document.
        PassportMismatchError: the collection's vectors come from another model, or it was swapped meanwhile for one
            whose do; nothing was written into that one.
        BackendError: the database failed; what was written stays, and a second run goes on from there.
        EndpointError: the model's server failed; likewise.
    """
    started = time.monotonic()
    report = IndexReport()
    spec = adapter.describe_collection(name)
    check_passport(spec, embedder)
    hits = _hits(embedder)
    with Planner(adapter, name, embedder, long_text=long_text, failed=report.failed) as planner:
        _Run(adapter, spec, embedder, planner, report).feed(planner.windows(docs), progress)
        for ids in planner.stale():
            adapter.delete(name, ids)
            report.deleted += len(ids)
        if prune:
            report.deleted += _prune(adapter, name, planner)
    adapter.refresh(name)
    report.cached = _hits(embedder) - hits
    report.seconds = time.monotonic() - started
    return report


class _Run:
    """One run's threads; its report is counted up by the writing thread alone."""

    def __init__(
        self, adapter: Adapter, spec: CollectionSpec, embedder: Embedder, planner: Planner, report: IndexReport
    ) -> None:
        self.adapter = adapter
        self.name = spec.name
        self.passport = spec.passport
        self.embedder = embedder
        self.planner = planner
        self.report = report
        self.written = 0
        self.waiting: deque[Future[_Embedded]] = deque()
        self.write_batch = max(1, adapter.capabilities.write_batch)

    def feed(self, windows: Iterator[Window], progress: Callable[[IndexProgress], None] | None) -> None:
        embedding = ThreadPoolExecutor(1, thread_name_prefix="qvec-embed")
        writing = ThreadPoolExecutor(1, thread_name_prefix="qvec-write")
        under_way: deque[Future[None]] = deque()
        read = 0
        try:
            for window in windows:
                self.waiting.append(embedding.submit(self._embed, window))
                under_way.append(writing.submit(self._write, self.waiting[-1]))
                read += window.documents
                while len(under_way) > _IN_FLIGHT:
                    under_way.popleft().result()
                self._tell(progress, read)
            while under_way:
                under_way.popleft().result()
                self._tell(progress, read)
        finally:
            embedding.shutdown(cancel_futures=True)
            writing.shutdown(cancel_futures=True)

    def _tell(self, progress: Callable[[IndexProgress], None] | None, read: int) -> None:
        if progress:
            progress(IndexProgress(read, self.report.embedded, self.written))

    def _embed(self, window: Window) -> _Embedded:
        records, pieces = window.records, window.pieces
        vectors, faults = _isolate(lambda some: encode(self.embedder, some, pieces), records)
        for position, reason in faults.items():
            window.fail(records[position], reason)
        good = [record for position, record in enumerate(records) if position not in faults]
        writable = {record.id for record in window.records}
        chosen = [row for row, record in enumerate(good) if record.id in writable]
        filled = np.concatenate(vectors)[chosen] if chosen else np.empty((0, self.embedder.dim), np.float32)
        documents = [good[row] for row in chosen]
        texts = sum(len(pieces[document.id].pieces) if document.id in pieces else 1 for document in documents)
        return _Embedded(documents, filled, window, texts)

    def _write(self, embedded: Future[_Embedded]) -> None:
        """Write a window, and with it those behind it that are embedded: a slow database gets few large calls."""
        if not self.waiting or self.waiting[0] is not embedded:
            return  # it was written with the one before it
        items = [self.waiting.popleft().result()]
        room = self.write_batch - len(items[0].documents)
        while self.waiting and self.waiting[0].done() and not self.waiting[0].exception():
            room -= len(self.waiting[0].result().documents)
            if room < 0:
                break
            items.append(self.waiting.popleft().result())
        self._write_all(items)

    def _write_all(self, items: Sequence[_Embedded]) -> None:
        documents = [document for item in items for document in item.documents]
        if documents:
            self._check_unnamed()
        vectors = items[0].vectors if len(items) == 1 else np.concatenate([item.vectors for item in items])
        windows = [item.window for item in items]
        for start in range(0, len(documents), self.write_batch):
            end = start + self.write_batch
            self._upsert(documents[start:end], vectors[start:end], windows)
        for item in items:
            self._settle(item)

    def _settle(self, item: _Embedded) -> None:
        self.report.unchanged += item.window.unchanged
        self.report.embedded += item.texts
        for entry in item.window.entries:
            if entry.reason:
                self.planner.give_up(entry)
                continue
            self.report.added += entry.is_new
            self.report.updated += not entry.is_new
            self.report.chunked += len(entry.records) > 1
            if entry.prepared.long:
                self.report.long[entry.document.id] = entry.prepared.long

    def _upsert(self, documents: list[Document], vectors: Vectors, windows: Sequence[Window]) -> None:
        try:
            self.adapter.upsert(self.name, documents, vectors, passport=self.passport)
            self.written += len(documents)
        except PartialWriteError as exc:
            for document in documents:
                if document.id in exc.failed:
                    _fail(windows, document, exc.failed[document.id])
            self.written += len(documents) - len(exc.failed)
        except InvalidInputError as exc:
            self._check_unnamed()
            if len(documents) == 1:
                _fail(windows, documents[0], str(exc))
                return
            half = len(documents) // 2
            self._upsert(documents[:half], vectors[:half], windows)
            self._upsert(documents[half:], vectors[half:], windows)

    def _check_unnamed(self) -> None:
        """Look whether one with a passport has taken the place of a collection that has none: no write tells."""
        if self.passport is None:
            check_passport(self.adapter.describe_collection(self.name), self.embedder)


def _fail(windows: Sequence[Window], document: Document, reason: str) -> None:
    for window in windows:  # a document's id is in one of them
        window.fail(document, reason)


def _hits(embedder: Embedder) -> int:
    return embedder.counts.hits if isinstance(embedder, CachedEmbedder) else 0


def _isolate(
    encode: Callable[[Sequence[Document]], Vectors], records: Sequence[Document], start: int = 0
) -> tuple[list[Vectors], dict[int, str]]:
    """Encode records; on failure halve them until the culprits stand alone. Returns vectors and position -> reason."""
    if not records:
        return [], {}
    try:
        return [encode(records)], {}
    except EndpointError:
        # The server failed, not a text: halving would ask it again for each.
        raise
    except EmbeddingError as exc:
        if len(records) == 1:
            return [], {start: str(exc)}
    half = len(records) // 2
    left, left_faults = _isolate(encode, records[:half], start)
    right, right_faults = _isolate(encode, records[half:], start + half)
    return left + right, left_faults | right_faults


def _prune(adapter: Adapter, name: str, planner: Planner) -> int:
    if not planner.documents:
        raise InvalidInputError("prune without a single document would empty the collection; drop it instead")
    pruned = 0
    for batch in adapter.scan(name):
        gone = [document.id for document in batch.documents if not planner.mentioned(document.source)]
        if gone:
            adapter.delete(name, gone)
            pruned += len(gone)
    return pruned
