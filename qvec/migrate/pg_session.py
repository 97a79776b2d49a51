"""A session in a PostgreSQL database whose tables are attached, or are to be."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qvec.errors import InvalidInputError
from qvec.migrate.errors import MigrationError
from qvec.migrate.pg_rows import run
from qvec.migrate.pg_table import PgTable
from qvec.migrate.sql import engine_of, sql_errors

if TYPE_CHECKING:
    import sqlalchemy as sa

_LOCK = 0x71766D67  # "qvmg"
_PATIENCE = 1.0
"""The server may take so long to notice that a run was killed, and to free its lock."""


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """Open a PostgreSQL database; errors come out as qvec's."""
    engine = engine_of(url)
    shown = engine.url.render_as_string(hide_password=True)
    if engine.dialect.name != "postgresql":
        raise InvalidInputError(f"{shown}: only a PostgreSQL table can be attached; copy this one")
    try:
        with sql_errors(shown), engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def attached(connection: sa.Connection, collection: str) -> PgTable | None:
    """Look up what is attached under a collection's name."""
    (is_there,) = run(connection, "SELECT to_regclass('qvec_attached') IS NOT NULL").one()
    found = (
        run(
            connection,
            "SELECT form FROM qvec_attached JOIN qvec_collections USING (number) WHERE name = %(name)s",
            {"name": collection},
        ).one_or_none()
        if is_there
        else None
    )
    connection.rollback()
    return PgTable.from_form(str(found[0])) if found else None


def all_attached(connection: sa.Connection) -> list[PgTable]:
    """Look up all that is attached, in the order in which it was."""
    found = run(connection, "SELECT form FROM qvec_attached ORDER BY number")
    return [PgTable.from_form(str(form)) for (form,) in found]


def keep_form(connection: sa.Connection, table: PgTable) -> None:
    """Note anew how a table is attached."""
    values = {"form": table.form, "number": table.number}
    run(connection, "UPDATE qvec_attached SET form = %(form)s WHERE number = %(number)s", values)


def name_lock(collection: str) -> int:
    """Number the lock of a collection that has no number yet; below zero, where no collection's is."""
    return -1 - (zlib.crc32(collection.encode()) >> 1)


@contextmanager
def locked(connection: sa.Connection, number: int, *, shared: bool = False) -> Iterator[None]:
    """Keep others from attaching or detaching a collection meanwhile; those that share may be several.

    Raises:
        MigrationError: another one holds it.
    """
    values = {"lock": _LOCK, "number": number}
    kind = "_shared" if shared else ""
    if not _taken(connection, f"SELECT pg_try_advisory_lock{kind}(%(lock)s::int, %(number)s::int)", values):
        raise MigrationError("another attach, detach or sync of this collection is at work: wait for it")
    try:
        yield
    finally:
        connection.rollback()
        run(connection, f"SELECT pg_advisory_unlock{kind}(%(lock)s::int, %(number)s::int)", values)
        connection.rollback()


def _taken(connection: sa.Connection, statement: str, values: Mapping[str, object]) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while True:
        (is_ours,) = run(connection, statement, values).one()
        connection.rollback()
        if is_ours or time.monotonic() > deadline:
            return bool(is_ours)
        time.sleep(0.05)
