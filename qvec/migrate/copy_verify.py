"""Comparing what a copy wrote with its source as it is now: streamed, whatever the size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from qvec.adapter import Adapter
from qvec.documents import content_digest
from qvec.embedder import Embedder
from qvec.long_text import Prepared, encode
from qvec.migrate.copy_job import CopyJob, CopyProgress
from qvec.migrate.copying import Opened
from qvec.migrate.errors import MigrationError
from qvec.migrate.journal import Journal
from qvec.migrate.source import Record, batches
from qvec.migrate.verifying import Difference, Findings, Sample, Seen, VerifyReport
from qvec.migrate.writing import Batch, Preparer
from qvec.types import Document, Vector

_BATCH = 512


@dataclass(frozen=True, slots=True)
class _Expected:
    """A sampled record, with its vector where it came with its row, or what was embedded instead of its text."""

    document: Document
    vector: Vector | None
    made: Prepared | None


def verify_copy(
    job: CopyJob,
    *,
    told: Callable[[Difference], None] | None = None,
    progress: Callable[[CopyProgress], None] | None = None,
) -> VerifyReport:
    """Compare every record's text and metadata with its row, the key sets, and the vectors of a sample.

    Args:
        job: as it was given to `copy`.
        told: called with each difference.
        progress: called after each batch.

    Raises:
        MigrationError: the target is not there.
        QvecError: a database or the model failed.
    """
    with Opened(job) as opened, _journal(job) as journal, Seen() as seen:
        if opened.held is None:
            raise MigrationError(f"there is no collection {job.collection!r} to compare with")
        choice = opened.choose()
        run = _Run(opened.adapter, job.collection, journal, seen, Findings(told))
        keeps = choice.spec.passport.long_text if choice.spec.passport else ""
        limit = opened.adapter.capabilities.max_text_bytes
        preparer = Preparer(limit, choice.spec.dim, choice.embedder, long_text=keeps)
        total = opened.source.count()
        for rows in batches(opened.source.records(), _BATCH):
            copied = seen.among([f"row {row.document.id}" for row in rows if row.document])
            run.compare(rows, preparer.records(rows, {name.removeprefix("row ") for name in copied}))
            if progress:
                progress(CopyProgress(run.findings.report.rows, total))
        run.look_for_extra()
        run.compare_vectors(choice.embedder)
        return run.findings.report


@contextmanager
def _journal(job: CopyJob) -> Iterator[Journal | None]:
    if not job.journal_path.exists():
        yield None
        return
    with Journal(job.journal_path) as journal:
        yield journal


class _Run:
    def __init__(
        self, adapter: Adapter, collection: str, journal: Journal | None, seen: Seen, findings: Findings
    ) -> None:
        self.adapter = adapter
        self.collection = collection
        self.journal = journal
        self.seen = seen
        self.findings = findings
        self.sample: Sample[_Expected] = Sample()

    def compare(self, rows: Sequence[Record], batch: Batch) -> None:
        report = self.findings.report
        places = [row.place for row in rows]
        refused = (self.journal.refused(places) if self.journal else set()) | set(batch.errors)
        expected = [document for document in batch.documents if batch.place_of[document.id] not in refused]
        report.rows += len(rows)
        report.failed += len(refused)
        report.records += len(expected)
        held = {found.id: found for found in self.adapter.get(self.collection, [item.id for item in expected])}
        for document in expected:
            if document.id not in held:
                self.findings.add("missing", document.id, f"{batch.place_of[document.id]} is not in {self.collection}")
            elif content_digest(held[document.id]) != content_digest(document):
                self.findings.add("changed", document.id, _difference(held[document.id], document))
        self.seen.add([f"row {row.document.id}" for row in rows if row.document])
        self.seen.add([f"record {document.id}" for document in expected])
        carries = len(batch.vectors) == len(batch.documents)
        for at, document in enumerate(batch.documents):
            if document.id in held:
                vector = batch.vectors[at] if carries else None
                self.sample.offer(document.id, _Expected(document, vector, batch.pieces.get(document.id)))

    def look_for_extra(self) -> None:
        """Tell what the source has not; of a collection that was there before, only what the copy wrote is asked of."""
        all_is_ours = self.journal is None or self.journal.fact("made") == "yes"
        for batch in self.adapter.scan(self.collection):
            ids = [document.id for document in batch.documents]
            known = {name.removeprefix("record ") for name in self.seen.among([f"record {name}" for name in ids])}
            ours = set(ids) if all_is_ours or self.journal is None else self.journal.written(ids)
            for identity in sorted(ours - known):
                self.findings.add("extra", identity, "the source has no such row")

    def compare_vectors(self, embedder: Embedder | None) -> None:
        sampled = self.sample.items
        made = {item.document.id: item.vector for item in sampled if item.vector is not None}
        others = [item.document for item in sampled if item.vector is None]
        if embedder is not None and others:
            pieces = {item.document.id: item.made for item in sampled if item.made is not None}
            made |= dict(zip([one.id for one in others], encode(embedder, others, pieces), strict=True))
        held = self.adapter.get_vectors(self.collection, list(made))
        self.findings.compare_vectors(held, made, self.adapter.describe_collection(self.collection).metric)


def _difference(held: Document, expected: Document) -> str:
    if held.text != expected.text:
        return "another text"
    return "other metadata" if held.metadata != expected.metadata else "another source"
