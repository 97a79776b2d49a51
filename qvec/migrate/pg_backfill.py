"""Filling an attached table's vectors and tokens, in the order of its key, resumably."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from qvec.migrate.copy_job import CopyProgress
from qvec.migrate.pg_rows import Cut, Outcome, Row, Rows, run
from qvec.migrate.pg_table import PgTable

if TYPE_CHECKING:
    import sqlalchemy as sa

_BATCH = 256
_Page: TypeAlias = tuple[list[Row], Cut]


@dataclass(slots=True)
class AttachReport:
    """What an `attach` did.

    Attributes:
        embedded: rows that got their vectors now.
        unchanged: rows that had theirs.
        removed: records of rows that are gone.
        failed: rows without vectors.
        errors: the first 1,000 of these, id and reason.
        seconds: wall time.
    """

    embedded: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0


def backfill(connection: sa.Connection, rows: Rows, progress: Callable[[CopyProgress], None] | None) -> AttachReport:
    """Give the rows of a table their records, from where an earlier run was broken off; vectors of gone rows go.

    A batch is read, another one embedded and a third written at the same time: the database is hidden behind the model.
    """
    table = rows.table
    number = {"number": table.number}
    select = "SELECT position, is_done FROM qvec_attached WHERE number = %(number)s"
    position, is_done = run(connection, select, number).one()
    last: list[str] | None = None if is_done or position is None else json.loads(position)
    (total,) = run(connection, table.count(from_start=last is None), _keyed(last)).one()
    run(connection, "UPDATE qvec_attached SET is_done = false WHERE number = %(number)s", number)
    connection.commit()
    report = AttachReport()
    read = 0
    with connection.engine.connect() as other, _ahead(connection, rows, last) as pages, _thread("write") as writer:
        pending: Future[Outcome] | None = None
        for found, cut in pages:
            made = rows.embed(cut)
            _add(report, pending)
            # Written while the next batch is embedded, and the one after it read; the position goes with it, so order
            # is kept.
            pending = writer.submit(rows.write, other, found, made, json.dumps(found[-1].key))
            read += len(found)
            if progress:
                progress(CopyProgress(read, int(total)))
        _add(report, pending)
    report.removed = rows.remove_orphans(connection)
    return report


@contextmanager
def _ahead(connection: sa.Connection, rows: Rows, last: list[str] | None) -> Iterator[Iterator[_Page]]:
    """Read each page of the table, and cut its rows, while the one before it is embedded."""

    def pages() -> Iterator[_Page]:
        following = reader.submit(read, last)
        while (found := following.result())[0]:
            following = reader.submit(read, list(found[0][-1].key))
            yield found

    def read(last: list[str] | None) -> _Page:
        found = page(connection, rows.table, last)
        held = rows.held(connection, found)
        connection.rollback()
        return found, rows.cut(found, held)

    with _thread("read") as reader:
        yield pages()


def _thread(name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix=f"qvec-attach-{name}")


def _add(report: AttachReport, written: Future[Outcome] | None) -> None:
    if written is not None:
        outcome = written.result()
        report.embedded += outcome.embedded
        report.unchanged += outcome.unchanged


def page(connection: sa.Connection, table: PgTable, last: list[str] | None) -> list[Row]:
    """Read the rows that follow a key; all of them begin at None."""
    found = run(connection, table.page(from_start=last is None), {**_keyed(last), "size": _BATCH}).all()
    connection.rollback()
    return [Row.read(row) for row in found]


def _keyed(last: list[str] | None) -> dict[str, object]:
    return {f"key_{at}": value for at, value in enumerate(last or [], 1)}
