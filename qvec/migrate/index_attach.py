"""Giving an index of another program, an Elasticsearch one, a vector field where it stands, and undoing it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from qvec.attaching import AttachForm, AttachRow, SupportsAttach, SupportsAttachSwap, own_names
from qvec.embedder import Embedder
from qvec.errors import CollectionNotFoundError, UnsupportedError
from qvec.layouts import FieldMap
from qvec.migrate.copy_job import CopyProgress
from qvec.migrate.errors import MigrationError
from qvec.migrate.holding import Hold, held
from qvec.migrate.pg_backfill import AttachReport
from qvec.migrate.source import Record
from qvec.migrate.verifying import Difference, Findings, Sample, VerifyReport
from qvec.migrate.writing import Preparer
from qvec.passport import passport_of
from qvec.registry import DEFAULT_MODEL, load_embedder, open_adapter
from qvec.types import Document, Metric, Vector, Vectors

_BATCH = 256
_ERRORS = 1000
_TRIES = 8
_EMPTY = "its text is empty or white space only"
_LONG = "its text is over the model's window"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexJob:
    """An index to make searchable.

    Attributes:
        url: of the database: ``elasticsearch://host:9200``.
        index: its name, or an alias of it alone.
        text: the field to embed; one within an object is written with dots.
        model: makes the vectors; None takes what the index has, else `default_model`.
        dim: width to cut them to.
        embedder: a model that is loaded already, instead of `model` and `dim`.
        default_model: for an index that is not attached yet.
        default_dim: of the default model.
    """

    url: str
    index: str
    text: str = "text"
    model: str | None = None
    dim: int | None = None
    embedder: Embedder | None = None
    default_model: str = DEFAULT_MODEL
    default_dim: int | None = None


def attach_index(job: IndexJob, *, progress: Callable[[CopyProgress], None] | None = None) -> AttachReport:
    """Give every document of an index its vector; `layout_of` then says how to search the index where it stands.

    The index is read and written all the while: a document that somebody writes to is never overwritten, and taken
    again. Broken off, or run again later, it embeds what has no vector or another text than the vector was made from.

    Args:
        job: what to attach, and how.
        progress: called after each batch.

    Raises:
        CollectionNotFoundError: there is no such index.
        InvalidInputError: it has no such field.
        MigrationError: it has the vectors of another model, or another attach of it is at work.
        UnsupportedError: the database's indexes cannot be attached.
    """
    started = time.monotonic()
    report = AttachReport()
    with _opened(job.url) as attaching:
        form, embedder = _form(attaching, job)
        attaching.attach_fields(job.index, form)
        with held(attaching, job.index) as hold:
            found = need_form(attaching, job.index)
            if found.passport != form.passport:
                raise MigrationError(f"{job.index!r} was given vectors of {found.passport.model_id} meanwhile")
            fill(Filling(attaching, job.index, found, embedder, report), hold, progress)
    report.seconds = time.monotonic() - started
    return report


def fill(filling: Filling, hold: Hold, progress: Callable[[CopyProgress], None] | None) -> None:
    """Embed what has no vector or another text than it was made from, in as many passes as the database needs."""
    attaching, index, form = filling.attaching, filling.index, filling.form
    total, step, is_more = attaching.attach_count(index), "", True
    while is_more:
        read = 0
        for rows in attaching.attach_rows(index, form, size=_BATCH):
            hold.check()
            filling.fill(rows)
            read += len(rows)
            if progress:
                progress(CopyProgress(read, total, step))
        hold.check()
        is_more = attaching.attach_end(index, form)
        # Later passes bring what was written meanwhile, and nobody knows how much that is.
        total, step = None, "brought over"


def plan_attach_index(job: IndexJob) -> list[str]:
    """Write the requests that `attach_index` would send."""
    with _opened(job.url) as attaching:
        form, _ = _form(attaching, job)
        return attaching.attach_steps(job.index, form)


def layout_of(url: str, index: str) -> FieldMap:
    """Say how an attached index is searched; `qvec.search` and `qvec.connect` find that out by themselves.

    Raises:
        CollectionNotFoundError: there is no such index, or it is not attached.
    """
    with _opened(url) as attaching:
        return need_form(attaching, index).layout


def detach_index(url: str, index: str) -> None:
    """Take all vectors away from an index.

    Elasticsearch removes no field from a mapping: the two that were added stay in it, without values.

    Raises:
        CollectionNotFoundError: there is no such index, or it is not attached.
        MigrationError: an attach of it is at work.
    """
    with _opened(url) as attaching:
        need_form(attaching, index)
        with held(attaching, index):
            beside = attaching.attach_swap(index) if isinstance(attaching, SupportsAttachSwap) else None
            if beside is not None and not beside.is_settled:
                raise MigrationError(
                    f"a swap of {index!r} was broken off within its exchange: swap it again, then undo"
                )
            attaching.detach_fields(index, need_form(attaching, index))


def plan_detach_index(url: str, index: str) -> list[str]:
    """Write the requests that `detach_index` would send."""
    with _opened(url) as attaching:
        return attaching.detach_steps(index, need_form(attaching, index))


def verify_index(
    url: str,
    index: str,
    *,
    embedder: Embedder | None = None,
    told: Callable[[Difference], None] | None = None,
    progress: Callable[[CopyProgress], None] | None = None,
) -> VerifyReport:
    """Compare every document's text with the one that was embedded, and the vectors of a sample; see `verify`."""
    findings = Findings(told)
    report = findings.report
    sample: Sample[AttachRow] = Sample()
    with _opened(url) as attaching:
        form = need_form(attaching, index)
        model = embedder or load_embedder(form.passport.model_id, dim=form.passport.dim)
        preparer = Preparer(None, model.dim, model)
        total = attaching.attach_count(index)
        for rows in attaching.attach_rows(index, form, size=_BATCH, vectors=True):
            report.rows += len(rows)
            if progress:
                progress(CopyProgress(report.rows, total))
            for row in rows:
                if not row.text.strip() or not preparer.fits(Document(row.id, row.text)):
                    report.failed += 1
                    if row.vector is not None:
                        findings.add("extra", row.id, "it has no text that could be embedded now")
                    continue
                report.records += 1
                if row.vector is None:
                    findings.add("missing", row.id, "it has no vector")
                elif row.digest != digest_of(row.text):
                    findings.add("changed", row.id, "its text is another than was embedded")
                else:
                    sample.offer(row.id, row)
        items = sample.items
        stored = {row.id: row.vector for row in items if row.vector is not None}
        texts = [row.text for row in items]
        expected: dict[str, Vector] = dict(zip(stored, model.encode_document(texts), strict=True)) if texts else {}
        findings.compare_vectors(stored, expected, Metric.COSINE)
    return report


@contextmanager
def _opened(url: str) -> Iterator[SupportsAttach]:
    adapter = open_adapter(url)
    try:
        if not isinstance(adapter, SupportsAttach):
            raise UnsupportedError(f"{adapter.capabilities.database} cannot be attached in place: copy from it instead")
        yield adapter
    finally:
        adapter.close()


def need_form(attaching: SupportsAttach, index: str) -> AttachForm:
    """Read what an index was given.

    Raises:
        CollectionNotFoundError: there is no such index, or it is not attached.
    """
    form = attaching.attached_form(index)
    if form is None:
        raise CollectionNotFoundError(f"the index {index!r} is not attached")
    return form


def _form(attaching: SupportsAttach, job: IndexJob) -> tuple[AttachForm, Embedder]:
    known = attaching.attached_form(job.index)
    passport = known.passport if known else None
    model = job.model or (passport.model_id if passport else job.default_model)
    dim = job.dim or (passport.dim if passport else None if job.model else job.default_dim)
    embedder = job.embedder or load_embedder(model, dim=dim)
    made = new_form(embedder, job.text)
    if known and (known.passport, known.text) != (made.passport, job.text):
        raise MigrationError(
            f"{job.index!r} has vectors of {known.passport.model_id}, {known.passport.dim} dimensions, made from "
            f"{known.text!r}: swap them, or undo that first"
        )
    return known or made, embedder


def new_form(embedder: Embedder, text: str) -> AttachForm:
    """Say what an index is given for a model and a field of texts."""
    # Its keywords are searched as they are, by the database or by a count of the day.
    passport = replace(passport_of(embedder), lexical_version="")
    # Fields cannot be removed or changed: those of another model or dim have other names.
    mark = hashlib.sha256(json.dumps([asdict(passport), text], sort_keys=True).encode()).hexdigest()[:8]
    vector, digest = own_names(mark)
    return AttachForm(text=text, vector=vector, digest=digest, passport=passport)


class Filling:
    """Embeds documents by the batch, and takes those again that were written to meanwhile."""

    def __init__(
        self, attaching: SupportsAttach, index: str, form: AttachForm, embedder: Embedder, report: AttachReport
    ) -> None:
        self.attaching = attaching
        self.index = index
        self.form = form
        self._report = report
        self._preparer = Preparer(None, embedder.dim, embedder)

    def fill(self, rows: Sequence[AttachRow]) -> None:
        """Give these documents their vectors."""
        conflicts = self._write(rows)
        for _ in range(_TRIES):
            if not conflicts:
                return
            again = [
                row
                for some in self.attaching.attach_rows(self.index, self.form, size=_BATCH, ids=conflicts)
                for row in some
            ]
            conflicts = self._write(again)
        for identity in conflicts:
            self._fail(identity, "it was written to each time that it was read: run attach again")

    def _write(self, rows: Sequence[AttachRow]) -> list[str]:
        changed, without = [], []
        for row in rows:
            if row.digest == digest_of(row.text):
                self._report.unchanged += 1
            elif why := self._fault(row):
                self._fail(row.id, why)
                without.append(row)
            else:
                changed.append(row)
        conflicts: list[str] = []
        if changed:
            batch = self._preparer.prepare([Record(row.id, None, Document(row.id, row.text)) for row in changed], set())
            for identity, why in batch.errors.items():
                self._fail(identity, why)
            at_of = {batch.documents[at].id: at for at in batch.written if batch.vectors[at].any()}
            without += [row for row in changed if row.id not in at_of]
            good = [row for row in changed if row.id in at_of]
            conflicts = self._give(good, batch.vectors[[at_of[row.id] for row in good]])
        if without:
            self.attaching.attach_without_vectors(self.index, self.form, without)
        return conflicts

    def _fault(self, row: AttachRow) -> str:
        if not row.text.strip():
            return _EMPTY
        return "" if self._preparer.fits(Document(row.id, row.text)) else _LONG

    def _give(self, rows: Sequence[AttachRow], vectors: Vectors) -> list[str]:
        digests = [digest_of(row.text) for row in rows]
        conflicts, refused = self.attaching.attach_vectors(self.index, self.form, rows, digests, vectors)
        for identity, why in refused.items():
            self._fail(identity, why)
        self._report.embedded += len(rows) - len(conflicts) - len(refused)
        return conflicts

    def _fail(self, identity: str, why: str) -> None:
        self._report.failed += 1
        if len(self._report.errors) < _ERRORS:
            self._report.errors.append((identity, why))


def digest_of(text: str) -> str:
    """Hash a text that is embedded."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
