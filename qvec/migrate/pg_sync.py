"""Following a table that was attached with triggers: its queue is worked off by any number of workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qvec.embedder import Embedder
from qvec.errors import CollectionNotFoundError
from qvec.migrate.errors import MigrationError
from qvec.migrate.fields import join_id
from qvec.migrate.pg_attach import AttachJob, embedder_of
from qvec.migrate.pg_rows import Row, Rows, run
from qvec.migrate.pg_session import attached, connected, locked

if TYPE_CHECKING:
    import sqlalchemy as sa

_BATCH = 256
_ROW_LOCK = 0x71767277  # "qvrw"


@dataclass(slots=True)
class SyncReport:
    """What a `sync` did and what it left.

    Attributes:
        embedded: rows whose text had changed.
        unchanged: rows whose text was the same after all.
        deleted: rows that are gone.
        failed: rows that could not be embedded; `attach` lists them.
        waiting: changes that are queued, those that another worker has in hand included.
        lag: age of the oldest of these in seconds.
    """

    embedded: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    waiting: int = 0
    lag: float = 0.0


def sync(
    url: str,
    collection: str,
    *,
    embedder: Embedder | None = None,
    progress: Callable[[SyncReport], None] | None = None,
) -> SyncReport:
    """Work off the queue until nothing is left that another worker has not in hand; several may run at once.

    A batch is one transaction, from the claim to the vectors: what a worker that dies had claimed is free again.

    Args:
        url: of the database.
        collection: that was attached with triggers.
        embedder: the model, loaded already; None loads the one of the collection.
        progress: called after each batch.

    Raises:
        CollectionNotFoundError: no table is attached under this name.
        MigrationError: it was attached without triggers, or an attach is at work.
        QvecError: the database or the model failed; the queue keeps what was not done.
    """
    report = SyncReport()
    with connected(url) as connection:
        table = attached(connection, collection)
        if table is None:
            raise CollectionNotFoundError(f"no table is attached as {collection!r}")
        if not table.triggers:
            raise MigrationError(
                f"{collection!r} was attached without triggers: run attach again, which compares all rows"
            )
        job = AttachJob(url=url, table=table.name, collection=collection, embedder=embedder)
        rows = Rows(table, embedder_of(job, table))
        with locked(connection, table.number, shared=True):
            while _work(connection, rows, report):
                if progress:
                    progress(report)
            if table.in_table and report.deleted:
                rows.recount(connection)
            oldest = "coalesce(extract(epoch FROM clock_timestamp() - min(queued_at)), 0)"
            waiting, lag = run(connection, f"SELECT count(*), {oldest} FROM {table.queue}").one()
    report.waiting, report.lag = int(waiting), float(lag)
    return report


def _work(connection: sa.Connection, rows: Rows, report: SyncReport) -> bool:
    with connection.begin():
        numbers, keys = _claim(connection, rows)
        if not numbers:
            return False
        values = {f"key_{at}": [key[at - 1] for key in keys] for at in range(1, len(rows.table.key) + 1)}
        found = [Row.read(row) for row in run(connection, rows.table.rows(), values)]
        present = {row.key for row in found}
        gone = [key for key in keys if key not in present]
        made = rows.make(found, rows.held(connection, found))
        outcome = rows.store(connection, found, made)
        rows.forget(connection, gone)
        run(connection, f"DELETE FROM {rows.table.queue} WHERE number = ANY(%(numbers)s)", {"numbers": numbers})
    report.embedded += outcome.embedded
    report.unchanged += outcome.unchanged
    report.failed += outcome.failed
    report.deleted += len(gone)
    return True


def _claim(connection: sa.Connection, rows: Rows) -> tuple[list[int], list[tuple[str, ...]]]:
    """Take changes that nobody has in hand, nor another change of the same row: that one is left for later."""
    table = rows.table
    names = ", ".join(f"key_{at}::text" for at in range(1, len(table.key) + 1))
    claim = f"SELECT number, ARRAY[{names}] FROM {table.queue} ORDER BY number LIMIT {_BATCH} FOR UPDATE SKIP LOCKED"
    claimed = [(int(number), tuple(key)) for number, key in run(connection, claim)]
    keys = list(dict.fromkeys(key for _, key in claimed))
    free = set(_lock_rows(connection, table.number, keys))
    return [number for number, key in claimed if key in free], [key for key in keys if key in free]


def _lock_rows(connection: sa.Connection, number: int, keys: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    if not keys:
        return []
    # Asked for without waiting: two workers that wait for each other's rows would never end.
    statement = (
        "SELECT pg_try_advisory_xact_lock(%(lock)s::int, hashtext(id)) FROM unnest(%(ids)s::text[]) "
        "WITH ORDINALITY AS wanted (id, place) ORDER BY place"
    )
    ids = [f"{number} {join_id(key)}" for key in keys]
    taken = run(connection, statement, {"lock": _ROW_LOCK, "ids": ids})
    return [key for key, (is_ours,) in zip(keys, taken, strict=True) if is_ours]
