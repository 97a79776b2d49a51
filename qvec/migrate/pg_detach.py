"""Undoing an attach of a PostgreSQL table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qvec.errors import CollectionNotFoundError
from qvec.migrate.pg_rows import run
from qvec.migrate.pg_session import all_attached, attached, connected, keep_form, locked
from qvec.migrate.pg_table import PgTable

if TYPE_CHECKING:
    import sqlalchemy as sa

_DROP_EXTENSION = "DROP EXTENSION vector"


def detach(url: str, collection: str) -> None:
    """Undo an `attach`: drop view, vectors, tokens, indexes and what qvec noted; the table is as it was.

    Args:
        url: of the database.
        collection: that was attached.

    Raises:
        CollectionNotFoundError: no table is attached under this name.
        MigrationError: an attach is at work on it.
    """
    with connected(url) as connection:
        table = _need(connection, collection)
        with locked(connection, table.number), connection.begin():
            last = _last(connection, table, [])
            for statement in _undoing(table):
                run(connection, statement)
            rest = all_attached(connection)
            if rest and table.made:
                # What the first attach made is for the last detach to drop.
                keep_form(connection, replace(rest[0], made=tuple({*rest[0].made, *table.made})))
            for statement in last:
                if statement == _DROP_EXTENSION:
                    _drop_extension(connection)
                else:
                    run(connection, statement)


def plan_detach(url: str, *collections: str) -> list[str]:
    """Write the statements that `detach` would send for one collection after the other.

    Raises:
        CollectionNotFoundError: no table is attached under one of these names.
    """
    steps: list[str] = []
    gone: list[PgTable] = []
    with connected(url) as connection:
        for name in collections:
            table = _need(connection, name)
            steps += ["BEGIN", *_undoing(table), *_last(connection, table, gone), "COMMIT"]
            gone.append(table)
        connection.rollback()
    return [statement.replace("%%", "%") for statement in steps]


def _need(connection: sa.Connection, collection: str) -> PgTable:
    table = attached(connection, collection)
    if table is None:
        raise CollectionNotFoundError(f"no table is attached as {collection!r}")
    return table


def _undoing(table: PgTable) -> list[str]:
    number = int(table.number)
    return [
        *table.teardown(),
        f"DELETE FROM qvec_attached WHERE number = {number}",
        f"DELETE FROM qvec_collections WHERE number = {number}",
    ]


def _last(connection: sa.Connection, table: PgTable, gone: Sequence[PgTable]) -> list[str]:
    """Write what is to be dropped when a table goes, after others that have gone, and nothing of qvec's is left."""
    numbers = [each.number for each in (*gone, table)]
    made = {name for each in (*gone, table) for name in each.made}
    steps = []
    if all(each.number in numbers for each in all_attached(connection)):
        steps.append("DROP TABLE qvec_attached")
    others = "SELECT count(*) FROM qvec_collections WHERE number <> ALL(%(numbers)s)"
    (count,) = run(connection, others, {"numbers": numbers}).one()
    if not count and "catalogue" in made:
        steps.append("DROP TABLE qvec_collections")
        if "extension" in made:
            steps.append(_DROP_EXTENSION)
    return steps


def _drop_extension(connection: sa.Connection) -> None:
    import sqlalchemy as sa

    try:
        with connection.begin_nested():
            run(connection, _DROP_EXTENSION)
    except sa.exc.InternalError:
        # Somebody has made use of it meanwhile.
        return
