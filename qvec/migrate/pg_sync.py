"""Following an attached table: its changes are worked off by any number of workers, once or for good."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qvec.embedder import Embedder
from qvec.errors import BackendConnectionError, CollectionNotFoundError, EndpointError, PassportMismatchError, QvecError
from qvec.migrate.errors import MigrationError
from qvec.migrate.pg_attach import AttachJob, embedder_of
from qvec.migrate.pg_changes import Changes, Claim, Key, changes_of, keyed_lists
from qvec.migrate.pg_rows import LASTING, Made, Row, Rows, run
from qvec.migrate.pg_session import attached, connected, locked
from qvec.migrate.pg_table import PgTable

if TYPE_CHECKING:
    import sqlalchemy as sa

_SHOWN = 1000
_LONGEST_WAIT = 60.0


@dataclass(slots=True)
class SyncReport:
    """What a `sync` did and what it left.

    Attributes:
        embedded: rows whose text had changed.
        unchanged: rows whose text was the same after all.
        deleted: rows that are gone.
        failed: rows that could not be embedded.
        waiting: changes that are due, those that another worker has in hand included.
        later: rows that their model refused, and that will be tried again.
        lag: age of the oldest change that is due, in seconds; 0 where versions are compared, which do not tell.
        errors: the first 1,000 rows of the collection without a vector, id and reason.
    """

    embedded: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    waiting: int = 0
    later: int = 0
    lag: float = 0.0
    errors: list[tuple[str, str]] = field(default_factory=list)


def sync(
    url: str,
    collection: str,
    *,
    embedder: Embedder | None = None,
    progress: Callable[[SyncReport], None] | None = None,
    stop: threading.Event | None = None,
) -> SyncReport:
    """Work off the changes until nothing is left that another worker has not in hand; several may run at once.

    A batch is one transaction, from the claim to the vectors: what a worker that dies had claimed is free again. A row
    that its model refuses is tried again later, ever more seldom, and stands among the errors meanwhile.

    Args:
        url: of the database.
        collection: that was attached with triggers, or with a version column.
        embedder: the model, loaded already; None loads the one of the collection.
        progress: called after each batch.
        stop: end after the batch when it is set.

    Raises:
        CollectionNotFoundError: no table is attached under this name.
        MigrationError: it was attached without triggers, or an attach is at work.
        QvecError: the database or the model failed; what was not done stays to be done.
    """
    report = SyncReport()
    with connected(url) as connection:
        table, changes = _followed(connection, collection)
        job = AttachJob(url=url, table=table.name, collection=collection, embedder=embedder)
        rows = Rows(table, embedder_of(job, table))
        with locked(connection, table.number, shared=True):
            while not (stop and stop.is_set()) and _work(connection, rows, changes, report):
                if progress:
                    progress(report)
            if table.in_table and report.deleted:
                rows.recount(connection)
            _look(connection, table, changes, report)
    return report


def sync_status(url: str, collection: str) -> SyncReport:
    """Count what waits to be followed, and list the errors; nothing is done.

    Raises:
        CollectionNotFoundError: no table is attached under this name.
        MigrationError: it was attached without triggers.
    """
    report = SyncReport()
    with connected(url) as connection:
        table, changes = _followed(connection, collection)
        _look(connection, table, changes, report)
    return report


def follow(
    url: str,
    collection: str,
    *,
    stop: threading.Event,
    every: float = 5.0,
    embedder: Embedder | None = None,
    told: Callable[[SyncReport | QvecError], None] | None = None,
) -> None:
    """Sync again and again until `stop` is set; the batch in hand is finished first.

    A database or a model's server that is down is waited for, ever longer, up to a minute.

    Args:
        url: of the database.
        collection: that was attached with triggers, or with a version column.
        stop: ends it.
        every: seconds between two looks.
        embedder: the model, loaded already; None loads the one of the collection, once.
        told: called with what each look did, or why it could not.

    Raises:
        QvecError: as `sync` says, but for what is down.
    """
    model, wait = embedder, every
    while not stop.is_set():
        found: SyncReport | QvecError
        try:
            model = model or _embedder(url, collection)
            found = sync(url, collection, embedder=model, stop=stop)
        except PassportMismatchError:
            if embedder is not None:
                raise
            # The collection was swapped: it has another model now.
            model = None
            continue
        except (BackendConnectionError, EndpointError) as exc:
            found, wait = exc, min(max(2 * wait, 1.0), max(_LONGEST_WAIT, every))
        else:
            wait = every
        if told:
            told(found)
        stop.wait(wait)


def _embedder(url: str, collection: str) -> Embedder:
    with connected(url) as connection:
        table, _ = _followed(connection, collection)
    return embedder_of(AttachJob(url=url, table=table.name, collection=collection), table)


def _followed(connection: sa.Connection, collection: str) -> tuple[PgTable, Changes]:
    table = attached(connection, collection)
    if table is None:
        raise CollectionNotFoundError(f"no table is attached as {collection!r}")
    changes = changes_of(table)
    if changes is None:
        raise MigrationError(
            f"{collection!r} was attached without triggers or a version column: run attach again, which compares all "
            "rows, or detach it and attach it with one of them"
        )
    return table, changes


def _look(connection: sa.Connection, table: PgTable, changes: Changes, report: SyncReport) -> None:
    found = changes.waiting(connection)
    report.waiting, report.later, report.lag = found.due, found.later, found.lag
    errors = run(connection, f"SELECT id, reason FROM {table.errors} ORDER BY id LIMIT {_SHOWN}")
    report.errors = [(str(key), str(reason)) for key, reason in errors]
    connection.rollback()


def _work(connection: sa.Connection, rows: Rows, changes: Changes, report: SyncReport) -> bool:
    with connection.begin():
        claim = changes.claim(connection)
        if claim is None:
            return False
        if claim.is_emptied:
            report.deleted += rows.let_go(connection)
        busy = rows.busy(connection, claim.keys)
        claim = claim.without(busy)
        if busy and not claim.keys:
            return False
        found = _read(connection, rows, claim)
        present = {row.key for row in found}
        gone = [key for key in claim.keys if key not in present]
        made = _make(rows, found, rows.held(connection, found))
        outcome = rows.store(connection, found, made)
        rows.forget(connection, gone)
        changes.settle(connection, claim, _to_try_again(found, made))
    report.embedded += outcome.embedded
    report.unchanged += outcome.unchanged
    report.failed += outcome.failed
    report.deleted += len(gone)
    return True


def _read(connection: sa.Connection, rows: Rows, claim: Claim) -> list[Row]:
    if not claim.keys:
        return []
    return [Row.read(row) for row in run(connection, rows.table.rows(), keyed_lists(rows.table, claim.keys))]


def _to_try_again(found: Sequence[Row], made: Made) -> set[Key]:
    return {row.key for row in found if made.errors.get(row.id, LASTING[0]) not in LASTING}


def _make(rows: Rows, found: Sequence[Row], held: Mapping[str, str]) -> Made:
    """Embed; where a server fails at some rows and lives, those are told apart from the rest by halves."""
    try:
        return rows.make(found, held)
    except EndpointError as exc:
        changed = [row for row in found if held.get(row.id) != row.digest]
        if not _lives(rows.embedder):
            raise
        if len(changed) == 1:
            return Made(changed, [], {}, {changed[0].id: str(exc)})
    middle = len(changed) // 2
    one, other = _make(rows, changed[:middle], held), _make(rows, changed[middle:], held)
    return Made(changed, [*one.parts, *other.parts], {**one.vectors, **other.vectors}, {**one.errors, **other.errors})


def _lives(embedder: Embedder) -> bool:
    try:
        embedder.encode_document(["a"])
    except EndpointError:
        return False
    return True
