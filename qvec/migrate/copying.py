"""Copying rows and vectors from anywhere into a collection: streamed, resumable, compared at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from qvec.adapter import Adapter, SupportsCreateSteps
from qvec.checks import check_name
from qvec.errors import CollectionNotFoundError, InvalidInputError
from qvec.migrate.comparing import compare
from qvec.migrate.copy_job import CopyJob, CopyPlan, CopyProgress, CopyReport, OnError
from qvec.migrate.errors import MigrationError
from qvec.migrate.journal import Journal
from qvec.migrate.source import Record, Source, batches
from qvec.migrate.stated import stated_spec
from qvec.migrate.swap_job import SwapJob
from qvec.migrate.swap_journal import SwapJournal
from qvec.migrate.vectors import Choice, choose
from qvec.migrate.writing import Batch, Preparer, write
from qvec.registry import load_embedder, open_adapter
from qvec.types import CollectionSpec
from qvec.uri import URI

_BATCH = 512
_ERRORS = 1000


def copy(
    job: CopyJob,
    *,
    restart: bool = False,
    on_error: OnError = "list",
    progress: Callable[[CopyProgress], None] | None = None,
) -> CopyReport:
    """Copy, or go on with a copy that was broken off, and compare the target with what was written.

    Args:
        job: what to copy, and where to.
        restart: forget an earlier run.
        on_error: ``"list"`` bad rows and go on, or ``"stop"`` at the first.
        progress: called after each batch.

    Raises:
        MigrationError: an earlier run cannot be continued, or a table has no key.
        VerificationError: the target is not what was written; it names the ids.
        InvalidInputError: with ``on_error="stop"``, the first bad row.
        QvecError: a database or the model failed; a second run goes on from there.
    """
    started = time.monotonic()
    check_name(job.collection)
    with Opened(job) as opened, Journal(job.journal_path) as journal:
        choice = opened.choose()
        journal.begin(_identity(job, opened.source, choice), restart=restart)
        opened.make(choice, journal)
        run = _Run(opened, choice, journal, on_error)
        run.feed(progress)
        opened.adapter.refresh(job.collection)
        is_ours = journal.fact("made") == "yes"
        verified = compare(opened.adapter, job.collection, journal, is_ours=is_ours, progress=progress)
        journal.note("done", "yes")
        return CopyReport(
            documents=journal.count("documents"),
            records=journal.count("records"),
            carried=choice.embedder is None,
            long=int(journal.fact("long") or 0),
            long_text=run.preparer.long_text,
            failed=journal.count("errors"),
            errors=journal.errors(_ERRORS),
            verified=verified,
            journal=str(job.journal_path),
            seconds=time.monotonic() - started,
        )


def plan_copy(job: CopyJob) -> CopyPlan:
    """Say what `copy` would do; nothing is written anywhere.

    Raises:
        QvecError: as `copy` says.
    """
    check_name(job.collection)
    with Opened(job) as opened:
        choice = opened.choose()
        rows = opened.source.count()
        steps = [
            f"read {'the rows' if rows is None else f'{rows:,} rows'} of {opened.source.name}",
            f"{'make' if opened.held is None else 'add to'} the collection {job.collection}",
            *(opened.create_steps(choice) if opened.held is None else []),
            choice.said,
            f"keep the state in {job.journal_path}",
            "compare ids and digests of all records, and texts and vectors of a sample",
        ]
        return CopyPlan(opened.source.name, rows, job.collection, opened.held is None, choice.said, steps)


def copy_errors(job: CopyJob) -> list[tuple[str, str]]:
    """Read all bad rows of a copy from its journal: place and reason."""
    with Journal(job.journal_path) as journal:
        return journal.errors()


def undo_copy(job: CopyJob) -> bool:
    """Drop the collection that a copy made, and its journal; a collection that was there before stays.

    A swap of it that was not ended, by its own journal in the usual place, goes too.

    Returns:
        Whether a collection was dropped.

    Raises:
        MigrationError: there is no journal of such a copy.
    """
    swap = SwapJob(url=job.target, collection=job.collection)
    with _known_journal(job) as journal, _open_swap(swap) as is_swapped:
        is_ours = journal.fact("made") == "yes"
        if is_ours:
            adapter = open_adapter(job.target)
            try:
                if is_swapped:
                    adapter.drop_collection(swap.shadow, missing_ok=True)
                adapter.drop_collection(job.collection, missing_ok=True)
            finally:
                adapter.close()
    if is_ours:
        swap.journal_path.unlink(missing_ok=True)
    job.journal_path.unlink()
    return is_ours


def plan_undo_copy(job: CopyJob) -> list[str]:
    """Say what `undo_copy` would do.

    Raises:
        MigrationError: there is no journal of such a copy.
    """
    swap = SwapJob(url=job.target, collection=job.collection)
    with _known_journal(job) as journal, _open_swap(swap) as is_swapped:
        is_ours = journal.fact("made") == "yes"
    if not is_ours:
        return [f"{job.collection} was there before the copy and stays", f"delete {job.journal_path}"]
    shadow = [f"drop the collection {swap.shadow}", f"delete {swap.journal_path}"] if is_swapped else []
    return [*shadow, f"drop the collection {job.collection}", f"delete {job.journal_path}"]


@contextmanager
def _open_swap(swap: SwapJob) -> Iterator[bool]:
    """Tell whether a swap is open, and keep it from going on meanwhile."""
    if not swap.journal_path.exists():
        yield False
        return
    with SwapJournal(swap.journal_path) as journal:
        yield bool(journal.fact("new"))


@contextmanager
def _known_journal(job: CopyJob) -> Iterator[Journal]:
    if not job.journal_path.exists():
        raise MigrationError(f"there is no journal {job.journal_path}: nothing is known of such a copy")
    with Journal(job.journal_path) as journal:
        known = json.loads(journal.fact("job") or "{}")
        if (known.get("target"), known.get("collection")) != (str(URI.parse(job.target)), job.collection):
            raise MigrationError(f"the journal {job.journal_path} is of another copy")
        yield journal


class Opened:
    """Source and target of a copy, closed together.

    Args:
        job: the copy.
    """

    def __init__(self, job: CopyJob) -> None:
        self.job = job
        self.source = job.open_source()
        try:
            self.adapter: Adapter = open_adapter(job.target)
        except BaseException:
            self.source.close()
            raise
        try:
            self.held: CollectionSpec | None = self.adapter.describe_collection(job.collection)
        except CollectionNotFoundError:
            self.held = None

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *exc: object) -> None:
        self.adapter.close()
        self.source.close()

    def choose(self) -> Choice:
        """Say whose vectors the target holds, or is to hold."""
        job = self.job
        source = self.source.spec if job.layout is None else None
        if job.source_model is not None:
            source = stated_spec(self.source, load_embedder(job.source_model, dim=job.source_dim))
        return choose(
            job.collection,
            source,
            self.held,
            model=job.model,
            dim=job.dim,
            embedder=job.embedder,
            default_model=job.source_model or job.default_model,
            default_dim=job.source_dim if job.source_model else job.default_dim,
        )

    def create_steps(self, choice: Choice) -> list[str]:
        """Write what `make` would send, where the adapter tells."""
        if not isinstance(self.adapter, SupportsCreateSteps):
            return []
        return self.adapter.create_steps(choice.spec_for(self.adapter.capabilities))

    def make(self, choice: Choice, journal: Journal) -> None:
        """Make the collection, noted beforehand, so that one that was made is always known to be ours."""
        if self.held is not None:
            return
        if journal.count("records"):
            raise MigrationError(
                f"the collection {self.job.collection!r} is gone since the copy was broken off: use restart=True"
            )
        journal.note("made", "yes")
        self.adapter.create_collection(choice.spec_for(self.adapter.capabilities))


class _Run:
    """Reads and embeds a batch while the one before it is written."""

    def __init__(self, opened: Opened, choice: Choice, journal: Journal, on_error: OnError) -> None:
        self.opened = opened
        self.choice = choice
        self.journal = journal
        self.on_error = on_error
        capabilities = opened.adapter.capabilities
        keeps = choice.spec.passport.long_text if choice.spec.passport else ""
        self.preparer = Preparer(capabilities.max_text_bytes, choice.spec.dim, choice.embedder, long_text=keeps)
        self.size = _BATCH if choice.embedder else max(1, capabilities.write_batch)
        self.read = 0
        self.pending: tuple[Batch, Future[None]] | None = None

    def feed(self, progress: Callable[[CopyProgress], None] | None) -> None:
        total = self._left()
        writer = ThreadPoolExecutor(1, thread_name_prefix="qvec-copy")
        try:
            for rows in batches(self.opened.source.records(self.journal.position), self.size):
                batch = self.preparer.prepare(rows, self._copied(rows))
                self._stop_at(batch.errors)
                self._settle()
                self.pending = batch, writer.submit(write, self.opened.adapter, self.choice.spec, batch)
                self.read += batch.read
                if progress:
                    progress(CopyProgress(self.read, total))
            self._settle()
        except KeyboardInterrupt:
            self._settle()
            raise
        finally:
            writer.shutdown()

    def _left(self) -> int | None:
        total = self.opened.source.count()
        if total is None or self.journal.position is None:
            return total
        return max(total - self.journal.count("documents") - self.journal.count("errors"), 0)

    def _copied(self, rows: Sequence[Record]) -> set[str]:
        ids = [row.document.id for row in rows if row.document]
        return self.journal.seen(ids) | (set(self.pending[0].whole_of.values()) if self.pending else set())

    def _settle(self) -> None:
        if self.pending is None:
            return
        batch, written = self.pending
        written.result()
        self.pending = None
        self._stop_at(batch.errors)
        documents = [batch.documents[row] for row in batch.written]
        self.journal.commit(
            batch.position,
            _wholes(batch),
            documents,
            batch.sampled(self.journal.is_sampled),
            batch.errors.items(),
            long=batch.long,
        )

    def _stop_at(self, errors: Mapping[str, str]) -> None:
        if errors and self.on_error == "stop":
            place, reason = next(iter(errors.items()))
            raise InvalidInputError(f"{place}: {reason}")


def _wholes(batch: Batch) -> set[str]:
    """The ids of the documents that the records of a batch are, or are parts of."""
    return {batch.whole_of[record.id] for record in batch.documents if batch.place_of[record.id] not in batch.errors}


def _identity(job: CopyJob, source: Source, choice: Choice) -> dict[str, str]:
    return {
        "source": source.fingerprint,
        "target": str(URI.parse(job.target)),
        "collection": job.collection,
        "fields": repr(job.fields),
        "vectors": choice.said,
    }
